/* An MQTT 3.1.1 client over a bare socket, independent of the library: the other side in tests with a real broker. */
#ifndef RAW_CLIENT_H
#define RAW_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct raw_client raw_client_t;

raw_client_t *raw_connect(int port, const char *client_id, bool clean); /* ends the test if refused */
void raw_subscribe(raw_client_t *client, const char *filter, int qos);
/* Waits for the acknowledgements; payloads up to 200 KB. */
void raw_publish(raw_client_t *client, const char *topic, const void *payload, size_t len, int qos, bool retain);
/* n messages with the payloads "0", "1", ..., several of them under way at a time; waits for all acknowledgements. */
void raw_publish_many(raw_client_t *client, const char *topic, int n, int qos);

typedef struct {
    char topic[256];
    char *payload; /* terminated, memory of the test */
    size_t len;
    int qos;
    bool retained, dup;
} raw_message_t;
/* The next message, acknowledged; false: none within scaled(ms). */
bool raw_receive(raw_client_t *client, raw_message_t *message, long ms);
/* False if a message comes within ms (not scaled). */
bool raw_silence(raw_client_t *client, long ms);

void raw_disconnect(raw_client_t *client); /* DISCONNECT, then close */
void raw_break(raw_client_t *client);      /* close without DISCONNECT */

#endif
