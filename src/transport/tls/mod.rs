//! TLS 1.3 and 1.2 (RFC 8446, RFC 5246) by rustls: bytes in, bytes out, without std.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion};

use limits::Guard;
use need::Account;

use super::Layer;
#[cfg(doc)]
use super::Layers;
use crate::memory::{boxed, look_for};

mod certificate;
mod clock;
mod config;
mod decrypter;
mod error;
mod limits;
mod need;
mod pem;
mod provider;
mod tickets;
mod verifier;

pub use config::{Settings, TlsConfig};
pub use error::Error;
pub use limits::Excess;
pub use need::{BLOCK_HEADER, Held, Need};

/// What the input buffer begins with and shrinks back to. Larger records make it grow for as long as they come.
const INPUT: usize = 2048;
/// What rustls allocates for a received record beside its contents, a ticket with its secrets at the most.
const MARGIN: usize = 1024;
/// And for each of the server's certificates beside its bytes: its place in a list, and what the heap adds to a block.
const CERTIFICATE: usize = size_of::<CertificateDer<'_>>() + BLOCK_HEADER + 8;
/// What rustls allocates for an alert.
const ALERT: usize = 640;
/// Bytes of a record's header.
const HEADER: usize = 5;
/// Kinds of records (RFC 8446 section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// How the random of a ServerHello begins that wants the ClientHello again (RFC 8446 section 4.1.3).
const RETRY: &[u8] = &[0xcf, 0x21, 0xad, 0x74];

/// The client's side of a TLS connection.
pub struct Tls {
    /// On the heap: it has a kilobyte, and connections are moved from stage to stage.
    connection: Box<[UnbufferedClientConnection; 1]>,
    /// Sees what comes unencrypted.
    guard: Guard,
    /// The server's next records are encrypted.
    encrypted: bool,
    /// Received: the records of a handshake message that is not complete, and the beginning of one more record.
    input: Vec<u8>,
    /// Where that record begins.
    begin: usize,
    config: TlsConfig,
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
        let mut tls = Self {
            connection,
            guard: Guard::new(Account::behind_hello(0)),
            encrypted: false,
            input: Vec::new(),
            begin: 0,
            config: config.clone(),
            open: false,
            end: None,
        };
        let before = out.len();
        tls.process(None, out, &mut |_| {})?;
        if config.own() > 0 {
            tls.guard.account = Account::behind_hello(out.len() - before - HEADER);
        }
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

    /// How many bytes of heap [`connect`](Self::connect) may take at most. A session that takes more is not offered without
    /// memory for it.
    pub fn first_step(config: &TlsConfig) -> usize {
        need::CLIENT_HELLO + config.alpn()
    }

    /// Makes room for a step of the handshake: how much of `input` that is, up to the end of a record's header, or of a record;
    /// and how much of the heap [`receive`](Layers::receive) may take for it, beside what is put in reserve when the server's
    /// messages are known ([`Settings::more`]): what rustls and ring allocate, they do not ask whether it is there. Behind the
    /// handshake, where that is seen to, all of it and nothing.
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, Need), Error> {
        if self.open {
            return Ok((input.len(), Need::whole(0)));
        }
        let record = self.record();
        let end = self.begin + record.unwrap_or(HEADER);
        let step = input.len().min(end - self.input.len());
        let len = self.input.len() + step;
        // Before there is a reserve: behind that it would leave a gap.
        self.make_room(len, end)?;
        let need = if record.is_some() && len == end {
            // A server may want the ClientHello again.
            let again = if self.encrypted { 0 } else { self.config.alpn() };
            need::STEP + again + self.config.own() + self.chain() + 2 * self.config.remembered()
        } else {
            ALERT
        };
        Ok((step, Need::whole(need)))
    }

    /// Lets the input buffer have so many bytes: by record, and not before that is necessary.
    fn make_room(&mut self, len: usize, end: usize) -> Result<(), Error> {
        if len > self.input.capacity() {
            let room = if len <= INPUT { INPUT } else { end };
            self.input.try_reserve_exact(room - self.input.len()).map_err(|_| Error::NoMemory)?;
        }
        Ok(())
    }

    /// Whether there is memory for the record that has begun, with what comes out of it; looks for it once, before the buffer
    /// grows for a large one. Until there is, the rest can stay in the socket.
    pub fn has_memory(&mut self) -> bool {
        match self.record() {
            Some(record) if self.open && self.begin + record > self.input.capacity() => {
                let end = self.begin + record;
                look_for([end, record, self.chain() + MARGIN]).is_ok() && self.make_room(end, end).is_ok()
            }
            _ => true,
        }
    }

    /// Takes what is in the input buffer as far as it goes. `held` is for rustls, and not for what its contents take above.
    fn process(&mut self, mut held: Option<Held>, out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut done = 0;
        let mut failure = None;
        // A failure may have left an alert to send.
        while failure.is_none() || self.connection[0].wants_write() {
            let UnbufferedStatus { discard, state, .. } =
                self.connection[0].process_tls_records(&mut self.input[done..]);
            done += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(out, |_| Ok(()), |space| data.encode(space))?,
                // `out` leaves before anything that is appended later.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        done += record.discard;
                        drop(held.take());
                        up(record.payload);
                    }
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.open = true;
                    self.config.remember(self.chain());
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

    /// Takes bytes of the record that has begun: its header, or the rest of it.
    fn take<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<&'a [u8], Error> {
        let end = self.begin + self.record().unwrap_or(HEADER);
        let (input, rest) = input.split_at(input.len().min(end - self.input.len()));
        self.make_room(self.input.len() + input.len(), end)?;
        self.input.extend_from_slice(input);
        let len = self.input.len();
        let Some(end) = self.record().map(|record| self.begin + record) else {
            return self.process(None, out, up).map(|()| rest);
        };
        if end > len && len > self.begin + HEADER {
            return Ok(rest);
        }
        let held = self.hold(end == len)?;
        let checked = if end == len {
            let checked = self.check();
            // Those of TLS 1.3 come behind the handshake, and encrypted.
            self.config.expect_ticket(if self.open { len } else { self.guard.ticket.into() });
            checked
        } else {
            limits::check_record(end - self.begin, self.begin).map_err(Error::Excess)
        };
        if checked.is_err() {
            // Such a record is none: rustls ends the connection with the alert that says so.
            self.input[self.begin] = 0;
        }
        let before = out.len();
        let processed = self.process(held, out, up);
        // The copy of the handshake begins anew, with what the server has said and the ClientHello that has answered it.
        if self.config.own() > 0
            && out.len() > before
            && self.connection[0].handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
        {
            self.guard.account = Account::behind_hello(len + out.len() - before);
        }
        if end == len {
            self.begin = self.input.len();
        }
        checked.and(processed).map(|()| rest)
    }

    /// How long the record is that has begun, when that is known.
    fn record(&self) -> Option<usize> {
        match self.input[self.begin..] {
            [_, _, _, high, low, ..] => Some(HEADER + usize::from(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }

    /// Looks at a record that is complete, if it is not encrypted.
    fn check(&mut self) -> Result<(), Error> {
        let [kind, _, version, _, _, ref record @ ..] = self.input[self.begin..] else { return Ok(()) };
        match kind {
            CHANGE_CIPHER_SPEC if self.connection[0].protocol_version() == Some(ProtocolVersion::TLSv1_2) => {
                self.encrypted = true;
            }
            HANDSHAKE if !self.encrypted => {
                self.guard.check(record, version == 4).map_err(Error::Excess)?;
                // A server that wants the ClientHello again gets it with the session that was offered, and with its own
                // cookie, which is parsed and kept besides.
                let is_other = self.begin == 0 && record.get(6..10).is_some_and(|random| random != RETRY);
                let is_known = is_other || self.connection[0].protocol_version().is_some();
                let cookie = self.input.len().min(limits::SERVER_HELLO.into());
                let again = if is_known { 0 } else { need::TICKET_BYTE * (self.config.offered() + 2 * cookie) };
                if !self.guard.account.provide_before_keys() || !need::add(Need::whole(again)) {
                    return Err(Error::NoMemory);
                }
            }
            // In TLS 1.3 all that is encrypted looks like that.
            APPLICATION_DATA => self.encrypted = true,
            _ => {}
        }
        Ok(())
    }

    /// What a copy of the server's certificates takes.
    fn chain(&self) -> usize {
        let certificates = self.connection[0].peer_certificates().unwrap_or_default();
        certificates.iter().map(|certificate| certificate.len() + CERTIFICATE).sum()
    }

    /// Holds what rustls allocates for the record that has been received; what its tickets take is added when they are decrypted: they
    /// are kept with the server's certificates. Not in one block: between large messages the heap hardly has one that is longer than
    /// a record. For a header alone an alert, in case that it is none. The handshake is its owner's care.
    fn hold(&self, is_complete: bool) -> Result<Option<Held>, Error> {
        if !self.open {
            return Ok(None);
        }
        if !is_complete {
            return self.config.hold(Need::whole(ALERT)).map(Some);
        }
        need::set_beside_ticket(self.chain() + MARGIN);
        let least = [self.input.len(), MARGIN];
        let need = Need { bytes: least[0] + least[1], least };
        self.config.hold(need).map(Some)
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
        let mut rest = input;
        while !rest.is_empty() && self.end.is_none() {
            match self.take(rest, out, up) {
                Ok(behind) => rest = behind,
                Err(error) => self.end = Some(error),
            }
        }
        if self.input.is_empty() && self.input.capacity() > INPUT {
            self.input = Vec::new();
        }
        self.end.map_or(Ok(()), Err)
    }

    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(end) = self.end {
            return Err(end);
        }
        let config = &self.config;
        loop {
            let UnbufferedStatus { discard, state, .. } = self.connection[0].process_tls_records(&mut self.input);
            let sent = match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(out, |need| config.hold(need), |space| traffic.encrypt(data, space))?;
                    true
                }
                ConnectionState::EncodeTlsData(mut message) => {
                    append(out, |_| Ok(()), |space| message.encode(space))?;
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
        let config = &self.config;
        // Without memory for it the connection ends all the same. rustls allocates the alert before it says how long that is.
        let Ok(_held) = config.hold(Need::whole(ALERT)) else { return };
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.connection[0].process_tls_records(&mut self.input).state
        {
            let _ = append(out, |_| Ok(()), |space| traffic.queue_close_notify(space));
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

/// Appends to `out` what `write` writes: it says itself how much space it needs. Where it encrypts, it allocates as much for its
/// records, one at a time, which `hold` holds for it.
fn append<E: WriteError, H>(
    out: &mut Vec<u8>,
    hold: impl FnOnce(Need) -> Result<H, Error>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    let begin = out.len();
    let required = match write(&mut []) {
        Ok(_) => return Ok(()),
        Err(error) => error.required_size().ok_or(Error::Protocol("this session has sent all that it may"))?,
    };
    out.try_reserve(required).map_err(|_| Error::NoMemory)?;
    let _held = hold(Need::whole(required))?;
    out.resize(begin + required, 0);
    let written = write(&mut out[begin..]).unwrap_or(0);
    out.truncate(begin + written);
    Ok(())
}
