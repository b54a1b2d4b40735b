/* POSIX threads over FreeRTOS. */
#include <pthread.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "board.h"
#include "wm_task_config.h"

enum { THREAD_SLOT = 1, STACK = 32 * 1024 };

typedef struct {
    StaticTask_t task;
    StaticSemaphore_t done_place;
    SemaphoreHandle_t done;
    void *(*run)(void *);
    void *arg, *result;
    StackType_t stack[];
} thread_t;

static atomic_int ended;

/* ---- threads ---- */

static void run(void *arg)
{
    thread_t *thread = arg;
    thread->result = thread->run(thread->arg);
    atomic_fetch_add(&ended, 1);
    xSemaphoreGive(thread->done);
    for (;;) vTaskSuspend(NULL);
}

int pthread_create_with(pthread_t *handle, size_t stack, int priority, void *(*start)(void *), void *arg)
{
    thread_t *thread = harness_calloc(1, sizeof *thread + stack);
    if (!thread) return EAGAIN;
    thread->run = start;
    thread->arg = arg;
    thread->done = xSemaphoreCreateBinaryStatic(&thread->done_place);
    vTaskSuspendAll();
    *handle = xTaskCreateStatic(run, "thread", stack / sizeof(StackType_t), thread, (UBaseType_t)priority, thread->stack,
                                &thread->task);
    vTaskSetThreadLocalStoragePointer(*handle, THREAD_SLOT, thread);
    xTaskResumeAll();
    return 0;
}

int pthread_create(pthread_t *handle, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    (void)attr;
    return pthread_create_with(handle, STACK, WM_TASK_MAIN_PRIO, start, arg);
}

int pthread_join(pthread_t handle, void **result)
{
    thread_t *thread = pvTaskGetThreadLocalStoragePointer(handle, THREAD_SLOT);
    xSemaphoreTake(thread->done, portMAX_DELAY);
    vTaskDelete(handle);
    atomic_fetch_sub(&ended, 1);
    if (result) *result = thread->result;
    harness_free(thread);
    return 0;
}

pthread_t pthread_self(void) { return xTaskGetCurrentTaskHandle(); }

int pthread_ended(void) { return atomic_load(&ended); }

/* There are no signals. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    (void)how, (void)set;
    if (before) *before = (sigset_t){0};
    return 0;
}

/* ---- mutexes ---- */

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)attr;
    mutex->handle = xSemaphoreCreateMutexStatic(&mutex->place);
    return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (mutex->handle) vSemaphoreDelete(mutex->handle);
    mutex->handle = NULL;
    return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!mutex->handle) {
        vTaskSuspendAll();
        if (!mutex->handle) pthread_mutex_init(mutex, NULL);
        xTaskResumeAll();
    }
    xSemaphoreTake(mutex->handle, portMAX_DELAY);
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    xSemaphoreGive(mutex->handle);
    return 0;
}

/* ---- conditions ---- */

typedef struct cond_waiter {
    struct cond_waiter *next;
    SemaphoreHandle_t semaphore;
    StaticSemaphore_t place;
} cond_waiter_t;

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    (void)attr;
    cond->first = NULL;
    return 0;
}

int pthread_cond_destroy(pthread_cond_t *cond)
{
    (void)cond;
    return 0;
}

static int wait_ticks(pthread_cond_t *cond, pthread_mutex_t *mutex, TickType_t ticks)
{
    cond_waiter_t self = {.next = NULL};
    self.semaphore = xSemaphoreCreateBinaryStatic(&self.place);
    vTaskSuspendAll();
    cond_waiter_t **at = &cond->first;
    while (*at) at = &(*at)->next;
    *at = &self;
    xTaskResumeAll();
    pthread_mutex_unlock(mutex);
    xSemaphoreTake(self.semaphore, ticks);
    vTaskSuspendAll();
    bool waiting = false;
    for (at = &cond->first; *at && !waiting;) {
        waiting = *at == &self;
        if (waiting) *at = self.next;
        else at = &(*at)->next;
    }
    xTaskResumeAll();
    vSemaphoreDelete(self.semaphore);
    pthread_mutex_lock(mutex);
    return waiting ? ETIMEDOUT : 0;
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex) { return wait_ticks(cond, mutex, portMAX_DELAY); }

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    int64_t left = (int64_t)until->tv_sec * 1000 + until->tv_nsec / 1000000 - (int64_t)(board_now_us() / 1000);
    /* One more: the tick under way does not count. */
    return wait_ticks(cond, mutex, left > 0 ? pdMS_TO_TICKS((TickType_t)left) + 1 : 0);
}

static void wake(pthread_cond_t *cond, bool all)
{
    vTaskSuspendAll();
    while (cond->first) {
        cond_waiter_t *waiter = cond->first;
        cond->first = waiter->next;
        xSemaphoreGive(waiter->semaphore);
        if (!all) break;
    }
    xTaskResumeAll();
}

int pthread_cond_signal(pthread_cond_t *cond)
{
    wake(cond, false);
    return 0;
}

int pthread_cond_broadcast(pthread_cond_t *cond)
{
    wake(cond, true);
    return 0;
}
