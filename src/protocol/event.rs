//! What a session says: events, and the reasons of its refusals.

use super::decode::{Malformed, Receipt};
use super::packet::{ConnectReturnCode, QoS};
use crate::log::Say;
use crate::memory::OutOfMemory;

/// What the session tells its owner.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// CONNACK with return code 0.
    Connected {
        /// The server has kept our session (section 3.2.2.2); not in a clean session, whatever it says.
        session_present: bool,
    },
    /// CONNACK with another return code; the connection must be closed.
    Refused(ConnectReturnCode),
    /// An application message: [`Session::take_message`](super::Session::take_message) gives it. Call
    /// [`Session::accepted`](super::Session::accepted) with the receipt once it is in safe hands.
    Message(Receipt),
    /// A message is lost, since it is too large or there is no memory for it; call
    /// [`Session::accepted`](super::Session::accepted) when everything before it was, since acknowledgements keep the order
    /// of their messages.
    Skipped(Receipt),
    /// There is no memory for a message, and it is not acknowledged: the server sends it again on another connection, so
    /// this one should end soon.
    Missed,
    /// PUBACK or PUBCOMP for this packet identifier.
    Published(u16),
    /// SUBACK: the granted QoS, `None` when the server refuses the subscription, by 0x80 or any code above.
    Subscribed {
        /// Packet identifier of the SUBSCRIBE.
        id: u16,
        /// What the server granted.
        granted: Option<QoS>,
    },
    /// UNSUBACK for this packet identifier.
    Unsubscribed(u16),
}

/// The server broke the protocol, or there is no memory to go on: the connection must be closed `[MQTT-4.8.0-1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Not a packet.
    Malformed(Malformed),
    /// A packet before CONNACK, or a second CONNACK `[MQTT-3.2.0-1]`.
    Unexpected,
    /// An acknowledgement of a packet that has not left yet.
    EarlyAcknowledgement,
    /// No memory for an acknowledgement.
    NoMemory,
}

impl Say for Violation {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        out(match self {
            Violation::Malformed(Malformed::PacketType) => "unknown packet type",
            Violation::Malformed(Malformed::Flags) => "reserved flags",
            Violation::Malformed(Malformed::Length) => "wrong remaining length",
            Violation::Malformed(Malformed::QoS) => "QoS 3",
            Violation::Malformed(Malformed::PacketId) => "packet identifier 0",
            Violation::Malformed(Malformed::Topic) => "bad topic name",
            Violation::Malformed(Malformed::ReturnCode) => "reserved return code",
            Violation::Unexpected => "packet out of place",
            Violation::EarlyAcknowledgement => "early acknowledgement",
            Violation::NoMemory => "out of memory",
        })
    }
}

impl From<Malformed> for Violation {
    fn from(malformed: Malformed) -> Self {
        Violation::Malformed(malformed)
    }
}

impl From<OutOfMemory> for Violation {
    fn from(_: OutOfMemory) -> Self {
        Violation::NoMemory
    }
}

/// Why a connection must end when time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutError {
    /// The server answered nothing, not even a PINGREQ, for twice the keep-alive time.
    ServerSilent,
    /// No memory for a PINGREQ.
    NoMemory,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)] // whole words are moved in less flash than bytes beside others
pub enum PublishError {
    /// Not connected.
    NotConnected,
    /// [`Limits::window`](super::Limits::window) messages are unacknowledged.
    WindowFull,
    /// [`Limits::outgoing`](super::Limits::outgoing) bytes wait for the transport.
    Congested,
    /// Longer than a packet can be (section 2.2.3).
    TooLarge,
    /// No memory.
    NoMemory,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// Not connected.
    NotConnected,
    /// No memory.
    NoMemory,
}

impl From<OutOfMemory> for PublishError {
    fn from(_: OutOfMemory) -> Self {
        PublishError::NoMemory
    }
}

impl From<OutOfMemory> for SubscribeError {
    fn from(_: OutOfMemory) -> Self {
        SubscribeError::NoMemory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::differ;

    #[test]
    fn the_log_tells_violations_apart() {
        use Malformed::*;
        let malformed = [PacketType, Flags, Length, QoS, PacketId, Topic, ReturnCode].map(Violation::from);
        let others = [Violation::Unexpected, Violation::EarlyAcknowledgement, Violation::NoMemory];
        assert!(differ(&[&malformed[..], &others].concat()));
    }
}
