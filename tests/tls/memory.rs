//! What a connection keeps, and what becomes of it when memory is out: this test program's allocator counts, for each
//! thread, and refuses.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::Write;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::Arc;

use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::support::*;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// What is live as the device's heap counts: in steps of 8 bytes, with 8 more for each block.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    /// The most of that since [`peak`] has begun.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static SPARED: Cell<Option<u32>> = const { Cell::new(None) };
    /// What may be live at most.
    static HEAP: Cell<isize> = const { Cell::new(isize::MAX) };
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
    layout.size().next_multiple_of(8) as isize + 8
}

// SAFETY: the system's allocator does it all, if anything is done.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LIVE.get() + layout.size() as isize > HEAP.get() || fails() {
            return null_mut();
        }
        LIVE.set(LIVE.get() + layout.size() as isize);
        TAKEN.set(TAKEN.get() + on_device(layout));
        PEAK.set(PEAK.get().max(TAKEN.get()));
        // SAFETY: the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        TAKEN.set(TAKEN.get() - on_device(layout));
        // SAFETY: the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }
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

/// What is allocated at most while `work` runs, beside what was before. A block that grows is there twice meanwhile.
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
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
    const CHILD: &str = "TLS_NO_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let arguments = [test, "--exact", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    false
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
    let steps: [(&str, Says); 4] = [
        ("tickets", |pair| pair.answer()),
        ("a small record", |pair| pair.says(&data(100))),
        ("a large record", |pair| pair.says(&data(16_384))),
        ("sending", |_| Vec::new()),
    ];
    for version in VERSIONS {
        let (client, server) = (trusting(&authority.pem()), server(version, &identity));
        for (what, says) in steps.into_iter().skip(usize::from(name(version) != "TLS 1.3")) {
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
                    true => large.chunks(1000).try_for_each(|part| layers.send(part, out)),
                    false => bytes.chunks(1000).try_for_each(|part| layers.receive(part, out, &mut |_| {})),
                });
                match result {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error.to_string(), "out of memory"),
                }
                refused += 1;
            }
            assert!(refused > 0, "{what}");
        }
    }
}
