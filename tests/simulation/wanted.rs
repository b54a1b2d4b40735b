//! What the application wants, and what becomes of it: connects, disconnects and deinits that meet.

use std::cell::Cell;
use std::rc::Rc;

use wm_mqtt_client::client::{Config, Error};

use crate::app::{Handle, config, with_host};
use crate::broker;
use crate::directed::*;
use crate::promises::all_is_gone;
use crate::wire::FromServer;
use crate::world::{MQTT_TASK, Outcome, call_later, run, with};

/// A disconnect drains for 9 s, since the broker does not acknowledge.
fn draining() -> (Handle, Outcome<crate::app::Result<()>>) {
    let handle = connected();
    with(|w| w.broker.style.acknowledges = false);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let caller = handle.clone();
    (handle, call_later(0, move || caller.try_disconnect().0))
}

fn over<R: Copy>(call: &Outcome<R>) -> (R, u64) {
    call.borrow().expect("over")
}

// When each of these calls returns, the C tests say: here a call cannot return before those that it waits with have.

#[test]
fn the_last_disconnect_counts() {
    let (handle, first) = draining();
    let (caller, ender) = (handle.clone(), handle.clone());
    let connect = call_later(1_000, move || caller.connect());
    let last = call_later(2_000, move || ender.try_disconnect().0);
    run(20_000);
    assert_eq!(over(&connect).0, Err(Error::Failure));
    assert_eq!((over(&first).0, over(&last).0), (Ok(()), Ok(())));
    // And nothing comes after it.
    run(60_000);
    with(|w| assert_eq!((w.books.connected, w.books.disconnected, w.broker.connects), (1, 1, 1)));
    handle.remove();
    all_is_gone();
}

/// It waits for the end of the connection before, not for that in order.
#[test]
fn a_connect_behind_a_disconnect_that_breaks() {
    let (handle, disconnect) = draining();
    let caller = handle.clone();
    let connect = call_later(1_000, move || caller.connect());
    with(|w| {
        w.later(2_000, || {
            broker::die(true);
            broker::behave();
        });
    });
    run(20_000);
    assert_eq!((over(&disconnect).0, over(&connect).0), (Ok(()), Ok(())));
    with(|w| assert_eq!((w.books.connected, w.books.disconnected, w.broker.connects), (2, 1, 2)));
    handle.remove();
    all_is_gone();
}

/// Nobody answers the first one's end any more; then the second one's takes its place.
#[test]
fn the_end_of_one_connection_is_not_that_of_another() {
    let handle = connected();
    let link = with(|w| w.broker.link_of("c")).expect("connected");
    with(|w| w.conns[link].stalled_until = w.now + 60_000);
    broker::vanish_one(false);
    let (one, two, three) = (handle.clone(), handle.clone(), handle.clone());
    let first = call_later(0, move || one.try_disconnect().0);
    let connect = call_later(300, move || two.connect());
    let second = call_later(600, move || three.try_disconnect().0);
    run(20_000);
    assert_eq!((over(&first).0, over(&connect).0, over(&second).0), (Err(Error::Failure), Ok(()), Ok(())));
    handle.remove();
    run(60_000);
    all_is_gone();
}

#[test]
fn deinit_ends_a_connect_behind_a_disconnect() {
    let (handle, first) = draining();
    let caller = handle.clone();
    let connect = call_later(1_000, move || caller.connect());
    let ended = call_later(2_000, move || handle.remove());
    run(30_000);
    assert_eq!(over(&connect).0, Err(Error::Failure));
    assert!(over(&first).0.is_ok() && over(&ended).0 <= 10_000);
    with(|w| assert_eq!(w.broker.connects, 1));
    all_is_gone();
}

#[test]
fn what_a_connect_has_given_up_does_not_come_later() {
    // Behind a disconnect, from a server that answers a little too late.
    for late in [30_500, 31_000, 33_000] {
        let (handle, _) = draining();
        let caller = handle.clone();
        let connect = call_later(1_000, move || caller.connect());
        with(|w| w.later(8_000, move || with(|w| w.broker.style.reply = (late, late))));
        run(100_000);
        assert_eq!(over(&connect).0, Err(Error::Failure), "{late} ms");
        with(|w| assert_eq!((w.books.connected, w.books.disconnected), (1, 1), "{late} ms"));
        broker::behave();
        handle.remove();
        all_is_gone();
    }
    // By itself, since the task is not run.
    let handle = one();
    let caller = handle.clone();
    let connect = call_later(0, move || caller.connect());
    with(|w| w.later(5, || with(|w| w.stop_mqtt_task(43_000))));
    run(100_000);
    assert_eq!(over(&connect).0, Err(Error::Failure));
    with(|w| assert_eq!(w.books.connected, 0));
    handle.remove();
    all_is_gone();
}

#[test]
fn a_connect_that_others_wait_for_goes_on() {
    let handle = one();
    let (first, second) = (handle.clone(), handle.clone());
    // The first one gives up after 42 s.
    let first = call_later(0, move || first.connect());
    with(|w| w.later(5, || with(|w| w.stop_mqtt_task(43_000))));
    let second = call_later(10_000, move || second.connect());
    run(100_000);
    // It returns behind the second one here, but its time was over.
    assert_eq!(over(&second).0, Ok(()));
    assert!(over(&first).1 >= 43_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_request_that_was_given_up_is_taken_back() {
    // By its own time, and because of a disconnect.
    for disconnects in [false, true] {
        let handle = connected();
        with(|w| (w.faults.capacity, w.broker.style.reads) = (2_000, false));
        for _ in 0..8 {
            assert!(handle.publish("t", 0, 500).1.is_ok());
        }
        let (one, other, ender) = (handle.clone(), handle.clone(), handle.clone());
        let subscribe = call_later(0, move || one.subscribe("in/given-up", 1));
        let unsubscribe = call_later(0, move || other.unsubscribe("in/given-up"));
        if disconnects {
            call_later(2_000, move || ender.try_disconnect());
        }
        with(|w| w.later(if disconnects { 3_000 } else { 11_000 }, broker::behave));
        run(20_000);
        let error = if disconnects { Error::Disconnected } else { Error::Failure };
        assert_eq!((over(&subscribe).0, over(&unsubscribe).0), (Err(error), Err(error)));
        with(|w| assert!(!w.broker.is_subscribed("c", "in/given-up"), "what nobody waits for"));
        if !disconnects {
            assert!(handle.subscribe("in/wanted", 1).is_ok());
            with(|w| assert!(w.broker.is_subscribed("c", "in/wanted")));
        }
        handle.remove();
        all_is_gone();
    }
}

/// The broker reads what there is room for on the way, once in 50 ms, and talks all the time.
fn reads_slowly(bytes: usize) {
    let link = with(|w| {
        (w.faults.capacity, w.broker.style.reads) = (bytes, false);
        w.broker.link_of("c").expect("connected")
    });
    for n in 1..400 {
        with(|w| {
            w.later(50 * n, || {
                with(|w| w.broker.style.reads = true);
                broker::look();
                with(|w| w.broker.style.reads = false);
            });
        });
    }
    for n in 1..1_000 {
        let chatter = FromServer::PingResp.encode();
        with(|w| w.later(20 * n, move || with(|w| w.server_write(link, &chatter))));
    }
}

#[test]
fn disconnect_loses_nothing() {
    // 300,000 bytes: 400,000, 100,000 and 20,000 in a second.
    for bytes in [20_000, 5_000, 1_000] {
        let handle = connected();
        reads_slowly(bytes);
        let serials: Vec<u64> = (0..6)
            .map(|_| {
                let (serial, result) = handle.publish("t", 0, 50_000);
                assert!(result.is_ok());
                serial
            })
            .collect();
        let took = handle.disconnect();
        assert!(took > 100, "{took} ms: the last message cannot have arrived");
        run(1_000);
        with(|w| {
            let arrived = serials.iter().filter(|serial| w.broker.arrivals.contains_key(serial)).count();
            assert_eq!(arrived, 6, "{bytes} bytes at a time");
            assert_eq!((w.broker.graceful, w.sockets), (1, 0));
        });
        broker::behave();
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn disconnect_says_when_something_may_be_lost() {
    // Nothing is read any more: neither what the network has, nor what it has not.
    for count in [1, 2] {
        let handle = connected();
        with(|w| (w.faults.capacity, w.broker.style.reads) = (2_000, false));
        for _ in 0..count {
            assert!(handle.publish("t", 0, 2_000).1.is_ok());
        }
        let (result, took) = handle.try_disconnect();
        assert_eq!((result, took), (Err(Error::Failure), 10_000));
        with(|w| assert_eq!(w.books.disconnected, 0, "the event is on its way"));
        run(100);
        with(|w| assert_eq!((w.books.disconnected, w.sockets), (1, 0)));
        broker::behave();
        handle.remove();
        all_is_gone();
    }
}

/// The network has taken everything, and none of it arrives.
#[test]
fn disconnect_waits_for_what_is_on_its_way() {
    for (stalled, result, took) in [(5_000, Ok(()), 5_000), (60_000, Err(Error::Failure), 10_000)] {
        let handle = connected();
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        with(|w| w.conns[link].stalled_until = w.now + stalled);
        assert!(handle.publish("t", 0, 10).1.is_ok());
        let (outcome, ms) = handle.try_disconnect();
        assert_eq!(outcome, result);
        assert!((took..took + 100).contains(&ms), "{ms} ms");
        run(1_000);
        with(|w| assert_eq!((w.books.disconnected, w.sockets), (1, 0)));
        handle.remove();
        run(100_000);
        all_is_gone();
    }
}

/// A connect begins while the end of the connection before it goes on.
#[test]
fn the_end_goes_on_beside_the_next_connection() {
    let handle = connected();
    reads_slowly(1_000);
    let (serial, result) = handle.publish("t", 0, 20_000);
    assert!(result.is_ok());
    // All of it is with the network of this test at once, and the broker reads for a second.
    with(|w| w.faults.capacity = 100_000);
    let (ender, caller, start) = (handle.clone(), handle.clone(), now());
    let disconnect = call_later(0, move || ender.try_disconnect().0);
    let connect = call_later(10, move || caller.connect());
    run(5_000);
    assert_eq!(over(&disconnect).0, Ok(()));
    let (result, at) = over(&connect);
    assert_eq!(result, Ok(()));
    assert!(at - start < 500, "{} ms", at - start);
    with(|w| assert!(w.broker.arrivals.contains_key(&serial)));
    broker::behave();
    handle.remove();
    all_is_gone();
}

#[test]
fn reconnect_does_not_wait_for_a_silent_server() {
    // How long the server was silent, and whether it has all time for the end: 10 s, but 200 ms for the next connection.
    for (silent, waits) in [(900, true), (1_100, false), (30_000, false)] {
        let handle = connected();
        with(|w| w.broker.style.acknowledges = false);
        assert!(handle.publish("t", 1, 10).1.is_ok());
        // Something comes, and then nothing, nor an acknowledgement of TCP.
        run(1_000);
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        with(|w| w.server_write(link, &FromServer::PingResp.encode()));
        run(silent);
        with(|w| w.conns[link].stalled_until = w.now + 60_000);
        let start = now();
        assert_eq!(handle.reconnect(), Ok(()));
        let took = now() - start;
        assert_eq!(took >= 200, waits, "{took} ms after {silent} ms");
        assert!(took < 250);
        with(|w| assert_eq!(w.sockets, 1 + usize::from(waits), "the old connection"));
        broker::behave();
        run(100_000);
        handle.remove();
        all_is_gone();
    }
}

/// A session that ends with its connection waits for what is in flight, but not for ever.
#[test]
fn reconnect_waits_for_what_a_clean_session_has_in_flight() {
    for (late, acknowledged, least) in [(4_000, 1, 4_000), (20_000, 0, 9_000)] {
        let handle = one_with(Config { clean_session: true, ..config("c") });
        assert_eq!(handle.connect(), Ok(()));
        with(|w| w.broker.style.reply = (late, late));
        assert!(handle.publish("t", 1, 10).1.is_ok());
        run(100);
        with(|w| w.broker.style.reply = (0, 0));
        let start = now();
        assert_eq!(handle.reconnect(), Ok(()));
        let took = now() - start;
        assert!((least - 100..least + 300).contains(&took), "{took} ms");
        assert_eq!(with(|w| w.books.published.len()), acknowledged);
        handle.remove();
        run(20_000);
        all_is_gone();
    }
}

/// What was sent cannot leave, and the server falls silent: a second later the next connection begins.
#[test]
fn reconnect_gives_up_what_cannot_leave() {
    let handle = connected();
    let link = with(|w| w.broker.link_of("c")).expect("connected");
    with(|w| w.server_write(link, &FromServer::PingResp.encode()));
    run(10);
    with(|w| (w.faults.capacity, w.conns[link].stalled_until) = (2_000, w.now + 60_000));
    for _ in 0..2 {
        assert!(handle.publish("t", 0, 3_000).1.is_ok());
    }
    let start = now();
    assert_eq!(handle.reconnect(), Ok(()));
    let took = now() - start;
    assert!((950..1_050).contains(&took), "{took} ms");
    handle.remove();
    run(100_000);
    all_is_gone();
}

/// A disconnect beside another one waits with it, also when DISCONNECT is with the network already.
#[test]
fn a_disconnect_beside_another_waits_with_it() {
    for (stalled, result, took) in [(5_000, Ok(()), 5_000), (60_000, Err(Error::Failure), 10_000)] {
        let handle = connected();
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        with(|w| w.conns[link].stalled_until = w.now + stalled);
        assert!(handle.publish("t", 0, 10).1.is_ok());
        let (one, other, start) = (handle.clone(), handle.clone(), now());
        let first = call_later(0, move || one.try_disconnect().0);
        let second = call_later(500, move || other.try_disconnect().0);
        run(20_000);
        for call in [first, second] {
            let (outcome, at) = over(&call);
            assert_eq!(outcome, result);
            assert!((took..took + 100).contains(&(at - start)), "{} ms", at - start);
        }
        handle.remove();
        run(100_000);
        all_is_gone();
    }
}

/// A deinit that is done before another one does not wait for that.
#[test]
fn a_deinit_beside_another_does_not_wait_for_it() {
    let (handle, disconnect) = draining();
    let other = Handle::new(handle.hub, 2, config("other"));
    let first = call_later(500, move || handle.remove());
    let second = call_later(1_000, move || other.remove());
    run(20_000);
    assert_eq!(over(&second).0, 0);
    assert!(over(&first).0 > 5_000 && over(&disconnect).1 > 5_000);
    run(100_000);
    all_is_gone();
}

/// From the lookup of the name to a CONNACK that does not come, through each layer.
#[test]
fn who_connects_behind_a_disconnect_does_so_whatever_was_reached() {
    let uris: &[_] = &[
        "mqtt://broker",
        #[cfg(feature = "websocket")]
        "ws://broker:1883",
        #[cfg(feature = "tls")]
        "mqtts://broker:1883",
        #[cfg(all(feature = "tls", feature = "websocket"))]
        "wss://broker:1883",
    ];
    for (uri, at) in uris.iter().flat_map(|uri| (0..50).map(move |at| (uri, at))) {
        let handle = one_with(with_host(config("c"), uri));
        with(|w| (w.faults.compute, w.broker.style.ignores) = (3, 1000));
        let (first, second) = (handle.clone(), handle.clone());
        let given_up = call_later(0, move || first.connect());
        let last = call_later(at, move || {
            let _ = second.try_disconnect();
            with(|w| w.broker.style.ignores = 0);
            second.connect()
        });
        run(1_000);
        assert!(given_up.borrow().is_some(), "{uri}, {at} ms");
        assert_eq!((over(&last).0, now() < 6_500), (Ok(()), true), "{uri}, {at} ms");
        with(|w| {
            assert_eq!((w.sockets, w.broker.links()), (1, 1), "{uri}, {at} ms");
            assert_eq!(w.books.connected, w.books.disconnected + 1, "{uri}, {at} ms");
        });
        handle.remove();
        all_is_gone();
    }
}

/// A task of low priority calls, and is not run for 20 s before the client knows of it: its time begins when it does.
#[test]
fn a_call_whose_task_was_not_run_begins_late() {
    let calls: [fn(&Handle) -> crate::app::Result<()>; 4] = [
        |handle| handle.client.subscribe(b"in/#", 1).map(drop),
        |handle| handle.client.unsubscribe(b"in/#").map(drop),
        |handle| handle.client.disconnect(),
        |handle| wm_mqtt_client::client::Client::reconnect(&handle.client),
    ];
    for call in calls {
        let handle = subscribed();
        with(|w| (w.limits.backlog, w.broker.style.window) = (500, 0));
        // Unread input, so that the end of the stream is a reset if it is not a slow one.
        with(|w| w.queue.busy_until = w.now + 24_000);
        send(400, 1, 100);
        run(1_000);
        let (is_first, other, sent) = (Cell::new(true), handle.clone(), Rc::new(Cell::new(0)));
        let serial = sent.clone();
        let hook = move || {
            if !with(|w| w.is_running(MQTT_TASK) || w.locks_held > 0) && is_first.replace(false) {
                run(20_000);
                let (serial, taken) = other.publish("t", 0, 10);
                assert!(taken.is_ok());
                sent.set(serial);
            }
        };
        with(|w| w.at_lock = Some(Rc::new(hook)));
        let result = call(&handle);
        with(|w| w.at_lock = None);
        assert_eq!(result, Ok(()));
        run(1_000);
        with(|w| assert_eq!(w.broker.arrivals[&serial.get()].taken, 1));
        handle.remove();
        all_is_gone();
    }
}
