//! Why a connection or an attempt ended, for the log.

use crate::log::Say;
use crate::port::NetFailure;
use crate::protocol::{ConnectReturnCode, TimeoutError, Violation};
use crate::transport::LayerError;

/// Why a connection or an attempt ended.
pub(super) enum ConnectionError {
    HostNotFound,
    Unreachable,
    /// No socket, file or thread is free.
    NoResources,
    TimedOut,
    ClosedByServer,
    /// The stream under TLS or WebSocket ended, and they did not.
    UnexpectedEnd,
    /// The stream ended or broke while TLS or WebSocket was shaking hands.
    EndInHandshake,
    HandshakeTimedOut,
    DataBeforeConnect,
    Layer(LayerError),
    Network(NetFailure),
    Violation(Violation),
    KeepAliveTimedOut,
    NoMemory,
    Refused(ConnectReturnCode),
    BadUri,
    /// The application does not want it any more.
    Cancelled,
}

impl ConnectionError {
    /// What it is while TLS or WebSocket shakes hands.
    pub(super) fn in_handshake(self) -> Self {
        match self {
            ConnectionError::ClosedByServer
            | ConnectionError::UnexpectedEnd
            | ConnectionError::Network(NetFailure::Broken(_)) => ConnectionError::EndInHandshake,
            ConnectionError::TimedOut => ConnectionError::HandshakeTimedOut,
            error => error,
        }
    }
}

impl From<LayerError> for ConnectionError {
    fn from(error: LayerError) -> Self {
        if error.is_out_of_memory() { ConnectionError::NoMemory } else { ConnectionError::Layer(error) }
    }
}

impl From<Violation> for ConnectionError {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::NoMemory => ConnectionError::NoMemory,
            violation => ConnectionError::Violation(violation),
        }
    }
}

impl From<TimeoutError> for ConnectionError {
    fn from(error: TimeoutError) -> Self {
        match error {
            TimeoutError::ServerSilent => ConnectionError::KeepAliveTimedOut,
            TimeoutError::NoMemory => ConnectionError::NoMemory,
        }
    }
}

impl Say for ConnectionError {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        // Without layers there is no handshake, and flash need not hold what is said of one.
        let layered = |text| if cfg!(any(feature = "tls", feature = "websocket")) { text } else { "" };
        out(match self {
            ConnectionError::HostNotFound => "host not found",
            ConnectionError::Unreachable => "no address of the host accepts connections",
            ConnectionError::NoResources => "no free socket, file or thread, or no memory for one",
            ConnectionError::TimedOut => "no CONNACK within 30 s",
            ConnectionError::ClosedByServer => "closed by the server",
            ConnectionError::UnexpectedEnd => layered("cut off by the server or on the way"),
            ConnectionError::EndInHandshake => {
                layered("ended by the server in the handshake: does it speak what the URI's scheme says on this port?")
            }
            ConnectionError::HandshakeTimedOut => layered("no end of the TLS or WebSocket handshake within 30 s"),
            ConnectionError::DataBeforeConnect => layered("the server speaks before CONNECT"),
            ConnectionError::Layer(error) => return error.say(out),
            ConnectionError::KeepAliveTimedOut => "no answer to PINGREQ",
            ConnectionError::NoMemory | ConnectionError::Network(NetFailure::Exhausted) => "out of memory",
            ConnectionError::Violation(violation) => return ("protocol violation: ", *violation).say(out),
            ConnectionError::Network(NetFailure::Broken(error)) => return ("network error ", *error).say(out),
            ConnectionError::Refused(code) => return ("refused by the server, code ", u16::from(code.code())).say(out),
            ConnectionError::BadUri => "bad URI",
            // The application has cancelled it and knows why.
            ConnectionError::Cancelled => return,
        })
    }
}
