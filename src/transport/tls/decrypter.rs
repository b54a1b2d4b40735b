//! ring's suites, with a guard behind the decryption: what a server says encrypted is looked at before rustls parses it.

use alloc::boxed::Box;

#[cfg(feature = "tls12")]
use rustls::Tls12CipherSuite;
use rustls::Tls13CipherSuite;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
#[cfg(feature = "tls12")]
use rustls::crypto::cipher::{KeyBlockShape, Tls12AeadAlgorithm};
use rustls::{CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

use super::Error as Failure;
use super::limits::{Excess, Guard};
use super::need::Account;

/// What decrypts a connection's records until its next key.
struct Decrypter {
    inner: Box<dyn MessageDecrypter>,
    guard: Guard,
}

fn guarded(inner: Box<dyn MessageDecrypter>) -> Box<dyn MessageDecrypter> {
    Box::new(Decrypter { inner, guard: Guard::new(Account::with_new_keys()) })
}

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(&mut self, record: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.inner.decrypt(record, seq)?;
        if plain.typ == ContentType::Handshake {
            let tls13 = plain.version == ProtocolVersion::TLSv1_3;
            self.guard.check(plain.payload, tls13).map_err(Excess::into_rustls)?;
            if !self.guard.account.provide() {
                return Err(Failure::NoMemory.into());
            }
        }
        Ok(plain)
    }
}

/// The encryption of a suite of TLS 1.3.
pub(super) struct Aead13(&'static dyn Tls13AeadAlgorithm);

impl Aead13 {
    pub(super) const fn of(suite: &SupportedCipherSuite) -> Self {
        Self(tls13(suite).aead_alg)
    }
}

const fn tls13(suite: &SupportedCipherSuite) -> &'static Tls13CipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite,
        #[allow(unreachable_patterns)] // in a rustls without TLS 1.2
        _ => panic!("a suite of TLS 1.2"), // while this is compiled
    }
}

/// The suite with this encryption, and without what it has for QUIC, which is flash for nothing.
pub(super) const fn suite13(suite: &SupportedCipherSuite, aead: &'static Aead13) -> Tls13CipherSuite {
    let Tls13CipherSuite { common, hkdf_provider, .. } = tls13(suite);
    Tls13CipherSuite { common: copy(common), hkdf_provider: *hkdf_provider, aead_alg: aead, quic: None }
}

const fn copy(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    let CipherSuiteCommon { suite, hash_provider, confidentiality_limit } = *common;
    CipherSuiteCommon { suite, hash_provider, confidentiality_limit }
}

impl Tls13AeadAlgorithm for Aead13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        guarded(self.0.decrypter(key, iv))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// The encryption of a suite of TLS 1.2.
#[cfg(feature = "tls12")]
pub(super) struct Aead12(&'static dyn Tls12AeadAlgorithm);

#[cfg(feature = "tls12")]
impl Aead12 {
    pub(super) const fn of(suite: &SupportedCipherSuite) -> Self {
        Self(tls12(suite).aead_alg)
    }
}

#[cfg(feature = "tls12")]
const fn tls12(suite: &SupportedCipherSuite) -> &'static Tls12CipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => suite,
        SupportedCipherSuite::Tls13(_) => panic!("a suite of TLS 1.3"), // while this is compiled
    }
}

/// The suite with this encryption.
#[cfg(feature = "tls12")]
pub(super) const fn suite12(suite: &SupportedCipherSuite, aead: &'static Aead12) -> Tls12CipherSuite {
    let Tls12CipherSuite { common, prf_provider, kx, sign, .. } = tls12(suite);
    Tls12CipherSuite { common: copy(common), prf_provider: *prf_provider, kx: *kx, sign, aead_alg: aead }
}

#[cfg(feature = "tls12")]
impl Tls12AeadAlgorithm for Aead12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv, extra)
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        guarded(self.0.decrypter(key, iv))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}
