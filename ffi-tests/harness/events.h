/* Records every event of WM_MQTT_EV, with copies of its data, and frees what the application owns. */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wm_mqtt_client.h"

enum {
    CONNECTED = WM_EVENT_MQTT_CLIENT_CONNECTED,
    DISCONNECTED = WM_EVENT_MQTT_CLIENT_DISCONNECTED,
    DATA = WM_EVENT_MQTT_CLIENT_DATA,
    PUBLISHED = WM_EVENT_MQTT_CLIENT_PUBLISHED,
    ANY_EVENT = -1,
    /* An application's own in our group, which nobody records. */
    KIND_OF_APPLICATION = 100
};

typedef struct event {
    int kind;
    bool has_data; /* the callback got a data pointer */
    char *topic;
    size_t topic_len;
    char *payload; /* NULL where the event had NULL */
    size_t payload_len;
    int msgid; /* of DATA and PUBLISHED */
    uint8_t qos, dup, retained;
    void *client; /* client_handle of DATA and DISCONNECTED */
    long ms;      /* when, by now_ms */
    struct event *next;
    bool taken;
} event_t;

void events_install(void);
void events_remove(void);
/* The event task ends and begins again, with what is queued delivered and all registrations forgotten but these. */
void events_restart(void);

/* Waits until everything that was queued before has been delivered. */
void events_flush(void);
/* Flushes and forgets. */
void events_reset(void);

/* Called in the event task after an event was recorded. NULL: none. */
void events_hook(void (*hook)(const event_t *event, void *arg), void *arg);

/* The oldest event of this kind (or ANY_EVENT) that was not taken yet; waits up to scaled(timeout_ms); NULL if none
 * came. The event lives until events_reset. */
const event_t *wait_event(int kind, long timeout_ms);
/* The same with a limit of 10 s; ends the test if none comes. */
#define expect_event(kind) expect_event_at(__FILE__, __LINE__, kind)
const event_t *expect_event_at(const char *file, int line, int kind);
/* DISCONNECTED of a lost connection of `handle`, and of a requested disconnect. */
#define expect_lost(handle) expect_lost_at(__FILE__, __LINE__, handle)
void expect_lost_at(const char *file, int line, wm_mqtt_client_handle_t handle);
#define expect_requested_disconnect() expect_requested_disconnect_at(__FILE__, __LINE__)
void expect_requested_disconnect_at(const char *file, int line);
/* DATA with exactly this content. */
#define expect_data(topic, payload, payload_len, qos)                                                                  \
    expect_data_at(__FILE__, __LINE__, topic, payload, payload_len, qos)
const event_t *expect_data_at(const char *file, int line, const char *topic, const void *payload, size_t payload_len,
                              int qos);
/* PUBLISHED with this id. */
#define expect_published(id) expect_published_at(__FILE__, __LINE__, id)
void expect_published_at(const char *file, int line, int id);
/* Fails if an event that was not taken is there or comes within ms. */
#define expect_no_event(ms) expect_no_event_at(__FILE__, __LINE__, ms)
void expect_no_event_at(const char *file, int line, long ms);

int event_count(int kind);                      /* so far, taken or not */
bool wait_count(int kind, int n, long timeout_ms); /* until there are at least n */
const event_t *events_first(void);              /* in order; follow next; call events_flush before */
const char *event_name(int kind);

#endif
