//! The broker's end of TLS, by rustls. Nothing that shows outside depends on its random numbers: signatures of Ed25519 have one
//! length.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::rng::Rng;

/// What a broker may choose: the version, how many tickets it gives, and its largest record.
type Choice = (bool, usize, Option<usize>);

/// A configuration for each choice, which knows the sessions that it has given.
#[derive(Default)]
pub(crate) struct Configs(BTreeMap<Choice, Arc<ServerConfig>>);

impl Configs {
    fn get(&mut self, choice: Choice) -> Arc<ServerConfig> {
        self.0.entry(choice).or_insert_with(|| config(choice)).clone()
    }

    /// For a connection that has begun.
    pub(crate) fn accept(&mut self, rng: &mut Rng) -> Server {
        let choice = match rng.below(4) {
            0 => (rng.permille(400), rng.pick(&[0, 1, 2, 4]), rng.pick(&[None, Some(64), Some(517)])),
            1 => (true, 1, None),
            _ => (false, 2, None),
        };
        let mut connection = ServerConnection::new(self.get(choice)).expect("a server");
        connection.set_buffer_limit(None);
        Server(connection, 20, false)
    }
}

fn config((is_1_2, tickets, record): Choice) -> Arc<ServerConfig> {
    let is_it = |version: &&&SupportedProtocolVersion| (version.version == ProtocolVersion::TLSv1_2) == is_1_2;
    let version = rustls::ALL_VERSIONS.iter().find(is_it).copied().unwrap_or(&TLS13);
    let certificate = CertificateDer::from_pem_slice(include_bytes!("broker.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("broker.key.pem")).expect("a key");
    let builder = ServerConfig::builder_with_provider(default_provider().into()).with_protocol_versions(&[version]);
    let builder = builder.expect("a version").with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate], key).expect("its key");
    config.send_tls13_tickets = tickets;
    config.max_fragment_size = record;
    Arc::new(config)
}

/// One connection, and how often it may have new keys: rustls takes a server that wants that 33 times for a hostile one; and whether
/// anything of it was spoilt.
pub(crate) struct Server(ServerConnection, u8, pub(crate) bool);

impl Server {
    /// What comes out of these bytes, and the answer.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut carried = Vec::new();
        while !bytes.is_empty() {
            // A client that has refused what was bad says so first.
            let Ok(_) = self.0.read_tls(&mut bytes) else { break };
            match self.0.process_new_packets() {
                Ok(_) => {}
                Err(rustls::Error::AlertReceived(_)) => break,
                Err(error) => panic!("a client breaks TLS: {error}"),
            }
            let _ = self.0.reader().read_to_end(&mut carried);
        }
        (carried, self.take())
    }

    /// Records with these bytes; there may be new keys before.
    pub(crate) fn records(&mut self, rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
        if !self.0.is_handshaking() && self.1 > 0 && rng.permille(100) {
            self.1 -= 1;
            let _ = self.0.refresh_traffic_keys();
        }
        // Who has refused what was bad gets no more.
        let _ = self.0.writer().write_all(bytes);
        self.take()
    }

    /// The alert close_notify.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        self.0.send_close_notify();
        self.take()
    }

    /// Records with something that no server should do; and whether the connection ends with them.
    pub(crate) fn spoil(&mut self, rng: &mut Rng, mut records: Vec<u8>) -> (Vec<u8>, bool) {
        self.2 = true;
        let what = rng.below(6);
        match what {
            0 => {
                let at = rng.below(records.len());
                records[at] ^= 1 << rng.below(8);
            }
            // Empty ones, which no server sends so many of.
            1 => records.extend([23, 3, 3, 0, 0].repeat(1 + rng.below(5))),
            // An alert that is not encrypted.
            2 => records.extend([21, 3, 3, 0, 2, 1, 0]),
            3 => records.truncate(rng.below(records.len() + 1)),
            _ => records.extend(self.end()),
        }
        (records, matches!(what, 3 | 4))
    }

    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).expect("room");
        }
        out
    }
}
