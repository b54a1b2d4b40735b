//! The one list of errors; `ffi` maps it to C codes.

use crate::log;
use crate::protocol::topic::TopicError;
use crate::protocol::{ConnectReturnCode, PublishError, SubscribeError};

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Everything that has no code of its own; the log says what.
    Failure,
    /// Not connected, or the connection or the handle ended while the call waited.
    Disconnected,
    /// The window of unacknowledged messages stayed full.
    MaxMessagesInFlight,
    /// A string is not UTF-8.
    BadUtf8String,
    /// A topic name or filter is longer than 65,535 bytes.
    TopicNameTruncated,
    /// A QoS above 2.
    BadQoS,
    /// The URI asks for TLS, and this build has none.
    TlsNotSupported,
    /// The will topic is empty.
    EmptyWillTopic,
    /// The server refused the connection.
    Refused(ConnectReturnCode),
    /// The server refused the subscription.
    SubscribeRefused,
}

impl Error {
    /// What comes before a connect has reached the MQTT task: a failure is for want of something, and the log says so.
    pub(super) fn before_the_task(self) -> Self {
        if self == Error::Failure {
            log::error(&[&"connect: no memory, file or thread for it"]);
        }
        self
    }
}

impl From<TopicError> for Error {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Utf8 => Error::BadUtf8String,
            TopicError::TooLong => Error::TopicNameTruncated,
            TopicError::Wildcard => Error::Failure,
        }
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotConnected => Error::Disconnected,
            PublishError::WindowFull => Error::MaxMessagesInFlight,
            PublishError::Congested | PublishError::TooLarge | PublishError::NoMemory => Error::Failure,
        }
    }
}

impl From<SubscribeError> for Error {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::NotConnected => Error::Disconnected,
            SubscribeError::NoMemory => Error::Failure,
        }
    }
}
