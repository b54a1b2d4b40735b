/* Handles that the harness cleans up, and API calls that run in threads of their own, so that a test reads as one
 * sequence: start the call, play the broker, look at the result. */
#ifndef CLIENT_H
#define CLIENT_H

#include "events.h"
#include "fake_broker.h"
#include "scheme.h"
#include "wm_mqtt_client.h"

typedef wm_mqtt_client_handle_t handle_t;
typedef wm_mqtt_client_config_t config_t;

/* wm_mqtt_client_init, after scheme_config; ends the test if that fails. Whoever did not call client_deinit gets it at
 * the test's end. */
handle_t client_new(const config_t *config);
/* wm_mqtt_client_deinit; the harness forgets the handle. */
int client_deinit(handle_t handle);
/* The harness forgets the handle (the test has deinitialised it by other means). */
void client_forget(handle_t handle);

/* A handle with the client id "c" and clean session 1 or 0. */
handle_t client_for(const char *uri, bool clean);
/* Connects a handle to the fake broker (CONNACK with session present 0 or 1) and takes its CONNECTED event. */
conn_t *client_connect(handle_t handle, broker_t *broker, bool session_present);
/* All of it at once: broker in *broker if that is NULL, handle, connection. */
handle_t connected_client(broker_t **broker, conn_t **conn, bool clean);

/* deinit as a well-behaved broker sees it: DISCONNECT, the end of the stream, and the broker closes too. Takes the
 * DISCONNECTED event. */
#define client_leave(handle, conn) client_leave_at(__FILE__, __LINE__, handle, conn)
void client_leave_at(const char *file, int line, handle_t handle, conn_t *conn);

/* Whether the client still serves this connection after what was sent on it: true once a QoS 1 message has gone all
 * the way to its event and its PUBACK came back; false once the client has closed the connection. Packets before that
 * PUBACK are skipped. The DATA event is taken. */
#define still_serving(conn) still_serving_at(__FILE__, __LINE__, conn)
bool still_serving_at(const char *file, int line, conn_t *conn);

/* One API call in a thread of its own. Strings are not copied. */
typedef struct call call_t;
call_t *start_connect(handle_t handle);
call_t *start_disconnect(handle_t handle);
call_t *start_reconnect(handle_t handle);
call_t *start_deinit(handle_t handle); /* the harness forgets the handle */
call_t *start_subscribe(handle_t handle, const char *topic, int qos);
call_t *start_unsubscribe(handle_t handle, const char *topic);
call_t *start_publish(handle_t handle, const char *topic, const char *message, int msg_len, int qos);
/* Any function; the result is what it returns. */
call_t *start_call(int (*fn)(void *), void *arg);

/* The call's result; ends the test if it is not there within scaled(15 s) (call_result) or scaled(ms). */
#define call_result(call) call_result_at(__FILE__, __LINE__, call, 15000)
#define call_result_within(call, ms) call_result_at(__FILE__, __LINE__, call, ms)
int call_result_at(const char *file, int line, call_t *call, long ms);
bool call_done(call_t *call, long ms); /* false if it still runs after ms (not scaled) */
bool call_waits(call_t *call);         /* once all threads have come to rest: whether it still runs */
long call_duration(call_t *call);      /* ms, of a finished call */

#endif
