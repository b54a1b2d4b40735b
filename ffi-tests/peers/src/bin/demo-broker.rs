//! An MQTT 3.1.1 broker on the loopback interface, for demonstrations: rumqttd, which speaks TCP, and relays in front
//! of it for the other schemes.
//!
//! `demo-broker [PORT]` listens for mqtt on 127.0.0.1:PORT (0, the default, picks a free one) and for the others on
//! free ports. Once it accepts connections it prints
//!
//! ```text
//! mqtt://127.0.0.1:PORT
//! mqtts://localhost:PORT         asks for a client certificate
//! ws://127.0.0.1:PORT/mqtt
//! wss://localhost:PORT/mqtt
//! ca FILE                        what has signed the server's certificate and the client's
//! cert FILE                      a client's certificate
//! key FILE                       and its key
//! ```
//!
//! and runs until its standard input is closed or it gets SIGTERM or SIGINT. Then it removes the files.

use std::collections::HashMap;
use std::error::Error;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, panic, process, thread};

use peers::certificates::{CLIENT, Folder, SERVER};
use peers::relay::{self, Options};
use peers::report::Report;
use peers::{tls, websocket};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() {
    let port = match env::args().nth(1).map_or(Ok(0), |port| port.parse()) {
        Ok(port) => port,
        Err(_) => fail("usage: demo-broker [PORT] (0: any free port)"),
    };
    // Before anything is made that has to be removed again: whatever comes from now on is the main thread's to handle.
    let ended = match when_it_shall_end() {
        Ok(ended) => ended,
        Err(error) => fail(error),
    };
    let folder = match temporary_folder() {
        Ok(folder) => folder,
        Err(error) => fail(error),
    };
    let result = start(port, &folder, ended.0).map(|()| ended.1.recv());
    let _ = fs::remove_dir_all(&folder);
    match result {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(why))) => fail(why),
        Ok(Err(error)) => fail(error),
        Err(error) => fail(error),
    }
}

/// What ends the program: nothing but the wish, or a reason.
type End = Option<String>;

fn when_it_shall_end() -> io::Result<(mpsc::Sender<End>, mpsc::Receiver<End>)> {
    let (sender, receiver) = mpsc::channel();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let by_signal = sender.clone();
    thread::spawn(move || signals.forever().next().map(|_| by_signal.send(None)));
    let by_input = sender.clone();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = by_input.send(None);
    });
    Ok((sender, receiver))
}

fn start(port: u16, folder: &Path, ended: mpsc::Sender<End>) -> Result<()> {
    let broker = free_address(port).map_err(|error| format!("port {port}: {error}"))?;
    // It goes on without the task that has panicked, and whoever needs the lock which that held panics too.
    let (usual, by_panic) = (panic::take_hook(), ended.clone());
    panic::set_hook(Box::new(move |info| {
        usual(info);
        let _ = by_panic.send(Some("rumqttd has panicked".to_owned()));
    }));
    let by_broker = ended.clone();
    thread::spawn(move || {
        let result = Broker::new(config(broker)).start();
        let _ = by_broker.send(Some(format!("the broker ended: {result:?}")));
    });
    wait_until_it_accepts(broker)?;

    let certificates = Folder::new(folder)?;
    certificates.make(&SERVER)?;
    certificates.make(&CLIENT)?;
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| certificates.file(name));
    let server = tls::Options::new(certificates.file("server.pem"), certificates.file("server.key"));
    let wss = server.config()?;
    let mqtts = tls::Options { client_ca: Some(ca.clone()), ..server }.config()?;
    let websocket = websocket::Options { path: Some("/mqtt".into()), ..websocket::Options::default() };

    let start = |tls, websocket| start_relay(Options { tls, websocket, ..Options::new(broker) }, ended.clone());
    let mqtts = start(Some(mqtts), None)?;
    let ws = start(None, Some(websocket.clone()))?;
    let wss = start(Some(wss), Some(websocket))?;

    let mut out = io::stdout().lock();
    writeln!(out, "mqtt://{broker}\nmqtts://localhost:{mqtts}\nws://127.0.0.1:{ws}/mqtt\nwss://localhost:{wss}/mqtt")?;
    writeln!(out, "ca {}\ncert {}\nkey {}", ca.display(), cert.display(), key.display())?;
    Ok(out.flush()?)
}

/// On a free port, which it returns.
fn start_relay(options: Options, ended: mpsc::Sender<End>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        let result = relay::serve(&listener, options, &Report::silent());
        let _ = ended.send(Some(format!("a relay ended: {result:?}")));
    });
    Ok(port)
}

/// A new folder that only its owner may look into.
fn temporary_folder() -> io::Result<PathBuf> {
    for number in 0.. {
        let path = env::temp_dir().join(format!("wm-mqtt-demo-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {} // of a process that was killed
            result => return result.map(|()| path),
        }
    }
    unreachable!("there is always a next number")
}

/// rumqttd binds its socket itself, so the port is tried out and given back first.
fn free_address(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()
}

fn wait_until_it_accepts(address: SocketAddr) -> Result<()> {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{address} does not accept connections").into())
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
            max_connections: 1000,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}

fn fail(message: impl std::fmt::Display) -> ! {
    eprintln!("demo-broker: {message}");
    exit(1)
}
