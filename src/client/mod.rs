//! One MQTT task for all handles; who may wait for what, and for how long.
//!
//! API calls ([`Client`]) lock one client's state briefly, leave bytes or a wish there and wake the task ([`Hub`] knows
//! it). The task (`engine`) owns sockets and the events that wait for the SDK's queue. No lock is held across I/O, an
//! event or a wait.
#![forbid(unsafe_code)]

mod backlog;
mod calls;
mod closing;
mod config;
mod connection;
mod connection_error;
mod dial;
mod engine;
mod error;
mod handle;
#[cfg_attr(not(feature = "tls"), path = "no_handshake.rs")]
mod handshake;
mod hub;
mod outstanding;
mod pipe;
mod receiver;
mod state;

pub use backlog::Notification;
pub use config::{AuthMode, Config, Text};
pub use error::Error;
pub use handle::Client;
pub use hub::{Events, Hub};
use state::Attempt;

use crate::time::Millis;

/// Longest connect, name lookup to CONNACK.
const CONNECT_TIMEOUT: Millis = 30_000;
/// Longest wait for SUBACK and UNSUBACK.
const ACKNOWLEDGE_TIMEOUT: Millis = 10_000;
/// Longest wait of a publish for room.
const ROOM_TIMEOUT: Millis = 10_000;
/// How much longer a call waits than the MQTT task lets it, behind its limit, and then from when the caller runs again: together
/// 2 s, only for a task that cannot run at all.
const TASK_TIMEOUTS: (Millis, Millis) = (500, 1500);
/// Longest wait of a disconnect or deinit for what is in flight, and for the server to receive it.
const DRAIN_TIMEOUT: Millis = 10_000;
/// How much of that is left for DISCONNECT and what is before it.
const END_TIMEOUT: Millis = 1000;
/// When another connection is wanted, an old one ends whose server was silent for so long.
const SILENCE: Millis = 1000;
/// How much longer the deinit of the last handle may wait for the task.
const TASK_END_TIMEOUT: Millis = 1000;
/// After DISCONNECT, how long the server may take to close, and the next connection waits for that.
const LINGER_TIMEOUT: Millis = 200;
