//! Who waits for what, and for how long.

use std::cell::Cell;
use std::rc::Rc;

use wm_mqtt_client::client::Error;

use crate::app::Handle;
use crate::broker;
use crate::directed::*;
use crate::manners::Style;
use crate::promises::all_is_gone;
use crate::wire::FromServer;
use crate::world::{Faults, MAIN_TASK, call_later, run, run_until, start_app, with};

/// Connected, with a window and an outgoing buffer of these sizes.
pub(crate) fn connected_within(window: u16, outgoing: usize) -> Handle {
    let handle = one();
    handle.remove();
    with(|w| {
        w.limits.session.window = window;
        w.limits.session.outgoing = outgoing;
    });
    let handle = Handle::new(crate::app::hub(), 2, crate::app::config("d"));
    assert_eq!(handle.connect(), Ok(()));
    run(100);
    handle
}

#[test]
fn subscribe_and_unsubscribe() {
    let handle = connected();
    for qos in 0..3 {
        assert_eq!(handle.subscribe("in/#", qos), Ok(2 * u16::from(qos) + 1));
        assert!(with(|w| w.broker.is_subscribed("c", "in/x")));
        assert_eq!(handle.unsubscribe("in/#"), Ok(2 * u16::from(qos) + 2));
        assert!(!with(|w| w.broker.is_subscribed("c", "in/x")));
    }
    with(|w| w.broker.style.refuses_subscription = 1000);
    assert_eq!(handle.subscribe("in/#", 1), Err(Error::SubscribeRefused));
    handle.remove();
    all_is_gone();
}

#[test]
fn an_answer_is_for_one_request() {
    let handle = connected();
    let (one, other) = (handle.clone(), handle.clone());
    with(|w| {
        w.broker.style.ignores_subscription = 1000;
        w.later(50, || with(|w| w.broker.style.ignores_subscription = 0));
    });
    let ignored = call_later(0, move || one.subscribe("in/one", 1));
    let answered = call_later(100, move || other.subscribe("in/other", 1));
    run(20_000);
    assert_eq!(ignored.borrow().expect("over").0, Err(Error::Failure));
    assert!(answered.borrow().expect("over").0.is_ok());
    handle.remove();
    all_is_gone();
}

/// Somebody else has taken the room that a publisher was woken for: it waits on, and no longer than 10 s in all.
#[test]
fn a_publisher_that_was_woken_in_vain_waits_on() {
    let handle = connected_within(1, 4096);
    with(|w| w.broker.style.acknowledges = false);
    assert_eq!(handle.publish("t", 1, 10).1, Ok(1));
    let publish = |delay, rest| {
        let handle = handle.clone();
        call_later(delay, move || {
            let result = handle.publish("t", 1, 10).1;
            run(rest);
            result
        })
    };
    // The first one's task is not run before the second one's has ended.
    let (first, second) = (publish(0, 0), publish(10, 50));
    let start = now();
    with(|w| w.later(100, || broker::say("d", &FromServer::PubAck(1).encode())));
    run(20_000);
    assert_eq!(second.borrow().expect("over").0, Ok(2));
    assert_eq!(*first.borrow(), Some((Err(Error::MaxMessagesInFlight), start + 10_000)));
    broker::behave();
    handle.remove();
    all_is_gone();
}

/// Nor does anybody overtake it before its task is run, who publishes when there is room already.
#[test]
fn nobody_overtakes_who_waits_for_room() {
    for (window_is_full, first, second) in [(true, 1, 1), (false, 1, 0), (false, 0, 0), (false, 0, 1)] {
        let handle = connected_within(if window_is_full { 1 } else { 20 }, 1000);
        if window_is_full {
            with(|w| w.broker.style.reply = (500, 500));
            assert!(handle.publish("t", 1, 10).1.is_ok());
        } else {
            with(|w| (w.faults.capacity, w.broker.style.reads) = (2_000, false));
            while handle.publish("t", 0, 300).1.is_ok() {}
            with(|w| w.later(500, broker::behave));
        }
        let (start, took, other) = (now(), Rc::new(Cell::new(None)), handle.clone());
        let log = took.clone();
        with(|w| {
            w.at_lock = Some(Rc::new(move || {
                let is_woken = with(|w| w.running.last() == Some(&MAIN_TASK) && w.locks_held == 0) && now() > start;
                if is_woken && log.get().is_none() {
                    log.set(Some(0));
                    let start = now();
                    assert!(other.publish("t", second, 10).1.is_ok());
                    log.set(Some(now() - start));
                }
            }));
        });
        assert!(handle.publish("t", first, 10).1.is_ok());
        with(|w| w.at_lock = None);
        let took = took.get().expect("called");
        // So long the first one has its turn.
        assert!((20..10_000).contains(&took), "QoS {second} behind {first} takes {took} ms");
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn qos_0_does_not_wait_for_the_window() {
    let handle = connected_within(1, 4096);
    with(|w| w.broker.style.acknowledges = false);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let (other, start) = (handle.clone(), now());
    let free = call_later(100, move || other.publish("t", 0, 10).1);
    assert_eq!(handle.publish("t", 1, 10).1, Err(Error::MaxMessagesInFlight));
    assert_eq!(*free.borrow(), Some((Ok(0), start + 100)));
    broker::behave();
    handle.remove();
    all_is_gone();
}

/// On a network that is never idle messages are sent again behind those that are published meanwhile, for ever.
#[test]
fn qos_0_gets_its_turn_after_a_reconnect() {
    let handle = connected_within(20, 4096);
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..20 {
        assert!(handle.publish("t", 1, 480).1.is_ok());
    }
    run(100);
    broker::behave();
    with(|w| (w.faults.capacity, w.faults.latency) = (1_000, (50, 50)));
    assert_eq!(handle.reconnect(), Ok(()));
    let (busy, end) = (handle.clone(), now() + 15_000);
    start_app(0, move || {
        assert!(busy.publish("t", 1, 480).1.is_ok());
        if now() < end { Some(0) } else { None }
    });
    run(1_000);
    let start = now();
    assert_eq!(handle.publish("t", 0, 10).1, Ok(0));
    let took = now() - start;
    assert!(took < 2_000, "{took} ms");
    run(20_000);
    handle.remove();
    all_is_gone();
}

/// What a request that has failed took of the room is there for others.
#[test]
fn a_request_that_is_taken_back_makes_room() {
    let handle = connected_within(20, 1_000);
    with(|w| w.faults.capacity = 0);
    assert!(handle.publish("t", 0, 10).1.is_ok());
    run(10);
    let (start, other) = (now(), handle.clone());
    let publish = call_later(5_000, move || other.publish("t", 0, 10).1);
    assert_eq!(handle.subscribe(&"x".repeat(2_000), 0), Err(Error::Failure));
    run(6_000);
    assert_eq!(*publish.borrow(), Some((Ok(0), start + 10_000)));
    with(|w| w.faults.capacity = 65_536);
    broker::stall_one(0);
    run(100_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn no_answer_within_10_s() {
    let handle = connected();
    with(|w| w.broker.style.ignores_subscription = 1000);
    let start = now();
    assert_eq!(handle.subscribe("in/#", 1), Err(Error::Failure));
    assert_eq!(now() - start, 10_000);
    // The connection stays, and a late answer is ignored.
    with(|w| w.broker.style = Style { reply: (15_000, 15_000), ..Style::GOOD });
    assert_eq!(handle.subscribe("in/#", 1), Err(Error::Failure));
    run(20_000);
    broker::behave();
    assert!(handle.subscribe("in/#", 1).is_ok());
    with(|w| assert_eq!((w.broker.connects, w.broker.links()), (1, 1)));
    handle.remove();
    all_is_gone();
}

#[test]
fn publish_waits_for_a_place_in_the_window() {
    let handle = connected_within(2, 4096);
    with(|w| w.broker.style.reply = (3_000, 3_000));
    let start = now();
    let mut took = Vec::new();
    for _ in 0..6 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
        took.push((now() - start) / 1_000);
    }
    assert_eq!(took, [0, 0, 3, 3, 6, 6]);
    // QoS 0 does not wait.
    let start = now();
    assert_eq!(handle.publish("t", 0, 10).1, Ok(0));
    assert_eq!(now(), start);
    // PUBREC does not make room.
    run(10_000);
    for _ in 0..3 {
        assert!(handle.publish("t", 2, 10).1.is_ok());
    }
    assert_eq!((now() - start) / 1_000, 16);
    broker::behave();
    run(10_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_full_window_for_10_s() {
    let handle = connected_within(3, 4096);
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..3 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
    }
    let start = now();
    let (serial, result) = handle.publish("t", 1, 10);
    assert_eq!(result, Err(Error::MaxMessagesInFlight));
    assert_eq!(now() - start, 10_000);
    assert!(with(|w| !w.broker.arrivals.contains_key(&serial)));
    // What could not be acknowledged is sent again, and then there is room.
    broker::behave();
    assert_eq!(handle.reconnect(), Ok(()));
    assert!(handle.publish("t", 1, 10).1.is_ok());
    run(1_000);
    with(|w| assert!(w.broker.arrivals.values().filter(|arrival| arrival.taken == 1).count() == 4));
    handle.remove();
    all_is_gone();
}

#[test]
fn everybody_who_waits_for_room_gets_some() {
    let handle = connected_within(1, 4096);
    with(|w| w.broker.style.reply = (500, 500));
    let calls: Vec<_> = (0..15)
        .map(|n| {
            let caller = handle.clone();
            call_later(n, move || caller.publish("t", 1 + n as u8 % 2, 10).1)
        })
        .collect();
    run(30_000);
    let done = calls.iter().filter(|call| call.borrow().as_ref().is_some_and(|(result, _)| result.is_ok())).count();
    // A round trip each, or two, and 10 s of patience.
    assert!((13..=15).contains(&done), "{done}");
    handle.remove();
    all_is_gone();
}

#[test]
fn acknowledgements_are_gathered_for_who_waits() {
    // Half of the window wakes at once who waits for room, and less does 2 ms later.
    for (first, expected) in [(1, 522), (9, 522), (10, 520), (20, 520)] {
        let handle = connected_within(20, 4096);
        with(|w| {
            w.faults.latency = (10, 10);
            w.broker.style.reply = (500, 500);
        });
        let publish = |count| (0..count).for_each(|_| assert!(handle.publish("t", 1, 10).1.is_ok()));
        let start = now();
        publish(first);
        run(505);
        // Their acknowledgements are on their way, those of the others leave together later.
        publish(20 - first);
        assert_eq!(now() - start, 505);
        publish(1);
        assert_eq!(now() - start, expected, "{first}");
        publish(first - 1);
        assert_eq!(now() - start, expected, "{first}");
        run(2_000);
        handle.remove();
        all_is_gone();
    }
}

/// A task that is woken by another one with a lock may run at once, only to wait for that lock.
#[test]
fn who_is_woken_finds_the_lock_free() {
    let handle = connected_within(1, 4096);
    assert!(handle.subscribe("f", 1).is_ok() && handle.unsubscribe("f").is_ok());
    with(|w| w.broker.style.reply = (50, 50));
    assert!((0..3).all(|_| handle.publish("t", 1, 10).1.is_ok()), "each waits for the one before");
    with(|w| w.broker.style.ignores_subscription = 1000);
    assert_eq!(handle.subscribe("f", 1), Err(Error::Failure));
    assert_eq!(handle.reconnect(), Ok(()));
    handle.disconnect();
    with(|w| w.broker.style.refuses = 1000);
    assert!(handle.connect().is_err());
    with(|w| w.broker.style.refuses = 0);
    assert_eq!(handle.connect(), Ok(()));
    assert_eq!(with(|w| w.woken_under_lock), 0);
    // Of several at a time all but one are woken at once.
    let waiting = [0; 3].map(|_| {
        let caller = handle.clone();
        call_later(0, move || caller.subscribe("f", 1))
    });
    let caller = handle.clone();
    call_later(100, move || caller.disconnect());
    run(1_000);
    waiting.iter().for_each(|call| assert_eq!(call.borrow().map(|it| it.0), Some(Err(Error::Disconnected))));
    assert_eq!(with(|w| w.woken_under_lock), 2);
    handle.remove();
    assert_eq!(with(|w| w.woken_under_lock), 2, "the end of the MQTT task");
    all_is_gone();
}

#[test]
fn a_broker_that_stops_reading() {
    let handle = connected_within(20, 1000);
    with(|w| {
        w.broker.style.reads = false;
        w.faults.capacity = 2000;
    });
    let mut taken = Vec::new();
    loop {
        let start = now();
        let (serial, result) = handle.publish("t", 0, 300);
        match result {
            Ok(_) => taken.push(serial),
            Err(error) => {
                assert_eq!(error, Error::Failure);
                assert_eq!(now() - start, 10_000);
                break;
            }
        }
        assert!(taken.len() < 20, "congestion is not noticed");
    }
    // It goes on where it stopped.
    let start = now();
    with(|w| w.later(5_000, broker::behave));
    assert!(handle.publish("t", 1, 300).1.is_ok());
    assert!((5_000..5_100).contains(&(now() - start)));
    run(1_000);
    with(|w| assert!(taken.iter().all(|serial| w.broker.arrivals[serial].taken == 1)));
    // And when it does not, the keep-alive ends the connection.
    with(|w| w.broker.style.reads = false);
    assert!(run_until(130_000, || with(|w| w.books.disconnected == 1)));
    broker::behave();
    run(1_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn disconnect_with_nothing_in_flight_is_immediate() {
    for closes in [0, 1000] {
        let handle = subscribed();
        assert!(handle.publish("t", 2, 10).1.is_ok());
        send(5, 2, 10);
        run(5_000);
        with(|w| w.broker.style = Style { closes, ..Style::GOOD });
        // A round trip: the server has received it.
        assert!(handle.disconnect() <= 8);
        // Time for a server that does not close.
        run(10_100);
        with(|w| assert_eq!((w.broker.graceful, w.broker.lost, w.sockets), (1, 0, 0)));
        assert_eq!(handle.remove(), 0);
        all_is_gone();
    }
}

#[test]
fn disconnect_waits_for_what_is_in_flight() {
    for (reply, qos, least, most) in [(4_000, 1, 4_000, 4_100), (4_000, 2, 8_000, 8_100), (11_000, 1, 9_000, 9_100)] {
        let handle = connected();
        with(|w| w.broker.style.reply = (reply, reply));
        let (serial, result) = handle.publish("t", qos, 10);
        assert!(result.is_ok());
        // Right behind it, without any time for the message to leave.
        let took = handle.disconnect();
        assert!((least..=most).contains(&took), "{took} ms");
        run(1_000);
        with(|w| assert_eq!((w.broker.graceful, w.broker.lost), (1, 0)));
        assert_eq!(with(|w| w.broker.arrivals[&serial].taken), 1);
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn disconnect_sends_what_waits_at_qos_0() {
    let handle = connected();
    with(|w| w.faults = Faults { capacity: 100, segment: 10, latency: (10, 50), ..Faults::NONE });
    let serials: Vec<u64> = (0..10).map(|_| handle.publish("t", 0, 200).0).collect();
    assert!(handle.disconnect() < 10_000);
    run(10_000);
    with(|w| {
        assert_eq!((w.broker.graceful, w.broker.lost), (1, 0));
        assert!(serials.iter().all(|serial| w.broker.arrivals[serial].taken == 1));
    });
    handle.remove();
    all_is_gone();
}

#[test]
fn messages_arrive_in_the_order_of_publication() {
    for seed in 0..20 {
        let handle = connected_within(20, 4096);
        with(|w| {
            w.rng = crate::rng::Rng::new(seed);
            w.faults.segment = 200;
            w.broker.style.reply = (0, 50);
        });
        let mut expected = Vec::new();
        for n in 0..200 {
            if n % 23 == 22 {
                broker::break_one();
                run(500);
                assert_eq!(handle.reconnect(), Ok(()));
            }
            let (serial, result) = handle.publish("t", 1 + (n % 2) as u8, if n % 3 == 0 { 700 } else { 20 });
            assert!(result.is_ok());
            expected.push(serial);
        }
        run(5_000);
        assert_eq!(with(|w| w.broker.order["d"].clone()), expected);
        crate::app::audit(&["c".to_owned(), "d".to_owned()].into(), true);
        handle.remove();
        all_is_gone();
    }
}

/// A long resend over a slow link takes longer than twice the keep-alive time, and the server has nothing to say but
/// its acknowledgements, which come all the time.
#[test]
fn a_slow_link_is_no_dead_link() {
    let handle = one();
    handle.remove();
    with(|w| w.limits.session.outgoing = 1000);
    let config = wm_mqtt_client::client::Config { keep_alive: 5, ..crate::app::config("d") };
    let handle = Handle::new(crate::app::hub(), 2, config);
    assert_eq!(handle.connect(), Ok(()));
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..20 {
        assert!(handle.publish("t", 1, 3000).1.is_ok());
    }
    broker::die(true);
    run(1_000);
    broker::behave();
    // 20 messages of 3 kB at 1 kB/s.
    with(|w| w.faults = Faults { segment: 100, capacity: 200, latency: (50, 150), ..Faults::NONE });
    assert_eq!(handle.connect(), Ok(()));
    let connects = with(|w| w.broker.connects);
    run(200_000);
    with(|w| {
        assert_eq!(w.broker.connects, connects);
        let arrived = w.broker.arrivals.values().filter(|arrival| arrival.taken > 0).count();
        assert_eq!((arrived, w.broker.lost), (20, 1), "messages that arrived, connections that were given up");
    });
    handle.remove();
    all_is_gone();
}
