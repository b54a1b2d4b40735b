//! The cryptography that this build has: rustls's and ring's, picked one by one. What is not named here the linker leaves out,
//! which it cannot do when `default_provider` names everything.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ring::rand::{SecureRandom as _, SystemRandom};
#[cfg(feature = "tls12")]
use rustls::Tls12CipherSuite;
#[cfg(feature = "rsa")]
use rustls::crypto::ring::sign::RsaSigningKey;
#[cfg(feature = "ed25519")]
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::crypto::ring::{cipher_suite as suite, kx_group, sign::any_ecdsa_type};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SupportedKxGroup, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{AlgorithmIdentifier, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{SignatureScheme, SupportedCipherSuite, Tls13CipherSuite};
use webpki::ring as algorithm;
use zeroize::Zeroizing;

#[cfg(feature = "tls12")]
use super::decrypter::{Aead12, suite12};
use super::decrypter::{Aead13, suite13};
use super::error::Error;

/// All of it, in the order in which it is offered.
pub(super) fn provider() -> Result<CryptoProvider, Error> {
    Ok(CryptoProvider {
        cipher_suites: list(CIPHER_SUITES)?,
        kx_groups: list(KX_GROUPS)?,
        signature_verification_algorithms: SIGNATURES,
        secure_random: &Provider,
        key_provider: &Provider,
    })
}

/// A copy, if there is memory for it.
fn list<T: Copy>(items: &[T]) -> Result<Vec<T>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(items.len()).map_err(|_| Error::NoMemory)?;
    list.extend_from_slice(items);
    Ok(list)
}

macro_rules! tls13 {
    ($name:ident) => {{
        static AEAD: Aead13 = Aead13::of(&suite::$name);
        static SUITE: Tls13CipherSuite = suite13(&suite::$name, &AEAD);
        SupportedCipherSuite::Tls13(&SUITE)
    }};
}

#[cfg(feature = "tls12")]
macro_rules! tls12 {
    ($name:ident) => {{
        static AEAD: Aead12 = Aead12::of(&suite::$name);
        static SUITE: Tls12CipherSuite = suite12(&suite::$name, &AEAD);
        SupportedCipherSuite::Tls12(&SUITE)
    }};
}

static CIPHER_SUITES: &[SupportedCipherSuite] = &[
    tls13!(TLS13_AES_256_GCM_SHA384),
    tls13!(TLS13_AES_128_GCM_SHA256),
    #[cfg(feature = "chacha20")]
    tls13!(TLS13_CHACHA20_POLY1305_SHA256),
    #[cfg(feature = "tls12")]
    tls12!(TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    #[cfg(feature = "tls12")]
    tls12!(TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    #[cfg(all(feature = "tls12", feature = "chacha20"))]
    tls12!(TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    #[cfg(all(feature = "tls12", feature = "rsa"))]
    tls12!(TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    #[cfg(all(feature = "tls12", feature = "rsa"))]
    tls12!(TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    #[cfg(all(feature = "tls12", feature = "rsa", feature = "chacha20"))]
    tls12!(TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

static KX_GROUPS: &[&dyn SupportedKxGroup] = &[kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];

/// How to verify the signatures in certificates, and under which name which of them is offered for the handshake's own.
static SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        algorithm::ECDSA_P256_SHA256,
        algorithm::ECDSA_P256_SHA384,
        algorithm::ECDSA_P384_SHA256,
        algorithm::ECDSA_P384_SHA384,
        #[cfg(feature = "ed25519")]
        algorithm::ED25519,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA256,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA384,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA512,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        #[cfg(feature = "rsa")]
        algorithm::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // TLS 1.3 takes the first of each; TLS 1.2 leaves the curve open.
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[algorithm::ECDSA_P384_SHA384, algorithm::ECDSA_P256_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[algorithm::ECDSA_P256_SHA256, algorithm::ECDSA_P384_SHA256]),
        #[cfg(feature = "ed25519")]
        (SignatureScheme::ED25519, &[algorithm::ED25519]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PSS_SHA512, &[algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PSS_SHA384, &[algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PSS_SHA256, &[algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PKCS1_SHA512, &[algorithm::RSA_PKCS1_2048_8192_SHA512]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PKCS1_SHA384, &[algorithm::RSA_PKCS1_2048_8192_SHA384]),
        #[cfg(feature = "rsa")]
        (SignatureScheme::RSA_PKCS1_SHA256, &[algorithm::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

/// What is offered besides by who verifies nothing, so that servers with such a key go on.
pub(super) static UNVERIFIED: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP521_SHA512,
    #[cfg(feature = "rsa")]
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::ECDSA_SHA1_Legacy,
    // For servers that speak TLS 1.3. RSA keys that are for PSS alone
    #[cfg(feature = "rsa")]
    SignatureScheme::Unknown(0x0809),
    #[cfg(feature = "rsa")]
    SignatureScheme::Unknown(0x080a),
    #[cfg(feature = "rsa")]
    SignatureScheme::Unknown(0x080b),
    SignatureScheme::ED448,
    // ECDSA with brainpool's curves (RFC 8734)
    SignatureScheme::Unknown(0x081a),
    SignatureScheme::Unknown(0x081b),
    SignatureScheme::Unknown(0x081c),
];

/// Kinds of keys that this build can do nothing with, by what stands in a key or a certificate of such a kind.
static LACKING: &[(AlgorithmIdentifier, &str)] = &[
    #[cfg(not(feature = "rsa"))]
    (rustls::pki_types::alg_id::RSA_ENCRYPTION, "RSA"),
    #[cfg(not(feature = "ed25519"))]
    (rustls::pki_types::alg_id::ED25519, "Ed25519"),
];

/// The kind of this key, private in PKCS#8 or public, if this build lacks it.
pub(super) fn lacking(key: &[u8]) -> Option<&'static str> {
    // Only lengths and a version come before it.
    let says = |kind: &[u8]| key.windows(kind.len()).take(16).any(|window| window == kind);
    LACKING.iter().find(|(kind, _)| says(kind)).map(|(_, name)| *name)
}

/// Makes a client's key ready to sign with.
pub(super) fn load_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
    let key = Zeroizing::new(key);
    #[cfg(feature = "rsa")]
    if let Ok(key) = RsaSigningKey::new(&key) {
        return Ok(Arc::new(key));
    }
    #[cfg(not(feature = "rsa"))]
    if let PrivateKeyDer::Pkcs1(_) = &*key {
        return Err(Error::Lacking("RSA"));
    }
    #[cfg(feature = "ed25519")]
    if let PrivateKeyDer::Pkcs8(key) = &*key
        && let Ok(key) = any_eddsa_type(key)
    {
        return Ok(key);
    }
    any_ecdsa_type(&key).map_err(|_| match lacking(key.secret_der()) {
        Some(kind) => Error::Lacking(kind),
        None => Error::Setup("`key` is malformed, or of a kind that is not supported"),
    })
}

#[derive(Debug)]
struct Provider;

impl KeyProvider for Provider {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        load_key(key).map_err(|_| rustls::Error::General(String::new()))
    }
}

impl SecureRandom for Provider {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        SystemRandom::new().fill(bytes).map_err(|_| GetRandomFailed)
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use rustls::crypto::ring::default_provider;

    use super::*;

    /// What rustls would take by itself, less what this build lacks, by the names that rustls has for it.
    fn kept(names: impl Iterator<Item = String>) -> Vec<String> {
        let lacks = |name: &String| {
            let name = name.to_uppercase();
            !cfg!(feature = "rsa") && name.contains("RSA")
                || !cfg!(feature = "ed25519") && name.contains("ED25519")
                || !cfg!(feature = "chacha20") && name.contains("CHACHA20")
        };
        names.filter(|name| !lacks(name)).collect()
    }

    #[test]
    fn all_of_rustls_but_what_is_switched_off() {
        let (ours, theirs) = (provider().unwrap(), default_provider());
        let suites = |provider: &CryptoProvider| kept(provider.cipher_suites.iter().map(|suite| format!("{suite:?}")));
        let groups = |provider: &CryptoProvider| kept(provider.kx_groups.iter().map(|group| format!("{group:?}")));
        let schemes = |provider: &CryptoProvider| {
            let mapping = provider.signature_verification_algorithms.mapping.iter();
            kept(mapping.map(|(scheme, by)| format!("{scheme:?}: {by:?}")))
        };
        let algorithms = |provider: &CryptoProvider| {
            kept(provider.signature_verification_algorithms.all.iter().map(|algorithm| format!("{algorithm:?}")))
        };
        for part in [suites, groups, schemes, algorithms] as [fn(&CryptoProvider) -> Vec<String>; 4] {
            assert_eq!(part(&ours), part(&theirs));
        }
        // None of ours was left out by that.
        assert_eq!(suites(&ours).len(), CIPHER_SUITES.len());
        assert_eq!(schemes(&ours).len(), SIGNATURES.mapping.len());
        assert_eq!(algorithms(&ours).len(), SIGNATURES.all.len());
    }

    #[test]
    fn suites_are_those_of_rustls_but_for_quic() {
        for ours in provider().unwrap().cipher_suites.iter().filter_map(SupportedCipherSuite::tls13) {
            let mut all = default_provider().cipher_suites.into_iter().filter_map(|suite| suite.tls13());
            let theirs = all.find(|theirs| theirs.common.suite == ours.common.suite).unwrap();
            assert!(ours.quic.is_none());
            assert_eq!(ours.common.confidentiality_limit, theirs.common.confidentiality_limit);
            assert_eq!(ours.common.hash_provider.algorithm(), theirs.common.hash_provider.algorithm());
            assert_eq!(ours.aead_alg.key_len(), theirs.aead_alg.key_len());
        }
    }
}
