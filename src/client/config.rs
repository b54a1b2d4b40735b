//! A handle's configuration: copied at init, checked at connect (contract section 3).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::Deref;

use zeroize::Zeroize;

use super::Error;
use crate::log;
use crate::port::{Parts, text};
use crate::protocol::topic::{check_name, is_utf8_string};
use crate::protocol::{Connect, QoS, Will};
use crate::transport::uri::{Uri, UriError};

/// A C string of our own: bytes without a NUL, and one behind them. It may be a secret, so it is wiped in the end.
pub struct Text(Cow<'static, [u8]>);

impl Text {
    /// Copies `text`, which has no NUL in it; `None` when there is no memory.
    pub fn copy(text: &[u8]) -> Option<Self> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(text.len() + 1).ok()?;
        copy.extend_from_slice(text);
        // In 40 bytes of flash less than with `Vec::push`.
        copy.extend_from_slice(&[0]);
        Some(Self(Cow::Owned(copy)))
    }

    /// A text that is part of the program.
    pub fn built_in(text: &'static CStr) -> Self {
        Self(Cow::Borrowed(text.to_bytes_with_nul()))
    }

    /// With the NUL.
    pub fn as_bytes_with_nul(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[..self.0.len() - 1]
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if let Cow::Owned(bytes) = &mut self.0 {
            bytes.zeroize();
        }
    }
}

/// Who proves in TLS who they are (contract section 3, `auth_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMode {
    /// The server, by a certificate that is verified.
    pub verify: bool,
    /// The client, by a certificate of its own.
    pub present: bool,
}

impl AuthMode {
    /// The mode of this number.
    pub fn from_number(number: u32) -> Option<Self> {
        (number <= 3).then_some(Self { verify: number & 1 != 0, present: number & 2 != 0 })
    }
}

/// What the application configured. Secrets are in here: it is never formatted.
pub struct Config {
    /// Broker.
    pub uri: Text,
    /// Client identifier.
    pub client_id: Text,
    /// User name.
    pub username: Option<Text>,
    /// Password; ignored without a user name.
    pub password: Option<Text>,
    /// Who proves in TLS who they are.
    pub auth_mode: AuthMode,
    /// Trusted certificates, PEM; `None` for the authorities that are built in.
    #[cfg(feature = "tls")]
    pub ca: Option<Text>,
    /// Client certificate chain, PEM.
    #[cfg(feature = "tls")]
    pub cert: Option<Text>,
    /// Client key, PEM.
    #[cfg(feature = "tls")]
    pub key: Option<Text>,
    /// Application protocols to offer in TLS.
    pub alpn: Vec<Text>,
    /// Topic of the will; no will without it.
    pub will_topic: Option<Text>,
    /// Message of the will, `None` for an empty one.
    pub will_message: Option<Text>,
    /// QoS of the will, checked at connect.
    pub will_qos: u8,
    /// Whether the will is retained.
    pub will_retain: bool,
    /// Seconds, never 0.
    pub keep_alive: u16,
    /// No session state beyond a connection.
    pub clean_session: bool,
    /// Log each packet.
    pub debug: bool,
}

impl Config {
    /// The broker's address.
    pub(super) fn broker(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(text(&self.uri).ok_or(UriError::BadHost)?)
    }

    fn will(&self) -> Result<Option<Will<'_>>, Error> {
        let Some(topic) = self.will_topic.as_deref() else { return Ok(None) };
        if topic.is_empty() {
            return Err(Error::EmptyWillTopic);
        }
        check_name(topic)?;
        let qos = QoS::from_level(self.will_qos).ok_or(Error::BadQoS)?;
        let message = self.will_message.as_deref().unwrap_or_default();
        Ok(Some(Will { topic, message, qos, retain: self.will_retain }))
    }

    /// The CONNECT packet, or the reason why there can be none.
    pub(super) fn connect(&self) -> Result<Connect<'_>, Error> {
        let username = self.username.as_deref();
        let password = username.and(self.password.as_deref());
        // [MQTT-3.1.3-11]; the contract wants a UTF-8 password too, although the specification allows any bytes
        if !(username.is_none_or(is_utf8_string) && password.is_none_or(is_utf8_string)) {
            return Err(Error::BadUtf8String);
        }
        let connect = Connect {
            client_id: &self.client_id,
            clean_session: self.clean_session,
            keep_alive: self.keep_alive,
            will: self.will()?,
            username,
            password,
        };
        if connect.is_well_formed() { Ok(connect) } else { Err(Error::Failure) }
    }

    /// Everything that can be said about a connection before it begins.
    pub(super) fn check(&self, parts: Parts) -> Result<(), Error> {
        if let Err(error) = self.connect() {
            log::error(&[&"MQTT allows no such user name, password, will or client id"]);
            return Err(error);
        }
        let broker = self.broker().map_err(|error| {
            log::error(&[&error]);
            Error::Failure
        })?;
        let (part, error) = if broker.scheme.tls && !parts.tls {
            ("TLS", Error::TlsNotSupported)
        } else if broker.scheme.websocket && !cfg!(feature = "websocket") {
            ("WebSocket", Error::Failure)
        } else {
            return Ok(());
        };
        log::error(&[&broker.scheme.name, &":// needs ", &part, &", which this build does not have"]);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let mode = |verify, present| Some(AuthMode { verify, present });
        let all = [mode(false, false), mode(true, false), mode(false, true), mode(true, true), None];
        assert_eq!([0, 1, 2, 3, 4].map(AuthMode::from_number), all);
    }

    #[test]
    fn texts_have_a_nul_behind_them() {
        let text = Text::copy(b"ab").expect("memory");
        assert!(matches!(&text.0, Cow::Owned(bytes) if bytes.capacity() == 3), "it has grown, and did not ask");
        assert_eq!((&text[..], text.as_bytes_with_nul()), (&b"ab"[..], &b"ab\0"[..]));
        assert_eq!(Text::copy(b"").expect("memory").as_bytes_with_nul(), b"\0");
    }
}
