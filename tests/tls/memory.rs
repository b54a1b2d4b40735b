//! What a connection keeps, and what becomes of it when memory is out: this test program's allocator counts, for each
//! thread, and refuses.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::Write;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::Arc;

use rcgen::CustomExtension;
use wm_mqtt_client::transport::tls::{BLOCK_HEADER, Settings, TlsConfig};

use crate::certificates::*;
use crate::der::sequence;
use crate::openssl;
use crate::support::*;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// What is live as the device's heap counts: in steps of 8 bytes, with more for each block.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    /// The most of that since [`peak`] has begun.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static SPARED: Cell<Option<u32>> = const { Cell::new(None) };
    /// What may be live at most.
    static HEAP: Cell<isize> = const { Cell::new(isize::MAX) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Blocks of this size do not count.
    static FREE_OF_CHARGE: Cell<usize> = const { Cell::new(0) };
}

/// So many allocations of the library's own are spared, the next one fails, those behind it do not.
fn fail_after(spared: u32) {
    SPARED.set(Some(spared));
}

/// Whether there was an end to what [`fail_after`] has spared.
fn has_failed() -> bool {
    SPARED.take().is_none()
}

/// Whether this allocation fails. That of a dependency does not: it would end the process.
fn fails() -> bool {
    // Looking allocates.
    let Some(spared) = SPARED.take() else { return false };
    let backtrace = Backtrace::force_capture().to_string();
    let ours = is_ours(&backtrace);
    if ours && spared == 0 {
        eprintln!("an allocation fails:\n{backtrace}");
        return true;
    }
    SPARED.set(Some(spared - u32::from(ours)));
    false
}

/// Whether the library itself has asked for it, by other means than an `Arc`, which rustls insists on.
fn is_ours(backtrace: &str) -> bool {
    for line in backtrace.lines() {
        let Some((_, name)) = line.split_once(": ") else { continue };
        let name = name.trim_start_matches(['<', '&']);
        if name.starts_with("alloc::sync::Arc") {
            return false;
        }
        if !name.starts_with("tls::memory") {
            let krate = name.split("::").next().unwrap_or_default();
            match krate {
                // What rustls wants in a box.
                "wm_mqtt_client" if name.contains("::decrypter::") => return false,
                "wm_mqtt_client" => return true,
                "rustls" | "rustls_pki_types" | "webpki" | "ring" | "tls" => return false,
                _ => {}
            }
        }
    }
    false
}

fn on_device(layout: Layout) -> isize {
    (layout.size().next_multiple_of(8) + BLOCK_HEADER) as isize
}

// SAFETY: the system's allocator does it all, if anything is done.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        if LIVE.get() + charge(layout) > HEAP.get() || fails() {
            return null_mut();
        }
        LIVE.set(LIVE.get() + charge(layout));
        TAKEN.set(TAKEN.get() + on_device(layout));
        PEAK.set(PEAK.get().max(TAKEN.get()));
        // SAFETY: the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - charge(layout));
        TAKEN.set(TAKEN.get() - on_device(layout));
        // SAFETY: the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a block counts.
fn charge(layout: Layout) -> isize {
    if layout.size() == FREE_OF_CHARGE.get() { 0 } else { layout.size() as isize }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much more is allocated after `work` than before.
fn kept(work: impl FnOnce()) -> isize {
    let before = LIVE.get();
    work();
    LIVE.get() - before
}

/// How much this thread has allocated.
pub(crate) fn live() -> isize {
    LIVE.get()
}

/// What is allocated at most while `work` runs, beside what was before. A block that grows is there twice meanwhile. In a process
/// of the test's own: what a handshake takes depends on others before it (the longest ticket) and beside it (the library has
/// one at a time).
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    assert!(is_own_process());
    let before = TAKEN.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// Runs `work` on a heap with so many bytes free.
pub(crate) fn with_heap<R>(free: usize, work: impl FnOnce() -> R) -> R {
    HEAP.set(LIVE.get() + free as isize);
    let result = work();
    HEAP.set(isize::MAX);
    result
}

/// Runs this test again in a process of its own, which ends when an allocation fails that must not. Whether this is that
/// process.
pub(crate) fn in_own_process(test: &str) -> bool {
    if is_own_process() {
        return true;
    }
    let arguments = [test, "--exact", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    false
}

const CHILD: &str = "TLS_OWN_PROCESS";

fn is_own_process() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_large_record_leaves_nothing_behind() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        let small = pair.says(b"small");
        pair.client.receive(&small).unwrap();
        let large = pair.says(&data(16_384));
        assert_eq!(records(&large).len(), 1);
        let (begin, end) = large.split_at(3000);
        let Client { layers, out, .. } = &mut pair.client;
        // Its header makes room for it, and not for more.
        let header = kept(|| layers.receive(&begin[..5], out, &mut |_| panic!()).unwrap());
        assert_eq!(header, 0);
        let waiting = kept(|| layers.receive(&begin[5..], out, &mut |_| panic!()).unwrap());
        assert_eq!(waiting, large.len() as isize - 2048);
        let mut received = 0;
        let freed = kept(|| layers.receive(end, out, &mut |plain| received += plain.len()).unwrap());
        assert_eq!(received, 16_384);
        assert!(freed <= -16_384, "{freed}");
        let mut idle = || {
            layers.receive(&[], out, &mut |_| panic!()).unwrap();
        };
        idle();
        assert_eq!(kept(idle), 0);
    }
}

#[test]
fn connections_leave_nothing_behind() {
    for version in VERSIONS {
        let (client, server) = (unverified(), server(version, &self_signed(|_| {})));
        let connect = || {
            let mut pair = Pair::open(&client, &server);
            pair.assert_works();
        };
        // The first few fill the server's memory of sessions and the client's.
        (0..400).for_each(|_| connect());
        let kept = kept(|| (0..20).for_each(|_| connect()));
        assert!(kept.abs() < 2000, "{kept}");
    }
}

/// From the configuration to data in both directions and a resumption.
#[test]
fn no_memory_for_what_is_ours() {
    if !in_own_process("memory::no_memory_for_what_is_ours") {
        return;
    }
    let authority = root("authority");
    let (identity, own) = (issue(&authority, |_| {}), issue(&authority, |_| {}));
    let (ca, chain, key) = (authority.pem(), own.pem.concat(), own.key.serialize_pem());
    for version in VERSIONS {
        let server = server_asking(version, &identity, Arc::new(Curious { mandatory: true, names: Vec::new() }));
        let walk = || -> Result<(), String> {
            let settings = Settings {
                verify: true,
                ca: Some(ca.as_bytes()),
                identity: Some((chain.as_bytes(), key.as_bytes())),
                ..settings()
            };
            let config = TlsConfig::new(settings).map_err(|error| error.to_string())?;
            for resumed in [false, true] {
                let mut pair = Pair::with_host(&config, HOST, &server)?;
                pair.run()?;
                // A session that there is no memory to offer is not.
                assert!(pair.is_resumed() == resumed || resumed && SPARED.get().is_none());
                let Client { layers, out, .. } = &mut pair.client;
                layers.send(&data(40_000), out).map_err(|error| error.to_string())?;
                pair.server.writer().write_all(&data(40_000)).unwrap();
                pair.run()?;
                assert!(pair.received == data(40_000) && pair.client.up == data(40_000));
                pair.client.layers.close(&mut pair.client.out);
            }
            Ok(())
        };
        let mut failures = 0;
        for spared in 0.. {
            fail_after(spared);
            let result = walk();
            if !has_failed() {
                assert_eq!(result, Ok(()));
                break;
            }
            // What only ends the stream in order may be missing.
            assert!(result.as_ref().err().is_none_or(|error| error == "out of memory"), "{result:?}");
            failures += 1;
        }
        assert!(failures > 10, "{failures}");
    }
}

/// Once the handshake is done, rustls allocates for each record without asking. So nothing is handed to it that the heap
/// has no room for.
#[test]
fn a_small_heap_behind_the_handshake() {
    if !in_own_process("memory::a_small_heap_behind_the_handshake") {
        return;
    }
    let authority = root("authority");
    let identity = issue(&authority, |_| {}).followed_by(&authority);
    // What the server says behind the handshake; nothing where the client does. In TLS 1.2 tickets come before its end.
    type Says = fn(&mut Pair) -> Vec<u8>;
    let key_update: Says = |pair| {
        pair.server.refresh_traffic_keys().unwrap();
        pair.says(b"news")
    };
    let steps: [(&str, Says); 7] = [
        ("tickets", |pair| pair.answer()),
        ("a new key", key_update),
        ("closing", |_| Vec::new()),
        ("no TLS", |_| b"HTTP/1.1 400 Bad Request".to_vec()),
        ("a small record", |pair| pair.says(&data(100))),
        ("a large record", |pair| pair.says(&data(16_384))),
        ("sending", |_| Vec::new()),
    ];
    for version in VERSIONS {
        let (client, server) = (trusting(&authority.pem()), server(version, &identity));
        for (what, says) in steps.into_iter().skip(2 * usize::from(name(version) != "TLS 1.3")) {
            let mut refused = 0;
            for free in (0..).step_by(200) {
                let mut pair = Pair::new(&client, &server);
                while !pair.client.layers.is_open() {
                    let flight = pair.answer();
                    pair.client.receive(&flight).unwrap();
                }
                if what != "tickets" {
                    let tickets = pair.answer();
                    pair.client.receive(&tickets).unwrap();
                }
                let (bytes, large) = (says(&mut pair), data(16_384));
                eprintln!("{what}, {free} bytes free");
                let Client { layers, out, .. } = &mut pair.client;
                let result = with_heap(free, || match bytes.is_empty() {
                    true if what == "closing" => {
                        layers.close(out);
                        Ok(())
                    }
                    true => large.chunks(1000).try_for_each(|part| layers.send(part, out)),
                    false => bytes.chunks(1000).try_for_each(|part| layers.receive(part, out, &mut |_| {})),
                });
                match result {
                    // Without memory for close_notify the stream ends all the same.
                    Ok(()) if what == "closing" && out.is_empty() => {}
                    Ok(()) => break,
                    Err(error) if what == "no TLS" && error.to_string().starts_with("TLS: ") => break,
                    Err(error) => assert_eq!(error.to_string(), "out of memory"),
                }
                refused += 1;
            }
            assert!(refused > 0, "{what}");
        }
    }
}

/// webpki lists in its errors what it has found in a certificate: a block for each.
#[test]
fn a_certificate_that_is_refused_costs_no_more_than_one_that_is_not() {
    if !in_own_process("memory::a_certificate_that_is_refused_costs_no_more_than_one_that_is_not") {
        return;
    }
    let ca = root("ca");
    let many = |id: u64, one: &[u8]| {
        issue(&ca, |params| {
            if id == 17 {
                params.subject_alt_names.clear();
            }
            let content = sequence(&[&one.repeat(14_000 / one.len())]);
            params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, id], content));
        })
    };
    let (wrong, purpose) = (Err("issued for another host name"), Err("not issued for servers"));
    let below = |id, one| {
        let issuer = intermediate("sub", &ca, |params| {
            let content = sequence(&[&<[u8]>::repeat(one, 14_000 / one.len())]);
            params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, id], content));
        });
        issue(&issuer, |_| {}).followed_by(&issuer)
    };
    let cases = [
        ("another extension", many(99, &[5, 0]), Ok(())),
        ("names", many(17, &[0x82, 1, b'a']), wrong),
        ("addresses", many(17, &[0x87, 4, 1, 2, 3, 4]), wrong),
        ("purposes", many(37, &[6, 1, 42]), purpose),
        ("an issuer's purposes", below(37, &[6, 1, 42]), purpose),
    ];
    for (what, server, expected) in cases {
        for version in VERSIONS {
            let mut pair = Pair::new(&trusting(&ca.pem()), &crate::support::server(version, &server));
            let flight = pair.answer();
            eprintln!("{what}");
            let result = with_heap(6 * 14_000, || pair.client.receive(&flight));
            assert_eq!(result, expected.map_err(|text| format!("server certificate refused: {text}")), "{what}");
        }
    }
}

#[test]
fn texts_that_are_too_large() {
    if !in_own_process("memory::texts_that_are_too_large") {
        return;
    }
    // rustls makes a table for sessions that we do not want; it has it only with std, as the tests' servers do.
    LARGEST.set(0);
    drop(rustls::client::Resumption::default());
    FREE_OF_CHARGE.set(LARGEST.get());
    let identity = self_signed(|_| {});
    let other = if is_built("RSA") { openssl::rsa_key(2048) } else { openssl::ec_key("secp384r1") };
    let certificate = openssl::self_signed(&other, &[]);
    let authorities = root("authority").pem().repeat(251);
    let (long_chain, key) = (identity.pem[0].repeat(251), identity.key.serialize_pem());
    let kinds = [
        ("authorities", Some(&authorities), None),
        ("a chain", None, Some((&long_chain, &key))),
        ("authorities and a key", Some(&authorities), Some((&certificate, &other))),
    ];
    for (what, ca, identity) in kinds {
        let mut refused = 0;
        // Less than that connect does not begin with.
        for free in (32 * 1024..).step_by(1000) {
            eprintln!("{what}, {free} bytes free");
            let settings = Settings {
                verify: ca.is_some(),
                ca: ca.map(|text| text.as_bytes()),
                identity: identity.map(|(chain, key)| (chain.as_bytes(), key.as_bytes())),
                ..settings()
            };
            match with_heap(free, || TlsConfig::new(settings)) {
                Ok(_) => break,
                Err(error) => assert_eq!(error.to_string(), "out of memory"),
            }
            refused += 1;
        }
        assert!(refused > 10, "{what}");
    }
}

/// tungstenite, too, allocates without asking: where it begins, for pongs, and for a close frame.
#[cfg(feature = "tungstenite")]
#[test]
fn a_small_heap_for_websocket() {
    use tungstenite::handshake::derive_accept_key;
    use wm_mqtt_client::port::{Port, host::Host};
    use wm_mqtt_client::transport::{Layers, uri::Uri};

    if !in_own_process("memory::a_small_heap_for_websocket") {
        return;
    }
    // 15,728,640 bytes, 1,000,000 bytes, and a tenth more.
    let long = |first| [first, 127, 0, 0, 0, 0, 0, 0xf0, 0, 0];
    let shorter = [&[0x82, 127, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40][..], &[0; 1_000_000]].concat();
    let longer = [0x82, 127, 0, 0, 0, 0, 0, 0x10, 0xc8, 0xe0];
    // A message, and in the same read the first fragment of another one.
    let two = [&[0x82, 1, 0, 0x02, 126, 0xea, 0x60][..], &[0; 60_000]].concat();
    let cases = [
        ("the upgrade", 8),
        ("pings", 10_000),
        ("a long frame", 1_000_000),
        ("reserved bits", 1_000_000),
        ("a longer frame", 50_000),
        ("a short fragment", 1_000),
        ("closing", 8),
    ];
    for (what, step) in cases {
        let mut refused = 0;
        for free in (0..).step_by(step) {
            let (mut layers, mut out) = (Layers::default(), Vec::new());
            layers.begin_websocket(&Uri::parse("ws://broker.example").unwrap(), Host::random, &mut out).unwrap();
            let request = String::from_utf8(std::mem::take(&mut out)).unwrap();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let head = format!(
                "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            if what != "the upgrade" {
                layers.receive(head.as_bytes(), &mut out, &mut |_| {}).unwrap();
            }
            if what == "a longer frame" {
                layers.receive(&shorter, &mut out, &mut |_| {}).unwrap();
            }
            if what == "a short fragment" {
                layers.receive(&two, &mut out, &mut |_| {}).unwrap();
            }
            eprintln!("{what}, {free} bytes free");
            let pings = [0x89, 0].repeat(32_768);
            let result = with_heap(free, || match what {
                "closing" => {
                    layers.close(&mut out);
                    Ok(())
                }
                "a long frame" => layers.receive(&long(0x82), &mut out, &mut |_| {}),
                "reserved bits" => layers.receive(&long(0xc2), &mut out, &mut |_| {}),
                "a longer frame" => layers.receive(&longer, &mut out, &mut |_| {}),
                "a short fragment" => layers.receive(&[0, 1, 0], &mut out, &mut |_| {}),
                "pings" => layers.receive(&pings, &mut out, &mut |_| {}),
                _ => layers.receive(head.as_bytes(), &mut out, &mut |_| {}),
            });
            match result {
                Ok(()) if what == "closing" && out.is_empty() => {}
                Ok(()) => break,
                Err(error) => assert_eq!(error.to_string(), "WebSocket: no memory"),
            }
            refused += 1;
        }
        assert!(refused > 0);
    }
}

/// A long message leaves nothing behind: 4,096 bytes for reading are kept, and a message until it is complete.
#[cfg(feature = "tungstenite")]
#[test]
fn a_long_websocket_message_leaves_nothing_behind() {
    use tungstenite::handshake::derive_accept_key;
    use wm_mqtt_client::port::{Port, host::Host};
    use wm_mqtt_client::transport::{Layers, uri::Uri};

    let (mut layers, mut out) = (Layers::default(), Vec::new());
    layers.begin_websocket(&Uri::parse("ws://broker.example").unwrap(), Host::random, &mut out).unwrap();
    let request = String::from_utf8(std::mem::take(&mut out)).unwrap();
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    layers.receive(head.as_bytes(), &mut out, &mut |_| {}).unwrap();
    // 1,000,000 bytes.
    let long = [&[0x82, 127, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40][..], &[0; 1_000_000]].concat();
    let kept = kept(|| {
        let mut received = 0;
        for piece in long.chunks(4096) {
            layers.receive(piece, &mut out, &mut |data| received += data.len()).unwrap();
        }
        for _ in 0..100 {
            layers.receive(&[0x82, 1, 0], &mut out, &mut |data| received += data.len()).unwrap();
        }
        assert_eq!(received, 1_000_100);
    });
    assert!(kept < 2 * 4096, "{kept} bytes are kept");
}

/// Tickets come in one record, as rustls's servers send them (rumqttd's, for one): each is kept with a copy of the server's
/// certificates, and the copy before it is freed behind that.
#[test]
fn a_small_heap_for_tickets_in_one_record() {
    if !in_own_process("memory::a_small_heap_for_tickets_in_one_record") {
        return;
    }
    for (tickets, len) in [(1, 5000), (2, 1000), (2, 5000), (8, 5000)] {
        let identity = self_signed(|params| {
            params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; len]));
        });
        let mut server = server(VERSIONS[0], &identity);
        server.send_tls13_tickets = tickets;
        let mut refused = 0;
        for free in (0..).step_by(500) {
            let mut pair = Pair::new(&unverified(), &server);
            let bytes = pair.answer();
            pair.client.receive(&bytes).unwrap();
            let bytes = pair.answer();
            assert_eq!(records(&bytes).len(), 1, "all tickets");
            eprintln!("{tickets} tickets, {len} bytes of certificates, {free} bytes free");
            match with_heap(free, || pair.client.layers.receive(&bytes, &mut pair.client.out, &mut |_| {})) {
                Ok(()) => break,
                Err(error) => assert_eq!(error.to_string(), "out of memory"),
            }
            refused += 1;
        }
        assert!(refused > 0);
    }
}

/// A host that is an address is not looked up, but its answer takes memory too.
#[test]
fn a_small_heap_for_an_address() {
    use wm_mqtt_client::port::host::HostNet;
    use wm_mqtt_client::port::{Net, Readiness};

    if !in_own_process("memory::a_small_heap_for_an_address") {
        return;
    }
    let mut refused = 0;
    for free in (0..).step_by(64) {
        let mut net = HostNet::open().unwrap();
        eprintln!("{free} bytes free");
        if !with_heap(free, || net.resolve(1, "127.0.0.1", 1883)) {
            refused += 1;
            continue;
        }
        let mut found = 0;
        net.wait(None, |_, readiness| found += usize::from(matches!(readiness, Readiness::Resolved(_))));
        assert_eq!(found, 1);
        break;
    }
    assert!(refused > 0);
}
