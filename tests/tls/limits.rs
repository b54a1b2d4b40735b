//! What a server may bring in its handshake: bounds, what is said of what exceeds them, and the heap meanwhile.

use std::sync::Arc;

use rustls::{DistinguishedName, SupportedProtocolVersion};
use wm_mqtt_client::transport::tls::{PIECE, Settings, TlsConfig};

use crate::certificates::*;
use crate::memory::{in_own_process, peak};
use crate::openssl;
use crate::scripted::*;
use crate::support::*;

// Kinds of messages
const SERVER_HELLO: u8 = 2;
const TICKET: u8 = 4;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const REQUEST: u8 = 13;

/// The device's bounds, for a test in a process of its own: they are for all configurations.
fn device() -> Settings<'static> {
    Settings { chain: 16_384, names: 100, ..settings() }
}

/// Hands this to the client in pieces. Within each, not more was allocated than it had said that it needs.
fn receive(client: &mut Client, bytes: &[u8]) -> (Result<(), String>, usize) {
    let mut most = 0;
    for piece in bytes.chunks(PIECE) {
        let (need, is_handshake) = (client.layers.handshake_need(), !client.layers.is_open());
        // What the test itself collects.
        client.up.reserve(2 * PIECE);
        let (result, peak) = peak(|| client.receive(piece));
        assert!(!is_handshake || peak <= need, "{peak} bytes, and not {need}");
        most = most.max(peak);
        if result.is_err() {
            return (result, most);
        }
    }
    (Ok(()), most)
}

/// A whole handshake, up to the tickets.
fn shake_hands(pair: &mut Pair) -> (Result<(), String>, usize) {
    let mut most = 0;
    loop {
        let bytes = pair.answer();
        if bytes.is_empty() && pair.client.out.is_empty() {
            return (Ok(()), most);
        }
        let (result, peak) = receive(&mut pair.client, &bytes);
        most = most.max(peak);
        if result.is_err() {
            return (result, most);
        }
    }
}

fn excess(message: &str, most: usize, what: &str) -> String {
    format!("TLS: the server's {message} has more than {most} {what}")
}

/// What the server has to say at once: ServerHello for TLS 1.2 in the clear, and this.
fn in_the_clear(messages: &[u8], size: usize) -> Vec<u8> {
    let hello = [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x2b, 0]].concat();
    [plain(&message(SERVER_HELLO, &hello), 16_384), plain(messages, size)].concat()
}

/// Sends the message in both versions, whole and in small pieces, as the server's first one behind ServerHello.
fn says_first(settings: impl Fn() -> Settings<'static>, kind: u8, bodies: [&[u8]; 2], expected: Option<&str>) {
    let identity = self_signed(|_| {});
    let mut most = 0;
    for (version, body) in VERSIONS.iter().zip(bodies) {
        for size in [16_384, 1000, 100] {
            let client = TlsConfig::new(settings()).unwrap();
            let message = message(kind, body);
            let (result, peak) = if name(version) == "TLS 1.3" {
                let records: Vec<_> = message.chunks(size).map(<[u8]>::to_vec).collect();
                let mut identity = identity.chain.clone();
                // For as many records as this needs.
                identity.push(vec![0; 64 * records.len()].into());
                let identity = Identity { chain: identity, ..self_signed(|_| {}) };
                shake_hands(&mut Pair::new(&client, &server_saying(version, &identity, records, vec![])))
            } else {
                let mut client = Client::new(&client, HOST).unwrap();
                client.out.clear();
                let result = receive(&mut client, &in_the_clear(&message, size));
                // The server is told.
                assert!(result.0.is_ok() || client.out == [21, 3, 3, 0, 2, 2, 50] || expected.is_none());
                result
            };
            most = most.max(peak);
            let error = result.err().unwrap_or_default();
            match expected {
                Some(expected) => assert_eq!(error, expected, "{kind} {} in {size}", name(version)),
                None => assert!(!error.contains("more than"), "{kind} {} in {size}: {error}", name(version)),
            }
        }
    }
    println!("{kind}: {most}");
}

fn repeat(bytes: &[u8], times: usize) -> Vec<u8> {
    bytes.repeat(times)
}

#[test]
fn tiny_certificates() {
    for count in [8, 9, 1000, 4000] {
        let in_tls13 = [vec![0], vector(3, &repeat(&[0, 0, 1, 0x30, 0, 0], count))].concat();
        let in_tls12 = vector(3, &repeat(&[0, 0, 1, 0x30], count));
        let expected = (count > 8).then(|| excess("Certificate", 8, "certificates"));
        says_first(settings, CERTIFICATE, [&in_tls13, &in_tls12], expected.as_deref());
    }
}

#[test]
fn names_of_authorities() {
    for count in [1000, 1001, 20_000] {
        let names = vector(2, &repeat(&[0, 1, 0x30], count));
        let schemes = vector(2, &[4, 3]);
        let in_tls12 = [vector(1, &[1]), schemes.clone(), names.clone()].concat();
        let extensions = [vec![0, 13], vector(2, &schemes), vec![0, 47], vector(2, &names)].concat();
        let in_tls13 = [vec![0], vector(2, &extensions)].concat();
        let expected = (count > 1000).then(|| excess("CertificateRequest", 1000, "names of authorities"));
        says_first(settings, REQUEST, [&in_tls13, &in_tls12], expected.as_deref());
    }
}
