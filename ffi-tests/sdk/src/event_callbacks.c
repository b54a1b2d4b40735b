/*
 * The list of registered callbacks. It belongs to the event task alone: registrations reach it through the event
 * queue, in order with the events, so no lock is held while a callback runs and none is needed here.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "host.h"
#include "wm_host.h"

static struct wm_host_entry *g_callbacks;
static atomic_int g_callback_count;

static void deliver(struct wm_host_entry *e)
{
    /* What a callback registers or removes waits in the queue: the list cannot change under this loop. */
    for (struct wm_host_entry *c = g_callbacks; c; c = c->next) {
        if ((c->group == WM_EVENT_ANY_GROUP || c->group == e->group) &&
            (c->event == WM_EVENT_ANY_TYPE || c->event == e->event)) {
            c->callback(e->group, e->event, e->has_data ? e->data : NULL, c->priv);
        }
    }
}

/* The link that leads to the registration e names, or the one at the end of the list. */
static struct wm_host_entry **find(const struct wm_host_entry *e)
{
    struct wm_host_entry **at = &g_callbacks;
    while (*at && !((*at)->group == e->group && (*at)->event == e->event && (*at)->callback == e->callback &&
                    (*at)->priv == e->priv)) {
        at = &(*at)->next;
    }
    return at;
}

static struct wm_host_entry *add(struct wm_host_entry *e)
{
    struct wm_host_entry **at = find(e);
    if (*at) {
        return e;
    }
    *at = e;
    atomic_fetch_add(&g_callback_count, 1);
    return NULL;
}

static struct wm_host_entry *remove_like(struct wm_host_entry *e)
{
    struct wm_host_entry **at  = find(e);
    struct wm_host_entry *gone = *at;
    if (gone) {
        *at = gone->next;
        atomic_fetch_sub(&g_callback_count, 1);
        free(gone);
    }
    return e;
}

struct wm_host_entry *wm_host_callbacks_process(struct wm_host_entry *e)
{
    switch (e->op) {
        case WM_HOST_OP_ADD:
            return add(e);
        case WM_HOST_OP_REMOVE:
            return remove_like(e);
        case WM_HOST_OP_EVENT:
            break;
    }
    deliver(e);
    return e;
}

void wm_host_callbacks_clear(void)
{
    while (g_callbacks) {
        struct wm_host_entry *next = g_callbacks->next;
        free(g_callbacks);
        g_callbacks = next;
    }
    atomic_store(&g_callback_count, 0);
}

int wm_host_event_callbacks(void)
{
    return atomic_load(&g_callback_count);
}
