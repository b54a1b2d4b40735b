/* What the harness knows of the system it runs on (on Linux: ffi-tests/harness/host), on the firmware. */
#include <stdlib.h>

#include "check.h"
#include "process.h"
#include <pthread.h>

enum { MOST = 64 };

int thread_count(void) { return (int)uxTaskGetNumberOfTasks() - pthread_ended(); }

int thread_ids(int *ids, int max)
{
    TaskStatus_t tasks[MOST];
    int n = (int)uxTaskGetSystemState(tasks, MOST, NULL);
    for (int i = 0; i < n && i < max; i++) ids[i] = (int)tasks[i].xTaskNumber;
    return n;
}

/* Not counted by the kernel. */
int new_thread(const int *before, int before_count)
{
    (void)before;
    (void)before_count;
    check_skip("FreeRTOS does not count a task's switches");
    return -1;
}

long thread_switches(int id)
{
    (void)id;
    return -1;
}

/* But for the idle task, and this one. */
static bool rests(const TaskStatus_t *task)
{
    return task->uxCurrentPriority == tskIDLE_PRIORITY || task->xHandle == xTaskGetCurrentTaskHandle() ||
           (task->eCurrentState != eReady && task->eCurrentState != eRunning);
}

bool threads_come_to_rest(void)
{
    for (long until = now_ms() + scaled(3000); now_ms() < until;) {
        TaskStatus_t tasks[MOST];
        sleep_ms(1);
        int n = (int)uxTaskGetSystemState(tasks, MOST, NULL), resting = 0;
        for (int i = 0; i < n; i++) resting += rests(&tasks[i]);
        if (n > 0 && resting == n) return true;
    }
    return false;
}

const char *certs_make(void)
{
    FAIL("WM_MQTT_CERTS names no certificates");
    return NULL;
}
