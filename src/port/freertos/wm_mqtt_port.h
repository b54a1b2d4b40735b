/*
 * The C half of the device port: what its Rust half (shim.rs) calls. It is C because most of what it wraps is macros and
 * structures of the SDK, FreeRTOS and lwIP; the SDK compiles it with its own flags. Everything may be called from any task
 * unless it says otherwise, and nothing from an interrupt.
 */
#ifndef WM_MQTT_PORT_H
#define WM_MQTT_PORT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A socket operation could not be done now. No error of lwIP has this number. */
#define WM_MQTT_PORT_WOULD_BLOCK INT_MIN
/** The time-out that means for ever. */
#define WM_MQTT_PORT_FOREVER UINT32_MAX

/** The public certificate authorities, in a library that was built with them. */
extern const struct wm_mqtt_authorities wm_mqtt_authorities;

/** Sizes, priorities, and what may be used. They come from Kconfig, so that a prebuilt library obeys them too. */
struct wm_mqtt_port_config {
    size_t io_buffer;         /**< bytes read from or written to a socket at a time */
    size_t record;            /**< largest plaintext of a TLS record that is sent */
    size_t chain;             /**< largest message with certificates, or names of authorities, that a TLS server may send */
    size_t outgoing;          /**< bytes that wait to be sent, for each handle */
    size_t backlog;           /**< bytes of events in the SDK's queue and waiting for it, for each handle */
    size_t event_share;       /**< our events that may be in the SDK's queue at a time */
    uint16_t names;           /**< names of authorities that a TLS server may send */
    uint16_t window;          /**< unacknowledged messages with QoS 1 and 2 of each handle */
    uint16_t payload;         /**< the largest that is taken */
    uint16_t task_stack;      /**< stack of the MQTT task, in words */
    uint16_t handshake_stack; /**< stack of the task that computes TLS handshakes, in words */
    uint32_t task_priority;   /**< of both */
    bool tls;                 /**< mqtts:// and wss:// are not refused */
    bool tls12;               /**< TLS 1.2 is spoken beside 1.3 */
    /** Without this reference the linker leaves the authorities out. */
    const struct wm_mqtt_authorities *authorities;
};

extern const struct wm_mqtt_port_config wm_mqtt_port_config;

/** An IP address in network order: four bytes of it or sixteen. */
struct wm_mqtt_port_address {
    uint8_t bytes[16];
    bool is_v6;
};

/** What woke the MQTT task. */
struct wm_mqtt_port_event {
    uintptr_t token;                     /**< the socket or lookup it concerns */
    bool resolved;                       /**< a lookup has ended; else a socket has become ready */
    bool found;                          /**< the name has an address: this one */
    uint16_t port;                       /**< the one that was asked for with it */
    struct wm_mqtt_port_address address;
};

/** Milliseconds since the start. */
uint64_t wm_mqtt_port_now(void);
/** Ticks that last at least so many milliseconds. */
uint32_t wm_mqtt_port_ticks(uint32_t milliseconds);
/** The station's MAC address, six bytes. */
void wm_mqtt_port_mac(uint8_t *mac);
/** The time of day in seconds since 1970, near 0 while nobody has set it. */
uint64_t wm_mqtt_port_unix_time(void);
/** Random bytes from the hardware's generator; false when it cannot be used. */
bool wm_mqtt_port_random(uint8_t *bytes, size_t len);
/** A line for the SDK's log; level 1 (error) to 5 (verbose). */
void wm_mqtt_port_log(int level, const char *line, size_t len);

/** What the MQTT task sleeps on, or NULL. */
void *wm_mqtt_port_net_open(void);
/** One more user of it, who will close it too. */
void wm_mqtt_port_net_share(void *net);
void wm_mqtt_port_net_close(void *net);
void wm_mqtt_port_net_wake(void *net);
/**
 * Sleeps for at most `timeout` milliseconds (WM_MQTT_PORT_FOREVER: no limit) until there is an event or a wake-up; whether
 * `event` was filled. From the MQTT task alone, as all that follows.
 */
bool wm_mqtt_port_net_wait(void *net, uint32_t timeout, struct wm_mqtt_port_event *event);
/**
 * Begins a name lookup. `family` 0: an address of any, of IPv4 if it has one; false when there is no memory. 4 or 6: of this one
 * alone; false also for a host that is an address, and when there is only one family.
 */
bool wm_mqtt_port_net_resolve(void *net, uintptr_t token, const char *host, size_t len, uint16_t port, uint8_t family);
/** Gives up a lookup, unless lwIP has begun with it: then it is answered all the same. */
void wm_mqtt_port_net_forget(void *net, uintptr_t token);
/** Before the task ends: gives back what lwIP keeps for each task. */
void wm_mqtt_port_net_task_ends(void);

/** Begins a TCP connection with TCP_NODELAY; NULL and lwIP's number in `error` when that fails. */
void *wm_mqtt_port_connect(void *net, uintptr_t token, const struct wm_mqtt_port_address *address, uint16_t port, int *error);
/** 0, WM_MQTT_PORT_WOULD_BLOCK or lwIP's number of an error. */
int wm_mqtt_port_established(void *socket);
/** Bytes read (0 at the end), WM_MQTT_PORT_WOULD_BLOCK or lwIP's number of an error. */
int wm_mqtt_port_read(void *socket, uint8_t *buffer, size_t len);
/** Bytes written, WM_MQTT_PORT_WOULD_BLOCK or lwIP's number of an error. */
int wm_mqtt_port_write(void *socket, const uint8_t *bytes, size_t len);
/** Acknowledges at once what has arrived. */
void wm_mqtt_port_acknowledge(void *socket);
void wm_mqtt_port_shutdown(void *socket);
/** Whether everything that was written is acknowledged, the end of the stream included, or the connection is gone. */
bool wm_mqtt_port_is_acknowledged(void *socket);
void wm_mqtt_port_close(void *socket);

#endif
