//! Without verification any certificate will do, even one that is none.

use std::sync::Arc;

use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::certificates::*;
use crate::support::*;

#[test]
fn another_key_than_the_certificates() {
    // Who does not care whose certificate it is cannot care whose key it is either.
    let mut identity = self_signed(|_| {});
    identity.key = key();
    for version in VERSIONS {
        Pair::open(&unverified(), &server(version, &identity)).assert_works();
    }
}

/// Signs with whatever we cannot verify.
#[derive(Debug)]
struct Foreign(SignatureScheme);

impl SigningKey for Foreign {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Foreign(self.0)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Foreign {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0; 100])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

#[test]
fn any_kind_of_key_in_tls_13() {
    let rsa = if is_built("RSA") { &[0x0809, 0x080a, 0x080b][..] } else { &[] };
    // P-521, Ed448, brainpool
    for &scheme in [&[0x0603, 0x0808, 0x081a, 0x081b, 0x081c], rsa].concat().iter() {
        let mut server = server(VERSIONS[0], &self_signed(|_| {}));
        let key = Foreign(SignatureScheme::from(scheme));
        let certified = CertifiedKey::new(self_signed(|_| {}).chain, Arc::new(key));
        server.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        let mut pair = Pair::new(&unverified(), &server);
        assert_eq!(pair.run(), Ok(()), "{scheme:x}");
        pair.assert_works();
    }
}

#[test]
fn any_certificate() {
    let cases = [
        ("expired", self_signed(|params| validity(params, 0, 1_000_000_000))),
        ("not valid yet", self_signed(|params| validity(params, 3_000_000_000, 3_000_000_001))),
        ("another host's", self_signed(|params| *params = server_params(&["elsewhere.example"]))),
        ("nobody's", self_signed(|params| *params = server_params(&[]))),
        ("a CA's", self_signed(|params| *params = authority_params("ca"))),
        (
            "for clients",
            self_signed(|params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        ("garbage", Identity { chain: vec![b"garbage".to_vec().into()], pem: Vec::new(), key: key() }),
    ];
    for (what, identity) in &cases {
        for clock in [0, build_time() + 1, u64::MAX / 2] {
            set_clock(clock);
            for version in VERSIONS {
                let mut pair = Pair::new(&unverified(), &server(version, identity));
                assert_eq!(pair.run(), Ok(()), "{what}");
                pair.assert_works();
            }
        }
    }
}
