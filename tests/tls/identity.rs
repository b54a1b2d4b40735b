//! Client certificates.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::openssl::{self, openssl};
use crate::support::*;

fn presenting(chain: &str, key: &str) -> TlsConfig {
    TlsConfig::new(Settings { identity: Some((chain.as_bytes(), key.as_bytes())), ..settings() }).unwrap()
}

/// Accepts clients of this authority only.
fn clients_of(authority: &Authority) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    WebPkiClientVerifier::builder_with_provider(roots.into(), default_provider().into()).build().unwrap()
}

#[test]
fn forms_of_keys() {
    let (p256, p384) = (openssl::ec_key("prime256v1"), openssl::ec_key("secp384r1"));
    let (rsa, ed25519) = (openssl::rsa_key(2048), openssl::ed25519_key());
    let sec1 = |key: &str| openssl(&["ec"], key.as_bytes());
    let keys = [
        ("PKCS#8 P-256", p256.clone()),
        ("PKCS#8 P-384", p384.clone()),
        ("SEC1 P-256", sec1(&p256)),
        ("SEC1 P-384", sec1(&p384)),
        // As `openssl ecparam -genkey` writes it.
        ("SEC1 P-256 behind its parameters", openssl(&["ecparam", "-genkey", "-name", "prime256v1"], b"")),
        ("PKCS#8 RSA", rsa.clone()),
        ("PKCS#1 RSA", openssl(&["rsa", "-traditional"], rsa.as_bytes())),
        ("Ed25519", ed25519),
    ];
    for (what, key) in keys {
        let certificate = openssl::self_signed(&key, &[]);
        if !is_built(what) {
            let identity = Some((certificate.as_bytes(), key.as_bytes()));
            let error = TlsConfig::new(Settings { identity, ..settings() }).err().unwrap().to_string();
            let kind = if what == "Ed25519" { "Ed25519" } else { "RSA" };
            assert_eq!(error, format!("this library was built without what `key` needs: {kind}"), "{what}");
            continue;
        }
        let both = format!("{certificate}{key}");
        // In a file of its own, in one with the certificate, with text around, with CRLF, without a last newline, with NUL.
        let texts = [
            (certificate.clone(), key.clone()),
            (both.clone(), both.clone()),
            (format!("A certificate\n{certificate}"), format!("Bag Attributes\n  name: a\n{key}\nend")),
            (certificate.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
            (certificate.trim_end().into(), key.trim_end().into()),
            (certificate.clone() + "\0", key.clone() + "\0"),
            (certificate.trim_end().to_owned() + "\0", key.trim_end().to_owned() + "\0"),
        ];
        for (i, (certificate, key)) in texts.iter().enumerate() {
            for version in VERSIONS {
                let server = server_asking(
                    version,
                    &self_signed(|_| {}),
                    Arc::new(Curious { mandatory: true, names: Vec::new() }),
                );
                let mut pair = Pair::new(&presenting(certificate, key), &server);
                assert_eq!(pair.run(), Ok(()), "{what}, text {i}");
                assert_eq!(pair.server.peer_certificates().map(<[_]>::len), Some(1), "{what}, text {i}");
                pair.assert_works();
            }
        }
    }
}

#[test]
fn chains_are_sent_whole_and_in_order() {
    let root = root("root");
    let issuer = intermediate("issuer", &root, |_| {});
    let client = issue(&issuer, |_| {}).followed_by(&issuer);
    for version in VERSIONS {
        let server = server_asking(version, &self_signed(|_| {}), clients_of(&root));
        let mut pair = Pair::new(&presenting(&client.pem.concat(), &client.key.serialize_pem()), &server);
        pair.run_in_pieces(&mut || 100).unwrap();
        assert_eq!(pair.server.peer_certificates(), Some(&client.chain[..]));
        pair.assert_works();
    }
}

#[test]
fn what_the_server_makes_of_it() {
    let (ours, theirs) = (root("ours"), root("theirs"));
    let good = issue(&ours, |_| {});
    let expired = issue(&ours, |params| validity(params, 1_000_000_000, 1_000_000_001));
    let server_only = issue(&ours, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let stranger = issue(&theirs, |_| {});
    let same_name = issue(&root("ours"), |_| {});
    let cases = [
        ("good", Some(&good), Ok(())),
        ("expired", Some(&expired), Err("certificate_expired")),
        ("not for clients", Some(&server_only), Err("unsupported_certificate")),
        ("of another CA", Some(&stranger), Err("unknown_ca")),
        ("of another CA with the same name", Some(&same_name), Err("decrypt_error")),
        ("none", None, Err("certificate_required")),
    ];
    for (what, identity, expected) in cases {
        for version in VERSIONS {
            let client = identity.map_or_else(unverified, |id| presenting(&id.pem[0], &id.key.serialize_pem()));
            let server = server_asking(version, &self_signed(|_| {}), clients_of(&ours));
            let mut pair = Pair::new(&client, &server);
            let result = pair.run();
            let wanted = expected.map_err(|alert| format!("TLS alert by the server: {alert}"));
            match (&result, &wanted) {
                (Err(result), Err(wanted)) => assert!(result.starts_with(wanted), "{what}: {result}"),
                _ => assert_eq!(result, wanted, "{what}"),
            }
            // The server's alert comes behind what we take for the end of the handshake in TLS 1.3.
            assert_eq!(pair.client.layers.is_open(), expected.is_ok() || name(version) == "TLS 1.3", "{what}");
        }
    }
}

#[test]
fn a_server_that_does_not_ask_is_not_told() {
    let client = issue(&root("ca"), |_| {});
    let config = presenting(&client.pem[0], &client.key.serialize_pem());
    for version in VERSIONS {
        let mut pair = Pair::open(&config, &server(version, &self_signed(|_| {})));
        assert_eq!(pair.server.peer_certificates(), None);
        pair.assert_works();
    }
    // One that asks out of curiosity goes on without.
    for version in VERSIONS {
        let server =
            server_asking(version, &self_signed(|_| {}), Arc::new(Curious { mandatory: false, names: Vec::new() }));
        let mut pair = Pair::open(&unverified(), &server);
        assert_eq!(pair.server.peer_certificates(), None);
        pair.assert_works();
    }
}
