/*
 * Event groups. Whoever sets flags decides for every waiter at once, before any of them clears flags.
 */
#include <stdlib.h>

#include "freertos/event_groups.h"
#include "host.h"
#include "kernel.h"

/* The upper 8 bits belong to FreeRTOS itself. */
#define AVAILABLE 0x00ffffffUL

/* A waiting task, on its own stack. */
struct waiter {
    struct waiter *next;
    EventBits_t bits;
    bool all, clear, done;
    EventBits_t seen;
};

struct EventGroupDef_t {
    pthread_cond_t changed;
    EventBits_t bits;
    struct waiter *waiters;
};

EventGroupHandle_t xEventGroupCreate(void)
{
    struct EventGroupDef_t *g = calloc(1, sizeof *g);
    if (g) {
        wm_host_cond_init(&g->changed);
    }
    return g;
}

void vEventGroupDelete(EventGroupHandle_t g)
{
    if (g) {
        pthread_cond_destroy(&g->changed);
        free(g);
    }
}

static bool holds(const struct waiter *w, EventBits_t bits)
{
    return w->all ? (bits & w->bits) == w->bits : (bits & w->bits) != 0;
}

EventBits_t xEventGroupSetBits(EventGroupHandle_t g, EventBits_t bits)
{
    EventBits_t to_clear = 0;

    wm_host_kernel_lock();
    g->bits |= bits & AVAILABLE;
    for (struct waiter *w = g->waiters; w; w = w->next) {
        if (!w->done && holds(w, g->bits)) {
            w->done = true;
            w->seen = g->bits;
            if (w->clear) {
                to_clear |= w->bits;
            }
        }
    }
    g->bits &= ~to_clear;
    EventBits_t now = g->bits;
    pthread_cond_broadcast(&g->changed);
    wm_host_kernel_unlock();
    return now;
}

EventBits_t xEventGroupClearBits(EventGroupHandle_t g, EventBits_t bits)
{
    wm_host_kernel_lock();
    EventBits_t before = g->bits;
    g->bits &= ~bits;
    wm_host_kernel_unlock();
    return before;
}

EventBits_t xEventGroupGetBits(EventGroupHandle_t g)
{
    return xEventGroupClearBits(g, 0);
}

EventBits_t xEventGroupWaitBits(EventGroupHandle_t g, EventBits_t bits, BaseType_t clear, BaseType_t all,
                                TickType_t ticks)
{
    struct wm_host_timeout timeout = wm_host_timeout(ticks);
    struct waiter self             = { .bits = bits & AVAILABLE, .all = all != pdFALSE, .clear = clear != pdFALSE };

    wm_host_kernel_lock();
    if (holds(&self, g->bits)) {
        self.seen = g->bits;
        if (self.clear) {
            g->bits &= ~self.bits;
        }
    } else {
        self.next  = g->waiters;
        g->waiters = &self;
        while (!self.done && wm_host_kernel_wait(&g->changed, &timeout)) {
        }
        struct waiter **at = &g->waiters;
        while (*at != &self) {
            at = &(*at)->next;
        }
        *at = self.next;
        if (!self.done) {
            self.seen = g->bits;
        }
    }
    wm_host_kernel_unlock();
    return self.seen;
}
