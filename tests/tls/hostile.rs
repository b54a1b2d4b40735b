//! Servers that speak something else, or break the rules.

use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::support::*;

const NOT_TLS: &str = "TLS: the server does not speak TLS, or sends broken messages";
const TAMPERED: &str = "TLS: a record was tampered with or damaged";

#[test]
fn servers_without_tls() {
    let answers: [&[u8]; 8] = [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"<html>",
        // CONNACK, refused; shorter than the header of a record.
        &[0x20, 2, 0, 1],
        &[0x20, 2, 0, 0],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        &[0; 100],
        &[0xff; 100],
    ];
    for answer in answers {
        for size in [1, answer.len()] {
            let mut client = Client::new(&unverified(), HOST).unwrap();
            client.out.clear();
            let result = answer.chunks(size).try_for_each(|piece| client.receive(piece));
            assert_eq!(result, Err(NOT_TLS.into()), "{answer:?}");
            assert_eq!(client.up, b"");
            // The alert that says so.
            assert_eq!(client.out, [21, 3, 3, 0, 2, 2, 50]);
        }
    }
}

#[test]
fn records_that_cannot_be() {
    let cases: [(&[u8], &str); 10] = [
        // Longer than allowed
        (&[22, 3, 3, 0x48, 1], NOT_TLS),
        (&[22, 3, 3, 0xff, 0xff], NOT_TLS),
        (&[23, 3, 3, 0x48, 1], NOT_TLS),
        // Empty
        (&[22, 3, 3, 0, 0], NOT_TLS),
        (&[21, 3, 3, 0, 0], NOT_TLS),
        // A version that there never was
        (&[22, 9, 9, 0, 4, 2, 0, 0, 0], NOT_TLS),
        // Too early
        (&[23, 3, 3, 0, 1, 0], "TLS: message out of place"),
        // Finished and ClientHello for ServerHello
        (&[22, 3, 3, 0, 4, 20, 0, 0, 0], "TLS: message out of place"),
        (&[22, 3, 3, 0, 4, 1, 0, 0, 0], NOT_TLS),
        // A handshake message of 16 MB
        (&[22, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff], "TLS: the server's ServerHello has more than 2048 bytes"),
    ];
    for (bytes, text) in cases {
        for size in [1, bytes.len()] {
            let mut client = Client::new(&unverified(), HOST).unwrap();
            client.out.clear();
            let result = bytes.chunks(size).try_for_each(|piece| client.receive(piece));
            assert_eq!(result, Err(text.into()), "{bytes:?}");
            assert!(!client.layers.is_open());
            // Not a loop, nor a panic, when the owner reads on.
            assert_eq!(client.receive(bytes), result);
            assert_eq!(client.up, b"");
        }
    }
}

/// ServerHello in these words, as a record.
fn server_hello(version: [u8; 2], suite: u16, extensions: &[u8]) -> Vec<u8> {
    let [high, low] = suite.to_be_bytes();
    let mut body = [&version[..], &[7; 32], &[0, high, low, 0]].concat();
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    let len = body.len() as u8;
    [&[22, 3, 3, 0, len + 4, 2, 0, 0, len], &body[..]].concat()
}

#[test]
fn server_hellos_that_offer_what_we_did_not_ask_for() {
    const SUPPORTED_VERSIONS: u8 = 43;
    let version_13 = [0, SUPPORTED_VERSIONS, 0, 2, 3, 4];
    let (version, rules) = ("TLS: no version of TLS in common with the server", "TLS: the server breaks the protocol");
    let in_tls12 = if cfg!(feature = "tls12") { rules } else { version };
    let cases = [
        ("SSL 3.0", server_hello([3, 0], 0xc02f, &[]), version),
        ("TLS 1.0", server_hello([3, 1], 0xc02f, &[]), version),
        ("TLS 1.1", server_hello([3, 2], 0xc02f, &[]), version),
        ("TLS 1.2 with RC4", server_hello([3, 3], 5, &[]), in_tls12),
        ("TLS 1.2 without forward secrecy", server_hello([3, 3], 0x9c, &[]), in_tls12),
        ("TLS 1.2, an unknown extension", server_hello([3, 3], 0xc02f, &[0x7a, 0x7a, 0, 0]), in_tls12),
        ("TLS 1.3 with a suite of 1.2", server_hello([3, 3], 0xc02f, &version_13), rules),
        ("TLS 1.3 without a key share", server_hello([3, 3], 0x1301, &version_13), rules),
        ("TLS 1.4", server_hello([3, 3], 0x1301, &[0, SUPPORTED_VERSIONS, 0, 2, 3, 5]), version),
    ];
    for (what, bytes, text) in cases {
        let mut client = Client::new(&unverified(), HOST).unwrap();
        client.out.clear();
        assert_eq!(client.receive(&bytes), Err(text.into()), "{what}");
        assert_eq!(records(&client.out), [(21, 2)], "{what}: an alert");
    }
}

#[test]
fn garbage_at_each_stage() {
    let identity = self_signed(|_| {});
    for version in VERSIONS {
        // Behind every record that the server sends up to its last one.
        for stage in 0.. {
            let mut pair = Pair::new(&unverified(), &server(version, &identity));
            let mut sent = Vec::new();
            while records(&sent).len() <= stage && (sent.is_empty() || !pair.client.out.is_empty()) {
                let bytes = pair.answer();
                let rest = stage - records(&sent).len();
                let len: usize = records(&bytes).iter().take(rest).map(|(_, len)| len + 5).sum();
                pair.client.receive(&bytes[..len]).unwrap();
                sent.extend(bytes);
            }
            if records(&sent).len() < stage {
                assert!(pair.client.layers.is_open() && stage > 3);
                break;
            }
            let open = pair.client.layers.is_open();
            let mut client = pair.client;
            let error = client.receive(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
            assert_eq!(error, NOT_TLS, "{} {stage}", name(version));
            assert_eq!(client.layers.is_open(), open);
            assert_eq!(client.up, b"");
        }
        // A record that could be one.
        let mut pair = Pair::open(&unverified(), &server(version, &identity));
        let forged = [&[23, 3, 3, 0, 64][..], &[9; 64]].concat();
        pair.client.out.clear();
        assert_eq!(pair.client.receive(&forged), Err(TAMPERED.into()));
        assert!(pair.client.layers.send(b"secret", &mut Vec::new()).is_err());
        pair.deliver(&mut || usize::MAX);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
        assert_eq!(pair.refusal, Some(alert));
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_found() {
    for version in VERSIONS {
        let server = server(version, &self_signed(|_| {}));
        let client = unverified();
        for position in 0.. {
            let mut pair = Pair::open(&client, &server);
            let mut bytes = pair.says(b"data");
            let next = pair.says(b"next");
            let Some(byte) = bytes.get_mut(position) else { break };
            *byte ^= 1 << (position % 8);
            bytes.extend(next);
            match (position, pair.client.receive(&bytes)) {
                // A type or a version that does not exist, a length that fits nothing.
                (0..5, Err(error)) => assert!(error.starts_with("TLS: "), "{error}"),
                // Longer than what has come.
                (3..5, Ok(())) => {}
                (5.., Err(error)) => assert_eq!(error, TAMPERED),
                // rustls does not insist on the type and version in front of a record of TLS 1.3: they tell nothing.
                (0..3, Ok(())) if name(version) == "TLS 1.3" => assert_eq!(pair.client.up, b"datanext"),
                (_, Ok(())) => panic!("{}: not found at {position}", name(version)),
            }
            assert!(position < 3 || pair.client.up.is_empty(), "{position}");
        }
    }
}

#[test]
fn no_flipped_bit_of_a_handshake_leads_to_another_one() {
    let ca = root("ca");
    let client = trusting(&ca.pem());
    for version in VERSIONS {
        let mut server = server(version, &issue(&ca, |_| {}));
        server.session_storage = std::sync::Arc::new(rustls::server::NoServerSessionStorage {});
        for position in (0..).step_by(3) {
            let mut pair = Pair::new(&client, &server);
            let mut bytes = pair.answer();
            let mut begin = 0;
            // The record that it is in, and where.
            let place = records(&bytes).into_iter().find_map(|(kind, len)| {
                begin += 5 + len;
                (position < begin).then(|| (kind, position + 5 + len - begin))
            });
            let Some(byte) = bytes.get_mut(position) else { break };
            *byte ^= 1 << (position % 8);
            if pair.client.receive(&bytes).and_then(|()| pair.run()).is_ok() && pair.client.layers.is_open() {
                // Only what does not count: type and version in front, and the dummy change_cipher_spec of TLS 1.3.
                assert!(matches!(place, Some((_, 0..3) | (20, _))), "{} {position}: {place:?}", name(version));
                pair.assert_works();
            }
        }
    }
}

#[test]
fn records_out_of_order_or_twice() {
    for version in VERSIONS {
        for order in [[1, 0], [0, 0]] {
            let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
            let sent = [pair.says(b"one"), pair.says(b"two")];
            let bytes = order.map(|i| &sent[i][..]).concat();
            assert_eq!(pair.client.receive(&bytes), Err(TAMPERED.into()));
            // Nothing that comes behind the damage is believed, though it may be genuine.
            for bytes in &sent {
                assert_eq!(pair.client.receive(bytes), Err(TAMPERED.into()));
            }
            assert_eq!(pair.client.up, if order[0] == 0 { &b"one"[..] } else { b"" });
        }
    }
}

#[test]
fn another_connections_records() {
    for version in VERSIONS {
        let (client, server) = (unverified(), server(version, &self_signed(|_| {})));
        let (mut one, mut other) = (Pair::open(&client, &server), Pair::open(&client, &server));
        let bytes = other.says(b"data");
        assert_eq!(one.client.receive(&bytes), Err(TAMPERED.into()));
        // A handshake that is played back.
        let mut recorded = Pair::new(&client, &server);
        let flight = recorded.answer();
        let mut pair = Pair::new(&client, &server);
        let error = pair.client.receive(&flight).unwrap_err();
        assert!(error.starts_with("TLS: ") || error.starts_with("server certificate refused"), "{error}");
        assert!(!pair.client.layers.is_open());
    }
}

#[test]
fn a_server_without_the_key_of_its_certificate() {
    let ca = root("ca");
    for version in VERSIONS {
        let mut identity = issue(&ca, |_| {});
        identity.key = key();
        let mut pair = Pair::new(&trusting(&ca.pem()), &server(version, &identity));
        assert_eq!(pair.run(), Err(format!("server certificate refused: {BAD_SIGNATURE}")));
        assert!(!pair.client.layers.is_open());
    }
}

#[test]
fn a_server_without_a_certificate() {
    for verify in [true, false] {
        for version in VERSIONS {
            let ca = root("ca").pem();
            let client = TlsConfig::new(Settings { verify, ca: Some(ca.as_bytes()), ..settings() }).unwrap();
            let mut identity = self_signed(|_| {});
            identity.chain.clear();
            let mut pair = Pair::new(&client, &server(version, &identity));
            assert_eq!(pair.run(), Err("TLS: the server has no certificate".into()));
        }
    }
}

#[test]
fn endless_messages_that_mean_nothing() {
    // The dummy change_cipher_spec, without end.
    let mut client = Client::new(&unverified(), HOST).unwrap();
    assert!((0..10_000).any(|_| client.receive(&[20, 3, 3, 0, 1, 1]).is_err()));
    // A handshake message that never ends, byte by byte.
    let mut client = Client::new(&unverified(), HOST).unwrap();
    client.receive(&[22, 3, 3, 0, 4, 11, 0, 0xff, 0xff]).unwrap();
    let result = (0..60_000).try_for_each(|_| client.receive(&[22, 3, 3, 0, 1, 0]));
    assert_eq!(result, Err("TLS: the server's fragmented message has more than 149507 bytes".into()));
}

#[test]
fn chains_with_too_many_certificates() {
    for version in VERSIONS {
        for (certificates, expected) in [(8, Ok(())), (9, Err("certificates")), (4000, Err("certificates"))] {
            let mut identity = self_signed(|_| {});
            identity.chain.resize(certificates, vec![0x30].into());
            let result = Pair::new(&unverified(), &server(version, &identity)).run();
            let expected = expected.map_err(|what| format!("TLS: the server's Certificate has more than 8 {what}"));
            assert_eq!(result, expected, "{} {certificates}", name(version));
        }
    }
}
