//! Random scenarios from many seeds. `make soak` runs many more, and faster.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::rng::Rng;
use crate::scenario::{run, run_bytes};

/// How many of the tests below share the seeds.
const PARTS: u64 = 2;

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (0..count.unwrap_or(300)).collect(),
    }
}

fn run_part(part: u64) {
    for seed in seeds().into_iter().filter(|seed| seed % PARTS == part) {
        let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = result {
            eprintln!("seed {seed} fails: SIM_SEED={seed} SIM_TRACE=1 cargo test --test simulation random");
            resume_unwind(panic);
        }
    }
}

#[test]
fn random_even_seeds() {
    run_part(0);
}

#[test]
fn random_odd_seeds() {
    run_part(1);
}

/// What `make soak` has found: an answer that waits behind acknowledgements; a message behind CONNACK beside one in a callback; a
/// connection for two calls that had failed, one of whose tasks was late.
#[test]
fn seeds_that_have_failed() {
    for seed in [82_042_948, 83_000_304, 86_022_226, 92_030_160, 97_028_468] {
        run(seed);
    }
}

/// As libFuzzer does it in `fuzz/`: bytes choose.
#[test]
fn random_bytes() {
    let mut connections = 0;
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let bytes: Vec<_> = (0..40 * seed).map(|_| rng.below(256) as u8).collect();
        connections += run_bytes(&bytes)[0];
    }
    assert!(connections > 20);
}

#[test]
fn numbers_from_bytes() {
    let mut rng = Rng::from_bytes(&[7, 1, 2, 255, 200]);
    assert_eq!(rng.below(1), 0, "no choice, no byte");
    assert_eq!(rng.below(5), 2);
    assert_eq!(rng.below(1000), 0x102);
    assert!(!rng.permille(0) && !rng.is_over());
    assert_eq!(rng.between(10, 265), 265);
    assert!(rng.permille(801) && rng.is_over());
    // From now on some numbers, always the same.
    let more: Vec<_> = (0..20).map(|_| rng.below(100)).collect();
    assert!(more.iter().any(|number| *number != more[0]));
}
