//! The functions of the public header.
#![allow(clippy::missing_safety_doc)] // each function's contract is its documentation in the header

use core::ffi::{CStr, c_char, c_int};
use core::ptr::{NonNull, null_mut};

use super::error::code;
use super::handle::{AlpnList, Block, hub, hub_or_new};
use super::types::wm_mqtt_client_error_code_en::*;
use super::types::*;
use crate::client::{Client, Error};
use crate::port::{Platform, Shared, init_log};

type Handle = wm_mqtt_client_handle_t;

/// The client of a handle, or the code to return. The pointer is looked up, not read.
fn client(handle: Handle) -> Result<Shared<Client<Platform>>, c_int> {
    if handle.is_null() {
        return Err(WM_MQTT_CLIENT_ERROR_NULL_PARAMETER as c_int);
    }
    hub().and_then(|hub| hub.find(handle.addr())).ok_or(WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE as c_int)
}

/// Runs `call` on the client of a handle; 0 or an error code.
fn simple_call(handle: Handle, call: impl FnOnce(&Shared<Client<Platform>>) -> Result<(), Error>) -> c_int {
    match client(handle) {
        Ok(client) => call(&client).map_or_else(code, |()| WM_MQTT_CLIENT_ERROR_SUCCESS as c_int),
        Err(code) => code,
    }
}

/// Runs `call` on the client of a handle and a topic; a message id or an error code. NULL comes before everything else.
///
/// # Safety
/// `topic` is NULL or a NUL-terminated string.
unsafe fn topic_call(
    handle: Handle,
    topic: *const c_char,
    call: impl FnOnce(&Client<Platform>, &[u8]) -> Result<u16, Error>,
) -> c_int {
    if topic.is_null() {
        return WM_MQTT_CLIENT_ERROR_NULL_PARAMETER as c_int;
    }
    match client(handle) {
        // SAFETY: not NULL, so a NUL-terminated string.
        Ok(client) => call(&client, unsafe { CStr::from_ptr(topic) }.to_bytes()).map_or_else(code, c_int::from),
        Err(code) => code,
    }
}

/// Makes a client from a configuration. Does not connect.
///
/// @param config  copied as a whole; need not outlive the call
/// @return the handle, owned by the application until `wm_mqtt_client_deinit`; `WM_INVALID_HANDLE` when `config` or its
///         `uri` is NULL, the scheme is unknown, the client id is not UTF-8, `auth_mode` is not 0 to 3, or memory is out
///         (the log says which). Other mistakes of the configuration are reported by `wm_mqtt_client_connect`.
/// @note Blocking: never. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_init(config: *mut wm_mqtt_client_config_t) -> wm_mqtt_client_handle_t {
    init_log();
    // SAFETY: the caller's duty, as the header says.
    let config = match unsafe { super::config::from_c(config) } {
        Ok(config) => config,
        Err(error) => {
            error.log();
            return null_mut();
        }
    };
    let handle = || {
        let (block, alpn) = (Block::new()?, AlpnList::new(config.alpn.len())?);
        let client = hub_or_new()?.add(block.key(), config)?;
        Some(block.publish(&client, alpn))
    };
    handle().unwrap_or_else(|| {
        super::config::InitError::NoMemory.log();
        null_mut()
    })
}

/// Ends a client: disconnects it if it is connected (a DISCONNECTED event without data follows), ends every call that
/// waits on it, and frees it. The handle is invalid from the moment of the call.
///
/// Messages that wait for the event queue are dropped; with QoS 1 and 2 they were not acknowledged either. Other events
/// that wait are given up after 10 s at most. What is in the event queue already is delivered: its `client_handle` matches no
/// other client.
///
/// @param handle  the client
/// @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `_NULL_PARAMETER` for NULL; `_BAD_STRUCTURE` for a handle that is not, or no
///         longer, one of ours
/// @note Blocking: as wm_mqtt_client_disconnect. The last client takes the MQTT task with it. Tasks: any, event callbacks
///       too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_deinit(handle: wm_mqtt_client_handle_t) -> c_int {
    let Some(block) = NonNull::new(handle) else { return WM_MQTT_CLIENT_ERROR_NULL_PARAMETER as c_int };
    match hub().and_then(|hub| hub.remove(handle.addr())) {
        Some(()) => {
            Block::retire(block);
            WM_MQTT_CLIENT_ERROR_SUCCESS as c_int
        }
        None => WM_MQTT_CLIENT_ERROR_BAD_STRUCTURE as c_int,
    }
}

/// Connects to the broker, over TCP, TLS or WebSocket as the URI says, and waits for its answer. A CONNECTED event
/// follows. On a client that is connected already it does nothing; while another call connects it waits for that one's
/// result.
///
/// @param handle  the client
/// @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `WM_MQTT_CLIENT_CONNACK_...` when the broker refuses; `_NULL_PARAMETER`,
///         `_BAD_STRUCTURE`; `_BAD_UTF8_STRING` for user name, password or will topic; `_TOPICNAME_TRUNCATED` for the will
///         topic; `_BAD_QOS` for the will's QoS; `_0_LEN_WILL_TOPIC`; `_SSL_NOT_SUPPORTED` in builds without TLS;
///         `_DISCONNECTED` when deinit has begun before the attempt; `_FAILURE` for everything else: host not found, no
///         connection, certificates that are missing, of no use or refused, a TLS or WebSocket handshake that fails, no
///         answer within 30 s, or a disconnect, reconnect or deinit by another task. The log says which.
/// @note Blocking: up to 30 s, and before that up to 10 s for a disconnect that is under way. Tasks: any, event callbacks
///       too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_connect(handle: wm_mqtt_client_handle_t) -> c_int {
    simple_call(handle, Client::connect)
}

/// Disconnects from the broker, after what is in flight was acknowledged, and waits until the broker has received everything.
/// A DISCONNECTED event without data follows if the client was connected; otherwise nothing happens. A connect that is under
/// way ends at once with `_FAILURE`.
///
/// @param handle  the client
/// @return `WM_MQTT_CLIENT_ERROR_SUCCESS`; `_NULL_PARAMETER`, `_BAD_STRUCTURE`; `_FAILURE` when the broker has neither
///         acknowledged everything (TCP) nor closed within 10 s: messages may be lost, and the client is disconnected
/// @note Blocking: a round trip when nothing is in flight, up to 10 s otherwise. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_disconnect(handle: wm_mqtt_client_handle_t) -> c_int {
    simple_call(handle, |client| client.disconnect())
}

/// Forces a fresh connection: `wm_mqtt_client_disconnect`, then `wm_mqtt_client_connect`. A persistent session
/// (`clean_session` 0) keeps its state: it does not wait for what is in flight, but sends it again. Subscriptions of a
/// clean session are gone. Beside another reconnect that is on its way to a connection it waits for that one's result, and within 1 s
/// of a connection that another has made, and that still stands, it returns `WM_MQTT_CLIENT_ERROR_SUCCESS` and does nothing:
/// that connection is what it asks for.
///
/// @param handle  the client
/// @return as `wm_mqtt_client_connect`
/// @note Blocking: up to 40 s, usually a round trip or two. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_reconnect(handle: wm_mqtt_client_handle_t) -> c_int {
    simple_call(handle, Client::reconnect)
}

/// Subscribes to a topic filter and waits for the broker's SUBACK. Messages may arrive before it returns.
///
/// @param handle  the client, connected
/// @param topic   topic filter, NUL-terminated; only read during the call
/// @param qos     highest QoS wanted, 0 to 2; the broker may grant less
/// @return the packet identifier (above 0); `WM_MQTT_CLIENT_SUBSCRIBE_REFUSED` when the broker refuses;
///         `_NULL_PARAMETER`, `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`, `_TOPICNAME_TRUNCATED`; `_FAILURE` for
///         a malformed filter, no answer within 10 s (the connection stays) or no memory; `_BAD_QOS`; checked in this
///         order
/// @note Blocking: up to 10 s. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_subscribe(
    handle: wm_mqtt_client_handle_t,
    topic: *const c_char,
    qos: u8,
) -> c_int {
    // SAFETY: the caller's duty, as the header says.
    unsafe { topic_call(handle, topic, |client, filter| client.subscribe(filter, qos)) }
}

/// Unsubscribes from a topic filter and waits for the broker's UNSUBACK.
///
/// @param handle  the client, connected
/// @param topic   topic filter as it was subscribed to, NUL-terminated; only read during the call
/// @return the packet identifier (above 0); `_NULL_PARAMETER`, `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`,
///         `_TOPICNAME_TRUNCATED`; `_FAILURE` for a malformed filter, no answer within 10 s (the connection stays) or no
///         memory
/// @note Blocking: up to 10 s. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_unsubscribe(handle: wm_mqtt_client_handle_t, topic: *const c_char) -> c_int {
    // SAFETY: the caller's duty, as the header says.
    unsafe { topic_call(handle, topic, |client, filter| client.unsubscribe(filter)) }
}

/// `wm_mqtt_client_unsubscribe` under the name that the SDK's guide spells.
///
/// @param handle  as there
/// @param topic   as there
/// @return as there
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_unsubcribe(handle: wm_mqtt_client_handle_t, topic: *const c_char) -> c_int {
    // SAFETY: the caller's duty, as the header says.
    unsafe { wm_mqtt_client_unsubscribe(handle, topic) }
}

/// Publishes a message. It is copied and sent by the MQTT task; for QoS 1 and 2 a PUBLISHED event follows with the
/// message's identifier, when the broker has acknowledged it. That event may come before this call returns.
///
/// @param handle   the client, connected
/// @param topic    topic name, NUL-terminated; only read during the call
/// @param message  payload, only read during the call; NULL for an empty one, whatever `msg_len` says
/// @param msg_len  its length; 0: `message` is a string, its length counts
/// @param qos      0 to 2
/// @param retain   not 0: the broker keeps the message for later subscribers
/// @return the packet identifier (above 0), or 0 for QoS 0; `_NULL_PARAMETER` for a NULL handle or topic,
///         `_BAD_STRUCTURE`, `_DISCONNECTED`, `_BAD_UTF8_STRING`, `_TOPICNAME_TRUNCATED`; `_FAILURE` for an empty topic or
///         one with wildcards; `_BAD_QOS`; checked in this order. Then `_MAX_MESSAGES_INFLIGHT` when the window of
///         unacknowledged messages stayed full for 10 s, `_FAILURE` when the connection stayed congested for 10 s or
///         memory is out.
/// @note Blocking: not at all while there is room, else up to 10 s. Tasks: any, event callbacks too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_client_publish(
    handle: wm_mqtt_client_handle_t,
    topic: *const c_char,
    message: *const c_char,
    msg_len: u16,
    qos: u8,
    retain: u8,
) -> c_int {
    let call = |client: &Client<Platform>, topic: &[u8]| {
        let payload = match (message.is_null(), msg_len) {
            (true, _) => &[],
            // SAFETY: the caller's duty, as the header says: a string.
            (false, 0) => unsafe { CStr::from_ptr(message) }.to_bytes(),
            // SAFETY: likewise: `msg_len` bytes.
            (false, len) => unsafe { core::slice::from_raw_parts(message.cast(), len.into()) },
        };
        client.publish(topic, payload, qos, retain != 0)
    };
    // SAFETY: the caller's duty, as the header says.
    unsafe { topic_call(handle, topic, call) }
}
