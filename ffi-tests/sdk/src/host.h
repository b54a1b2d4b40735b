/*
 * What the stand-in's sources share with each other. Not for applications.
 */
#ifndef WM_HOST_INTERNAL_H
#define WM_HOST_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "wm_event.h"

/* Milliseconds since the start of the program. */
uint64_t wm_host_now_ms(void);

/* The instant a number of milliseconds from now, for waits on CLOCK_MONOTONIC conditions. */
struct timespec wm_host_deadline(uint32_t ms);

/* Makes a condition whose timed waits follow CLOCK_MONOTONIC. */
void wm_host_cond_init(pthread_cond_t *cond);

/* Whether fork() has made this process: then it has none of the threads, and whoever held a lock will never give it back. */
bool wm_host_forked(void);

/* The MAC address of this machine. */
void wm_host_mac(uint8_t mac[6]);

/* What an entry of the event queue is for. */
enum wm_host_op { WM_HOST_OP_EVENT, WM_HOST_OP_ADD, WM_HOST_OP_REMOVE };

/* An entry of the event queue. One of kind ADD becomes the node of the callback list. malloc aligns for any type, and
 * the copy stands at a multiple of that alignment. */
struct wm_host_entry {
    struct wm_host_entry *next;
    enum wm_host_op op;
    int event;
    wm_event_group_t group;
    wm_event_callback callback;
    void *priv;
    bool has_data;
    _Alignas(16) unsigned char data[];
};

/* Does what an entry says; returns the block that is to be freed then. On the event task only. */
struct wm_host_entry *wm_host_callbacks_process(struct wm_host_entry *entry);

/* Forgets all callbacks. On the event task, or when it is gone. */
void wm_host_callbacks_clear(void);

#endif
