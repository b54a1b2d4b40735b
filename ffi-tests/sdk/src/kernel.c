/*
 * Tasks as threads, the kernel lock, and the end of tasks.
 *
 * Tasks look detached to the application. They are joined behind its back, by the next xTaskCreate() or at the
 * program's end, so that leak checkers see their memory again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "host.h"
#include "kernel.h"

/* How long the program's end waits for tasks that sleep in one of these functions to leave. */
#define EXIT_WAIT_MS 1000

static pthread_mutex_t g_kernel = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_ended; /* guarded by g_kernel, as is all that follows */
static struct tskTaskControlBlock *g_tasks;

static _Thread_local struct tskTaskControlBlock *t_self;
static _Thread_local struct tskTaskControlBlock t_foreign; /* for threads that xTaskCreate() did not make */

struct tskTaskControlBlock *wm_host_self(void)
{
    if (!t_self) {
        wm_host_cond_init(&t_foreign.wake);
        snprintf(t_foreign.name, sizeof t_foreign.name, "host");
        t_self = &t_foreign;
    }
    return t_self;
}

struct wm_host_timeout wm_host_timeout(TickType_t ticks)
{
    struct wm_host_timeout t = { .forever = ticks == portMAX_DELAY };
    t.at                     = wm_host_deadline(t.forever ? 0 : ticks);
    return t;
}

void wm_host_kernel_lock(void)
{
    pthread_mutex_lock(&g_kernel);
}

void wm_host_kernel_unlock(void)
{
    struct tskTaskControlBlock *self = wm_host_self();
    bool doomed                      = self->doomed;
    pthread_mutex_unlock(&g_kernel);
    if (!doomed) {
        return;
    }
    if (self->created) {
        longjmp(self->end, 1);
    }
    pthread_exit(NULL);
}

bool wm_host_kernel_wait(pthread_cond_t *cond, const struct wm_host_timeout *timeout)
{
    struct tskTaskControlBlock *self = wm_host_self();
    if (self->doomed) {
        return false;
    }
    self->waits_on = cond;
    int err        = timeout->forever ? pthread_cond_wait(cond, &g_kernel)
                                      : pthread_cond_timedwait(cond, &g_kernel, &timeout->at);
    self->waits_on = NULL;
    return err == 0 && !self->doomed;
}

static void *run(void *task)
{
    t_self = task;
    if (setjmp(t_self->end) == 0) {
        t_self->code(t_self->parameters);
    }
    pthread_mutex_lock(&g_kernel);
    t_self->finished = true;
    pthread_cond_broadcast(&g_ended);
    pthread_mutex_unlock(&g_kernel);
    return NULL;
}

/* Joins and frees the tasks that have ended. */
static void reap(void)
{
    struct tskTaskControlBlock *ended = NULL;

    pthread_mutex_lock(&g_kernel);
    for (struct tskTaskControlBlock **at = &g_tasks; *at;) {
        struct tskTaskControlBlock *task = *at;
        if (task->finished) {
            *at        = task->next;
            task->next = ended;
            ended      = task;
        } else {
            at = &task->next;
        }
    }
    pthread_mutex_unlock(&g_kernel);

    while (ended) {
        struct tskTaskControlBlock *next = ended->next;
        pthread_join(ended->thread, NULL);
        pthread_cond_destroy(&ended->wake);
        free(ended);
        ended = next;
    }
}

BaseType_t xTaskCreate(TaskFunction_t code, const char *name, configSTACK_DEPTH_TYPE stack_depth, void *parameters,
                       UBaseType_t priority, TaskHandle_t *created)
{
    (void)stack_depth;
    (void)priority;
    reap();

    struct tskTaskControlBlock *task = calloc(1, sizeof *task);
    if (!task) {
        return errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY;
    }
    task->created    = true;
    task->code       = code;
    task->parameters = parameters;
    wm_host_cond_init(&task->wake);
    snprintf(task->name, sizeof task->name, "%s", name ? name : "");

    /* Under the lock, so that the task cannot end before its handle is written and it stands in the list. */
    pthread_mutex_lock(&g_kernel);
    if (created) {
        *created = task;
    }
    bool failed = pthread_create(&task->thread, NULL, run, task) != 0;
    if (!failed) {
        task->next = g_tasks;
        g_tasks    = task;
    }
    pthread_mutex_unlock(&g_kernel);
    if (failed) {
        if (created) {
            *created = NULL;
        }
        pthread_cond_destroy(&task->wake);
        free(task);
        return errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY;
    }
    return pdPASS;
}

static void doom(struct tskTaskControlBlock *task)
{
    task->doomed = true;
    if (task->waits_on) {
        pthread_cond_broadcast(task->waits_on);
    }
}

void vTaskDelete(TaskHandle_t task)
{
    struct tskTaskControlBlock *self = wm_host_self();
    wm_host_kernel_lock();
    doom(task ? task : self);
    wm_host_kernel_unlock();
}

UBaseType_t uxTaskGetNumberOfTasks(void)
{
    UBaseType_t n = 0;
    wm_host_kernel_lock();
    for (struct tskTaskControlBlock *t = g_tasks; t; t = t->next) {
        n += !t->finished;
    }
    wm_host_kernel_unlock();
    return n;
}

__attribute__((constructor(101))) static void start(void)
{
    wm_host_cond_init(&g_ended);
}

/* Whether a task sleeps in one of our functions and has been told to end. */
static bool somebody_is_leaving(void)
{
    for (struct tskTaskControlBlock *t = g_tasks; t; t = t->next) {
        if (t->leaving && !t->finished) {
            return true;
        }
    }
    return false;
}

/* Sleeping tasks end with the program. Busy ones cannot be stopped from outside: they end with the process. */
__attribute__((destructor(102))) static void stop(void)
{
    if (wm_host_forked()) {
        return;
    }
    struct timespec deadline         = wm_host_deadline(EXIT_WAIT_MS);
    struct tskTaskControlBlock *self = wm_host_self();

    pthread_mutex_lock(&g_kernel);
    for (struct tskTaskControlBlock *t = g_tasks; t; t = t->next) {
        if (t != self && t->waits_on) {
            t->leaving = true;
            doom(t);
        }
    }
    while (somebody_is_leaving() && pthread_cond_timedwait(&g_ended, &g_kernel, &deadline) == 0) {
    }
    pthread_mutex_unlock(&g_kernel);
    reap();
}
