/*
 * What the two halves of the device port's network have in common.
 */
#ifndef WM_MQTT_LWIP_H
#define WM_MQTT_LWIP_H

#include "wm_mqtt_port.h"

#include "lwip/err.h"
#include "lwip/priv/tcpip_priv.h"

struct wm_mqtt_lwip_call {
    struct tcpip_api_call_data call; /* first: it is what lwIP hands on */
    void *subject;
};

/**
 * Waits while lwIP's task calls the function, or calls it with lwIP's lock: the state of lwIP's connections and lookups is used in
 * no other way. With a semaphore for each task, as the SDK has it, this needs no memory; else it may fail with ERR_MEM.
 */
err_t wm_mqtt_lwip_call(tcpip_api_call_fn function, void *subject);

/** What the function was called for. */
static inline void *wm_mqtt_lwip_subject(struct tcpip_api_call_data *call)
{
    return ((struct wm_mqtt_lwip_call *)call)->subject;
}

/** Whether something has happened to a socket of the net that the MQTT task has not been told: its token. */
bool wm_mqtt_lwip_ready(void *net, uintptr_t *token);

#endif
