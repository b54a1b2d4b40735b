//! Scenarios of the simulation from seed to seed: `soak FIRST COUNT SECONDS`, as many as COUNT or what SECONDS allow, on all
//! processors. Prints each seed that fails, and at last what was seen.

use std::panic::catch_unwind;
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, scope};
use std::time::{Duration, Instant};

use fuzz::client::run_seed;

#[derive(Default)]
struct Sum {
    seeds: u64,
    /// Connections, messages, milliseconds.
    seen: [u64; 3],
    failed: Vec<u64>,
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let [first, count, seconds] = numbers[..] else { panic!("soak FIRST COUNT SECONDS") };
    let end = Instant::now() + Duration::from_secs(seconds);
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let work = || {
        while Instant::now() < end {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let seed = first + number;
            let result = catch_unwind(|| run_seed(seed));
            let mut sum = sum.lock().expect("nobody panics with it");
            sum.seeds += 1;
            match result {
                Ok(seen) => sum.seen.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen),
                Err(_) => {
                    println!("seed {seed} fails after {} seeds: make soak SEED={seed} SEEDS=1 SIM_TRACE=1", sum.seeds);
                    sum.failed.push(seed);
                }
            }
        }
    };
    scope(|scope| {
        let threads = available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let Sum { seeds, seen, failed } = sum.into_inner().expect("nobody panics with it");
    let [connections, messages, ms] = seen;
    let hours = ms / 3_600_000;
    println!(
        "{seeds} seeds, {connections} connections, {messages} messages, {hours} simulated hours, {} failed",
        failed.len()
    );
    // None at all would be no proof.
    exit(i32::from(!failed.is_empty() || connections == 0));
}
