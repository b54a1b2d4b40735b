/* What an MQTT client has to offer to be measured. work.c does the same work with each: wm.c, libmosquitto.c, paho_sync.c,
 * paho_async.c, ../rumqttc, and raw.c, which is no client but the limit. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>

struct client;

struct settings {
    const char *scheme; /* mqtt, mqtts, ws, wss */
    const char *host;
    int port;
    const char *ca; /* file of what has signed the broker's certificate, for mqtts and wss */
    bool resume;    /* connects may resume the TLS session of the connect before */
};

/* How many messages with QoS 1 and 2 may be under way. */
enum { WINDOW = 20 };

/* NULL: it does not speak that scheme. */
struct client *client_new(const struct settings *settings, const char *id);
/* False: it has failed. Returns when the broker has accepted the connection. */
bool client_connect(struct client *client);
/* Returns when the broker has acknowledged it. */
bool client_subscribe(struct client *client, const char *topic, int qos);
/* Returns when the client has taken the message. Waits, or lets it wait, as the client ordinarily does. */
bool client_publish(struct client *client, const char *topic, const void *payload, int size, int qos);
void client_disconnect(struct client *client);
void client_free(struct client *client);
/* Only for a client that has no thread of its own: reads what has come, for up to some milliseconds. */
__attribute__((weak)) void client_drive(struct client *client, int milliseconds);

/* Called by the client, in any thread: a message was received; one with QoS 1 or 2 that was published has been acknowledged. */
void bench_received(void);
void bench_acknowledged(void);

#endif
