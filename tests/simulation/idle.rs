//! While nothing happens, nothing runs.

use wm_mqtt_client::client::Config;

use crate::app::{Handle, config};
use crate::directed::*;
use crate::promises::all_is_gone;
use crate::world::{create, run, with};

fn turns_in(ms: u64) -> u64 {
    let before = with(|w| w.turns);
    run(ms);
    with(|w| w.turns) - before
}

#[test]
fn the_task_sleeps_but_for_keep_alive() {
    let handle = subscribed();
    run(1_000);
    // In an hour 60 pings, and as many answers.
    assert_eq!(turns_in(3_600_000), 120);
    assert_eq!(with(|w| w.broker.pings), 60);
    handle.remove();
    all_is_gone();
}

/// Who leaves something for a task that was woken already does not wake it again.
#[test]
fn one_of_many_calls_wakes_the_task() {
    let handle = connected();
    for round in 1..4 {
        let before = with(|w| w.nets[0].wakes);
        for _ in 0..5 {
            assert!(handle.publish("t", 0, 10).1.is_ok());
        }
        assert_eq!(with(|w| w.nets[0].wakes) - before, 1, "round {round}");
        run(100);
    }
    handle.remove();
    all_is_gone();
}

#[test]
fn an_unconnected_handle_costs_nothing() {
    let handle = connected();
    handle.disconnect();
    run(1_000);
    assert_eq!(turns_in(100_000_000), 0);
    assert_eq!(with(|w| w.sockets), 0);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_handle_that_never_connects_starts_no_task() {
    let handle = one();
    run(1_000);
    assert_eq!(handle.disconnect(), 0);
    assert_eq!(handle.remove(), 0);
    with(|w| assert!(w.tasks.is_empty() && w.nets.is_empty()));
    all_is_gone();
}

/// A year, from just before a 32-bit clock of milliseconds wraps.
#[test]
fn a_year_of_keep_alive() {
    let handle = one_with(Config { keep_alive: 600, ..config("c") });
    with(|w| w.now = u64::from(u32::MAX) - 10_000);
    assert_eq!(handle.connect(), Ok(()));
    run(365 * 86_400_000);
    with(|w| {
        assert_eq!((w.broker.connects, w.broker.lost), (1, 0));
        assert_eq!(w.broker.pings, 365 * 86_400_000 / 599_900);
        // Within its keep-alive time [MQTT-3.1.2-23].
        assert!(w.broker.longest_silence <= 100, "{} %", w.broker.longest_silence);
        assert!(w.turns < 2 * w.broker.pings + 100);
    });
    assert!(handle.publish("t", 2, 10).1.is_ok());
    run(1_000);
    assert!(handle.disconnect() < 1_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn the_clock_wraps_in_the_middle_of_everything() {
    for before in 0..40 {
        create(before, u64::from(u32::MAX) - before * 25);
        with(|w| w.broker.style.reply = (50, 50));
        let handle = Handle::new(crate::app::hub(), 1, Config { keep_alive: 1, ..config("c") });
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe("in/#", 2).is_ok());
        for qos in 0..3 {
            assert!(handle.publish("in/x", qos, 10).1.is_ok());
        }
        run(10_000);
        assert!(with(|w| w.broker.pings) >= 8);
        assert!(handle.disconnect() < 1_000);
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn many_clients_sleep_as_one() {
    create(1, 0);
    let hub = crate::app::hub();
    let handles: Vec<Handle> = (1..=20).map(|n| Handle::new(hub, n, config(&format!("c{n}")))).collect();
    for handle in &handles {
        assert_eq!(handle.connect(), Ok(()));
    }
    run(1_000);
    assert_eq!(with(|w| w.tasks.len()), 1, "one task serves all");
    assert!(turns_in(3_600_000) <= 20 * 120);
    assert_eq!(with(|w| w.broker.pings), 20 * 60);
    for handle in handles {
        assert!(!with(|w| w.tasks[0].ended));
        handle.remove();
    }
    assert!(with(|w| w.tasks[0].ended));
    all_is_gone();
}
