//! A rustls server that says in its records what a test wants, encrypted as it should be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::ring::default_provider;
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion, Tls13CipherSuite,
};
#[cfg(feature = "tls12")]
use rustls::{
    Tls12CipherSuite,
    crypto::cipher::{KeyBlockShape, Tls12AeadAlgorithm},
};

use crate::certificates::Identity;
use crate::support::*;

/// For each key that the server sends with, what stands in its records in place of what it would say.
pub(crate) type Script = Arc<Mutex<VecDeque<Vec<Vec<u8>>>>>;

/// A server whose records under its first key (in TLS 1.3 that of the handshake, in TLS 1.2 that of Finished and data) are
/// these handshake records as long as there are any, and those under the second key (in TLS 1.3 for tickets and data) the
/// others. It sends in small records, so that there are many to replace.
pub(crate) fn server_saying(
    version: &'static SupportedProtocolVersion,
    identity: &Identity,
    first: Vec<Vec<u8>>,
    second: Vec<Vec<u8>>,
) -> ServerConfig {
    let (server, script) = scripted_server(version, identity);
    *script.lock().unwrap() = [first, second].into();
    server
}

/// Such a server, and where it looks for what it says.
pub(crate) fn scripted_server(
    version: &'static SupportedProtocolVersion,
    identity: &Identity,
) -> (ServerConfig, Script) {
    let script = Script::default();
    let suites = default_provider().cipher_suites.into_iter().map(|suite| scripted(suite, &script)).collect();
    let provider = CryptoProvider { cipher_suites: suites, ..default_provider() };
    let nobody = rustls::server::WebPkiClientVerifier::no_client_auth();
    let mut server = server_of(&[version], provider, identity, nobody);
    server.max_fragment_size = Some(64);
    (server, script)
}

/// A handshake message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &vector(3, body)[..]].concat()
}

/// A length of so many bytes, and what has it.
pub(crate) fn vector(width: usize, bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes()[8 - width..], bytes].concat()
}

/// Records of handshake messages in the clear, which have not more than so many bytes of them.
pub(crate) fn plain(messages: &[u8], size: usize) -> Vec<u8> {
    messages.chunks(size).flat_map(|piece| [&[22, 3, 3], &vector(2, piece)[..]].concat()).collect()
}

fn scripted(suite: SupportedCipherSuite, script: &Script) -> SupportedCipherSuite {
    let copy = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    let script = script.clone();
    match suite {
        SupportedCipherSuite::Tls13(suite) => SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: copy(&suite.common),
            aead_alg: Box::leak(Box::new(Aead13(suite.aead_alg, script))),
            ..*suite
        }))),
        #[cfg(feature = "tls12")]
        SupportedCipherSuite::Tls12(suite) => SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
            common: copy(&suite.common),
            aead_alg: Box::leak(Box::new(Aead12(suite.aead_alg, script))),
            ..*suite
        }))),
    }
}

struct Encrypter {
    inner: Box<dyn MessageEncrypter>,
    records: VecDeque<Vec<u8>>,
}

fn speaking(inner: Box<dyn MessageEncrypter>, script: &Script) -> Box<dyn MessageEncrypter> {
    let records = script.lock().unwrap().pop_front().unwrap_or_default().into();
    Box::new(Encrypter { inner, records })
}

impl MessageEncrypter for Encrypter {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        match self.records.pop_front() {
            Some(record) => {
                let payload = OutboundChunks::Single(&record);
                self.inner.encrypt(
                    OutboundPlainMessage { typ: ContentType::Handshake, version: message.version, payload },
                    seq,
                )
            }
            None => self.inner.encrypt(message, seq),
        }
    }

    fn encrypted_payload_len(&self, len: usize) -> usize {
        self.inner.encrypted_payload_len(len)
    }
}

struct Aead13(&'static dyn Tls13AeadAlgorithm, Script);

impl Tls13AeadAlgorithm for Aead13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        speaking(self.0.encrypter(key, iv), &self.1)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }
}

#[cfg(feature = "tls12")]
struct Aead12(&'static dyn Tls12AeadAlgorithm, Script);

#[cfg(feature = "tls12")]
impl Tls12AeadAlgorithm for Aead12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        speaking(self.0.encrypter(key, iv, extra), &self.1)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}
