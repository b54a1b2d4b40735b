/**
 * @file wm_host.h
 * @brief What only the host stand-in has: looks into the event queue, for tests and benchmarks.
 */
#ifndef WM_HOST_H
#define WM_HOST_H

#include "wm_event.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Events that wm_event_send() refused since the program's start because the queue was full. */
unsigned long wm_host_events_refused(void);

/** Number of entries the event queue has in all. */
int wm_host_event_queue_size(void);

/** Makes the queue as small as a device's may be: from now on it has @p entries, or all that it was built with (0). */
void wm_host_event_queue_limit(int entries);

/** Number of entries that are free right now. The event being delivered holds none. */
int wm_host_event_queue_free(void);

/** Number of callbacks registered right now: a component that tidies up returns it to what it was. */
int wm_host_event_callbacks(void);

/** Whether the caller runs on the event task, that is, inside a callback. */
bool wm_host_in_event_task(void);

/**
 * @brief Waits until the queue is empty and no callback runs.
 * @param timeout_ms how long to wait at most; negative waits for ever
 * @return WM_ERR_SUCCESS, WM_ERR_TIMEOUT, or WM_ERR_NOT_ALLOWED inside a callback, where it could never come true
 */
int wm_host_event_idle(int timeout_ms);

/**
 * @brief Makes the next @p count calls of wm_event_send() with valid arguments return @p error and lose their event.
 *        They do not count as refused. 0 ends it.
 */
void wm_host_event_fail(unsigned count, int error);

#ifdef __cplusplus
}
#endif

#endif
