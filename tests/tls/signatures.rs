//! What a server signs in its handshake: by which schemes, and that it is its certificate's key.

use std::sync::Arc;

use rustls::SignatureAlgorithm;
use rustls::SignatureScheme::{self, *};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};

use crate::certificates::*;
use crate::openssl::{ec_key, rsa_key};
use crate::support::*;

/// Signs with this scheme whatever the client offers, and calls it another one.
#[derive(Debug)]
struct Insistent {
    key: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
    called: SignatureScheme,
}

#[derive(Debug)]
struct Miscalled(Box<dyn Signer>, SignatureScheme);

impl SigningKey for Insistent {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Miscalled(self.key.choose_scheme(&[self.scheme])?, self.called)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl Signer for Miscalled {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.1
    }
}

#[test]
fn schemes() {
    const BOTH: [bool; 2] = [true, true];
    const TLS12: [bool; 2] = [false, true];
    const NEITHER: [bool; 2] = [false, false];
    // Those of TLS 1.3 and 1.2 that take it.
    let cases = [
        ("P-256", ECDSA_NISTP256_SHA256, ECDSA_NISTP256_SHA256, BOTH),
        ("P-384", ECDSA_NISTP384_SHA384, ECDSA_NISTP384_SHA384, BOTH),
        ("P-256", ECDSA_NISTP256_SHA256, ECDSA_NISTP384_SHA384, NEITHER),
        ("P-256", ECDSA_NISTP256_SHA256, ECDSA_NISTP521_SHA512, NEITHER),
        ("P-256", ECDSA_NISTP256_SHA256, ECDSA_SHA1_Legacy, NEITHER),
        ("P-256", ECDSA_NISTP256_SHA256, SignatureScheme::Unknown(0x1234), NEITHER),
        ("RSA", RSA_PSS_SHA256, RSA_PSS_SHA256, BOTH),
        ("RSA", RSA_PSS_SHA384, RSA_PSS_SHA384, BOTH),
        ("RSA", RSA_PSS_SHA512, RSA_PSS_SHA512, BOTH),
        ("RSA", RSA_PKCS1_SHA256, RSA_PKCS1_SHA256, TLS12),
        ("RSA", RSA_PKCS1_SHA384, RSA_PKCS1_SHA384, TLS12),
        ("RSA", RSA_PKCS1_SHA512, RSA_PKCS1_SHA512, TLS12),
        ("RSA", RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, NEITHER),
        ("RSA", RSA_PSS_SHA256, RSA_PKCS1_SHA256, NEITHER),
        ("RSA", RSA_PKCS1_SHA256, RSA_PSS_SHA256, NEITHER),
        ("RSA", RSA_PSS_SHA256, ECDSA_NISTP256_SHA256, NEITHER),
    ];
    let keys = [("P-256", ec_key("prime256v1")), ("P-384", ec_key("secp384r1")), ("RSA", rsa_key(2048))];
    for (kind, scheme, called, expected) in cases.into_iter().filter(|case| is_built(case.0)) {
        let pem = &keys.iter().find(|(name, _)| *name == kind).unwrap().1;
        let key = any_supported_type(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let own = rcgen::KeyPair::from_pem(pem).unwrap();
        let certificate = server_params(&[HOST]).self_signed(&own).unwrap();
        for version in VERSIONS {
            let expected = expected[usize::from(name(version) == "TLS 1.2")];
            let mut server = server(version, &self_signed(|_| {}));
            let key = Insistent { key: key.clone(), scheme, called };
            let certified = CertifiedKey::new(vec![certificate.der().clone()], Arc::new(key));
            server.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
            let mut pair = Pair::new(&trusting(&certificate.pem()), &server);
            assert_eq!(pair.run().is_ok(), expected, "{} {kind} {scheme:?} as {called:?}", name(version));
            if expected {
                pair.assert_works();
            }
        }
    }
}

#[test]
fn another_key_than_the_certificates() {
    let mut identity = self_signed(|_| {});
    let ca = identity.pem.concat();
    identity.key = key();
    for version in VERSIONS {
        let mut pair = Pair::new(&trusting(&ca), &server(version, &identity));
        assert!(pair.run().is_err());
    }
}
