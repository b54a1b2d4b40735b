//! Why a connection or an attempt ended, for the log.

use crate::log::Say;
use crate::port::NetError;
use crate::protocol::{ConnectReturnCode, KeepAliveError, Violation};
use crate::transport::LayerError;

/// What is wrong with a connection.
pub(super) enum Trouble {
    NotFound,
    Unreachable,
    Exhausted,
    TimedOut,
    ClosedByServer,
    CutOff,
    HandshakeCutOff,
    HandshakeTimedOut,
    Early,
    Layer(LayerError),
    Broken(NetError),
    Violation(Violation),
    KeepAlive(KeepAliveError),
    NoMemory,
    Refused(ConnectReturnCode),
    Unwanted,
}

impl Trouble {
    /// What it means while TLS or WebSocket shakes hands.
    pub(super) fn in_handshake(self) -> Self {
        match self {
            Trouble::ClosedByServer | Trouble::CutOff | Trouble::Broken(NetError::Failed(_)) => {
                Trouble::HandshakeCutOff
            }
            Trouble::TimedOut => Trouble::HandshakeTimedOut,
            trouble => trouble,
        }
    }
}

impl Say for Trouble {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        // Without layers there is no handshake, and flash need not hold what is said of one.
        let layered = |text| if cfg!(any(feature = "tls", feature = "websocket")) { text } else { "" };
        out(match self {
            Trouble::NotFound => "host not found",
            Trouble::Unreachable => "no address of the host accepts connections",
            Trouble::Exhausted => "no free socket, file or thread, or no memory for one",
            Trouble::TimedOut => "no CONNACK within 30 s",
            Trouble::ClosedByServer => "closed by the server",
            Trouble::CutOff => layered("cut off by the server or on the way"),
            Trouble::HandshakeCutOff => {
                layered("ended by the server in the handshake: does it speak what the URI's scheme says on this port?")
            }
            Trouble::HandshakeTimedOut => layered("no end of the TLS or WebSocket handshake within 30 s"),
            Trouble::Early => layered("the server speaks before CONNECT"),
            Trouble::Layer(error) => return error.say(out),
            Trouble::KeepAlive(KeepAliveError::Silence) => "no answer to PINGREQ",
            Trouble::NoMemory | Trouble::KeepAlive(KeepAliveError::NoMemory) | Trouble::Broken(NetError::Exhausted) => {
                "out of memory"
            }
            // Who has called it off has nothing to learn from it.
            Trouble::Unwanted => return,
            Trouble::Violation(violation) => return ("protocol violation: ", *violation).say(out),
            Trouble::Broken(NetError::Failed(error)) => return ("network error ", *error).say(out),
            Trouble::Broken(NetError::WouldBlock) => "network stalled",
            Trouble::Refused(code) => return ("refused by the server, code ", u16::from(code.code())).say(out),
        })
    }
}
