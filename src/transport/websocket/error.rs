//! Why a WebSocket connection failed, for the log.

use core::fmt;

use crate::log::Say;
use crate::memory::OutOfMemory;
use crate::transport::Failure;

/// Why there is no WebSocket connection, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server answered the upgrade with this HTTP status instead of 101. Redirects are not followed.
    Status(u16),
    /// The server's answer to the upgrade cannot be read.
    Answer(&'static str),
    /// The server answered with status 101, but this header field is missing or not as RFC 6455 section 4.1 demands.
    Field(&'static str),
    /// The head of the HTTP answer is longer than 8 KB.
    HeadTooLong,
    /// The server broke the rules of RFC 6455, or sent what MQTT does not allow `[MQTT-6.0.0-1]`.
    Protocol(&'static str),
    /// The server sent a close frame, with this code if any. A code that no frame may carry counts as 1002.
    Closed(Option<u16>),
    /// Sent before the server accepted the upgrade, or after the end.
    NotOpen,
    /// No memory for the HTTP head or a frame.
    NoMemory,
    /// No randomness for the key or a mask.
    NoRandom,
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Error::NoMemory
    }
}

impl Failure for Error {
    fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::NoMemory)
    }

    fn is_orderly(&self) -> bool {
        matches!(self, Error::Closed(_))
    }
}

impl Say for Error {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        let (text, number, detail) = match *self {
            Error::Status(status @ 300..=399) => (HTTP_STATUS, Some(status), "; redirects are not followed"),
            Error::Status(status) => (HTTP_STATUS, Some(status), ""),
            Error::Answer(reason) => ("bad answer: ", None, reason),
            Error::Field(name) => ("missing or wrong in the answer: ", None, name),
            Error::HeadTooLong => ("HTTP head over 8 KB", None, ""),
            Error::Protocol(reason) => ("the server sent ", None, reason),
            Error::Closed(Some(code)) => ("closed by the server with code ", Some(code), ""),
            Error::Closed(None) => ("closed by the server", None, ""),
            Error::NotOpen => ("not open", None, ""),
            Error::NoMemory => ("no memory", None, ""),
            Error::NoRandom => ("no randomness", None, ""),
        };
        out("WebSocket: ");
        out(text);
        if let Some(number) = number {
            number.say(out);
        }
        out(detail);
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::log::fmt(self, f)
    }
}

const HTTP_STATUS: &str = "HTTP status ";
