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

/// What has not left has more than a second while the broker sends, whether the client reads that or not.
#[test]
fn a_reconnect_waits_for_what_is_leaving_where_the_backlog_is_full() {
    for is_full in [false, true] {
        let handle = one();
        with(|w| (w.limits.backlog, w.broker.style.window) = (2_000, 0));
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe("in/#", 0).is_ok());
        if is_full {
            with(|w| w.queue.busy_until = w.now + 20_000);
        }
        send(400, 0, 100);
        run(500);
        let link = with(|w| {
            (w.faults.capacity, w.broker.style.reads) = (1_000, false);
            w.broker.link_of("c").expect("connected")
        });
        // It reads a little every 50 ms.
        for n in 1..200 {
            with(|w| {
                w.later(50 * n, || {
                    with(|w| w.broker.style.reads = true);
                    broker::look();
                    with(|w| w.broker.style.reads = false);
                });
                let pong = FromServer::PingResp.encode();
                w.later(50 * n, move || with(|w| w.server_write(link, &pong)));
            });
        }
        let serials: Vec<u64> = (0..4).map(|_| handle.publish("t", 0, 30_000).0).collect();
        let caller = handle.clone();
        let reconnect = call_later(0, move || caller.reconnect());
        run(12_000);
        broker::behave();
        assert_eq!((result(&reconnect), arrived(&serials)), (Ok(()), 4), "backlog full: {is_full}");
        handle.remove();
        run(60_000);
        all_is_gone();
    }
}

/// The one that waits on the stack of the other: so that one's task is not run before.
#[test]
fn a_publisher_that_was_let_keeps_its_turn_for_20_ms() {
    let handle = connected_within(2, 4096);
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..2 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
    }
    run(100);
    let start = now();
    for id in 1..=2u16 {
        with(|w| w.later(1_000 + 5 * u64::from(id), move || broker::say("d", &FromServer::PubAck(id).encode())));
    }
    let other = handle.clone();
    let second = call_later(10, move || other.publish("t", 1, 10).1);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let (_, at) = second.borrow().expect("it has returned");
    assert!(at - start >= 1_005 + 20, "{} ms", at - start);
    broker::behave();
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
