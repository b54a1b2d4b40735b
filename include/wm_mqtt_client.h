/*
 * MQTT 3.1.1 client for the WM IoT SDK.
 *
 * Generated from src/ffi by `make header`: change it there.
 *
 * Ownership: what the application passes in is copied or only read during the call; what an event of received data
 * points to (topic, payload) belongs to the application, which frees it. Handles end with wm_mqtt_client_deinit.
 *
 * Threads: every function may be called from any task, event callbacks included, and from several tasks at a time, on
 * the same handle too. A stale handle is recognised (WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE).
 *
 * Blocking: bounded, as each function says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#ifndef WM_MQTT_CLIENT_H
#define WM_MQTT_CLIENT_H

#include "wm_types.h"
#include "wm_error.h"
#include "wm_event.h"

/** Group of this component's events, for wm_event_add_callback. */
WM_EVENT_DECLARE_GROUP(WM_MQTT_EV);

/**
 * Connect: the broker does not speak MQTT 3.1.1 (CONNACK return code 1).
 */
#define WM_MQTT_CLIENT_CONNACK_BAD_VERSION -4999

/**
 * Connect: the broker does not accept the client id (CONNACK return code 2).
 */
#define WM_MQTT_CLIENT_CONNACK_ID_REJECTED -4998

/**
 * Connect: the broker's MQTT service is not available (CONNACK return code 3).
 */
#define WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE -4997

/**
 * Connect: wrong user name or password (CONNACK return code 4).
 */
#define WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS -4996

/**
 * Connect: not authorized (CONNACK return code 5).
 */
#define WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED -4995

/**
 * Subscribe: the broker refuses the subscription (SUBACK return code 0x80).
 */
#define WM_MQTT_CLIENT_SUBSCRIBE_REFUSED -4872

/**
 * Who proves what in TLS (`mqtts`, `ssl`, `wss`); without meaning for the other schemes. See docs/security.md.
 */
enum wm_mqtt_client_auth_mode_en {
    /**
     * The server is not verified: encryption without knowing to whom. The log warns.
     */
    WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT = 0,
    /**
     * The server's certificate (chain and dates) is verified against `ca`, and its name against the host in the URI.
     */
    WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT = 1,
    /**
     * `cert` is presented to a server that asks; the server is not verified. The log warns.
     */
    WM_MQTT_CLIENT_AUTH_MODE_PROVIDE_CLIENT_CERT = 2,
    /**
     * Both: the server is verified, and `cert` is presented if it asks.
     */
    WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH = 3,
};

/**
 * Events of the group `WM_MQTT_EV`, delivered in the SDK's event task.
 *
 * CONNECTED comes before any DATA of its connection, DISCONNECTED after the last. No event of a client is lost while
 * the system has memory: what the SDK's queue has no room for waits. `wm_mqtt_client_deinit` says what becomes of the rest.
 */
enum wm_event_mqtt_client {
    /**
     * The broker has accepted a connection. Data: NULL.
     */
    WM_EVENT_MQTT_CLIENT_CONNECTED = 0,
    /**
     * The connection is gone. Data: `mqtt_client_disconnect_info` when it was lost, NULL when the application asked for
     * it (disconnect, reconnect, deinit).
     */
    WM_EVENT_MQTT_CLIENT_DISCONNECTED = 1,
    /**
     * A message has come. Data: `mqtt_client_data_info`; the application frees its topic and payload.
     */
    WM_EVENT_MQTT_CLIENT_DATA = 2,
    /**
     * A message published with QoS 1 or 2 has been acknowledged. Data: `mqtt_client_published_info`.
     */
    WM_EVENT_MQTT_CLIENT_PUBLISHED = 3,
};

/**
 * Error codes of all functions. Numbers are never reused.
 */
enum wm_mqtt_client_error_code_en {
    /**
     * Done.
     */
    WM_MQTT_CLIENT_ERROR_SUCCESS = 0,
    /**
     * Everything without a code of its own: network, name lookup, TLS and certificates, WebSocket, time-outs, an empty
     * or wildcard topic in publish, a malformed topic filter, an empty client id with a persistent session, no memory.
     * What happened on the network is in the log.
     */
    WM_MQTT_CLIENT_ERROR_FAILURE = -5001,
    /**
     * Reserved for message persistence; never returned today.
     */
    WM_MQTT_CLIENT_ERROR_PERSISTENCE_ERROR = -5002,
    /**
     * Not connected, or the connection or the handle ended while the call waited.
     */
    WM_MQTT_CLIENT_ERROR_DISCONNECTED = -5003,
    /**
     * The window of unacknowledged QoS 1 and 2 messages stayed full for 10 s.
     */
    WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT = -5004,
    /**
     * Topic, filter, user name, password or will topic is not UTF-8.
     */
    WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING = -5005,
    /**
     * A NULL handle or topic.
     */
    WM_MQTT_CLIENT_ERROR_NULL_PARAMETER = -5006,
    /**
     * Topic or filter is longer than 65,535 bytes.
     */
    WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED = -5007,
    /**
     * The handle is not, or no longer, one of ours.
     */
    WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE = -5008,
    /**
     * A QoS above 2.
     */
    WM_MQTT_CLIENT_ERROR_BAD_QOS = -5009,
    /**
     * `mqtts`, `ssl` or `wss` in a build without TLS.
     */
    WM_MQTT_CLIENT_ERROR_SSL_NOT_SUPPORTED = -5010,
    /**
     * Reserved for MQTT 5; never returned today.
     */
    WM_MQTT_CLIENT_ERROR_BAD_MQTT_VERSION = -5011,
    /**
     * The URI has an unknown scheme. `wm_mqtt_client_init` can only return NULL: this number stands in its log line.
     */
    WM_MQTT_CLIENT_ERROR_BAD_PROTOCOL = -5014,
    /**
     * Reserved for MQTT 5; never returned today.
     */
    WM_MQTT_CLIENT_ERROR_BAD_MQTT_OPTION = -5015,
    /**
     * Reserved for MQTT 5; never returned today.
     */
    WM_MQTT_CLIENT_ERROR_WRONG_MQTT_VERSION = -5016,
    /**
     * The will topic is empty.
     */
    WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC = -5017,
};

/**
 * A client. Made by `wm_mqtt_client_init`, ended by `wm_mqtt_client_deinit`; to be read only.
 */
struct wm_mqtt_client_handle_st {
    /**
     * Identifies this client in events (`client_handle`). A number, not an address; never used twice.
     */
    void *client;
    /**
     * Reserved, NULL.
     */
    void *config;
    /**
     * Copy of the configured URI.
     */
    char *uri;
    /**
     * Client identifier, the default one where none was configured.
     */
    char *client_id;
    /**
     * Copy, or NULL.
     */
    char *username;
    /**
     * Copy, or NULL.
     */
    char *password;
    /**
     * The text in use, a copy or the program's: NULL where mode and scheme use none, and for the public authorities.
     */
    char *ca;
    /**
     * The text in use, a copy or the program's; NULL where mode and scheme use none.
     */
    char *cert;
    /**
     * The text in use, a copy or the program's; NULL where mode and scheme use none.
     */
    char *key;
    /**
     * Copy, or NULL.
     */
    char **alpn;
    /**
     * Copy, or NULL.
     */
    char *will_topic;
    /**
     * Copy, or NULL.
     */
    char *will_msg;
};

/**
 * A handle: what every function takes. NULL (`WM_INVALID_HANDLE`) is no client.
 */
typedef struct wm_mqtt_client_handle_st *wm_mqtt_client_handle_t;

/**
 * See `enum wm_mqtt_client_auth_mode_en`.
 */
typedef enum wm_mqtt_client_auth_mode_en wm_mqtt_client_auth_mode_t;

/**
 * Configuration of a client. Zero every member that is not used. All of it is copied by `wm_mqtt_client_init` and may
 * be overwritten or freed as soon as that returns. Strings are NUL-terminated.
 */
struct wm_mqtt_client_config_st {
    /**
     * `mqtt://` or `tcp://` (port 1883), `mqtts://` or `ssl://` (8883), `ws://` (80), `wss://` (443), then a host name, an
     * IPv4 address or an IPv6 address in brackets, then optionally `:port` and, for WebSocket, path and query (`/mqtt`
     * when left out). Without a scheme: plain TCP. User name and password may stand before the host, percent-encoded
     * (`mqtt://user:password@host`); they count if `username` is NULL. Must not be NULL.
     */
    char *uri;
    /**
     * Client identifier; NULL for one made from the chip's name and MAC address (`W800_abCDEF`). Empty only with
     * `clean_session`.
     */
    char *client_id;
    /**
     * User name, or NULL.
     */
    char *username;
    /**
     * Password, or NULL; ignored without a user name.
     */
    char *password;
    /**
     * Who is verified in TLS; 0 means nobody. Any value outside 0 to 3 makes `wm_mqtt_client_init` fail.
     */
    wm_mqtt_client_auth_mode_t auth_mode;
    /**
     * Trusted certificates, PEM: authorities, or the server's own certificate. NULL: the program's
     * `mqtt_client_tls_ca`, or else the public authorities that the library has built in; without either connect
     * returns `_FAILURE`. Read only in modes 1 and 3 and with TLS, otherwise it may point to anything.
     */
    char *ca;
    /**
     * Client certificate chain, PEM. `cert` and `key` both NULL: the program's `mqtt_client_tls_cert` and
     * `mqtt_client_tls_key`; without these, or with one of the two NULL, connect returns `_FAILURE`. Read only in modes
     * 2 and 3 and with TLS, otherwise it may point to anything.
     */
    char *cert;
    /**
     * Key of the client certificate, PEM: PKCS#8, PKCS#1 or SEC1, not encrypted. NULL and when it is read: as `cert`.
     */
    char *key;
    /**
     * Application protocols to offer in TLS: NULL-terminated array, or NULL.
     */
    char **alpn;
    /**
     * Topic of the will message, or NULL for no will.
     */
    char *will_topic;
    /**
     * The will message, or NULL for an empty one.
     */
    char *will_msg;
    /**
     * QoS of the will message, checked at connect.
     */
    uint8_t will_qos;
    /**
     * Not 0: the broker retains the will message.
     */
    uint8_t will_retain;
    /**
     * Seconds without traffic before the connection is probed; 0 means 60.
     */
    uint16_t keep_alive;
    /**
     * 0: persistent session, unacknowledged messages are sent again after a reconnect. Else: clean session.
     */
    uint8_t clean_session;
    /**
     * Log each packet of this client at DEBUG level; never payloads or secrets.
     */
    bool debug;
};

/**
 * See `struct wm_mqtt_client_config_st`.
 */
typedef struct wm_mqtt_client_config_st wm_mqtt_client_config_t;

/**
 * See `enum wm_mqtt_client_error_code_en`.
 */
typedef enum wm_mqtt_client_error_code_en wm_mqtt_client_error_code_t;

/**
 * A received message.
 */
struct wm_mqtt_client_data_info {
    /**
     * Topic name, NUL-terminated. The application calls `free()` on it.
     */
    char *topic;
    /**
     * Length of the topic name, without the NUL.
     */
    uint16_t topic_len;
    /**
     * Payload with a NUL behind it, or NULL when empty. The application calls `free()` on it.
     */
    char *payload;
    /**
     * Length of the payload, without the NUL.
     */
    uint16_t payload_len;
    /**
     * Packet identifier, 0 at QoS 0.
     */
    int msgid;
    /**
     * QoS of the delivery.
     */
    uint8_t qos;
    /**
     * 1: may have been delivered before (QoS 1).
     */
    uint8_t dup;
    /**
     * 1: a retained message, sent because of a new subscription.
     */
    uint8_t retained;
    /**
     * The `client` member of the handle that received it.
     */
    void *client_handle;
};

/**
 * An acknowledged message.
 */
struct wm_mqtt_client_published_info {
    /**
     * What `wm_mqtt_client_publish` returned for it.
     */
    int msg_id;
};

/**
 * A lost connection.
 */
struct wm_mqtt_client_disconnect_info {
    /**
     * The `client` member of the handle that lost it.
     */
    void *client_handle;
};

/**
 * What an event carries; the event says which member. Valid until the callback returns, except for topic and payload,
 * which belong to the application.
 */
union wm_mqtt_event_data_un {
    /**
     * Of WM_EVENT_MQTT_CLIENT_DATA.
     */
    struct wm_mqtt_client_data_info mqtt_client_data_info;
    /**
     * Of WM_EVENT_MQTT_CLIENT_PUBLISHED.
     */
    struct wm_mqtt_client_published_info mqtt_client_published_info;
    /**
     * Of WM_EVENT_MQTT_CLIENT_DISCONNECTED.
     */
    struct wm_mqtt_client_disconnect_info mqtt_client_disconnect_info;
};

/**
 * See `union wm_mqtt_event_data_un`.
 */
typedef union wm_mqtt_event_data_un wm_mqtt_event_data_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a client from a configuration. Does not connect.
 *
 * @param config  copied as a whole; need not outlive the call
 * @return the handle, owned by the application until `wm_mqtt_client_deinit`; `WM_INVALID_HANDLE` when `config` or its
 *         `uri` is NULL, the scheme is unknown, the client id is not UTF-8, `auth_mode` is not 0 to 3, or memory is out
 *         (the log says which). Other mistakes of the configuration are reported by `wm_mqtt_client_connect`.
 * @note Blocking: never. Tasks: any, event callbacks too.
 */
wm_mqtt_client_handle_t wm_mqtt_client_init(wm_mqtt_client_config_t *config);

/**
 * Ends a client: disconnects it if it is connected (a DISCONNECTED event without data follows), ends every call that
 * waits on it, and frees it. The handle is invalid from the moment of the call.
 *
 * Messages that wait for the event queue are dropped; with QoS 1 and 2 they were not acknowledged either. Other events
 * that wait are given up after 10 s at most. What is in the event queue already is delivered: its `client_handle` matches no
 * other client.
 *
 * @param handle  the client
 * @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `_NULL_PARAMETER` for NULL; `_BAD_STRUCTURE` for a handle that is not, or no
 *         longer, one of ours
 * @note Blocking: as wm_mqtt_client_disconnect. The last client takes the MQTT task with it. Tasks: any, event callbacks
 *       too.
 */
int wm_mqtt_client_deinit(wm_mqtt_client_handle_t handle);

/**
 * Connects to the broker, over TCP, TLS or WebSocket as the URI says, and waits for its answer. A CONNECTED event
 * follows. On a client that is connected already it does nothing; while another call connects it waits for that one's
 * result.
 *
 * @param handle  the client
 * @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `WM_MQTT_CLIENT_CONNACK_...` when the broker refuses; `_NULL_PARAMETER`,
 *         `_BAD_STRUCTURE`; `_BAD_UTF8_STRING` for user name, password or will topic; `_TOPICNAME_TRUNCATED` for the will
 *         topic; `_BAD_QOS` for the will's QoS; `_0_LEN_WILL_TOPIC`; `_SSL_NOT_SUPPORTED` in builds without TLS;
 *         `_DISCONNECTED` when deinit has begun before the attempt; `_FAILURE` for everything else: host not found, no
 *         connection, certificates that are missing, of no use or refused, a TLS or WebSocket handshake that fails, no
 *         answer within 30 s, or a disconnect, reconnect or deinit by another task. The log says which.
 * @note Blocking: up to 30 s, and before that up to 10 s for a disconnect that is under way. Tasks: any, event callbacks
 *       too.
 */
int wm_mqtt_client_connect(wm_mqtt_client_handle_t handle);

/**
 * Disconnects from the broker, after what is in flight was acknowledged, and waits until the broker has received everything.
 * A DISCONNECTED event without data follows if the client was connected; otherwise nothing happens. A connect that is under
 * way ends at once with `_FAILURE`.
 *
 * @param handle  the client
 * @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `_NULL_PARAMETER`, `_BAD_STRUCTURE`; `_FAILURE` when the broker has neither
 *         acknowledged everything (TCP) nor closed within 10 s: messages may be lost, and the client is disconnected
 * @note Blocking: a round trip when nothing is in flight, up to 10 s otherwise. Tasks: any, event callbacks too.
 */
int wm_mqtt_client_disconnect(wm_mqtt_client_handle_t handle);

/**
 * Forces a fresh connection: `wm_mqtt_client_disconnect`, then `wm_mqtt_client_connect`. A persistent session
 * (`clean_session` 0) keeps its state: it does not wait for what is in flight, but sends it again. Subscriptions of a
 * clean session are gone. Beside another reconnect that is on its way to a connection it waits for that one's result, and within 1 s
 * of a connection that another has made, and that still stands, it returns `WM_MQTT_CLIENT_ERROR_SUCCESS` and does nothing:
 * that connection is what it asks for.
 *
 * @param handle  the client
 * @return as `wm_mqtt_client_connect`
 * @note Blocking: up to 40 s, usually a round trip or two. Tasks: any, event callbacks too.
 */
int wm_mqtt_client_reconnect(wm_mqtt_client_handle_t handle);

/**
 * Subscribes to a topic filter and waits for the broker's SUBACK. Messages may arrive before it returns.
 *
 * @param handle  the client, connected
 * @param topic   topic filter, NUL-terminated; only read during the call
 * @param qos     highest QoS wanted, 0 to 2; the broker may grant less
 * @return the packet identifier (above 0); `WM_MQTT_CLIENT_SUBSCRIBE_REFUSED` when the broker refuses;
 *         `_NULL_PARAMETER`, `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`, `_TOPICNAME_TRUNCATED`; `_FAILURE` for
 *         a malformed filter, no answer within 10 s (the connection stays) or no memory; `_BAD_QOS`; checked in this
 *         order
 * @note Blocking: up to 10 s. Tasks: any, event callbacks too.
 */
int wm_mqtt_client_subscribe(wm_mqtt_client_handle_t handle,
                             const char *topic,
                             uint8_t qos);

/**
 * Unsubscribes from a topic filter and waits for the broker's UNSUBACK.
 *
 * @param handle  the client, connected
 * @param topic   topic filter as it was subscribed to, NUL-terminated; only read during the call
 * @return the packet identifier (above 0); `_NULL_PARAMETER`, `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`,
 *         `_TOPICNAME_TRUNCATED`; `_FAILURE` for a malformed filter, no answer within 10 s (the connection stays) or no
 *         memory
 * @note Blocking: up to 10 s. Tasks: any, event callbacks too.
 */
int wm_mqtt_client_unsubscribe(wm_mqtt_client_handle_t handle, const char *topic);

/**
 * `wm_mqtt_client_unsubscribe` under the name that the SDK's guide spells.
 *
 * @param handle  as there
 * @param topic   as there
 * @return as there
 */
int wm_mqtt_client_unsubcribe(wm_mqtt_client_handle_t handle, const char *topic);

/**
 * Publishes a message. It is copied and sent by the MQTT task; for QoS 1 and 2 a PUBLISHED event follows with the
 * message's identifier, when the broker has acknowledged it. That event may come before this call returns.
 *
 * @param handle   the client, connected
 * @param topic    topic name, NUL-terminated; only read during the call
 * @param message  payload, only read during the call; NULL for an empty one, whatever `msg_len` says
 * @param msg_len  its length; 0: `message` is a string, its length counts
 * @param qos      0 to 2
 * @param retain   not 0: the broker keeps the message for later subscribers
 * @return the packet identifier (above 0), or 0 for QoS 0; `_NULL_PARAMETER` for a NULL handle or topic,
 *         `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`, `_TOPICNAME_TRUNCATED`; `_FAILURE` for an empty topic or
 *         one with wildcards; `_BAD_QOS`; checked in this order. Then `_MAX_MESSAGES_INFLIGHT` when the window of
 *         unacknowledged messages stayed full for 10 s, `_FAILURE` when the connection stayed congested for 10 s or
 *         memory is out.
 * @note Blocking: not at all while there is room, else up to 10 s. Tasks: any, event callbacks too.
 */
int wm_mqtt_client_publish(wm_mqtt_client_handle_t handle,
                           const char *topic,
                           const char *message,
                           uint16_t msg_len,
                           uint8_t qos,
                           uint8_t retain);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WM_MQTT_CLIENT_H */
