//! Why TLS failed, in words of the log.

use alloc::string::String;
use core::fmt;

use super::limits::Excess;
use crate::log::Say;
use crate::memory::OutOfMemory;
use crate::transport::Failure;
use rustls::{AlertDescription, CertificateError, PeerIncompatible, PeerMisbehaved};

/// Why a TLS connection did not come about or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The application's certificates, key or host are of no use.
    Setup(&'static str),
    /// The application's key is of this kind, which the library was built without.
    Lacking(&'static str),
    /// The server's certificate was refused.
    Certificate(&'static str),
    /// The server ended the connection with this alert (RFC 8446 section 6).
    Alert(u8),
    /// What the server sent is not right.
    Protocol(&'static str),
    /// What the server sent is more than it may.
    Excess(Excess),
    /// The server closed the connection in order (close_notify).
    Closed,
    /// Out of memory.
    NoMemory,
}

/// Alerts with a cause that whoever reads the log can mend.
static ALERTS: [(u8, &str); 17] = [
    (20, "bad_record_mac"),
    (40, "handshake_failure: nothing in common, or a client certificate is missing"),
    (42, "bad_certificate"),
    (43, "unsupported_certificate"),
    (44, "certificate_revoked"),
    (45, "certificate_expired"),
    (46, "certificate_unknown"),
    (48, "unknown_ca: the server does not know who issued our certificate"),
    (49, "access_denied"),
    (50, "decode_error"),
    (51, "decrypt_error"),
    (70, "protocol_version: it wants another version of TLS"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (112, "unrecognized_name"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
];

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
        matches!(self, Error::Closed)
    }
}

impl Say for Error {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        let (before, text) = match self {
            Error::Setup(text) => ("", *text),
            Error::Lacking(kind) => ("this library was built without what `key` needs: ", *kind),
            Error::Certificate(text) => ("server certificate refused: ", *text),
            Error::Alert(code) => match ALERTS.iter().find(|(known, _)| known == code) {
                Some((_, name)) => ("TLS alert by the server: ", *name),
                None => return ("TLS alert ", (u16::from(*code), " by the server")).say(out),
            },
            Error::Excess(excess) => return excess.say(out),
            Error::Protocol(text) => ("TLS: ", *text),
            Error::Closed => ("", "closed by the server"),
            Error::NoMemory => ("", "out of memory"),
        };
        out(before);
        out(text);
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::log::fmt(self, f)
    }
}

/// As a verifier hands it to rustls, which hands it back: there is no memory for anything.
impl From<Error> for rustls::Error {
    fn from(_: Error) -> Self {
        rustls::Error::General(String::new())
    }
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error as E;
        Error::Protocol(match error {
            E::InvalidCertificate(error) => return Error::Certificate(certificate_error(&error)),
            E::AlertReceived(AlertDescription::CloseNotify) => return Error::Closed,
            E::AlertReceived(alert) => return Error::Alert(alert.into()),
            E::InvalidMessage(error) => match Excess::from_rustls(&error) {
                Some(excess) => return Error::Excess(excess),
                None => "the server does not speak TLS, or sends broken messages",
            },
            E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => "message out of place",
            E::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => "no version of TLS in common with the server",
            E::PeerIncompatible(_) => "no cipher suite or key exchange in common with the server",
            E::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm) => {
                "a server with this kind of key must speak TLS 1.3"
            }
            E::PeerMisbehaved(_) => "the server breaks the protocol",
            E::DecryptError => "a record was tampered with or damaged",
            E::PeerSentOversizedRecord => "a record is too large",
            E::NoCertificatesPresented => "the server has no certificate",
            E::NoApplicationProtocol => "no application protocol (ALPN) in common with the server",
            E::FailedToGetRandomBytes => "no random numbers",
            E::FailedToGetCurrentTime => "no time of day",
            E::General(text) if text.is_empty() => return Error::NoMemory,
            _ => "failed",
        })
    }
}

/// What is wrong with a server's certificate.
fn certificate_error(error: &CertificateError) -> &'static str {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => "expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "not valid yet",
        E::UnknownIssuer => "unknown issuer (is an intermediate certificate missing, or is it another CA?)",
        E::NotValidForName | E::NotValidForNameContext { .. } => "issued for another host name",
        E::BadSignature => "its signature does not fit its issuer (another key, or RSA below 2048 bits)",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "not issued for servers",
        E::UnhandledCriticalExtension => "an unknown critical extension",
        E::BadEncoding => "malformed, or of X.509 version 1",
        E::ApplicationVerificationFailure => "its issuer had no right to issue it",
        E::ExpiredRevocationList => "marked as a CA (CA:TRUE), and not in `ca` itself",
        E::UnknownRevocationStatus => "too many intermediates, authorities of one name or name constraints to try",
        _ => "of a kind that is not supported",
    }
}
