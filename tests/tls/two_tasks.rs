//! The handshakes' task takes what is behind the handshake in the same input (Go's servers send their tickets there, with Finished):
//! two tasks have open connections then.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use rcgen::CustomExtension;
use wm_mqtt_client::port::Port;
use wm_mqtt_client::port::host::Host;
use wm_mqtt_client::transport::tls::{Held, Need, Settings, TlsConfig};

use crate::certificates::*;
use crate::memory::{in_own_process, with_heap};
use crate::support::*;

/// 1: the MQTT task is to run when the handshakes' task is about to decrypt; 2: it runs; 0: it has, or is not to.
static OTHER: AtomicU8 = AtomicU8::new(0);

fn hold(need: Need) -> Option<Held> {
    let held = Host::reserve(need);
    // Not for the header, for which an alert is held.
    if need.bytes > 640 && OTHER.compare_exchange(1, 2, SeqCst, SeqCst).is_ok() {
        while OTHER.load(SeqCst) == 2 {
            std::hint::spin_loop();
        }
    }
    held
}

/// What waits for a client with a long chain, that is open but for its tickets.
fn with_tickets() -> (Pair, Vec<u8>) {
    let identity = self_signed(|params| {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; 5000]));
    });
    let mut server = server(VERSIONS[0], &identity);
    server.send_tls13_tickets = 2;
    let mut pair = Pair::new(&TlsConfig::new(Settings { hold, ..settings() }).unwrap(), &server);
    let bytes = pair.answer();
    pair.client.receive(&bytes).unwrap();
    let bytes = pair.answer();
    (pair, bytes)
}

/// The MQTT task, in which another connection receives something meanwhile.
fn other() -> std::thread::JoinHandle<()> {
    let thread = std::thread::spawn(|| {
        let mut other = Pair::open(&unverified(), &server(VERSIONS[0], &self_signed(|_| {})));
        let bytes = other.says(b"data");
        OTHER.store(1, SeqCst);
        while OTHER.load(SeqCst) == 1 {
            std::hint::spin_loop();
        }
        if OTHER.load(SeqCst) == 2 {
            other.client.receive(&bytes).unwrap();
        }
        OTHER.store(0, SeqCst);
    });
    while OTHER.load(SeqCst) != 1 {
        std::thread::yield_now();
    }
    thread
}

#[test]
fn a_small_heap_for_tickets() {
    if !in_own_process("two_tasks::a_small_heap_for_tickets") {
        return;
    }
    for free in (0..).step_by(500) {
        let (mut pair, bytes) = with_tickets();
        let thread = other();
        eprintln!("{free} bytes free");
        let result = with_heap(free, || pair.client.layers.receive(&bytes, &mut pair.client.out, &mut |_| {}));
        let _ = OTHER.compare_exchange(1, 3, SeqCst, SeqCst);
        thread.join().unwrap();
        match result {
            Ok(()) => break,
            Err(error) => assert_eq!(error.to_string(), "out of memory"),
        }
    }
}
