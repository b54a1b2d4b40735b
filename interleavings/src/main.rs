//! The library under a scheduler that tries interleavings: `make interleavings`. See `scripts/interleavings.sh`.
//!
//! The library is here from its sources, with the C functions on top and a port to a model below; its atomics are the model's
//! too (`sync`). Between any two looks at a lock, an atomic, a signal, the network or the event queue another task may go on.

#[allow(dead_code, unused_imports)]
#[path = "../../src/port/mod.rs"]
mod boundary;
#[allow(dead_code, unused_imports)]
#[path = "../../src/client/mod.rs"]
mod client;
#[allow(dead_code, unused_imports)]
#[path = "../../src/ffi/mod.rs"]
mod ffi;
#[allow(dead_code, unused_imports)]
#[path = "../../src/log.rs"]
mod log;
#[allow(dead_code, unused_imports)]
#[path = "../../src/memory.rs"]
mod memory;
#[allow(dead_code, unused_imports)]
#[path = "../../src/protocol/mod.rs"]
mod protocol;
#[allow(dead_code, unused_imports)]
#[path = "../../src/time.rs"]
mod time;
#[allow(dead_code, unused_imports)]
#[path = "../../src/transport/mod.rs"]
mod transport;
#[path = "../../tests/protocol/wire.rs"]
mod wire;

mod app;
mod events;
mod model;
mod net;
mod scenarios;
mod scheduler;
mod server;
mod sync;
mod world;

extern crate alloc;

/// The library's port: its own definitions, and the model under them.
mod port {
    pub use crate::boundary::*;
    pub(crate) use crate::model::{Model as Platform, init_log};
}

use std::env::var;
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use scenarios::SCENARIOS;
use scheduler::{Figures, Seeded};

/// So many schedules are tried, however slow the machine is.
const LEAST: u64 = 2500;

/// Bytes that a schedule may leave on the heap, on average.
const LEFT: u64 = 16;

fn number(name: &str) -> Option<u64> {
    var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Runs schedules until there are enough.
fn explore(scenario: fn(), seeds: Seeded<impl FnMut(u64) -> bool + 'static>) {
    let mut config = shuttle::Config::new();
    config.stack_size = 0x4_0000;
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
    config.silence_warnings = true;
    shuttle::Runner::new(seeds, config).run(move || {
        world::create();
        scenario();
        world::destroy();
    });
}

fn heap() -> u64 {
    // SAFETY: it only reads the allocator's books.
    unsafe { libc::mallinfo2() }.uordblks as u64
}

static SCENARIO: OnceLock<String> = OnceLock::new();
/// The schedule that runs.
pub(crate) static SEED: AtomicU64 = AtomicU64::new(0);

/// Says how to repeat the schedule that has failed. Nothing unwinds through C.
fn fail(why: &dyn std::fmt::Display) -> ! {
    let (of, seed) = (SCENARIO.get().map_or("", String::as_str), SEED.load(Ordering::Relaxed));
    println!("{of}: {why}");
    println!("again, with what happens:  make interleavings ONLY={of} SEED={seed} SCHEDULES=1 TRACE=1");
    exit(1)
}

extern "C" fn crashed(signal: libc::c_int) {
    fail(&format_args!("signal {signal}"))
}

/// `interleavings SCENARIO`: tries schedules SEED, SEED + 1 and so on for DURATION seconds, or SCHEDULES of them.
fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
        exit(0)
    });
    let Some((_, scenario)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no scenario {name}");
        exit(2)
    };
    let (first, duration, most) =
        (number("SEED").unwrap_or(1), number("DURATION").unwrap_or(10), number("SCHEDULES").unwrap_or(u64::MAX));
    let figures: Arc<Mutex<Figures>> = Arc::default();

    SCENARIO.set(name.clone()).expect("set once");
    std::panic::set_hook(Box::new(|info| fail(info)));
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT] {
        // SAFETY: the handler takes what it is given, and does not return.
        unsafe { libc::signal(signal, crashed as *const () as libc::sighandler_t) };
    }

    let start = Instant::now();
    let at_first = Arc::new(Mutex::new((0, 0)));
    let books = at_first.clone();
    let enough = move |done| {
        // What is allocated once is, by then.
        if done == 200 {
            *books.lock().unwrap() = (done, heap());
        }
        done >= most || done >= LEAST && start.elapsed() >= Duration::from_secs(duration)
    };
    explore(*scenario, Seeded::new(first, enough, figures.clone()));
    let again: Arc<Mutex<Figures>> = Arc::default();
    explore(*scenario, Seeded::new(first, |done| done == 1, again.clone()));

    let figures = figures.lock().unwrap();
    let (schedules, decisions, different) = (figures.schedules, figures.decisions, figures.different.len());
    let (done, before) = *at_first.lock().unwrap();
    let left = heap().saturating_sub(before);
    if done > 0 && left > LEFT * (schedules - done) + 100_000 {
        println!("{name}: {left} bytes are left on the heap by {} schedules", schedules - done);
        exit(1);
    }
    if schedules > 0 && !again.lock().unwrap().different.is_subset(&figures.different) {
        println!("{name}: SEED={first} is not the same schedule each time");
        exit(1);
    }
    println!("{name}: {schedules} schedules, {different} of them different, {decisions} decisions");
}
