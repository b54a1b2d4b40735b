/* The event task of the SDK's stand-in as the SDK makes it: in its stack and with its priority. */
#include <pthread.h>

#include "wm_task_config.h"

#define event_task_create(thread, attr, run, arg)                                                                      \
    pthread_create_with(thread, WM_TASK_EVENT_STACK, WM_TASK_EVENT_PRIO, run, arg)
