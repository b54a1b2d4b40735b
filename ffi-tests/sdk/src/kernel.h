/*
 * What the FreeRTOS sources share: one lock for everything, and waits that a deleted task leaves early.
 *
 * Every public function takes the lock, does its work, waits where it must and gives the lock back. A task that
 * somebody deleted stops waiting and ends inside wm_host_kernel_unlock(), so nothing is left half done.
 */
#ifndef WM_HOST_KERNEL_H
#define WM_HOST_KERNEL_H

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <time.h>

#include "freertos/task.h"

struct tskTaskControlBlock {
    struct tskTaskControlBlock *next; /* in the list of tasks made by xTaskCreate() */
    bool created;                     /* made by xTaskCreate(), not a thread of somebody else's */
    bool doomed;                      /* deleted: ends at the next chance */
    bool leaving;                     /* the end of the program waits for it */
    bool finished;                    /* only has to be joined and freed */
    pthread_cond_t wake;              /* delays and notifications wait here */
    pthread_cond_t *waits_on;         /* where the task waits now */
    bool notified;
    uint32_t value; /* of its notification */
    pthread_t thread;
    TaskFunction_t code;
    void *parameters;
    jmp_buf end; /* where a deleted task goes: out, without unwinding, as on the device */
    char name[configMAX_TASK_NAME_LEN];
};

/* Until when to wait. */
struct wm_host_timeout {
    bool forever;
    struct timespec at;
};

struct wm_host_timeout wm_host_timeout(TickType_t ticks);

void wm_host_kernel_lock(void);

/* Gives the lock back; does not return in a deleted task. */
void wm_host_kernel_unlock(void);

/* Waits for a condition, with the lock held. False: no use in waiting on, because of the time-out or a deletion. */
bool wm_host_kernel_wait(pthread_cond_t *cond, const struct wm_host_timeout *timeout);

/* The calling task. */
struct tskTaskControlBlock *wm_host_self(void);

enum wm_host_queue_kind { WM_HOST_QUEUE, WM_HOST_SEMAPHORE, WM_HOST_MUTEX };

/* A queue; semaphores have items of size 0, a mutex is a semaphore with a holder. */
struct QueueDefinition {
    enum wm_host_queue_kind kind;
    pthread_cond_t changed;
    UBaseType_t length, item_size;
    UBaseType_t head, count;
    TaskHandle_t holder;
    UBaseType_t depth; /* how often the holder of a recursive mutex took it */
    unsigned char items[];
};

struct QueueDefinition *wm_host_queue_new(enum wm_host_queue_kind kind, UBaseType_t length, UBaseType_t item_size,
                                          UBaseType_t count);

#endif
