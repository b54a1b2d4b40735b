//! TLS 1.2's server, message by message (RFC 5246, with the extended master secret of RFC 7627).

use super::Result;
use super::keys::{Cipher, LEN, Version, hash, prf};
use super::peer::{CHANGE_CIPHER_SPEC, HANDSHAKE, Peer, extension, message, vector8, vector16, vector24};
use super::tls13::{CERTIFICATE, CERTIFICATE_REQUEST, FINISHED, SERVER_HELLO, hello, names};

pub const HELLO_REQUEST: u8 = 0;
pub const SERVER_KEY_EXCHANGE: u8 = 12;
pub const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
/// ECDHE, a certificate with a key for ECDSA.
pub const SUITE: u16 = 0xcca9;
const FINISHED_LEN: usize = 12;

/// The body of a Certificate message.
pub fn certificates12<'a>(chain: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    vector24(&chain.into_iter().flat_map(|one| vector24(one)).collect::<Vec<u8>>())
}

/// The body of a CertificateRequest with these names of authorities.
pub fn request12(names: &[Vec<u8>]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|name| vector16(name)).collect();
    [vector8(&[64, 1]), vector16(&[4, 3, 4, 1]), vector16(&names)].concat()
}

impl Peer {
    /// Reads the ClientHello and answers.
    pub fn begin12(&mut self) -> Result {
        self.hello()?;
        self.hello.session_id.clear(); // the client's would say that a session is resumed
        let body = hello(self, SUITE, &[extension(23, &[]), extension(0xff01, &[0])].concat());
        self.say(SERVER_HELLO, &body)
    }

    pub fn certificate12(&mut self) -> Result {
        let body = certificates12(&self.identity.chain);
        self.say(CERTIFICATE, &body)
    }

    pub fn key_exchange12(&mut self) -> Result {
        let parameters = [&[3, 0, 0x1d][..], &vector8(&self.own_share)].concat();
        let signature = self.identity.sign(&[&self.hello.random[..], &hash(&self.own_share), &parameters].concat());
        self.say(SERVER_KEY_EXCHANGE, &[&parameters, &[4, 3][..], &vector16(&signature)].concat())
    }

    pub fn done12(&mut self) -> Result {
        self.say(SERVER_HELLO_DONE, &[])
    }

    /// Takes the client's messages up to its Finished; then what is sealed would be read. The master secret.
    pub fn client_finished12(&mut self) -> Result<Keys> {
        loop {
            let (_, message) = self.next_record()?;
            self.transcript.extend_from_slice(&message);
            if message.first() == Some(&CLIENT_KEY_EXCHANGE) {
                self.hello.share = message.get(5..).unwrap_or_default().to_vec();
                break;
            }
        }
        let master = prf(&self.agree()?, "extended master secret", &hash(&self.transcript), 48);
        let seed = [&hash(&self.own_share)[..], &self.hello.random].concat();
        let block = prf(&master, "key expansion", &seed, 2 * (LEN + 12));
        let (keys, ivs) = block.split_at(2 * LEN);
        while self.next_record()?.0 != CHANGE_CIPHER_SPEC {}
        self.open = Some(Cipher::new(Version::Tls12, &keys[..LEN], &ivs[..12]));
        let (_, finished) = self.next_record()?;
        self.transcript.extend(finished);
        Ok(Keys { master, seal: Cipher::new(Version::Tls12, &keys[LEN..], &ivs[12..]) })
    }

    /// ChangeCipherSpec: what follows is sealed. The master secret.
    pub fn change12(&mut self, keys: Keys) -> Result<Vec<u8>> {
        self.plain(CHANGE_CIPHER_SPEC, &[1])?;
        self.seal = Some(keys.seal);
        Ok(keys.master)
    }

    /// All of it, as it should be.
    pub fn accept12(&mut self) -> Result {
        self.begin12()?;
        self.certificate12()?;
        self.key_exchange12()?;
        if self.names > 0 {
            self.say(CERTIFICATE_REQUEST, &request12(&names(self.names)))?;
        }
        self.done12()?;
        let keys = self.client_finished12()?;
        let master = self.change12(keys)?;
        let body = prf(&master, "server finished", &hash(&self.transcript), FINISHED_LEN);
        self.fragments(HANDSHAKE, &message(FINISHED, &body))
    }
}

/// What the server will use after its ChangeCipherSpec.
pub struct Keys {
    master: Vec<u8>,
    seal: Cipher,
}
