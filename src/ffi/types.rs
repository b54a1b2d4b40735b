//! Types of the public header. Names, order and values are those of the SDK (contract sections 2, 3, 4 and 6).
#![allow(non_camel_case_types, non_upper_case_globals)]

use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;

/// Events of the group `WM_MQTT_EV`, delivered in the SDK's event task.
///
/// CONNECTED comes before any DATA of its connection, DISCONNECTED after the last. No event of a client is lost while
/// the system has memory: what the SDK's queue has no room for waits. `wm_mqtt_client_deinit` says what becomes of the rest.
#[repr(C)]
pub enum wm_event_mqtt_client {
    /// The broker has accepted a connection. Data: NULL.
    WM_EVENT_MQTT_CLIENT_CONNECTED = 0,
    /// The connection is gone. Data: `mqtt_client_disconnect_info` when it was lost, NULL when the application asked for
    /// it (disconnect, reconnect, deinit).
    WM_EVENT_MQTT_CLIENT_DISCONNECTED = 1,
    /// A message has come. Data: `mqtt_client_data_info`; the application frees its topic and payload.
    WM_EVENT_MQTT_CLIENT_DATA = 2,
    /// A message published with QoS 1 or 2 has been acknowledged. Data: `mqtt_client_published_info`.
    WM_EVENT_MQTT_CLIENT_PUBLISHED = 3,
}

/// Who proves what in TLS (`mqtts`, `ssl`, `wss`); without meaning for the other schemes. See docs/security.md.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum wm_mqtt_client_auth_mode_en {
    /// The server is not verified: encryption without knowing to whom. The log warns.
    WM_MQTT_CLIENT_AUTH_MODE_NOT_CERT = 0,
    /// The server's certificate (chain and dates) is verified against `ca`, and its name against the host in the URI.
    WM_MQTT_CLIENT_AUTH_MODE_AUTH_SERVER_CERT = 1,
    /// `cert` is presented to a server that asks; the server is not verified. The log warns.
    WM_MQTT_CLIENT_AUTH_MODE_PROVIDE_CLIENT_CERT = 2,
    /// Both: the server is verified, and `cert` is presented if it asks.
    WM_MQTT_CLIENT_AUTH_MODE_MUTUAL_AUTH = 3,
}

/// See `enum wm_mqtt_client_auth_mode_en`.
pub type wm_mqtt_client_auth_mode_t = wm_mqtt_client_auth_mode_en;

/// Error codes of all functions. Numbers are never reused.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum wm_mqtt_client_error_code_en {
    /// Done.
    WM_MQTT_CLIENT_ERROR_SUCCESS = 0,
    /// Everything without a code of its own: network, name lookup, TLS and certificates, WebSocket, time-outs, an empty
    /// or wildcard topic in publish, a malformed topic filter, an empty client id with a persistent session, no memory.
    /// What happened on the network is in the log.
    WM_MQTT_CLIENT_ERROR_FAILURE = -5001,
    /// Reserved for message persistence; never returned today.
    WM_MQTT_CLIENT_ERROR_PERSISTENCE_ERROR = -5002,
    /// Not connected, or the connection or the handle ended while the call waited.
    WM_MQTT_CLIENT_ERROR_DISCONNECTED = -5003,
    /// The window of unacknowledged QoS 1 and 2 messages stayed full for 10 s.
    WM_MQTT_CLIENT_ERROR_MAX_MESSAGES_INFLIGHT = -5004,
    /// Topic, filter, user name, password or will topic is not UTF-8.
    WM_MQTT_CLIENT_ERROR_BAD_UTF8_STRING = -5005,
    /// A NULL handle or topic.
    WM_MQTT_CLIENT_ERROR_NULL_PARAMETER = -5006,
    /// Topic or filter is longer than 65,535 bytes.
    WM_MQTT_CLIENT_ERROR_TOPICNAME_TRUNCATED = -5007,
    /// The handle is not, or no longer, one of ours.
    WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE = -5008,
    /// A QoS above 2.
    WM_MQTT_CLIENT_ERROR_BAD_QOS = -5009,
    /// `mqtts`, `ssl` or `wss` in a build without TLS.
    WM_MQTT_CLIENT_ERROR_SSL_NOT_SUPPORTED = -5010,
    /// Reserved for MQTT 5; never returned today.
    WM_MQTT_CLIENT_ERROR_BAD_MQTT_VERSION = -5011,
    /// The URI has an unknown scheme. `wm_mqtt_client_init` can only return NULL: this number stands in its log line.
    WM_MQTT_CLIENT_ERROR_BAD_PROTOCOL = -5014,
    /// Reserved for MQTT 5; never returned today.
    WM_MQTT_CLIENT_ERROR_BAD_MQTT_OPTION = -5015,
    /// Reserved for MQTT 5; never returned today.
    WM_MQTT_CLIENT_ERROR_WRONG_MQTT_VERSION = -5016,
    /// The will topic is empty.
    WM_MQTT_CLIENT_ERROR_0_LEN_WILL_TOPIC = -5017,
}

/// See `enum wm_mqtt_client_error_code_en`.
pub type wm_mqtt_client_error_code_t = wm_mqtt_client_error_code_en;

/// Connect: the broker does not speak MQTT 3.1.1 (CONNACK return code 1).
pub const WM_MQTT_CLIENT_CONNACK_BAD_VERSION: c_int = -4999;
/// Connect: the broker does not accept the client id (CONNACK return code 2).
pub const WM_MQTT_CLIENT_CONNACK_ID_REJECTED: c_int = -4998;
/// Connect: the broker's MQTT service is not available (CONNACK return code 3).
pub const WM_MQTT_CLIENT_CONNACK_SERVER_UNAVAILABLE: c_int = -4997;
/// Connect: wrong user name or password (CONNACK return code 4).
pub const WM_MQTT_CLIENT_CONNACK_BAD_CREDENTIALS: c_int = -4996;
/// Connect: not authorized (CONNACK return code 5).
pub const WM_MQTT_CLIENT_CONNACK_NOT_AUTHORIZED: c_int = -4995;
/// Subscribe: the broker refuses the subscription (SUBACK return code 0x80).
pub const WM_MQTT_CLIENT_SUBSCRIBE_REFUSED: c_int = -4872;

/// A received message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wm_mqtt_client_data_info {
    /// Topic name, NUL-terminated. The application calls `free()` on it.
    pub topic: *mut c_char,
    /// Length of the topic name, without the NUL.
    pub topic_len: u16,
    /// Payload with a NUL behind it, or NULL when empty. The application calls `free()` on it.
    pub payload: *mut c_char,
    /// Length of the payload, without the NUL.
    pub payload_len: u16,
    /// Packet identifier, 0 at QoS 0.
    pub msgid: c_int,
    /// QoS of the delivery.
    pub qos: u8,
    /// 1: may have been delivered before (QoS 1).
    pub dup: u8,
    /// 1: a retained message, sent because of a new subscription.
    pub retained: u8,
    /// The `client` member of the handle that received it.
    pub client_handle: *mut c_void,
}

/// An acknowledged message.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wm_mqtt_client_published_info {
    /// What `wm_mqtt_client_publish` returned for it.
    pub msg_id: c_int,
}

/// A lost connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wm_mqtt_client_disconnect_info {
    /// The `client` member of the handle that lost it.
    pub client_handle: *mut c_void,
}

/// What an event carries; the event says which member. Valid until the callback returns, except for topic and payload,
/// which belong to the application.
#[repr(C)]
#[derive(Clone, Copy)]
pub union wm_mqtt_event_data_un {
    /// Of WM_EVENT_MQTT_CLIENT_DATA.
    pub mqtt_client_data_info: wm_mqtt_client_data_info,
    /// Of WM_EVENT_MQTT_CLIENT_PUBLISHED.
    pub mqtt_client_published_info: wm_mqtt_client_published_info,
    /// Of WM_EVENT_MQTT_CLIENT_DISCONNECTED.
    pub mqtt_client_disconnect_info: wm_mqtt_client_disconnect_info,
}

/// See `union wm_mqtt_event_data_un`.
pub type wm_mqtt_event_data_t = wm_mqtt_event_data_un;

/// Configuration of a client. Zero every member that is not used. All of it is copied by `wm_mqtt_client_init` and may
/// be overwritten or freed as soon as that returns. Strings are NUL-terminated.
#[repr(C)]
pub struct wm_mqtt_client_config_st {
    /// `mqtt://` or `tcp://` (port 1883), `mqtts://` or `ssl://` (8883), `ws://` (80), `wss://` (443), then a host name, an
    /// IPv4 address or an IPv6 address in brackets, then optionally `:port` and, for WebSocket, path and query (`/mqtt`
    /// when left out). Without a scheme: plain TCP. User name and password may stand before the host, percent-encoded
    /// (`mqtt://user:password@host`); they count if `username` is NULL. Must not be NULL.
    pub uri: *mut c_char,
    /// Client identifier; NULL for one made from the chip's name and MAC address (`W800_abCDEF`). Empty only with
    /// `clean_session`.
    pub client_id: *mut c_char,
    /// User name, or NULL.
    pub username: *mut c_char,
    /// Password, or NULL; ignored without a user name.
    pub password: *mut c_char,
    /// Who is verified in TLS; 0 means nobody. Any value outside 0 to 3 makes `wm_mqtt_client_init` fail.
    pub auth_mode: MaybeUninit<wm_mqtt_client_auth_mode_t>,
    /// Trusted certificates, PEM: authorities, or the server's own certificate. NULL: the program's
    /// `mqtt_client_tls_ca`, or else the public authorities that the library has built in; without either connect
    /// returns `_FAILURE`. Read only in modes 1 and 3 and with TLS, otherwise it may point to anything.
    pub ca: *mut c_char,
    /// Client certificate chain, PEM. `cert` and `key` both NULL: the program's `mqtt_client_tls_cert` and
    /// `mqtt_client_tls_key`; without these, or with one of the two NULL, connect returns `_FAILURE`. Read only in modes
    /// 2 and 3 and with TLS, otherwise it may point to anything.
    pub cert: *mut c_char,
    /// Key of the client certificate, PEM: PKCS#8, PKCS#1 or SEC1, not encrypted. NULL and when it is read: as `cert`.
    pub key: *mut c_char,
    /// Application protocols to offer in TLS: NULL-terminated array, or NULL.
    pub alpn: *mut *mut c_char,
    /// Topic of the will message, or NULL for no will.
    pub will_topic: *mut c_char,
    /// The will message, or NULL for an empty one.
    pub will_msg: *mut c_char,
    /// QoS of the will message, checked at connect.
    pub will_qos: u8,
    /// Not 0: the broker retains the will message.
    pub will_retain: u8,
    /// Seconds without traffic before the connection is probed; 0 means 60.
    pub keep_alive: u16,
    /// 0: persistent session, unacknowledged messages are sent again after a reconnect. Else: clean session.
    pub clean_session: u8,
    /// Log each packet of this client at DEBUG level; never payloads or secrets.
    pub debug: MaybeUninit<bool>,
}

/// See `struct wm_mqtt_client_config_st`.
pub type wm_mqtt_client_config_t = wm_mqtt_client_config_st;

/// A client. Made by `wm_mqtt_client_init`, ended by `wm_mqtt_client_deinit`; to be read only.
#[repr(C)]
pub struct wm_mqtt_client_handle_st {
    /// Identifies this client in events (`client_handle`). A number, not an address; never used twice.
    pub client: *mut c_void,
    /// Reserved, NULL.
    pub config: *mut c_void,
    /// Copy of the configured URI.
    pub uri: *mut c_char,
    /// Client identifier, the default one where none was configured.
    pub client_id: *mut c_char,
    /// Copy, or NULL.
    pub username: *mut c_char,
    /// Copy, or NULL.
    pub password: *mut c_char,
    /// The text in use, a copy or the program's: NULL where mode and scheme use none, and for the public authorities.
    pub ca: *mut c_char,
    /// The text in use, a copy or the program's; NULL where mode and scheme use none.
    pub cert: *mut c_char,
    /// The text in use, a copy or the program's; NULL where mode and scheme use none.
    pub key: *mut c_char,
    /// Copy, or NULL.
    pub alpn: *mut *mut c_char,
    /// Copy, or NULL.
    pub will_topic: *mut c_char,
    /// Copy, or NULL.
    pub will_msg: *mut c_char,
}

/// A handle: what every function takes. NULL (`WM_INVALID_HANDLE`) is no client.
pub type wm_mqtt_client_handle_t = *mut wm_mqtt_client_handle_st;
