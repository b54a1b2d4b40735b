//! What `openssl s_server` makes of us, and we of it: versions, suites, keys, groups, alerts, resumption.

use std::thread;

use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::openssl::{self, Server, ec_key, ed25519_key, rsa_key, self_signed};
use crate::support::*;

/// A server with a key that everybody knows.
fn p256(args: &str) -> (Server, String) {
    let key = ec_key("prime256v1");
    let certificate = self_signed(&key, &[]);
    (Server::start(&certificate, &key, &certificate, args), certificate)
}

/// The options for the versions of this build.
const OPTIONS: &[(&str, &str)] = &[
    ("-tls1_3", "TLS 1.3"),
    #[cfg(feature = "tls12")]
    ("-tls1_2", "TLS 1.2"),
];

#[test]
fn versions() {
    for (option, version) in OPTIONS {
        let (mut server, certificate) = p256(option);
        for config in [unverified(), trusting(&certificate)] {
            let mut connection = server.connect(&config).unwrap();
            assert_eq!(connection.client.layers.description(), Some((*version, "new session")));
            connection.assert_works(&mut server);
            connection.close();
        }
    }
}

#[test]
fn old_versions() {
    let mut options = vec!["-tls1", "-tls1_1"];
    if !cfg!(feature = "tls12") {
        options.push("-tls1_2");
    }
    for option in options {
        let (server, _) = p256(&format!("{option} -cipher DEFAULT@SECLEVEL=0"));
        let error = server.connect(&unverified()).err().unwrap();
        assert!(error.starts_with("TLS alert by the server: protocol_version"), "{option}: {error}");
    }
}

#[test]
fn cipher_suites() {
    let (rsa, ec) = (rsa_key(2048), ec_key("prime256v1"));
    let tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let mut cases: Vec<_> = tls13.map(|suite| (suite, &ec, "-tls1_3 -ciphersuites")).into();
    if cfg!(feature = "tls12") {
        for suite in ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"] {
            cases.push((format!("ECDHE-ECDSA-{suite}").leak(), &ec, "-tls1_2 -cipher"));
            cases.push((format!("ECDHE-RSA-{suite}").leak(), &rsa, "-tls1_2 -cipher"));
        }
    }
    for (suite, key, options) in cases {
        let certificate = self_signed(key, &[]);
        let mut server = Server::start(&certificate, key, "", &format!("{options} {suite}"));
        if !is_built(suite) {
            for config in [unverified(), trusting(&certificate)] {
                assert_eq!(server.connect(&config).err().as_deref(), Some(NOTHING_IN_COMMON), "{suite}");
            }
            continue;
        }
        let mut connection = server.connect(&trusting(&certificate)).expect(suite);
        connection.assert_works(&mut server);
        server.wait_for(&format!("CIPHER is {suite}"));
    }
}

#[test]
fn cipher_suites_that_we_lack() {
    let mut cases = vec!["-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256"];
    if cfg!(feature = "tls12") {
        cases.extend(["-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", "-tls1_2 -cipher ECDHE-ECDSA-AES256-CCM"]);
    }
    for args in cases {
        let (server, _) = p256(args);
        let error = server.connect(&unverified()).err().unwrap();
        assert_eq!(error, NOTHING_IN_COMMON, "{args}");
    }
}

#[test]
fn server_keys() {
    // Making large keys takes seconds, so at the same time.
    let large = [2048, 3072, 4096].map(|bits| (bits, thread::spawn(move || rsa_key(bits))));
    let small = [
        ("P-256".into(), ec_key("prime256v1")),
        ("P-384".into(), ec_key("secp384r1")),
        ("Ed25519".into(), ed25519_key()),
    ];
    let large = large.map(|(bits, key)| (format!("RSA {bits}"), key.join().unwrap()));
    for (what, key) in small.into_iter().chain(large) {
        let certificate = self_signed(&key, &[]);
        for (option, version) in OPTIONS {
            let mut server = Server::start(&certificate, &key, "", option);
            for config in [unverified(), trusting(&certificate)] {
                match server.connect(&config) {
                    Ok(mut connection) => {
                        assert!(is_built(&what), "{what} {version}");
                        connection.assert_works(&mut server);
                        connection.close();
                    }
                    Err(error) => {
                        assert_eq!((is_built(&what), &error[..]), (false, NOTHING_IN_COMMON), "{what} {version}")
                    }
                }
            }
        }
    }
}

#[test]
fn groups() {
    for (option, version) in OPTIONS {
        for group in ["X25519", "P-256", "P-384"] {
            let (mut server, _) = p256(&format!("{option} -groups {group}"));
            let config = unverified();
            for _ in 0..2 {
                let mut connection =
                    server.connect(&config).unwrap_or_else(|error| panic!("{group} {version}: {error}"));
                connection.assert_works(&mut server);
                connection.close();
            }
        }
        // The certificate's own curve must be among them in TLS 1.2, or s_server has no suite at all.
        let (server, _) = p256(&format!("{option} -groups P-521"));
        let error = server.connect(&unverified()).err().unwrap();
        assert_eq!(error, NOTHING_IN_COMMON);
    }
}

#[test]
fn certificates_of_another_age() {
    let (rsa_1024, rsa_2048, ec) = (rsa_key(1024), rsa_key(2048), ec_key("prime256v1"));
    let exponent_3 = openssl::rsa_key_with_exponent_3();
    let unnamed = Some("issued for another host name");
    // With verification: no signature but the server's own in the handshake counts when the certificate is in `ca`.
    let cases = [
        ("version 1", &ec, openssl::version_1(&ec), unnamed),
        ("version 1, RSA", &rsa_2048, openssl::version_1(&rsa_2048), unnamed),
        ("RSA 1024", &rsa_1024, self_signed(&rsa_1024, &[]), Some(BAD_SIGNATURE)),
        ("SHA-1, RSA", &rsa_2048, self_signed(&rsa_2048, &["-sha1"]), None),
        ("SHA-1, ECDSA", &ec, self_signed(&ec, &["-sha1"]), None),
        ("RSA with e = 3", &exponent_3, self_signed(&exponent_3, &[]), None),
    ];
    for (what, key, certificate, refusal) in cases {
        let text = openssl::openssl(&["x509", "-noout", "-text"], certificate.as_bytes());
        assert_eq!(text.contains("Version: 1"), what.contains("version 1"), "{text}");
        for (option, version) in OPTIONS {
            let args = format!("{option} -cipher DEFAULT@SECLEVEL=0");
            let mut server = Server::start(&certificate, key, "", &args);
            if !is_built(what) {
                for config in [unverified(), trusting(&certificate)] {
                    assert_eq!(server.connect(&config).err().as_deref(), Some(NOTHING_IN_COMMON), "{what} {version}");
                }
                continue;
            }
            let mut connection =
                server.connect(&unverified()).unwrap_or_else(|error| panic!("{what} {version}: {error}"));
            connection.assert_works(&mut server);
            connection.close();
            let error = server.connect(&trusting(&certificate)).err();
            let expected = refusal.map(|text| format!("server certificate refused: {text}"));
            assert_eq!(error, expected, "{what} {version}");
        }
    }
}

#[test]
fn the_recipe_in_mosquittos_manual() {
    let [ca, certificate, key] = openssl::mosquittos_recipe();
    for (option, version) in OPTIONS {
        let mut server = Server::start(&certificate, &key, "", option);
        for trusted in [&ca, &certificate] {
            let (result, lines) = logged(|| server.connect(&trusting(trusted)));
            let mut connection = match result {
                Ok(connection) => connection,
                Err(error) => {
                    assert_eq!((&error[..], is_built("RSA")), (NOTHING_IN_COMMON, false), "{version}");
                    continue;
                }
            };
            assert!(lines.iter().any(|line| line.contains("its common name was compared")), "{lines:?}");
            connection.assert_works(&mut server);
            connection.close();
        }
    }
}

#[test]
fn a_curve_that_we_lack() {
    let key = ec_key("secp521r1");
    let certificate = self_signed(&key, &[]);
    for (option, version) in OPTIONS {
        let mut server = Server::start(&certificate, &key, "", option);
        // With verification it is not even offered; and in TLS 1.2 it would have to be one for the key exchange too.
        let error = server.connect(&trusting(&certificate)).err().unwrap();
        assert!(error.starts_with("TLS alert by the server: handshake_failure"), "{error}");
        match server.connect(&unverified()) {
            Ok(mut connection) => {
                assert_eq!(*version, "TLS 1.3");
                connection.assert_works(&mut server);
            }
            Err(other) => assert_eq!((other, *version), (error, "TLS 1.2")),
        }
    }
}

#[test]
fn keys_that_nobody_verifies() {
    let key = |args: &[&str]| openssl::openssl(&[&["genpkey", "-algorithm"], args].concat(), b"");
    // Brainpool's curves OpenSSL has for TLS 1.3 from 3.2 on; `choices` sees them offered.
    let keys = [("RSA for PSS alone", key(&["RSA-PSS"])), ("Ed448", key(&["ED448"]))];
    for (kind, key) in keys {
        let certificate = self_signed(&key, &[]);
        for (option, version) in OPTIONS {
            let mut server = Server::start(&certificate, &key, "", option);
            let error = server.connect(&trusting(&certificate)).err();
            assert_eq!(error.as_deref(), Some(NOTHING_IN_COMMON), "{kind} {version}");
            match server.connect(&unverified()) {
                Ok(mut connection) => {
                    assert!(is_built(kind) && *version == "TLS 1.3", "{kind} {version}");
                    connection.assert_works(&mut server);
                    connection.close();
                }
                Err(error) if !is_built(kind) => assert_eq!(error, NOTHING_IN_COMMON, "{kind} {version}"),
                // There rustls wants to know the scheme.
                Err(error) => assert_eq!(
                    (*version, &error[..]),
                    ("TLS 1.2", "TLS: a server with this kind of key must speak TLS 1.3"),
                    "{kind}"
                ),
            }
        }
    }
}

#[test]
fn authorities_of_another_age() {
    let (ec, rsa_1024, rsa_2048) = (ec_key("prime256v1"), rsa_key(1024), rsa_key(2048));
    let unsupported = Some("of a kind that is not supported");
    let cases = [
        ("version 1", openssl::version_1(&ec), &ec, "-sha256", None),
        ("version 1, RSA", openssl::version_1(&rsa_2048), &rsa_2048, "-sha256", None),
        ("SHA-1, RSA", self_signed(&rsa_2048, &[]), &rsa_2048, "-sha1", unsupported),
        ("RSA 1024", self_signed(&rsa_1024, &[]), &rsa_1024, "-sha256", Some(BAD_SIGNATURE)),
    ];
    for (what, ca, ca_key, digest, refusal) in cases {
        let certificate = openssl::issued(&ec, &ca, ca_key, digest);
        for (option, version) in OPTIONS {
            let server = Server::start(&certificate, &ec, "", &format!("{option} -cipher DEFAULT@SECLEVEL=0"));
            let error = server.connect(&trusting(&ca)).err();
            let refusal = if is_built(what) { refusal } else { unsupported };
            let expected = refusal.map(|text| format!("server certificate refused: {text}"));
            assert_eq!(error, expected, "{what} {version}");
        }
    }
}

#[test]
fn client_certificates() {
    let ec = ec_key("prime256v1");
    let other = if is_built("RSA") { rsa_key(2048) } else { ec_key("secp384r1") };
    let (ours, known, stranger) = (self_signed(&ec, &[]), self_signed(&other, &[]), self_signed(&ec, &[]));
    for (i, (option, version)) in OPTIONS.iter().enumerate() {
        let args = format!("{option} -Verify 1 -verify_return_error -CAfile CA");
        let mut server = Server::start(&ours, &ec, &known, &args);
        let presenting = |chain: &str, key: &str| {
            TlsConfig::new(Settings { identity: Some((chain.as_bytes(), key.as_bytes())), ..settings() }).unwrap()
        };
        let mut connection = server.connect(&presenting(&known, &other)).unwrap();
        connection.assert_works(&mut server);
        connection.close();
        let cases = [
            (presenting(&stranger, &ec), ["unknown_ca"; 2]),
            (unverified(), ["certificate_required", "handshake_failure"]),
        ];
        for (config, alerts) in cases {
            // In TLS 1.3 the server says so when we think that the handshake is over.
            let error = match server.connect(&config) {
                Ok(mut connection) => connection.read_to_end(),
                Err(error) => error,
            };
            assert!(error.starts_with(&format!("TLS alert by the server: {}", alerts[i])), "{version}: {error}");
        }
    }
}

#[test]
fn a_client_certificate_of_version_1() {
    // What the server makes of it is its affair: this one takes any.
    let key = ec_key("prime256v1");
    let certificate = openssl::version_1(&key);
    let identity = Some((certificate.as_bytes(), key.as_bytes()));
    for (option, _) in OPTIONS {
        let (mut server, _) = p256(&format!("{option} -Verify 1"));
        let mut connection = server.connect(&TlsConfig::new(Settings { identity, ..settings() }).unwrap()).unwrap();
        assert!(connection.assert_works(&mut server).contains("Client certificate"));
    }
}

#[test]
fn resumption() {
    for (option, version) in OPTIONS {
        for tickets in ["", "-no_ticket"] {
            let (mut server, certificate) = p256(&format!("{option} {tickets}"));
            let mut reused = 0;
            for config in [unverified(), trusting(&certificate)] {
                for i in 0..3 {
                    let mut connection = server.connect(&config).unwrap();
                    let printed = connection.assert_works(&mut server);
                    reused += usize::from(i > 0);
                    assert_eq!(printed.matches("Reused session-id").count(), reused, "{version} {tickets} {i}");
                    assert_eq!(connection.client.is_resumed(), i > 0, "{version} {tickets} {i}");
                    connection.close();
                }
            }
        }
        let (server, _) = p256(&format!("{option} -num_tickets 0 -no_ticket -no_cache"));
        let config = unverified();
        for _ in 0..2 {
            let connection = server.connect(&config).unwrap();
            assert!(!connection.client.is_resumed());
            connection.close();
        }
    }
}

#[test]
fn fragments() {
    let args = ["-max_send_frag 512", "-split_send_frag 512 -max_pipelines 1", "-read_buf 700", "-nbio"];
    for (option, _) in OPTIONS {
        for args in args {
            let (mut server, certificate) = p256(&format!("{option} {args}"));
            for record in [512, 16_384] {
                let ca = Some(certificate.as_bytes());
                let config = TlsConfig::new(Settings { verify: true, ca, record, ..settings() }).unwrap();
                let mut connection = server.connect(&config).unwrap();
                connection.assert_works(&mut server);
                let mark = format!("end {record}");
                connection.send(&("x".repeat(50_000) + "\n" + &mark + "\n"));
                server.wait_for(&format!("xxx\n{mark}"));
                let begin = connection.client.up.len();
                server.say(&"x".repeat(50_000));
                connection.read_until(|client| client.up.len() >= begin + 50_000).unwrap();
                assert!(connection.client.up[begin..].iter().all(|byte| *byte == b'x'));
                connection.close();
            }
        }
    }
}

#[test]
fn key_updates() {
    let (mut server, _) = p256("-tls1_3");
    let mut connection = server.connect(&unverified()).unwrap();
    for command in ["k\n", "K\n", "K\n", "k\n"] {
        server.say(command);
        connection.assert_works(&mut server);
    }
}

#[cfg(feature = "tls12")]
#[test]
fn renegotiation_is_declined() {
    let (mut server, _) = p256("-tls1_2");
    let mut connection = server.connect(&unverified()).unwrap();
    server.say("r\n");
    // s_server insists on it, and that is the end.
    assert!(connection.read_to_end().starts_with("TLS alert by the server: handshake_failure"));
}

#[test]
fn plain_text_in_the_middle() {
    for (option, _) in OPTIONS {
        let (mut server, _) = p256(option);
        let mut connection = server.connect(&unverified()).unwrap();
        connection.assert_works(&mut server);
        server.say("P\n");
        assert_eq!(connection.read_to_end(), "TLS: the server does not speak TLS, or sends broken messages");
    }
}

#[test]
fn the_server_closes() {
    for (option, _) in OPTIONS {
        let (server, _) = p256(&format!("{option} -rev"));
        let mut connection = server.connect(&unverified()).unwrap();
        connection.send("there and back\n");
        connection.read_until(|client| client.up == b"kcab dna ereht\n").unwrap();
        connection.send("CLOSE\n");
        assert_eq!(connection.read_to_end(), "closed by the server");
    }
}
