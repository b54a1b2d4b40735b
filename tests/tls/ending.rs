//! How connections end.

use crate::certificates::self_signed;
use crate::support::*;

const ALERT: u8 = 21;

#[test]
fn the_server_closes() {
    for version in VERSIONS {
        // Whatever the split: first the words, then the end.
        for cut in [0, 1, 5, 20, 30] {
            let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
            let mut bytes = pair.says(b"last words");
            pair.server.send_close_notify();
            bytes.extend(pair.server_output());
            let begin = pair.client.receive(&bytes[..cut]);
            assert_eq!(begin, Ok(()), "{cut}");
            assert_eq!(pair.client.receive(&bytes[cut..]), Err("closed by the server".into()));
            assert_eq!(pair.client.up, b"last words");
        }
    }
}

#[test]
fn nothing_comes_up_behind_close_notify() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        let mut replay = pair.says(b"words");
        let words = replay.clone();
        pair.server.send_close_notify();
        replay.extend(pair.server_output());
        replay.extend(words);
        replay.extend(b"garbage");
        assert_eq!(pair.client.receive(&replay), Err("closed by the server".into()));
        assert_eq!(pair.client.up, b"words");
        // Nor when the owner reads on.
        let _ = pair.client.receive(b"more garbage");
        assert_eq!(pair.client.up, b"words");
        pair.client.out.clear();
        pair.client.layers.close(&mut pair.client.out);
        assert!(pair.client.out.is_empty() && pair.client.layers.send(b"late", &mut Vec::new()).is_err());
    }
}

#[test]
fn we_close() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        pair.client.send(b"DISCONNECT");
        pair.client.layers.close(&mut pair.client.out);
        let sent = records(&pair.client.out);
        assert_eq!(sent.len(), 2);
        // Once only.
        pair.client.layers.close(&mut pair.client.out);
        assert_eq!(records(&pair.client.out), sent);
        pair.deliver(&mut || usize::MAX);
        assert_eq!(pair.received, b"DISCONNECT");
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn closing_in_the_middle_of_a_handshake_is_silent() {
    let mut client = Client::new(&unverified(), HOST).unwrap();
    client.out.clear();
    client.layers.close(&mut client.out);
    assert_eq!(client.out, b"");
    let mut out = Vec::new();
    assert_eq!(client.layers.send(b"too early", &mut out).unwrap_err().to_string(), "TLS: not ready to send",);
    assert_eq!(out, b"");
}

#[test]
fn closing_behind_half_a_record() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        let bytes = pair.says(b"words");
        pair.client.receive(&bytes[..7]).unwrap();
        pair.client.layers.close(&mut pair.client.out);
        pair.deliver(&mut || usize::MAX);
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn alerts_in_a_handshake() {
    // By a server that answers nothing else, so they are not encrypted.
    let cases = [
        (0, "closed by the server"),
        (40, "TLS alert by the server: handshake_failure: nothing in common, or a client certificate is missing"),
        (48, "TLS alert by the server: unknown_ca: the server does not know who issued our certificate"),
        (70, "TLS alert by the server: protocol_version: it wants another version of TLS"),
        (80, "TLS alert by the server: internal_error"),
        (112, "TLS alert by the server: unrecognized_name"),
        (199, "TLS alert 199 by the server"),
    ];
    for (code, text) in cases {
        for size in [1, 7] {
            let mut client = Client::new(&unverified(), HOST).unwrap();
            let alert = [ALERT, 3, 3, 0, 2, 2, code];
            let result = alert.chunks(size).try_for_each(|piece| client.receive(piece));
            assert_eq!(result, Err(text.into()));
            // A warning ends nothing: the server may go on. But not for ever.
            let mut client = Client::new(&unverified(), HOST).unwrap();
            let warning = [ALERT, 3, 3, 0, 2, 1, code];
            assert_eq!(warning.chunks(size).try_for_each(|piece| client.receive(piece)), Ok(()));
            let result = (0..100).try_for_each(|_| client.receive(&warning));
            assert_eq!(result, Err("TLS: the server breaks the protocol".into()));
            assert!(!client.layers.is_open());
        }
    }
}

#[test]
fn the_server_has_no_more_than_alerts_to_say() {
    // Encrypted ones: what the server thinks of bytes that are none of ours.
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        pair.client.out = vec![23, 3, 3, 0, 32];
        pair.client.out.extend([7; 32]);
        assert_eq!(pair.run(), Err("TLS alert by the server: bad_record_mac".into()));
        assert_eq!(pair.refusal, Some(rustls::Error::DecryptError));
    }
}
