//! TLS 1.3's server, message by message (RFC 8446).

use super::Result;
use super::keys::{Cipher, LEN, expand, hash, mac};
use super::peer::{CHANGE_CIPHER_SPEC, Peer, extension, message, vector8, vector16, vector24};

pub const SERVER_HELLO: u8 = 2;
pub const NEW_SESSION_TICKET: u8 = 4;
pub const ENCRYPTED_EXTENSIONS: u8 = 8;
pub const CERTIFICATE: u8 = 11;
pub const CERTIFICATE_REQUEST: u8 = 13;
pub const CERTIFICATE_VERIFY: u8 = 15;
pub const FINISHED: u8 = 20;
pub const KEY_UPDATE: u8 = 24;

/// The body of a ServerHello that picks this version, suite and key share.
pub fn hello13(peer: &Peer, version: u16, suite: u16, group: u16, share: &[u8]) -> Vec<u8> {
    let share = [&group.to_be_bytes()[..], &vector16(share)].concat();
    let extensions = [extension(43, &version.to_be_bytes()), extension(51, &share)].concat();
    hello(peer, suite, &extensions)
}

/// The body of a ServerHello with these extensions.
pub fn hello(peer: &Peer, suite: u16, extensions: &[u8]) -> Vec<u8> {
    let random = hash(&peer.own_share);
    [&[3, 3][..], &random, &vector8(&peer.hello.session_id), &suite.to_be_bytes(), &[0], &vector16(extensions)].concat()
}

/// The body of a Certificate message.
pub fn certificates<'a>(chain: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let entries: Vec<u8> = chain.into_iter().flat_map(|one| [vector24(one), vec![0, 0]].concat()).collect();
    [vec![0], vector24(&entries)].concat()
}

/// The body of a CertificateRequest with these names of authorities.
pub fn request13(names: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|name| vector16(name)).collect();
    let algorithms = extension(13, &vector16(&[4, 3, 8, 4, 8, 7]));
    let authorities = if names.is_empty() { Vec::new() } else { extension(47, &vector16(&names)) };
    [vec![0], vector16(&[algorithms, authorities].concat())].concat()
}

/// The body of a NewSessionTicket with a ticket of so many bytes.
pub fn ticket(len: usize) -> Vec<u8> {
    [&7200_u32.to_be_bytes()[..], &[1, 2, 3, 4], &vector8(&[5; 8]), &vector16(&vec![6; len]), &[0, 0]].concat()
}

impl Peer {
    /// Reads the ClientHello and answers; what follows is sealed. The secrets of both sides.
    pub fn begin13(&mut self) -> Result<Secrets> {
        self.hello()?;
        let body = hello13(self, 0x0304, 0x1303, 0x1d, &self.own_share);
        self.say(SERVER_HELLO, &body)?;
        self.secrets13()
    }

    /// The keys of the handshake, from what was said so far.
    pub fn secrets13(&mut self) -> Result<Secrets> {
        let empty = hash(&[]);
        let early = mac(&[0; LEN], &[&[0; LEN]]);
        let base = mac(&expand(&early, "derived", &empty, LEN as u8), &[&self.agree()?]);
        let so_far = hash(&self.transcript);
        let secrets = Secrets {
            client: expand(&base, "c hs traffic", &so_far, LEN as u8),
            server: expand(&base, "s hs traffic", &so_far, LEN as u8),
            master: mac(&expand(&base, "derived", &empty, LEN as u8), &[&[0; LEN]]).to_vec(),
        };
        self.plain(CHANGE_CIPHER_SPEC, &[1])?;
        self.seal = Some(Cipher::of_secret(&secrets.server));
        self.open = Some(Cipher::of_secret(&secrets.client));
        Ok(secrets)
    }

    pub fn extensions13(&mut self) -> Result {
        self.say(ENCRYPTED_EXTENSIONS, &[0, 0])
    }

    pub fn certificate13(&mut self) -> Result {
        let body = certificates(&self.identity.chain);
        self.say(CERTIFICATE, &body)
    }

    pub fn request13(&mut self, names: &[Vec<u8>]) -> Result {
        self.say(CERTIFICATE_REQUEST, &request13(names))
    }

    pub fn verify13(&mut self) -> Result {
        let what = b"TLS 1.3, server CertificateVerify\0";
        let signature = self.identity.sign(&[&[b' '; 64][..], what, &hash(&self.transcript)].concat());
        self.say(CERTIFICATE_VERIFY, &[&[4, 3][..], &vector16(&signature)].concat())
    }

    /// Finishes, and takes the client's Finished: what follows is under the keys of the application.
    pub fn finish13(&mut self, secrets: &Secrets) -> Result {
        let body = secrets.finished(self);
        self.say(FINISHED, &body)?;
        let so_far = hash(&self.transcript);
        while !messages(&self.next_record()?.1).any(|kind| kind == FINISHED) {}
        self.secret = expand(&secrets.master, "s ap traffic", &so_far, LEN as u8);
        self.seal = Some(Cipher::of_secret(&self.secret));
        self.open = Some(Cipher::of_secret(&expand(&secrets.master, "c ap traffic", &so_far, LEN as u8)));
        Ok(())
    }

    /// All of it, as it should be.
    pub fn accept13(&mut self) -> Result {
        let secrets = self.begin13()?;
        self.extensions13()?;
        if self.names > 0 {
            self.request13(&names(self.names))?;
        }
        self.certificate13()?;
        self.verify13()?;
        self.finish13(&secrets)
    }

    /// A KeyUpdate, and the keys that are due behind it. Whether the client is asked for its own is up to the caller, who
    /// then does not read any more.
    pub fn key_update(&mut self, asks: bool) -> Vec<u8> {
        let bytes = self.sealed(super::peer::HANDSHAKE, &message(KEY_UPDATE, &[u8::from(asks)]));
        self.secret = expand(&self.secret, "traffic upd", &[], LEN as u8);
        self.seal = Some(Cipher::of_secret(&self.secret));
        bytes
    }
}

/// As many names of authorities, each as long as they are.
pub fn names(count: usize) -> Vec<Vec<u8>> {
    vec![vec![0x30; 80]; count]
}

/// The types of the messages in a record.
fn messages(mut record: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (head, rest) = record.split_at_checked(4)?;
        record = rest.get(u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize..)?;
        Some(head[0])
    })
}

pub struct Secrets {
    client: Vec<u8>,
    server: Vec<u8>,
    master: Vec<u8>,
}

impl Secrets {
    /// The body of our Finished.
    pub fn finished(&self, peer: &Peer) -> Vec<u8> {
        mac(&expand(&self.server, "finished", &[], LEN as u8), &[&hash(&peer.transcript)]).to_vec()
    }
}
