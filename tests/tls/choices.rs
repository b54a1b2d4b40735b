//! What a build offers, and what it says of certificates that need what it was built without. Suites and keys, with those
//! that it lacks, are in `handshake`, `identity` and `peers`.

use std::fmt::Debug;

use rustls::crypto::ring::default_provider;
use rustls::server::Acceptor;
use rustls::{CipherSuite, SignatureScheme};
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::openssl;
use crate::support::*;

/// Those of them that this build has.
fn built<T: Debug>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter().filter(|one| is_built(&format!("{one:?}"))).collect()
}

#[test]
fn nothing_is_offered_that_is_not_there() {
    // With everything it is what rustls offers by itself.
    let theirs = default_provider();
    let mut suites = built(theirs.cipher_suites.iter().map(|suite| suite.suite()));
    if cfg!(feature = "tls12") {
        // Its word on renegotiation (RFC 5746).
        suites.push(CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
    }
    let groups: Vec<_> = theirs.kx_groups.iter().map(|group| group.name()).collect();
    let verified = built(theirs.signature_verification_algorithms.supported_schemes());
    let mut unverified = verified.clone();
    unverified.extend(built([
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::RSA_PKCS1_SHA1,
        SignatureScheme::ECDSA_SHA1_Legacy,
    ]));
    let with_keys_for_pss = if is_built("RSA") { 0x0809..0x080c } else { 0..0 };
    unverified.extend(with_keys_for_pss.map(SignatureScheme::from));
    unverified.push(SignatureScheme::ED448);
    unverified.extend((0x081a..0x081d).map(SignatureScheme::from));
    let (authority, own) = (root("authority"), self_signed(|_| {}));
    let (ca, own_key) = (authority.pem(), own.key.serialize_pem());
    for (verify, present) in [(false, false), (true, false), (false, true), (true, true)] {
        let identity = present.then_some((own.pem[0].as_bytes(), own_key.as_bytes()));
        let config = Settings { verify, ca: Some(ca.as_bytes()), identity, ..settings() };
        let client = Client::new(&TlsConfig::new(config).unwrap(), HOST).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut &client.out[..]).unwrap();
        let accepted = acceptor.accept().ok().flatten().unwrap();
        let hello = accepted.client_hello();
        assert_eq!(hello.cipher_suites(), suites);
        assert_eq!(hello.signature_schemes(), if verify { &verified } else { &unverified });
        assert_eq!(hello.named_groups(), Some(&groups[..]));
    }
}

#[test]
fn authorities() {
    let leaf = openssl::ec_key("prime256v1");
    let keys = [
        ("P-256", openssl::ec_key("prime256v1")),
        ("P-384", openssl::ec_key("secp384r1")),
        ("RSA", openssl::rsa_key(2048)),
        ("Ed25519", openssl::ed25519_key()),
    ];
    for (kind, key) in keys {
        let ca = openssl::self_signed(&key, &["-subj", "/CN=authority"]);
        let certificate = openssl::issued(&leaf, &ca, &key, "-sha256");
        let (config, lines) = logged(|| trusting(&ca));
        // Whoever wonders why nothing works finds it in the log.
        let warning =
            format!("WARN: a certificate in `ca` has a key of a kind that this library was built without: {kind}");
        let expected: &[String] = if is_built(kind) { &[] } else { &[warning] };
        assert_eq!(lines, expected, "{kind}");
        for version in VERSIONS {
            let option = if name(version) == "TLS 1.3" { "-tls1_3" } else { "-tls1_2" };
            let mut server = openssl::Server::start(&certificate, &leaf, "", option);
            match server.connect(&config) {
                Ok(mut connection) => {
                    assert!(is_built(kind), "{kind}");
                    connection.assert_works(&mut server);
                }
                Err(error) => assert_eq!(
                    (is_built(kind), &error[..]),
                    (false, "server certificate refused: of a kind that is not supported"),
                    "{kind}"
                ),
            }
            server.connect(&unverified()).unwrap().assert_works(&mut server);
        }
    }
}
