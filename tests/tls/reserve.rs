//! What the handshakes' task puts in reserve: one at a time, since a device has a place for each of two tasks.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use rustls::ServerConnection;
use wm_mqtt_client::client::{AuthMode, Client, Config, Events, Hub, Notification, Text};
use wm_mqtt_client::port::host::Host;
use wm_mqtt_client::port::{Limits, Port, Task};
use wm_mqtt_client::time::Instant;
use wm_mqtt_client::transport::tls::{Held, Need};

use crate::certificates::self_signed;
use crate::limits::ticket;
use crate::scripted::server_saying;
use crate::support::*;

thread_local! {
    static HAS_ONE: Cell<bool> = const { Cell::new(false) };
}

/// How many reserves there were, and how many beside another one of the same task.
static RESERVES: AtomicUsize = AtomicUsize::new(0);
static SECOND_ONES: AtomicUsize = AtomicUsize::new(0);

/// Linux, where a task has one reserve or none.
enum OneReserve {}

impl Port for OneReserve {
    type Lock<T: Send> = <Host as Port>::Lock<T>;
    type Signal = <Host as Port>::Signal;
    type Net = <Host as Port>::Net;
    type Buffer = <Host as Port>::Buffer;
    type Join = <Host as Port>::Join;
    type DeepJoin = <Host as Port>::DeepJoin;

    fn now() -> Instant {
        Host::now()
    }

    fn spawn<T: Task>(task: T) -> Option<Self::Join> {
        Host::spawn(task)
    }

    fn spawn_deep<T: Task>(task: T) -> Option<Self::DeepJoin> {
        Host::spawn_deep(task)
    }

    fn reserve(_: Need) -> Option<Held> {
        RESERVES.fetch_add(1, SeqCst);
        if HAS_ONE.replace(true) {
            SECOND_ONES.fetch_add(1, SeqCst);
        }
        Some(Held::new(|| HAS_ONE.set(false)))
    }

    fn reserve_more(_: Need) -> bool {
        true
    }

    fn current_task() -> usize {
        Host::current_task()
    }

    fn unique_id() -> [u8; 3] {
        Host::unique_id()
    }

    fn unix_time() -> u64 {
        Host::unix_time()
    }

    fn random(bytes: &mut [u8]) -> bool {
        Host::random(bytes)
    }

    fn limits() -> Limits {
        Host::limits()
    }
}

/// Takes all events, and delivers none.
struct NoEvents;

impl Events<OneReserve> for NoEvents {
    fn listen(&self) -> bool {
        true
    }

    fn unlisten(&self) {}

    fn send(&self, event: &mut Option<Notification<<Host as Port>::Buffer>>) -> bool {
        *event = None;
        true
    }

    fn probe(&self, _: u32) -> bool {
        true
    }
}

fn text(text: &str) -> Text {
    Text::copy(text.as_bytes()).unwrap()
}

/// As servers in Go do it, with whom it is one flight.
#[test]
fn a_ticket_right_behind_finished() {
    let mut server = server_saying(VERSIONS[0], &self_signed(|_| {}), vec![], vec![ticket(100)]);
    server.send_tls13_tickets = 0;
    server.send_half_rtt_data = true;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("mqtts://{}", listener.local_addr().unwrap());
    let broker = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        // In its place stands the ticket.
        server.writer().write_all(b"ticket").unwrap();
        let mut connect = [0; 14];
        let mut received = 0;
        while received < connect.len() {
            assert_ne!(server.read_tls(&mut stream).unwrap(), 0, "the client has given up");
            server.process_new_packets().unwrap();
            received += server.reader().read(&mut connect[received..]).unwrap_or(0);
            let mut flight = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            stream.write_all(&flight).unwrap();
        }
        server.writer().write_all(&[0x20, 2, 0, 0]).unwrap();
        while server.wants_write() {
            server.write_tls(&mut stream).unwrap();
        }
        // Until the client closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let hub: &'static Hub<OneReserve> = Box::leak(Box::new(Hub::new(&NoEvents).unwrap()));
    let config = Config {
        uri: text(&uri),
        client_id: text(""),
        username: None,
        password: None,
        auth_mode: AuthMode { verify: false, present: false },
        ca: None,
        cert: None,
        key: None,
        alpn: Vec::new(),
        will_topic: None,
        will_message: None,
        will_qos: 0,
        will_retain: false,
        keep_alive: 60,
        clean_session: true,
        debug: false,
    };
    let client = hub.add(1, config).unwrap();
    let connected = Client::connect(&client);
    hub.remove(1);
    broker.join().unwrap();
    assert_eq!(connected, Ok(()));
    assert!(RESERVES.load(SeqCst) > 3);
    assert_eq!(SECOND_ONES.load(SeqCst), 0, "a reserve beside that of the same task");
}
