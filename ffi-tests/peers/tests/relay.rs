//! The relay as the C tests use it: the program, between a broker's socket and a client of rustls and tungstenite.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use support::{Client, Pair, Relay, client_config, read, reset, tls_client};
use tungstenite::protocol::frame::coding::CloseCode;

const SCHEMES: [(&str, &str); 4] = [
    ("mqtt", ""),
    ("mqtts", "--tls server.pem server.key"),
    ("ws", "--websocket"),
    ("wss", "--tls server.pem server.key --websocket"),
];

#[test]
fn passes_bytes_on_in_both_directions() {
    const PIECE: usize = 40_000;
    let variants =
        ["", "--versions 1.2", "--frame 1000", "--frame 1000 --frames --ping", "--record 100", "--segment 700"];
    for (scheme, options) in SCHEMES {
        for variant in variants {
            let mut pair = Pair::new(scheme, &format!("{options} {variant}"));
            let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
            let mut broker = pair.broker.try_clone().unwrap();
            // The broker sends everything back while it is still coming.
            let echo = thread::spawn(move || {
                let mut buffer = [0; 5000];
                loop {
                    let len = broker.read(&mut buffer).unwrap();
                    if len == 0 {
                        return broker.shutdown(Shutdown::Write).unwrap();
                    }
                    broker.write_all(&buffer[..len]).unwrap();
                }
            });
            let start = Instant::now();
            let mut received = Vec::new();
            // At most two pieces are under way, less than the buffers hold: this client does one thing at a time.
            for (index, piece) in sent.chunks(PIECE).enumerate() {
                pair.client.send(piece);
                while received.len() < index * PIECE {
                    received.extend(pair.client.receive().unwrap());
                }
            }
            while received.len() < sent.len() {
                received.extend(pair.client.receive().unwrap());
            }
            assert!(received == sent, "{scheme} {variant}");
            println!("{scheme} {variant}: {:?}", start.elapsed());
            pair.client.socket().shutdown(Shutdown::Write).unwrap();
            echo.join().unwrap();
        }
    }
}

#[test]
fn adds_no_delay() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        let start = Instant::now();
        for _ in 0..500 {
            pair.client.send(b"to and fro");
            assert_eq!(read(&mut pair.broker, 10), b"to and fro");
            pair.broker.write_all(b"back").unwrap();
            assert_eq!(pair.client.receive().unwrap(), b"back");
        }
        println!("{scheme}: {:?} for a round trip", start.elapsed() / 500);
        // An acknowledgement that is delayed takes 40 ms, and 20 s in all.
        assert!(start.elapsed() < Duration::from_secs(10), "{scheme}: {:?}", start.elapsed());
    }
}

#[test]
fn the_brokers_end_is_the_clients_end() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        pair.broker.write_all(b"bye").unwrap();
        pair.broker.shutdown(Shutdown::Write).unwrap();
        assert_eq!(pair.client.receive().unwrap(), b"bye");
        match scheme {
            "ws" | "wss" => {
                assert_eq!(pair.client.close_code(), Some(CloseCode::Normal));
                assert_eq!(pair.client.rest().unwrap(), 0);
            }
            _ => assert_eq!(pair.client.receive().unwrap(), b""),
        }
        // The other direction is still open.
        if !scheme.starts_with("ws") {
            pair.client.send(b"one more");
            assert_eq!(read(&mut pair.broker, 8), b"one more");
        }
        drop(pair.client);
        assert_eq!(pair.broker.read(&mut [0; 9]).unwrap(), 0);
        pair.relay.line("end");
    }
}

#[test]
fn a_truncated_end() {
    for (scheme, options) in [SCHEMES[1], SCHEMES[3]] {
        let mut pair = Pair::new(scheme, &format!("{options} --truncate --no-close"));
        pair.broker.shutdown(Shutdown::Write).unwrap();
        assert_eq!(pair.client.rest().unwrap_err().kind(), ErrorKind::UnexpectedEof, "{scheme}");
    }
}

#[test]
fn resets_go_through() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        reset(pair.broker);
        assert_eq!(pair.client.rest().unwrap_err().kind(), ErrorKind::ConnectionReset, "{scheme}");
        pair.relay.line("end");

        let mut pair = Pair::new(scheme, options);
        sockopt::set_socket_linger(pair.client.socket(), Some(Duration::ZERO)).unwrap();
        drop(pair.client);
        assert_eq!(pair.broker.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{scheme}");
        assert!(pair.relay.line("end").contains("close_notify=no close=-"));
    }
}

#[test]
fn the_clients_end_is_the_brokers_end() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        pair.client.send(b"last");
        pair.client.end();
        assert_eq!(read(&mut pair.broker, 4), b"last");
        assert_eq!(pair.broker.read(&mut [0; 9]).unwrap(), 0);
        drop(pair.broker);
        let expected = match scheme {
            "mqtt" => "end close_notify=no close=-",
            "mqtts" => "end close_notify=yes close=-",
            "ws" => "end close_notify=no close=1000",
            _ => "end close_notify=yes close=1000",
        };
        drop(pair.client);
        assert_eq!(pair.relay.line("end"), expected);
    }
}

#[test]
fn what_is_not_taken_is_not_read() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        // Towards the client, which reads nothing; the broker's own send buffer is made small.
        sockopt::set_socket_send_buffer_size(&pair.broker, 4096).unwrap();
        pair.broker.set_nonblocking(true).unwrap();
        let mut total = 0;
        let mut idle = 0;
        while idle < 20 {
            match pair.broker.write(&[7; 4096]) {
                Ok(len) => (total, idle) = (total + len, 0),
                Err(_) => {
                    idle += 1;
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        println!("{scheme}: {total} bytes on the way to a client that does not read");
        assert!(total < 8 << 20, "{scheme}: {total}");
        assert!(pair.relay.ticks_while_idle() <= 1, "{scheme}: it spins");
        // A reset is noticed all the same, though nobody reads.
        let broker = pair.broker;
        broker.set_nonblocking(false).unwrap();
        reset(broker);
        pair.relay.line("end");
    }
}

#[test]
fn sleeps_while_nothing_happens() {
    for (scheme, options) in SCHEMES {
        let mut pair = Pair::new(scheme, options);
        assert!(pair.relay.ticks_while_idle() <= 1, "{scheme}");
        pair.broker.shutdown(Shutdown::Write).unwrap();
        assert!(pair.relay.ticks_while_idle() <= 1, "{scheme}: the broker has ended");
        pair.client.socket().shutdown(Shutdown::Write).unwrap();
        pair.relay.line("end");
        assert!(pair.relay.ticks_while_idle() <= 1, "{scheme}: both have ended");
    }
}

#[test]
fn a_refused_client_reaches_no_broker() {
    let tls = "--tls server.pem server.key";
    let mut relay = Relay::start(&format!("{tls} --client-ca ca.pem"));
    let mut client = tls_client(relay.connect(), &client_config("ca.pem", false));
    assert!(client.write_all(b"x").and_then(|()| client.read(&mut [0; 1])).is_err());
    assert_eq!(relay.line("failed"), "failed peer sent no certificates");

    let mut client = tls_client(relay.connect(), &client_config("ca.pem", true));
    client.write_all(b"x").unwrap();
    assert!(relay.line("tls").ends_with("sni=localhost alpn=- client=client"));
    assert_eq!(read(&mut relay.broker(), 1), b"x");

    let mut relay = Relay::start(tls);
    let mut client = tls_client(relay.connect(), &client_config("other-ca.pem", false));
    assert!(client.write_all(b"x").is_err());
    client.conn.write_tls(&mut client.sock).unwrap();
    assert_eq!(relay.line("failed"), "failed received alert: UnknownCA");

    let mut relay = Relay::start("--websocket --path /mqtt");
    let url = "ws://localhost/other";
    let Err(error) = tungstenite::client(url, relay.connect()) else { panic!("it was accepted") };
    assert!(error.to_string().contains("404"), "{error}");
    assert_eq!(relay.line("http"), "http path=/other host=localhost protocol=-");
    assert_eq!(relay.line("failed"), "failed answered 404");
    relay.broker.set_nonblocking(true).unwrap();
    assert_eq!(relay.broker.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn many_connections() {
    for (scheme, options) in SCHEMES {
        let relay = Relay::start(options);
        let config = client_config("ca.pem", false);
        let start = Instant::now();
        for _ in 0..300 {
            let mut client = Client::new(scheme, relay.connect(), &config);
            let mut broker = relay.broker();
            client.send(b"hello");
            assert_eq!(read(&mut broker, 5), b"hello");
            client.end();
            assert_eq!(broker.read(&mut [0; 1]).unwrap(), 0);
        }
        println!("{scheme}: {:?} for a connection", start.elapsed() / 300);
        let open: Vec<_> = (0..100)
            .map(|_| {
                let client = Client::new(scheme, relay.connect(), &config);
                (client, relay.broker())
            })
            .collect();
        for (mut client, mut broker) in open {
            client.send(b"hello");
            assert_eq!(read(&mut broker, 5), b"hello");
        }
    }
}
