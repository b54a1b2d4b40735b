/* A real mosquitto in a directory of its own: $MOSQUITTO, else /usr/sbin/mosquitto, else the one on PATH. */
#ifndef MOSQUITTO_H
#define MOSQUITTO_H

typedef struct mosquitto mosquitto_t;

/* Starts it on a free port of 127.0.0.1, anonymous access allowed, with these lines added to its configuration, and
 * waits until it accepts connections. Ends the test if that fails. */
mosquitto_t *mosquitto_start(const char *config);
/* The same with a second listener on another free port; the lines are that one's. */
mosquitto_t *mosquitto_start_with(const char *listener);
int mosquitto_port(const mosquitto_t *broker);
int mosquitto_second_port(const mosquitto_t *broker);
char *mosquitto_uri(mosquitto_t *broker); /* of the scheme that is tested: scheme.h */
void mosquitto_stop(mosquitto_t *broker);    /* SIGTERM, and waits */
void mosquitto_kill(mosquitto_t *broker);    /* kill -9 */
void mosquitto_freeze(mosquitto_t *broker);  /* SIGSTOP: accepts bytes, answers nothing */
void mosquitto_restart(mosquitto_t *broker); /* on the same port, with the same configuration */

#endif
