//! Why a connection or an attempt ended, for the log.

use core::fmt;

use crate::port::NetError;
use crate::protocol::{ConnectReturnCode, Violation};

/// What is wrong with a connection.
pub(super) enum Trouble {
    NotFound,
    Unreachable,
    TimedOut,
    ClosedByServer,
    Broken(NetError),
    Violation(Violation),
    NoPingResponse,
    NoMemory,
    Refused(ConnectReturnCode),
    Unwanted,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::NotFound => "host not found",
            Trouble::Unreachable => "no address of the host accepts connections",
            Trouble::TimedOut => "no CONNACK within 30 s",
            Trouble::ClosedByServer => "closed by the server",
            Trouble::NoPingResponse => "no answer to PINGREQ",
            Trouble::NoMemory => "out of memory",
            Trouble::Unwanted => "nobody wants it any more",
            Trouble::Violation(violation) => return write!(f, "protocol violation: {violation}"),
            Trouble::Broken(NetError::Failed(error)) => return write!(f, "network error {error}"),
            Trouble::Broken(NetError::WouldBlock) => "network stalled",
            Trouble::Refused(code) => return write!(f, "refused by the server, code {}", code.code()),
        })
    }
}
