//! The secrets of TLS_CHACHA20_POLY1305_SHA256 and of its namesakes in TLS 1.2, and records under them.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};

/// Bytes of a hash, a key, a secret.
pub const LEN: usize = 32;
const IV: usize = 12;
const TAG: usize = 16;
pub const APPLICATION_DATA: u8 = 23;

#[derive(Clone, Copy, PartialEq)]
pub enum Version {
    Tls12,
    Tls13,
}

pub fn hash(bytes: &[u8]) -> [u8; LEN] {
    sized(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; LEN] {
    sized(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref())
}

fn sized(bytes: &[u8]) -> [u8; LEN] {
    let mut array = [0; LEN];
    array.copy_from_slice(&bytes[..LEN]);
    array
}

/// HKDF-Expand-Label of TLS 1.3, for what a single hash is long enough for.
pub fn expand(secret: &[u8], label: &str, context: &[u8], len: u8) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let head = [&[0, len, label.len() as u8], label.as_bytes(), &[context.len() as u8]].concat();
    mac(secret, &[&head, context, &[1]])[..usize::from(len)].to_vec()
}

/// The PRF of TLS 1.2.
pub fn prf(secret: &[u8], label: &str, seed: &[u8], len: usize) -> Vec<u8> {
    let seed = [label.as_bytes(), seed].concat();
    let mut a = mac(secret, &[&seed]);
    let mut out = Vec::new();
    while out.len() < len {
        out.extend_from_slice(&mac(secret, &[&a, &seed]));
        a = mac(secret, &[&a]);
    }
    out.truncate(len);
    out
}

/// One direction's protection.
pub struct Cipher {
    version: Version,
    key: LessSafeKey,
    iv: [u8; IV],
    sequence: u64,
}

impl Cipher {
    pub fn new(version: Version, key: &[u8], iv: &[u8]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of 32 bytes");
        Cipher { version, key: LessSafeKey::new(key), iv: iv.try_into().expect("12 bytes"), sequence: 0 }
    }

    /// From a traffic secret of TLS 1.3.
    pub fn of_secret(secret: &[u8]) -> Self {
        Cipher::new(Version::Tls13, &expand(secret, "key", &[], LEN as u8), &expand(secret, "iv", &[], IV as u8))
    }

    /// A record of this type.
    pub fn seal(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut body = payload.to_vec();
        let outer = match self.version {
            Version::Tls12 => kind,
            Version::Tls13 => {
                body.push(kind);
                APPLICATION_DATA
            }
        };
        let aad = self.aad(outer, body.len());
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut body).expect("short enough");
        record(outer, &body)
    }

    /// What is in a record: its type and its payload. `None` if the client did not seal it.
    pub fn open(&mut self, outer: u8, mut body: Vec<u8>) -> Option<(u8, Vec<u8>)> {
        let aad = self.aad(outer, body.len().checked_sub(TAG)?);
        let nonce = self.nonce();
        let len = self.key.open_in_place(nonce, Aad::from(aad), &mut body).ok()?.len();
        body.truncate(len);
        let kind = match self.version {
            Version::Tls12 => outer,
            Version::Tls13 => {
                while body.last() == Some(&0) {
                    body.pop();
                }
                body.pop()?
            }
        };
        Some((kind, body))
    }

    fn aad(&self, outer: u8, len: usize) -> Vec<u8> {
        match self.version {
            Version::Tls12 => {
                let len = (len as u16).to_be_bytes();
                [&self.sequence.to_be_bytes()[..], &[outer, 3, 3], &len].concat()
            }
            Version::Tls13 => header(outer, len + TAG).to_vec(),
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, counted) in nonce[IV - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= counted;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}

fn header(kind: u8, len: usize) -> [u8; 5] {
    let [high, low] = (len as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

/// A record as it is on the wire.
pub fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&header(kind, body.len())[..], body].concat()
}
