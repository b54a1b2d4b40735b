//! What client and server agree on.

use rustls::HandshakeKind;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::server::WebPkiClientVerifier;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::{self_signed, self_signed_with};
use crate::support::*;

#[test]
fn the_newest_version_is_taken() {
    let server = server_of(VERSIONS, default_provider(), &self_signed(|_| {}), WebPkiClientVerifier::no_client_auth());
    let pair = Pair::open(&unverified(), &server);
    assert_eq!(pair.client.layers.description(), Some(("TLS 1.3", "new session")));
    for version in VERSIONS {
        let mut pair = Pair::new(&unverified(), &crate::support::server(version, &self_signed(|_| {})));
        assert_eq!(pair.client.layers.description(), Some(("TLS", "new session")));
        pair.run().unwrap();
        assert_eq!(pair.client.layers.description(), Some((name(version), "new session")));
        pair.assert_works();
    }
}

#[test]
fn tls12_can_be_switched_off() {
    let client = TlsConfig::new(Settings { tls12: false, ..settings() }).unwrap();
    for version in VERSIONS {
        let mut pair = Pair::new(&client, &crate::support::server(version, &self_signed(|_| {})));
        match name(version) {
            "TLS 1.3" => pair.run().unwrap(),
            _ => assert!(pair.run().is_err()),
        }
    }
}

#[test]
fn key_exchange_groups() {
    let groups: [(&'static dyn SupportedKxGroup, HandshakeKind); 3] = [
        (kx_group::X25519, HandshakeKind::Full),
        (kx_group::SECP256R1, HandshakeKind::FullWithHelloRetryRequest),
        (kx_group::SECP384R1, HandshakeKind::FullWithHelloRetryRequest),
    ];
    for (group, kind) in groups {
        for version in VERSIONS {
            let mut provider = default_provider();
            provider.kx_groups = vec![group];
            let no_auth = WebPkiClientVerifier::no_client_auth();
            let server = server_of(&[*version], provider, &self_signed(|_| {}), no_auth);
            let client = unverified();
            for size in [usize::MAX, 1] {
                let client = unverified();
                let mut pair = Pair::new(&client, &server);
                pair.run_in_pieces(&mut || size).unwrap();
                let expected = if name(version) == "TLS 1.3" { kind } else { HandshakeKind::Full };
                assert_eq!(pair.server.handshake_kind(), Some(expected), "{group:?}");
                assert!(!pair.client.is_resumed());
                pair.assert_works();
            }
            // The next connection begins with the group that the server has taken.
            Pair::open(&client, &server);
            let mut forgetful = server.clone();
            forgetful.session_storage = std::sync::Arc::new(rustls::server::NoServerSessionStorage {});
            assert_eq!(Pair::open(&client, &forgetful).server.handshake_kind(), Some(HandshakeKind::Full), "{group:?}");
        }
    }
}

#[test]
fn cipher_suites() {
    let suites = [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        #[cfg(feature = "tls12")]
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        #[cfg(feature = "tls12")]
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        #[cfg(feature = "tls12")]
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    for suite in suites {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let no_auth = WebPkiClientVerifier::no_client_auth();
        let server = server_of(&[suite.version()], provider, &self_signed(|_| {}), no_auth);
        if !is_built(&format!("{suite:?}")) {
            assert_eq!(Pair::new(&unverified(), &server).run(), Err(NOTHING_IN_COMMON.into()), "{suite:?}");
            continue;
        }
        let mut pair = Pair::open(&unverified(), &server);
        assert_eq!(pair.server.negotiated_cipher_suite(), Some(suite));
        pair.assert_works();
    }
}

#[test]
fn server_keys() {
    let algorithms = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    for algorithm in algorithms {
        for version in VERSIONS {
            let identity = self_signed_with(algorithm, |_| {});
            for config in [unverified(), trusting(&identity.pem[0])] {
                let mut pair = Pair::new(&config, &server(version, &identity));
                if is_built(&format!("{algorithm:?}")) {
                    pair.run().unwrap();
                    pair.assert_works();
                } else {
                    let result = pair.run();
                    assert!(pair.refusal.is_some() && !pair.client.layers.is_open(), "{algorithm:?}");
                    // In TLS 1.2 rustls gives up without an alert; what OpenSSL sends then `peers` has.
                    let silent = name(version) == "TLS 1.2";
                    assert!(silent || result == Err(NOTHING_IN_COMMON.into()), "{algorithm:?}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn application_protocols() {
    type Case = (&'static [&'static str], &'static [&'static str], Result<Option<&'static str>, &'static str>);
    let cases: [Case; 6] = [
        (&[], &[], Ok(None)),
        (&[], &["mqtt"], Ok(None)),
        (&["mqtt"], &[], Ok(None)),
        (&["mqtt"], &["mqtt"], Ok(Some("mqtt"))),
        (&["x-amzn-mqtt-ca", "mqtt"], &["http/1.1", "mqtt"], Ok(Some("mqtt"))),
        (&["mqtt"], &["h2"], Err("TLS alert by the server: no_application_protocol")),
    ];
    let bytes = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    for (offered, known, expected) in cases {
        for version in VERSIONS {
            let client = TlsConfig::new(Settings { alpn: bytes(offered), ..settings() }).unwrap();
            let mut server = server(version, &self_signed(|_| {}));
            server.alpn_protocols = bytes(known);
            let mut pair = Pair::new(&client, &server);
            let result = pair.run().map(|()| pair.server.alpn_protocol().map(|name| str::from_utf8(name).unwrap()));
            assert_eq!(result, expected.map_err(String::from), "{offered:?} {known:?}");
        }
    }
}
