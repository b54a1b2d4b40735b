//! What a handshake needs of the heap, by kind of key: never more than `handshake_step` has said before (which `shake_hands`
//! asserts for each piece), and not much less.

use std::sync::Arc;

use rcgen::{CertifiedIssuer, KeyPair};
use rustls::ProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::kx_group::SECP384R1;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use wm_mqtt_client::transport::tls::{Settings, Tls, TlsConfig};

use crate::certificates::*;
use crate::limits::{added, names, receive, shake_hands, shake_hands_again};
use crate::memory::{in_own_process, peak, with_heap};
use crate::openssl::{ec_key, ed25519_key, rsa_key};
use crate::scripted::*;
use crate::support::*;

fn key(kind: &str) -> String {
    match kind {
        "P-256" => ec_key("prime256v1"),
        "P-384" => ec_key("secp384r1"),
        "Ed25519" => ed25519_key(),
        rsa => rsa_key(rsa.trim_start_matches("RSA ").parse().unwrap()),
    }
}

/// A server whose chain has so many certificates, all with keys of this kind, and its root.
fn chain(kind: &str, certificates: usize) -> (Identity, String) {
    let key = || KeyPair::from_pem(&key(kind)).unwrap();
    let root = CertifiedIssuer::self_signed(authority_params("root"), key()).unwrap();
    let (ca, mut issuer, mut chain) = (root.pem(), root, Vec::new());
    for i in 1..certificates {
        issuer = CertifiedIssuer::signed_by(authority_params(&format!("authority {i}")), key(), &issuer).unwrap();
        chain.insert(0, issuer.der().clone());
    }
    let key = key();
    let leaf = server_params(&[HOST]).signed_by(&key, &issuer).unwrap();
    chain.insert(0, leaf.der().clone());
    (Identity { chain, pem: Vec::new(), key }, ca)
}

/// With the device's bounds, so in a process of its own.
#[test]
fn by_kind_of_key() {
    if !in_own_process("need::by_kind_of_key") {
        return;
    }
    let servers =
        [("P-256", 1), ("P-256", 2), ("P-384", 3), ("Ed25519", 2), ("RSA 2048", 1), ("RSA 2048", 3), ("RSA 4096", 4)];
    for (kind, certificates) in servers.into_iter().filter(|(kind, _)| is_built(kind)) {
        let (identity, ca) = chain(kind, certificates);
        for own in ["", "P-256", "P-384", "Ed25519", "RSA 2048", "RSA 4096"].into_iter().filter(|own| is_built(own)) {
            let key = if own.is_empty() { String::new() } else { key(own) };
            let certificate = match own {
                "" => String::new(),
                _ => server_params(&["client"]).self_signed(&KeyPair::from_pem(&key).unwrap()).unwrap().pem(),
            };
            let ours = (!own.is_empty()).then_some((certificate.as_bytes(), key.as_bytes()));
            for version in VERSIONS {
                for (count, size, again) in [
                    (0, None, false),
                    (0, None, true),
                    (0, Some(512), false),
                    (100, None, false),
                    (100, None, true),
                    (100, Some(512), false),
                ] {
                    let mut provider = default_provider();
                    if again {
                        // The ClientHello has no share of it.
                        provider.kx_groups = vec![SECP384R1];
                    }
                    let mut server = server_of(&[version], provider, &identity, names(count));
                    server.max_fragment_size = size;
                    let ca = Some(ca.as_bytes());
                    let client = TlsConfig::new(Settings {
                        verify: true,
                        ca,
                        identity: ours,
                        chain: 16_384,
                        // Only as many as there are, so that the share of names hides nothing.
                        names: count,
                        ..settings()
                    })
                    .unwrap();
                    for resumed in [false, true] {
                        let mut pair = Pair::new(&client, &server);
                        let (result, peak) = shake_hands(&mut pair);
                        assert_eq!(result, Ok(()));
                        assert_eq!(pair.is_resumed(), resumed);
                        pair.assert_works();
                        let version = name(version);
                        println!(
                            "{certificates} x {kind}, ours: {own}, {count} names, {size:?}, {again}, {version}, {resumed}: {peak}"
                        );
                    }
                }
            }
        }
    }
}

/// A ClientHello carries what the application offers, and takes more for it.
#[test]
fn application_protocols() {
    if !in_own_process("need::application_protocols") {
        return;
    }
    for is_set in [true, false] {
        for (count, len) in [(1, 4), (20, 255), (100, 1), (5, 30), (64, 255), (8192, 1), (500, 30)] {
            if !is_set {
                set_clock(0);
            }
            let alpn = vec![vec![b'x'; len]; count];
            let config = TlsConfig::new(Settings { alpn, ..settings() }).unwrap();
            let (client, peak) = peak(|| Client::new(&config, HOST).unwrap());
            let need = Tls::first_step(&config);
            println!("{count} of {len}, the clock is set: {is_set}: {peak} of {need}, {} sent", client.out.len());
            assert!(peak <= need, "{count} of {len} bytes: {peak} bytes, and not {need}");
            // The ClientHello again: it had no share of that.
            let provider = CryptoProvider { kx_groups: vec![SECP384R1], ..default_provider() };
            let nobody = rustls::server::WebPkiClientVerifier::no_client_auth();
            let server = server_of(&[VERSIONS[0]], provider, &self_signed(|_| {}), nobody);
            assert_eq!(shake_hands(&mut Pair::new(&config, &server)).0, Ok(()));
        }
    }
}

#[test]
fn too_many_application_protocols() {
    let error = |count| {
        let alpn = vec![vec![b'x'; 255]; count];
        TlsConfig::new(Settings { alpn, ..settings() }).err().map(|error| error.to_string())
    };
    assert_eq!(error(64), None);
    let text = "the application protocols in `alpn` are longer than 16,384 bytes in all";
    assert_eq!(error(65).as_deref(), Some(text));
}

/// What the rustls of these tests, which has std, allocates for a memory of sessions until it is told that it has one.
const STD: usize = 15_100;

#[test]
fn configurations() {
    if !in_own_process("need::configurations") {
        return;
    }
    for kind in ["P-256", "Ed25519", "RSA 2048", "RSA 4096"].into_iter().filter(|kind| is_built(kind)) {
        let key = key(kind);
        let pair = KeyPair::from_pem(&key).unwrap();
        let own = server_params(&["client"]).self_signed(&pair).unwrap().pem();
        for count in [1, 10, 251] {
            let authority = |i| authority_params(&format!("authority number {i}")).self_signed(&pair).unwrap().pem();
            let ca: String = (0..count).map(authority).collect();
            for identity in [None, Some((own.as_bytes(), key.as_bytes()))] {
                let settings = Settings { verify: true, ca: Some(ca.as_bytes()), identity, ..settings() };
                let need = settings.need();
                let (config, peak) = peak(|| TlsConfig::new(settings).unwrap());
                println!("{count} x {kind}, own: {}: {peak} of {need}", identity.is_some());
                assert!(peak <= need + STD, "{peak} bytes, and not {need}");
                assert_connects(&config);
            }
        }
    }
}

/// A server's tickets, made this long.
#[derive(Debug)]
struct Long(Arc<dyn ProducesTickets>, usize);

impl ProducesTickets for Long {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    /// Of length 0: the client may keep the one that it has offered.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.0.encrypt(plain).filter(|_| self.1 > 0)?;
        let len = ticket.len();
        ticket.resize(len.max(self.1), 0);
        ticket.extend((len as u16).to_be_bytes());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (ticket, len) = ticket.split_last_chunk::<2>()?;
        self.0.decrypt(ticket.get(..u16::from_be_bytes(*len).into())?)
    }
}

/// A ClientHello takes what it says, and that for the ticket of this handle, even one that was offered before. Without memory for
/// that none is offered.
#[test]
fn tickets() {
    if !in_own_process("need::tickets") {
        return;
    }
    for version in VERSIONS {
        let plain = assert_connects(&unverified());
        let ticketer = Ticketer::new().unwrap();
        for (len, is_kept, free, is_offered) in [
            (1, false, 20_000, true),
            (16_000, false, 120_000, true),
            (16_000, true, 120_000, true),
            (16_000, false, 20_000, false),
            (16_000, true, 20_000, false),
            (1, false, 20_000, true),
        ] {
            let mut server = server(version, &self_signed(|_| {}));
            server.session_storage = Arc::new(NoServerSessionStorage {});
            server.send_tls13_tickets = 1;
            server.ticketer = Arc::new(Long(ticketer.clone(), len));
            let config = unverified();
            Pair::open(&config, &server).assert_works();
            // Only TLS 1.2 keeps tickets.
            if is_kept && version.version == ProtocolVersion::TLSv1_2 {
                server.ticketer = Arc::new(Long(ticketer.clone(), 0));
                let mut pair = Pair::open(&config, &server);
                assert!(pair.is_resumed());
                pair.assert_works();
            }
            added();
            let (client, peak) = with_heap(free, || peak(|| Client::new(&config, HOST).unwrap()));
            let held = Tls::first_step(&config) + added();
            let case = format!("{} {len} {is_kept} {free}", name(version));
            assert_eq!(client.out.len() > plain + 100, is_offered, "{case}");
            assert!(client.out.len() < plain + len + 500, "{case}");
            // Held for who is in this step, and not only looked for.
            assert!(peak <= held, "{case}: {peak} bytes, and not {held}");
            assert!(held <= Tls::first_step(&config) + 5 * (len + 600), "{case}: {held}");
        }
    }
}

/// What a server says before it has shown who it is makes no other session dear.
#[test]
fn tickets_that_are_announced() {
    if !in_own_process("need::tickets_that_are_announced") {
        return;
    }
    let server = server(VERSIONS[0], &self_signed(|_| {}));
    let config = unverified();
    Pair::open(&config, &server).assert_works();
    let mut hostile = Client::new(&unverified(), HOST).unwrap();
    _ = hostile.receive(&plain(&[4, 0, 0x3e, 0x80], 4));
    let plain = assert_connects(&unverified());
    let client = with_heap(20_000, || Client::new(&config, HOST).unwrap());
    assert!(client.out.len() > plain + 50);
}

/// How long the ClientHello is.
fn assert_connects(config: &TlsConfig) -> usize {
    let need = Tls::first_step(config);
    let (client, peak) = peak(|| Client::new(config, HOST).unwrap());
    assert!(peak <= need, "{peak} bytes, and not {need}");
    client.out.len()
}

/// A server that has no use for the share of a key wants the ClientHello again, with its ticket: that is held then, and no sooner.
#[test]
fn tickets_that_are_offered_again() {
    if !in_own_process("need::tickets_that_are_offered_again") {
        return;
    }
    let key = key("P-256");
    let certificate = server_params(&["client"]).self_signed(&KeyPair::from_pem(&key).unwrap()).unwrap().pem();
    let ticketer = Ticketer::new().unwrap();
    for ours in [None, Some((certificate.as_bytes(), key.as_bytes()))] {
        for (len, size) in [(1, None), (1, Some(64)), (2000, None), (2000, Some(64)), (16_000, None)] {
            let config = TlsConfig::new(Settings { identity: ours, ..settings() }).unwrap();
            for (is_resumed, again) in [(false, false), (true, false), (true, true)] {
                let groups = if again { vec![SECP384R1] } else { default_provider().kx_groups };
                let provider = CryptoProvider { kx_groups: groups, ..default_provider() };
                let mut server = server_of(&[VERSIONS[0]], provider, &self_signed(|_| {}), names(0));
                server.session_storage = Arc::new(NoServerSessionStorage {});
                server.send_tls13_tickets = 1;
                server.ticketer = Arc::new(Long(ticketer.clone(), len));
                server.max_fragment_size = size;
                let mut pair = Pair::new(&config, &server);
                // The beginning of a ServerHello may be one that wants that; who has a certificate keeps a copy.
                let takes_more = again || size.is_some() || ours.is_some();
                let offered = if is_resumed && takes_more { 8 * (len + 2000) } else { 0 };
                let (result, peak) = shake_hands_again(&mut pair, offered);
                println!("ours: {}, {len}, {size:?}, {again}: {peak}", ours.is_some());
                assert_eq!(result, Ok(()));
                assert_eq!(pair.is_resumed(), is_resumed);
                pair.assert_works();
            }
        }
    }
}

/// And what such a server wants to find in it.
#[test]
fn cookies() {
    if !in_own_process("need::cookies") {
        return;
    }
    let key = key("P-256");
    let certificate = server_params(&["client"]).self_signed(&KeyPair::from_pem(&key).unwrap()).unwrap().pem();
    for ours in [None, Some((certificate.as_bytes(), key.as_bytes()))] {
        for (len, size) in [(1, 16_384), (500, 16_384), (1900, 16_384), (1900, 100), (1900, 1)] {
            let config = TlsConfig::new(Settings { identity: ours, ..settings() }).unwrap();
            let mut client = Client::new(&config, HOST).unwrap();
            // Behind the headers of record and message, version and random.
            let session = client.out[43..76].to_vec();
            client.out.clear();
            let cookie = vector(2, &vec![7; len]);
            let extensions = [&[0, 43, 0, 2, 3, 4, 0, 44][..], &vector(2, &cookie)].concat();
            let body = [&[3, 3][..], &RETRY, &session, &[0x13, 1, 0], &vector(2, &extensions)].concat();
            let (result, peak) = receive(&mut client, &plain(&message(2, &body), size));
            println!("ours: {}, {len} in pieces of {size}: {peak}", ours.is_some());
            assert_eq!(result, Ok(()));
            assert!(client.out.len() > 200 + len, "the ClientHello again");
        }
    }
}

/// The random of a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A long ticket makes no later one dear.
#[cfg(feature = "tls12")]
#[test]
fn tickets_that_become_short() {
    if !in_own_process("need::tickets_that_become_short") {
        return;
    }
    let ticketer = Ticketer::new().unwrap();
    let mut server = server(VERSIONS[1], &self_signed(|_| {}));
    server.session_storage = Arc::new(NoServerSessionStorage {});
    let short = |server: &mut rustls::ServerConfig, len| server.ticketer = Arc::new(Long(ticketer.clone(), len));
    for free in [120_000, 20_000] {
        let config = unverified();
        short(&mut server, 16_000);
        Pair::open(&config, &server).assert_works();
        short(&mut server, 1);
        // What is long is not offered for want of memory, or is; what comes then is short.
        for (free, is_resumed) in [(free, free > 100_000), (20_000, true)] {
            let mut pair = Pair::new(&unverified(), &server);
            pair.client = with_heap(free, || Client::new(&config, HOST).unwrap());
            assert_eq!(shake_hands(&mut pair).0, Ok(()));
            assert_eq!(pair.is_resumed(), is_resumed, "{free}");
            pair.assert_works();
        }
    }
}
