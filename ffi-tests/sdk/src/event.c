/*
 * The event task: one thread that takes copies of events, and registrations of callbacks, from one bounded FIFO.
 *
 * The constructor that starts it stands in this file on purpose: whoever links wm_event_send() out of an archive gets
 * it too.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "wm_error.h"
#include "wm_host.h"
#include "wmsdk_config.h"

#define QUEUE_SIZE CONFIG_WM_EVENT_QUEUE_SIZE
_Static_assert(QUEUE_SIZE >= 1 && QUEUE_SIZE <= 512, "CONFIG_WM_EVENT_QUEUE_SIZE must be 1 to 512");

/* How long the program's end waits for a callback that does not return. */
#define EXIT_WAIT_MS 1000

enum state { STOPPED, RUNNING, STOPPING };

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
/* The task sleeps here. No condition: behind one glibc gives the mutex back with a system call. */
static sem_t g_work;
static pthread_cond_t g_changed; /* idle waiters and the program's end sleep here */

/* Guarded by g_lock. */
static enum state g_state;
static bool g_discard;     /* stopping without delivering what is queued */
static bool g_finished;    /* the task has left its loop and only has to be joined */
static bool g_sleeping;    /* the task waits for work: a sender has to wake it */
static unsigned g_waiters; /* threads that want to hear when the task becomes idle */
static struct wm_host_entry *g_ring[QUEUE_SIZE];
static unsigned g_head;
static atomic_uint g_count; /* the task peeks at it without the lock */
static unsigned g_size = QUEUE_SIZE; /* how many of its entries are used */
static pthread_t g_task;
static unsigned g_fail_count;
static int g_fail_error;
static unsigned long g_refused;

static struct wm_host_entry *g_current; /* what the task is at */

/* The thread is made under g_lock, which is the first thing that it takes. */
static bool on_event_task(void)
{
    return g_state != STOPPED && pthread_equal(pthread_self(), g_task);
}

static struct wm_host_entry *entry_new(enum wm_host_op op, wm_event_group_t group, int event, size_t size)
{
    if (size > SIZE_MAX - sizeof(struct wm_host_entry)) {
        return NULL;
    }
    struct wm_host_entry *e = malloc(sizeof *e + size);
    if (e) {
        e->next     = NULL;
        e->op       = op;
        e->group    = group;
        e->event    = event;
        e->callback = NULL;
        e->priv     = NULL;
        e->has_data = size != 0;
    }
    return e;
}

static struct wm_host_entry *pop(void)
{
    struct wm_host_entry *e = g_ring[g_head];
    g_head                  = (g_head + 1) % QUEUE_SIZE;
    g_count--;
    return e;
}

static void free_queue(void)
{
    while (g_count) {
        free(pop());
    }
}

static void *event_task(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&g_lock);
    for (;;) {
        while (g_count && !g_discard) {
            g_current = pop();
            pthread_mutex_unlock(&g_lock);
            free(wm_host_callbacks_process(g_current));
            /* A sender that shares the processor has its turn to queue the rest of its burst, before it must wake this task: measured
               at full speed on two busy processors, 0.2 calls of futex for a message instead of 2. Behind a single event, too:
               without that 1.5 instead of 0.9 switches for a received message, though beside programs that compute on all processors
               it takes their time slice, some 4 ms. */
            if (!g_count) {
                sched_yield();
            }
            pthread_mutex_lock(&g_lock);
            g_current = NULL;
        }
        if (g_waiters) {
            pthread_cond_broadcast(&g_changed);
        }
        if (g_state != RUNNING) {
            break;
        }
        g_sleeping = true;
        pthread_mutex_unlock(&g_lock);
        while (sem_wait(&g_work) != 0) {
        }
        pthread_mutex_lock(&g_lock);
        g_sleeping = false;
    }
    free_queue();
    wm_host_callbacks_clear();
    g_finished = true;
    pthread_cond_broadcast(&g_changed);
    pthread_mutex_unlock(&g_lock);
    return NULL;
}

/* Queues an entry and takes it over; on failure the caller keeps it. */
static int enqueue(struct wm_host_entry *e)
{
    int ret       = WM_ERR_FAILED;
    bool wake_up  = false;
    bool is_event = e->op == WM_HOST_OP_EVENT;

    pthread_mutex_lock(&g_lock);
    if (is_event && g_fail_count) {
        g_fail_count--;
        ret = g_fail_error;
    } else if (g_state == RUNNING && g_count < g_size) {
        g_ring[(g_head + g_count) % QUEUE_SIZE] = e;
        g_count++;
        /* Only the first sender pays for the wake-up. */
        wake_up    = g_sleeping;
        g_sleeping = false;
        ret        = WM_ERR_SUCCESS;
    } else if (is_event && g_state == RUNNING) {
        g_refused++;
    }
    pthread_mutex_unlock(&g_lock);
    if (wake_up) {
        sem_post(&g_work);
    }
    return ret;
}

static int send_registration(enum wm_host_op op, wm_event_group_t group, int event, wm_event_callback callback,
                             void *priv)
{
    if (!callback) {
        return WM_ERR_INVALID_PARAM;
    }
    struct wm_host_entry *e = entry_new(op, group, event, 0);
    if (!e) {
        return WM_ERR_NO_MEM;
    }
    e->callback = callback;
    e->priv     = priv;
    int ret     = enqueue(e);
    if (ret != WM_ERR_SUCCESS) {
        free(e);
    }
    return ret;
}

int wm_event_add_callback(wm_event_group_t group, int event, wm_event_callback callback, void *priv)
{
    return send_registration(WM_HOST_OP_ADD, group, event, callback, priv);
}

int wm_event_remove_callback(wm_event_group_t group, int event, wm_event_callback callback, void *priv)
{
    return send_registration(WM_HOST_OP_REMOVE, group, event, callback, priv);
}

int wm_event_send(wm_event_group_t group, int event, void *data, size_t size)
{
    if (!group || (data == NULL) != (size == 0)) {
        return WM_ERR_INVALID_PARAM;
    }
    struct wm_host_entry *e = entry_new(WM_HOST_OP_EVENT, group, event, size);
    if (!e) {
        return WM_ERR_NO_MEM;
    }
    if (data) {
        memcpy(e->data, data, size);
    }
    int ret = enqueue(e);
    if (ret != WM_ERR_SUCCESS) {
        free(e);
    }
    return ret;
}

int wm_event_init(void)
{
    int ret = WM_ERR_SUCCESS;
    pthread_mutex_lock(&g_lock);
    if (g_state != STOPPED) {
        ret = WM_ERR_ALREADY_INITED;
    } else {
        g_discard  = false;
        g_finished = false;
        g_sleeping = false;
        g_state    = RUNNING;
        /* It runs before main() can block the signals that it will wait for: they must not end the process here. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (pthread_create(&g_task, NULL, event_task, NULL) != 0) {
            g_state = STOPPED;
            ret     = WM_ERR_FAILED;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_mutex_unlock(&g_lock);
    return ret;
}

int wm_event_deinit(void)
{
    pthread_mutex_lock(&g_lock);
    if (g_state != RUNNING || on_event_task()) {
        pthread_mutex_unlock(&g_lock);
        return WM_ERR_FAILED;
    }
    g_state        = STOPPING;
    pthread_t task = g_task;
    sem_post(&g_work);
    pthread_mutex_unlock(&g_lock);

    pthread_join(task, NULL);

    pthread_mutex_lock(&g_lock);
    g_state = STOPPED;
    pthread_cond_broadcast(&g_changed);
    pthread_mutex_unlock(&g_lock);
    return WM_ERR_SUCCESS;
}

unsigned long wm_host_events_refused(void)
{
    pthread_mutex_lock(&g_lock);
    unsigned long n = g_refused;
    pthread_mutex_unlock(&g_lock);
    return n;
}

int wm_host_event_queue_size(void)
{
    pthread_mutex_lock(&g_lock);
    int n = (int)g_size;
    pthread_mutex_unlock(&g_lock);
    return n;
}

void wm_host_event_queue_limit(int entries)
{
    pthread_mutex_lock(&g_lock);
    g_size = entries >= 1 && entries < QUEUE_SIZE ? (unsigned)entries : QUEUE_SIZE;
    pthread_mutex_unlock(&g_lock);
}

int wm_host_event_queue_free(void)
{
    pthread_mutex_lock(&g_lock);
    int n = g_count < g_size ? (int)(g_size - g_count) : 0;
    pthread_mutex_unlock(&g_lock);
    return n;
}

bool wm_host_in_event_task(void)
{
    return on_event_task();
}

int wm_host_event_idle(int timeout_ms)
{
    if (on_event_task()) {
        return WM_ERR_NOT_ALLOWED;
    }
    struct timespec deadline = wm_host_deadline(timeout_ms < 0 ? 0 : (uint32_t)timeout_ms);
    int err                  = 0;
    pthread_mutex_lock(&g_lock);
    g_waiters++;
    while ((g_count || g_current) && err == 0) {
        err = timeout_ms < 0 ? pthread_cond_wait(&g_changed, &g_lock)
                             : pthread_cond_timedwait(&g_changed, &g_lock, &deadline);
    }
    int ret = g_count || g_current ? WM_ERR_TIMEOUT : WM_ERR_SUCCESS;
    g_waiters--;
    pthread_mutex_unlock(&g_lock);
    return ret;
}

void wm_host_event_fail(unsigned count, int error)
{
    pthread_mutex_lock(&g_lock);
    g_fail_count = count;
    g_fail_error = error;
    pthread_mutex_unlock(&g_lock);
}

/* Before other constructors, which may register callbacks. */
__attribute__((constructor(101))) static void start(void)
{
    sem_init(&g_work, 0, 0);
    wm_host_cond_init(&g_changed);
    wm_event_init();
}

/* After main() its variables are gone, so what is still queued is not delivered any more. */
__attribute__((destructor(101))) static void stop(void)
{
    if (wm_host_forked()) {
        return;
    }
    struct timespec deadline = wm_host_deadline(EXIT_WAIT_MS);
    bool join                = false;

    pthread_mutex_lock(&g_lock);
    if (g_state != STOPPED && on_event_task()) {
        /* exit() inside a callback: this thread is the task and will not come back to its loop. */
        g_state = STOPPING;
        free_queue();
        wm_host_callbacks_clear();
        free(g_current);
        g_current = NULL;
    } else if (g_state != STOPPED) {
        /* A thread inside wm_event_deinit() joins the task itself. */
        join      = g_state == RUNNING;
        g_state   = STOPPING;
        g_discard = true;
        sem_post(&g_work);
        while (!g_finished && pthread_cond_timedwait(&g_changed, &g_lock, &deadline) == 0) {
        }
        join = join && g_finished;
    }
    pthread_mutex_unlock(&g_lock);
    if (join) {
        pthread_join(g_task, NULL);
    }
}
