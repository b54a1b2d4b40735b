//! An MQTT 3.1.1 broker on the loopback interface, for demonstrations and tests.
//!
//! `demo-broker PORT` listens on 127.0.0.1 (port 0 picks a free one), prints `listening on 127.0.0.1:PORT` once it accepts
//! connections, and runs until its standard input is closed or it gets SIGTERM.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::exit;
use std::thread;
use std::time::Duration;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

fn main() {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse().ok()) else {
        fail("usage: demo-broker PORT (0: any free port)");
    };
    let address = match free_address(port) {
        Ok(address) => address,
        Err(error) => fail(&format!("port {port}: {error}")),
    };

    thread::spawn(move || {
        let result = Broker::new(config(address)).start();
        fail(&format!("the broker ended: {result:?}"));
    });
    wait_until_it_accepts(address);
    println!("listening on {address}");
    let _ = io::stdout().flush();

    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// rumqttd binds its socket itself, so the port is tried out and given back first.
fn free_address(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}

fn wait_until_it_accepts(address: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    fail(&format!("{address} does not accept connections"));
}

fn config(listen: SocketAddr) -> Config {
    let server = ServerSettings {
        name: "demo".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    Config {
        router: RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}

fn fail(message: &str) -> ! {
    eprintln!("demo-broker: {message}");
    exit(1)
}
