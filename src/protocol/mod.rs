//! MQTT 3.1.1 without I/O: bytes and instants in; bytes, events and deadlines out.
//!
//! [`Session`] is the contract. Nothing here knows a socket, a clock, a thread or a lock, and the same inputs always
//! give the same outputs. Section numbers and `[MQTT-x.y.z-n]` are those of the OASIS standard, MQTT 3.1.1.
#![forbid(unsafe_code)]

mod decode;
mod event;
mod in_flight;
mod keep_alive;
mod missed;
mod outbox;
mod packet;
mod received;
mod session;
pub mod topic;
mod warnings;

pub use decode::{Buffer, Malformed, Message, Receipt};
pub use event::{Event, PublishError, SubscribeError, TimeoutError, Violation};
pub use packet::{Connect, ConnectReturnCode, QoS, Will};
pub use session::{Limits, Session};
