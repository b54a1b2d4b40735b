//! Calls beside each other on one handle, of tasks that are not run at once.

use wm_mqtt_client::client::Error;

use crate::broker;
use crate::calls::connected_within;
use crate::directed::*;
use crate::promises::all_is_gone;
use crate::wire::FromServer;
use crate::world::{Outcome, call_later, run, with};

fn result<R: Copy>(call: &Outcome<R>) -> R {
    call.borrow().expect("it has returned").0
}

fn arrived(serials: &[u64]) -> usize {
    with(|w| serials.iter().filter(|serial| w.broker.arrivals.contains_key(serial)).count())
}

/// Else two tasks that reconnect until that succeeds end each other's attempts for ever.
#[test]
fn a_reconnect_waits_for_the_connection_that_another_makes() {
    let handle = connected();
    with(|w| w.broker.style.reply = (500, 500));
    let (one, two) = (handle.clone(), handle.clone());
    let first = call_later(0, move || one.reconnect());
    let second = call_later(300, move || two.reconnect());
    run(20_000);
    assert_eq!((result(&first), result(&second)), (Ok(()), Ok(())));
    assert_eq!(with(|w| w.broker.connects), 2);
    handle.remove();
    run(100_000);
    all_is_gone();
}

/// No other connection is wanted any more, so nothing is in a hurry; and what closes already is what it waits for.
#[test]
fn a_disconnect_behind_a_reconnect_is_one_as_any_other() {
    // How long nothing moves, of how many bytes the network has room for, and how many are published.
    for (stalled, capacity, len) in [(3_000, 2_000, 3_000), (5_000, 100_000, 10)] {
        for reconnects in [false, true] {
            let handle = connected();
            let link = with(|w| w.broker.link_of("c")).expect("connected");
            with(|w| w.server_write(link, &FromServer::PingResp.encode()));
            run(10);
            with(|w| (w.faults.capacity, w.conns[link].stalled_until) = (capacity, w.now + stalled));
            let serials: Vec<u64> = (0..2).map(|_| handle.publish("t", 0, len).0).collect();
            let (one, two) = (handle.clone(), handle.clone());
            call_later(0, move || if reconnects { one.reconnect() } else { Ok(()) });
            let disconnect = call_later(100, move || {
                let result = two.try_disconnect().0;
                (result, arrived(&serials))
            });
            run(20_000);
            assert_eq!(result(&disconnect), (Ok(()), 2), "{stalled} ms, behind a reconnect: {reconnects}");
            handle.remove();
            run(100_000);
            all_is_gone();
        }
    }
}

/// The one that waits on the stack of the other: so that one's task is not run before.
#[test]
fn a_publisher_that_was_let_keeps_its_turn_for_20_ms() {
    // The first acknowledgement lets a publisher; or it is too little for that, and sets the time at which it is enough.
    for (window, second, let_at) in [(2, 1_005, 1_000), (20, 1_001, 1_001)] {
        let handle = connected_within(window, 40_960);
        with(|w| w.broker.style.acknowledges = false);
        for _ in 0..window {
            assert!(handle.publish("t", 1, 10).1.is_ok());
        }
        run(100);
        let start = now();
        for id in 1..=window {
            let after = if id == 1 { 1_000 } else { second };
            with(|w| w.later(after, move || broker::say("d", &FromServer::PubAck(id).encode())));
        }
        let other = handle.clone();
        let above = call_later(10, move || other.publish("t", 1, 10).1);
        assert!(handle.publish("t", 1, 10).1.is_ok());
        let (_, at) = above.borrow().expect("it has returned");
        assert!(at - start >= let_at + 20, "{window}: {} ms", at - start);
        broker::behave();
        handle.remove();
        all_is_gone();
    }
}

/// Its turn is over once, and not before each message of another.
#[test]
fn a_publisher_that_does_not_run_is_passed_over_once() {
    let handle = connected_within(20, 40_960);
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..20 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
    }
    run(100);
    with(|w| w.later(1_000, broker::behave));
    for id in 1..=20 {
        with(|w| w.later(1_000, move || broker::say("d", &FromServer::PubAck(id).encode())));
    }
    let other = handle.clone();
    let above = call_later(990, move || {
        run(30);
        let begin = now();
        let messages = (0..500).take_while(|_| other.publish("t", 1, 10).1.is_ok()).count();
        (messages, now() - begin)
    });
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let (messages, ms) = result(&above);
    assert!(messages == 500 && ms < 1_000, "{messages} messages in {ms} ms");
    handle.remove();
    all_is_gone();
}

#[test]
fn a_publisher_that_was_let_does_not_outlive_a_disconnect() {
    let handle = connected_within(1, 4096);
    with(|w| w.broker.style.acknowledges = false);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    with(|w| w.later(1_000, move || broker::say("d", &FromServer::PubAck(1).encode())));
    let other = handle.clone();
    let again = call_later(990, move || {
        run(15);
        (other.try_disconnect().0, other.connect())
    });
    assert_eq!(handle.publish("t", 1, 10).1, Err(Error::Disconnected));
    assert_eq!(result(&again), (Ok(()), Ok(())));
    broker::behave();
    handle.remove();
    all_is_gone();
}
