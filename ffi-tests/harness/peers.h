/* The programs of ffi-tests/peers (in the folder $WM_MQTT_PEERS): `relay` puts TLS and WebSocket in front of a broker,
 * `bad-peer` is a server that misbehaves, `chaos-proxy` a bad network, `certs` makes the test certificates. */
#ifndef PEERS_H
#define PEERS_H

#include <stdbool.h>

/* A file of the test certificates, "server.pem": its path and its text, in memory of the test. They are in $WM_MQTT_CERTS;
 * without that variable they are made once and go with the program. Main thread only. */
const char *cert_path(const char *name);
char *cert_text(const char *name);

typedef struct relay relay_t;

/* Starts a relay to this port of 127.0.0.1 on a free port. The options are a printf format of the words on its command
 * line; @NAME is that file of the test certificates. Ends the test if it does not start; it ends with the test. */
relay_t *relay_start(int port, const char *options, ...) __attribute__((format(printf, 2, 3)));
/* The same with `bad-peer`, a server that misbehaves. */
relay_t *bad_peer_start(const char *options, ...) __attribute__((format(printf, 1, 2)));
/* The same with `chaos-proxy`, a bad network. */
relay_t *chaos_start(const char *options, ...) __attribute__((format(printf, 1, 2)));
void relay_stop(relay_t *relay); /* its connections break */
int relay_port(const relay_t *relay);
char *relay_uri(const relay_t *relay, const char *scheme); /* scheme://localhost:port */

/* The next line that it prints beginning with this word; those before it are skipped. Ends the test if none comes
 * within 10 s. Memory of the test. */
#define relay_line(relay, word) relay_line_at(__FILE__, __LINE__, relay, word)
const char *relay_line_at(const char *file, int line, relay_t *relay, const char *word);
/* The value of `name=` in such a line, "" if there is none. Memory of the test. */
const char *line_value(const char *line, const char *name);

#endif
