//! TLS 1.3 and 1.2 (RFC 8446, RFC 5246) by rustls: bytes in, bytes out, without std.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion};

use super::{Layer, find_free};

mod certificate;
mod clock;
mod config;
mod error;
mod pem;
mod provider;
mod tickets;
mod verifier;

pub use config::{Settings, TlsConfig};
pub use error::Error;

/// What the input buffer begins with and shrinks back to. Larger records make it grow for as long as they come.
const INPUT: usize = 2048;
/// What rustls allocates for a received record beside its contents, a ticket with its secrets at the most.
const MARGIN: usize = 1024;
/// Bytes of a record's header.
const HEADER: usize = 5;

/// The client's side of a TLS connection.
pub struct Tls {
    /// On the heap: it has a kilobyte, and connections are moved from stage to stage.
    connection: Box<[UnbufferedClientConnection; 1]>,
    /// Received, and not a whole record yet.
    input: Vec<u8>,
    open: bool,
    /// What has ended it: behind that rustls must not be asked again about the same input.
    end: Option<Error>,
}

impl Tls {
    /// Begins a handshake with the server of this name: the ClientHello is appended to `out`. SNI names the host unless
    /// it is an IP address (RFC 6066 section 3).
    pub fn connect(config: &TlsConfig, host: &str, out: &mut Vec<u8>) -> Result<Self, Error> {
        let name = match ServerName::try_from(host) {
            Ok(name) => name.to_owned(),
            // Who does not verify may connect to whatever name resolves; an address keeps SNI out.
            Err(_) if !config.verifies() => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
            Err(_) => return Err(Error::Setup("the host is no valid name for a certificate")),
        };
        let connection = boxed(UnbufferedClientConnection::new(config.client_config(), name)?)?;
        let mut tls = Self { connection, input: Vec::new(), open: false, end: None };
        tls.process(out, &mut |_| {})?;
        Ok(tls)
    }

    /// For the log: version, and whether an earlier session was resumed.
    pub fn description(&self) -> (&'static str, &'static str) {
        let version = match self.connection[0].protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        let kind = match self.connection[0].handshake_kind() {
            Some(HandshakeKind::Resumed) => "session resumed",
            _ => "new session",
        };
        (version, kind)
    }

    /// Takes what is in the input buffer as far as it goes.
    fn process(&mut self, out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut done = 0;
        let mut failure = None;
        // A failure may have left an alert to send.
        while failure.is_none() || self.connection[0].wants_write() {
            let UnbufferedStatus { discard, state, .. } =
                self.connection[0].process_tls_records(&mut self.input[done..]);
            done += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(out, |space| data.encode(space))?,
                // `out` leaves before anything that is appended later.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        done += record.discard;
                        up(record.payload);
                    }
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.open = true;
                    break;
                }
                Ok(ConnectionState::BlockedHandshake) => break,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => failure = Some(Error::Closed),
                Ok(_) => failure = Some(Error::Protocol("unexpected state")),
                Err(error) => failure = Some(error.into()),
            }
        }
        self.input.drain(..done);
        failure.map_or(Ok(()), Err)
    }

    /// Makes room for `more` bytes, and for the rest of the record that has begun.
    fn reserve(&mut self, more: usize) -> Result<(), Error> {
        let record = match self.input[..] {
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        let wanted = (self.input.len() + more).max(record).max(INPUT);
        self.input.try_reserve_exact(wanted - self.input.len()).map_err(|_| Error::NoMemory)
    }

    /// Whether there is memory for what has been received: its contents, or a ticket, kept with the server's certificates.
    /// Not in one block: between large messages the heap hardly has one that is longer than a record. The handshake is its
    /// owner's care.
    fn check_memory(&self) -> Result<(), Error> {
        if !self.open {
            return Ok(());
        }
        let chain = self.connection[0].peer_certificates().unwrap_or_default().iter().map(|c| c.len()).sum::<usize>();
        free([self.input.len(), chain + MARGIN])
    }
}

impl Layer for Tls {
    type Error = Error;

    fn is_open(&self) -> bool {
        self.open
    }

    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if let Some(end) = self.end {
            return Err(end);
        }
        self.reserve(input.len())?;
        self.input.extend_from_slice(input);
        let result = self.check_memory().and_then(|()| self.process(out, up));
        self.end = result.err();
        if self.input.is_empty() && self.input.capacity() > INPUT {
            self.input = Vec::new();
        }
        result
    }

    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(end) = self.end {
            return Err(end);
        }
        loop {
            let UnbufferedStatus { discard, state, .. } = self.connection[0].process_tls_records(&mut self.input);
            let sent = match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(out, |space| traffic.encrypt(data, space))?;
                    true
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    append(out, |space| message.encode(space))?;
                    false
                }
                ConnectionState::TransmitTlsData(message) => {
                    message.done();
                    false
                }
                _ => return Err(Error::Protocol("not ready to send")),
            };
            self.input.drain(..discard);
            if sent {
                return Ok(());
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.end.is_some() {
            return;
        }
        // Without memory for it the connection ends all the same.
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection[0].process_tls_records(&mut self.input).state
        {
            let _ = append(out, |space| traffic.queue_close_notify(space));
        }
    }
}

/// Why rustls wrote nothing.
trait WriteError {
    /// The space that it needs.
    fn required_size(&self) -> Option<usize>;
}

impl WriteError for EncodeError {
    fn required_size(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size, .. }) => Some(*required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl WriteError for EncryptError {
    fn required_size(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size, .. }) => Some(*required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}

fn free<const N: usize>(sizes: [usize; N]) -> Result<(), Error> {
    if find_free(sizes) { Ok(()) } else { Err(Error::NoMemory) }
}

/// What `Box::new` does, if there is memory for it.
fn boxed<T>(value: T) -> Result<Box<[T; 1]>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(1).map_err(|_| Error::NoMemory)?;
    list.push(value);
    list.try_into().map_err(|_| Error::NoMemory)
}

/// Appends to `out` what `write` writes: it says itself how much space it needs.
fn append<E: WriteError>(out: &mut Vec<u8>, mut write: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<(), Error> {
    let begin = out.len();
    let required = match write(&mut []) {
        Ok(_) => return Ok(()),
        Err(error) => error.required_size().ok_or(Error::Protocol("this session has sent all that it may"))?,
    };
    out.try_reserve(required).map_err(|_| Error::NoMemory)?;
    // For its records, one at a time.
    free([required])?;
    out.resize(begin + required, 0);
    let written = write(&mut out[begin..]).unwrap_or(0);
    out.truncate(begin + written);
    Ok(())
}
