/* The application: handles that publish, subscribe, reconnect and stand still, each in a thread of its own, and others that come
 * and go. */
#ifndef HANDLES_H
#define HANDLES_H

#include <stdbool.h>
#include <stdint.h>

/* What the handles are to do. */
typedef enum {
    REST,    /* nothing: they are connected, or try to be */
    PUBLISH, /* as applications do, whatever the network does */
    SETTLE,  /* connect, subscribe, and publish a fence in each stream once all have */
    LEAVE    /* deinit */
} phase_t;

typedef struct {
    int handles;
    int schemes;
    char *uris[4];
    char *ca;      /* PEM */
    uint64_t seed;
    int rate; /* messages in a second, of all handles together */
} settings_t;

void handles_begin(const settings_t *settings, int generation);
void handles_do(phase_t phase);
/* All handles are connected and subscribed, and a SUBACK has come since the phase SETTLE began. */
int handles_ready(void);
/* The phase LEAVE has ended. */
void handles_join(void);
long handles_connections(void);
/* In the phase SETTLE they reconnect now and then, and publish fences anew; and the highest QoS they publish with in the phase PUBLISH. */
void handles_impatient(bool impatient);
void handles_highest_qos(int qos);
/* A callback stands still for seconds, now and then. */
void handles_stop_reading(bool now_and_then);
/* CONNECTED and DISCONNECTED events so far. */
void handles_events(long *connected, long *disconnected);
/* The longest that a call has taken. */
long handles_longest_call(void);

#endif
