//! One connection: records in and out, and the messages of the handshake that both versions share.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{iter, thread};

use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Result;
use super::keys::{self, APPLICATION_DATA, Cipher};

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
/// The largest fragment that a record may hold.
pub const FRAGMENT: usize = 1 << 14;
/// About how much a flood gives to the socket at once.
const AT_ONCE: usize = 8 << 10;

/// Whose certificate is shown: one with a P-256 key.
pub struct Identity {
    pub chain: Vec<Vec<u8>>,
    key: EcdsaKeyPair,
}

impl Identity {
    pub fn new(chain: &Path, key: &Path) -> std::result::Result<Self, String> {
        let bad = |error: &dyn std::fmt::Display| format!("{} and {}: {error}", chain.display(), key.display());
        let certificates =
            CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
        let pkcs8 = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.secret_der(), &SystemRandom::new());
        Ok(Identity {
            chain: certificates.map_err(|error| bad(&error))?.iter().map(|one| one.to_vec()).collect(),
            key: pair.map_err(|error| bad(&error))?,
        })
    }

    /// Makes the chain so long at least, with its last certificate.
    pub fn repeat_up_to(&mut self, count: usize) {
        while let Some(last) = self.chain.last().filter(|_| self.chain.len() < count) {
            self.chain.push(last.clone());
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(&SystemRandom::new(), message).expect("randomness").as_ref().to_vec()
    }
}

/// What the server takes from the ClientHello.
#[derive(Default)]
pub struct Hello {
    pub random: Vec<u8>,
    pub session_id: Vec<u8>,
    pub share: Vec<u8>,
}

pub struct Peer {
    socket: TcpStream,
    pub identity: Arc<Identity>,
    pub hello: Hello,
    /// All messages of the handshake so far.
    pub transcript: Vec<u8>,
    pub seal: Option<Cipher>,
    pub open: Option<Cipher>,
    /// Of TLS 1.3: the secret of what we send.
    pub secret: Vec<u8>,
    /// The secret of the key exchange, and our half of it.
    own_key: Option<EphemeralPrivateKey>,
    pub own_share: Vec<u8>,
    /// Writes have this size at most.
    pub piece: usize,
    /// Bytes of a fragment at most.
    pub fragment: usize,
    /// So many names of authorities come with the wish for a certificate; none: no wish.
    pub names: usize,
    /// Frames carry what is above.
    pub websocket: bool,
    /// Of WebSocket: received, and not a whole frame yet.
    pub received: Vec<u8>,
    /// Of MQTT, received.
    pub payload: VecDeque<u8>,
}

impl Peer {
    pub fn new(socket: TcpStream, identity: Arc<Identity>) -> Result<Self> {
        socket.set_nodelay(true)?;
        sockopt::set_socket_send_buffer_size(&socket, 64 << 10)?;
        let own_key = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).expect("randomness");
        let own_share = own_key.compute_public_key().expect("a key").as_ref().to_vec();
        Ok(Peer {
            socket,
            identity,
            hello: Hello::default(),
            transcript: Vec::new(),
            seal: None,
            open: None,
            secret: Vec::new(),
            own_key: Some(own_key),
            own_share,
            piece: usize::MAX,
            fragment: FRAGMENT,
            names: 0,
            websocket: false,
            received: Vec::new(),
            payload: VecDeque::new(),
        })
    }

    // ---- bytes ----

    pub fn write(&mut self, bytes: &[u8]) -> Result {
        bytes.chunks(self.piece.min(bytes.len()).max(1)).try_for_each(|piece| self.socket.write_all(piece))
    }

    pub fn read(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.socket.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn read_some(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        match self.socket.read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => Ok(bytes[..len].to_vec()),
        }
    }

    // ---- ends ----

    /// Says nothing more, until the client goes.
    pub fn silence(&mut self) -> Result {
        while !matches!(self.socket.read(&mut [0; 4096])?, 0) {}
        Ok(())
    }

    /// Says no more, by FIN.
    pub fn close(&mut self) -> Result {
        self.socket.shutdown(Shutdown::Write)?;
        self.silence()
    }

    /// RST.
    pub fn reset(&mut self) -> Result {
        Ok(sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?)
    }

    /// Sends what `make` makes for ever, and takes whatever the client says to that.
    pub fn flood(&mut self, mut make: impl FnMut(&mut Self) -> Vec<u8>) -> Result {
        let mut reader = self.socket.try_clone()?;
        thread::spawn(move || while !matches!(reader.read(&mut [0; 4096]), Ok(0) | Err(_)) {});
        loop {
            let mut bytes = Vec::new();
            while bytes.len() < AT_ONCE {
                bytes.extend(make(self));
            }
            self.write(&bytes)?;
        }
    }

    // ---- records ----

    /// A record, sealed as soon as there are keys.
    pub fn sealed(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        match &mut self.seal {
            Some(cipher) => cipher.seal(kind, payload),
            None => keys::record(kind, payload),
        }
    }

    pub fn record(&mut self, kind: u8, payload: &[u8]) -> Result {
        let bytes = self.sealed(kind, payload);
        self.write(&bytes)
    }

    /// In the clear, whatever keys there are.
    pub fn plain(&mut self, kind: u8, payload: &[u8]) -> Result {
        self.write(&keys::record(kind, payload))
    }

    pub fn alert(&mut self, level: u8, description: u8) -> Result {
        self.record(ALERT, &[level, description])
    }

    /// In as many records as it takes.
    pub fn fragments(&mut self, kind: u8, payload: &[u8]) -> Result {
        payload.chunks(self.fragment).try_for_each(|fragment| self.record(kind, fragment))
    }

    /// The client's next record that is not for middleboxes: its type and what it holds.
    pub fn next_record(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            let header = self.read(5)?;
            let body = self.read(usize::from(u16::from_be_bytes([header[3], header[4]])))?;
            match &mut self.open {
                None => return Ok((header[0], body)),
                Some(_) if header[0] == CHANGE_CIPHER_SPEC => {}
                Some(cipher) => return cipher.open(header[0], body).ok_or(ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Bytes for the protocol above TLS, if there is TLS.
    pub fn send(&mut self, bytes: &[u8]) -> Result {
        if self.seal.is_some() { self.fragments(APPLICATION_DATA, bytes) } else { self.write(bytes) }
    }

    pub fn receive(&mut self) -> Result<Vec<u8>> {
        if self.open.is_none() {
            return self.read_some();
        }
        loop {
            match self.next_record()? {
                (APPLICATION_DATA, payload) => return Ok(payload),
                (ALERT, _) => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    // ---- the handshake ----

    /// Reads the ClientHello.
    pub fn hello(&mut self) -> Result {
        let (HANDSHAKE, message) = self.next_record()? else { return Err(io::Error::other("no handshake")) };
        self.hello = parse(&message).ok_or(io::Error::other("no ClientHello"))?;
        self.transcript.extend(message);
        Ok(())
    }

    /// A message of the handshake.
    pub fn say(&mut self, kind: u8, body: &[u8]) -> Result {
        let bytes = message(kind, body);
        self.transcript.extend_from_slice(&bytes);
        self.fragments(HANDSHAKE, &bytes)
    }

    /// What both have agreed upon.
    pub fn agree(&mut self) -> Result<Vec<u8>> {
        let own = self.own_key.take().ok_or(io::Error::other("agreed already"))?;
        agreement::agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, &self.hello.share), <[u8]>::to_vec)
            .map_err(|_| io::Error::other("no share for X25519"))
    }
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector24(body)].concat()
}

pub fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

pub fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

pub fn vector24(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat()
}

pub fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(body)].concat()
}

fn parse(message: &[u8]) -> Option<Hello> {
    let mut rest = message.get(6..)?; // type, length, version
    let mut take = |len: usize| {
        let (taken, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(taken)
    };
    let mut hello = Hello { random: take(32)?.to_vec(), ..Hello::default() };
    let len = usize::from(take(1)?[0]);
    hello.session_id = take(len)?.to_vec();
    let len = number(take(2)?);
    take(len)?;
    let len = usize::from(take(1)?[0]);
    take(len)?;
    let len = number(take(2)?);
    let mut extensions = take(len)?;
    let each = iter::from_fn(|| {
        let (head, after) = extensions.split_at_checked(4)?;
        let (body, after) = after.split_at_checked(number(&head[2..]))?;
        extensions = after;
        Some((number(&head[..2]), body))
    });
    for (kind, body) in each {
        const KEY_SHARE: usize = 51;
        const GROUP: [u8; 4] = [0, 0x1d, 0, 32];
        if kind == KEY_SHARE
            && let Some(at) = body.windows(GROUP.len()).position(|four| four == GROUP)
        {
            hello.share = body.get(at + GROUP.len()..)?.get(..32)?.to_vec();
        }
    }
    Some(hello)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
