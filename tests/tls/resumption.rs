//! Sessions that are taken up again.

use std::cell::Cell;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::NoServerSessionStorage;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::support::*;

/// How servers remember sessions.
fn remembering(version: &'static rustls::SupportedProtocolVersion, identity: &Identity) -> [ServerConfig; 2] {
    let by_itself = server(version, identity);
    let mut by_tickets = by_itself.clone();
    by_tickets.ticketer = Ticketer::new().unwrap();
    by_tickets.session_storage = Arc::new(NoServerSessionStorage {});
    [by_itself, by_tickets]
}

#[test]
fn every_connection_but_the_first() {
    let ca = root("ca");
    for version in VERSIONS {
        for server in remembering(version, &issue(&ca, |_| {})) {
            for client in [unverified(), trusting(&ca.pem())] {
                for i in 0..5 {
                    let mut pair = Pair::open(&client, &server);
                    assert_eq!(pair.is_resumed(), i > 0, "{} {i}", name(version));
                    assert_eq!(pair.client.layers.description().unwrap().0, name(version));
                    pair.assert_works();
                }
            }
        }
    }
}

#[test]
fn with_a_client_certificate() {
    let identity = self_signed(|_| {});
    for version in VERSIONS {
        let mut server =
            server_asking(version, &self_signed(|_| {}), Arc::new(Curious { mandatory: true, names: Vec::new() }));
        server.ticketer = Ticketer::new().unwrap();
        let key = identity.key.serialize_pem();
        let client =
            TlsConfig::new(Settings { identity: Some((identity.pem[0].as_bytes(), key.as_bytes())), ..settings() });
        let client = client.unwrap();
        for i in 0..3 {
            let pair = Pair::open(&client, &server);
            assert_eq!(pair.is_resumed(), i > 0);
            assert_eq!(pair.server.peer_certificates(), Some(&identity.chain[..]));
        }
    }
}

#[test]
fn only_under_the_same_configuration() {
    for version in VERSIONS {
        let server = server(version, &self_signed(|_| {}));
        let client = unverified();
        Pair::open(&client, &server);
        assert!(!Pair::open(&unverified(), &server).is_resumed());
        // A copy is the same one.
        assert!(Pair::open(&client.clone(), &server).is_resumed());
    }
}

#[test]
fn a_server_without_tickets() {
    for version in VERSIONS {
        let mut server = server(version, &self_signed(|_| {}));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let client = unverified();
        for _ in 0..3 {
            let mut pair = Pair::open(&client, &server);
            assert!(!pair.is_resumed());
            pair.assert_works();
        }
    }
}

#[test]
fn a_server_that_has_forgotten() {
    for version in VERSIONS {
        let identity = self_signed(|_| {});
        let client = unverified();
        let (old, new) = (remembering(version, &identity), remembering(version, &identity));
        // From one server to the next: a new session, which then is taken up.
        for server in [&old[0], &new[0], &old[1], &new[1]] {
            for resumed in [false, true, true] {
                assert_eq!(Pair::open(&client, server).is_resumed(), resumed, "{}", name(version));
            }
        }
    }
}

#[test]
fn a_ticket_of_tls_13_serves_once() {
    let mut generous = server(VERSIONS[0], &self_signed(|_| {}));
    generous.ticketer = Ticketer::new().unwrap();
    let mut mean = generous.clone();
    mean.send_tls13_tickets = 0;
    let client = unverified();
    // Several tickets: the newest one is kept.
    generous.send_tls13_tickets = 4;
    Pair::open(&client, &generous);
    assert!(Pair::open(&client, &mean).is_resumed());
    assert!(!Pair::open(&client, &mean).is_resumed());
}

#[test]
fn a_ticket_of_tls_13_may_come_late() {
    let server = server(VERSIONS[0], &self_signed(|_| {}));
    let client = unverified();
    let mut pair = Pair::new(&client, &server);
    let flight = pair.answer();
    pair.client.receive(&flight).unwrap();
    assert!(pair.client.layers.is_open());
    let tickets = pair.answer();
    assert!(!pair.server.is_handshaking() && !tickets.is_empty());
    // It is on its way while another connection begins.
    assert!(!Pair::new(&client, &server).client.is_resumed());
    pair.client.send(b"ping");
    let bytes = [tickets, pair.says(b"pong")].concat();
    for piece in bytes.chunks(3) {
        pair.client.receive(piece).unwrap();
    }
    assert_eq!(pair.client.up, b"pong");
    assert!(Pair::open(&client, &server).is_resumed());
}

#[test]
fn a_handshake_that_fails_costs_no_more_than_the_ticket() {
    for version in VERSIONS {
        let server = server(version, &self_signed(|_| {}));
        let client = unverified();
        Pair::open(&client, &server);
        let mut pair = Pair::new(&client, &server);
        pair.client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
        Pair::open(&client, &server).assert_works();
        assert!(Pair::open(&client, &server).is_resumed());
    }
}

#[test]
fn a_resumed_session_is_verified_no_less() {
    // A ticket of a server that failed verification must not exist.
    let (ca, other) = (root("ca"), root("other"));
    for version in VERSIONS {
        let client = trusting(&ca.pem());
        for server in remembering(version, &issue(&other, |_| {})) {
            for _ in 0..2 {
                let mut pair = Pair::new(&client, &server);
                assert!(pair.run().unwrap_err().starts_with("server certificate refused"));
            }
        }
    }
}

#[cfg(feature = "tls12")]
#[test]
fn from_one_version_to_the_other() {
    let identity = self_signed(|_| {});
    let both = server_of(
        VERSIONS,
        rustls::crypto::ring::default_provider(),
        &identity,
        rustls::server::WebPkiClientVerifier::no_client_auth(),
    );
    let [mut new, mut old] = [VERSIONS[0], VERSIONS[1]].map(|version| server(version, &identity));
    (new.session_storage, old.session_storage) = (both.session_storage.clone(), both.session_storage.clone());
    let client = unverified();
    for server in [&old, &new, &both, &old, &both] {
        let mut pair = Pair::open(&client, server);
        pair.assert_works();
    }
    assert!(Pair::open(&client, &both).is_resumed());
}

#[test]
fn clocks_that_jump() {
    // Forward, when SNTP has been heard; back, when somebody corrects it.
    let ca = root("ca");
    for version in VERSIONS {
        let server = server(version, &issue(&ca, |_| {}));
        let client = trusting(&ca.pem());
        // What was verified without a clock counts for nothing once there is one.
        for (clock, resumed) in [(0, false), (100, true), (build_time() + 1, false), (build_time(), true), (7, true)] {
            set_clock(clock);
            let mut pair = Pair::open(&client, &server);
            assert_eq!(pair.is_resumed(), resumed, "{} {clock}", name(version));
            pair.assert_works();
        }
    }
}

/// Whether the next connection takes up a session.
fn resumes(client: &TlsConfig, server: &ServerConfig) -> bool {
    let mut pair = Pair::open(client, server);
    pair.assert_works();
    pair.is_resumed()
}

/// A client without a clock that has shaken hands, and what the server has for it after that: tickets, and in TLS 1.2 the
/// end of the handshake.
fn before_the_ticket(client: &TlsConfig, server: &ServerConfig) -> (Pair, Vec<u8>) {
    set_clock(100);
    let mut pair = Pair::new(client, server);
    let flight = pair.answer();
    pair.client.receive(&flight).unwrap();
    let rest = pair.answer();
    // A session of TLS 1.2 is resumed in one flight.
    assert!(!rest.is_empty() || pair.client.is_resumed());
    (pair, rest)
}

#[test]
fn a_session_from_before_the_clock_was_set() {
    // Whenever its ticket arrives, and however often it has been resumed.
    let (ca, day) = (root("ca"), 24 * 3600);
    for version in VERSIONS {
        let expires = build_time() + 500 * day;
        for server in remembering(version, &issue(&ca, |params| validity(params, 0, expires))) {
            for resumed in [0, 1, 2] {
                let client = trusting(&ca.pem());
                for i in 0..resumed {
                    set_clock(100);
                    assert_eq!(resumes(&client, &server), i > 0);
                }
                let (mut pair, rest) = before_the_ticket(&client, &server);
                // The certificate has expired long ago.
                set_clock(build_time() + 1000 * day);
                pair.client.receive(&rest).unwrap();
                assert!(pair.client.layers.is_open());
                assert_eq!(pair.client.is_resumed(), resumed > 0, "{}", name(version));
                let error = Pair::new(&client, &server).run().unwrap_err();
                assert_eq!(error, "server certificate refused: expired", "{} {resumed}", name(version));
            }
        }
    }
}

#[test]
fn a_whole_handshake_with_a_clock_ends_the_doubt() {
    let ca = root("ca");
    for version in VERSIONS {
        for server in remembering(version, &issue(&ca, |_| {})) {
            let client = trusting(&ca.pem());
            set_clock(100);
            assert_eq!([(); 2].map(|()| resumes(&client, &server)), [false, true]);
            set_clock(build_time() + 1);
            assert_eq!([(); 3].map(|()| resumes(&client, &server)), [false, true, true], "{}", name(version));
            // It is worth as much without one.
            set_clock(100);
            assert!(resumes(&client, &server));
        }
    }
}

#[test]
fn an_old_connection_spoils_no_new_one() {
    // What arrives on it after all is as doubtful as ever, though another one has verified the server meanwhile.
    let ca = root("ca");
    for version in VERSIONS {
        let server = server(version, &issue(&ca, |_| {}));
        let client = trusting(&ca.pem());
        let (mut old, rest) = before_the_ticket(&client, &server);
        set_clock(build_time() + 1);
        assert!(!resumes(&client, &server));
        old.client.receive(&rest).unwrap();
        assert!(old.client.layers.is_open());
        assert_eq!([(); 2].map(|()| resumes(&client, &server)), [false, true], "{}", name(version));
    }
}

#[test]
fn a_clock_that_is_set_during_the_handshake() {
    // Before the certificate is verified it is early enough.
    let ca = root("ca");
    for version in VERSIONS {
        let server = server(version, &issue(&ca, |_| {}));
        let client = trusting(&ca.pem());
        set_clock(100);
        let mut pair = Pair::new(&client, &server);
        set_clock(build_time() + 1);
        pair.run().unwrap();
        assert!(resumes(&client, &server), "{}", name(version));
        // And back, for which a connection is not to blame that had begun before.
        let mut pair = Pair::new(&TlsConfig::clone(&client), &self::server(version, &issue(&ca, |_| {})));
        set_clock(100);
        pair.run().unwrap();
        assert!(!pair.is_resumed());
        set_clock(build_time() + 1);
        assert_eq!([(); 2].map(|()| resumes(&client, &server)), [false, true], "{}", name(version));
    }
}

#[test]
fn a_clock_that_is_set_between_two_looks_at_it() {
    thread_local! {
        static UNSET: Cell<u32> = const { Cell::new(u32::MAX) };
    }
    // Not set for so many looks.
    fn clock() -> u64 {
        let unset = UNSET.get();
        UNSET.set(unset.saturating_sub(1));
        if unset > 0 { 100 } else { build_time() + 1 }
    }
    let ca = root("ca");
    for version in VERSIONS {
        let server = server(version, &issue(&ca, |_| {}));
        let mut resumed = [false; 2];
        for looks in 0..10 {
            let ca = ca.pem();
            let settings = Settings { verify: true, ca: Some(ca.as_bytes()), clock, ..settings() };
            let client = TlsConfig::new(settings).unwrap();
            UNSET.set(1000);
            assert!(!resumes(&client, &server));
            UNSET.set(looks);
            let without = resumes(&client, &server);
            UNSET.set(0);
            let with = resumes(&client, &server);
            assert!(!(without && with), "{} {looks}", name(version));
            resumed = [resumed[0] | without, resumed[1] | with];
        }
        assert_eq!(resumed, [true; 2], "{}", name(version));
    }
}
