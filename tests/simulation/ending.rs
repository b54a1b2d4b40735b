//! Handles end, and with the last one everything.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use wm_mqtt_client::client::Error;

use crate::app::{Handle, config, enter, hub};
#[cfg(feature = "websocket")]
use crate::app::{new_serial, payload, serial};
use crate::broker;
use crate::directed::*;
use crate::events::Delivery;
#[cfg(feature = "websocket")]
use crate::memory::{self, Plan};
use crate::promises::all_is_gone;
use crate::world::{call_later, create, run, start_app, with};

#[test]
fn the_task_ends_with_the_last_handle_and_starts_again() {
    let handle = one();
    let hub = handle.hub;
    assert_eq!(handle.connect(), Ok(()));
    run(100);
    handle.remove();
    with(|w| assert!(w.tasks[0].ended, "remove returns before the task has ended"));
    for round in 1..5 {
        let handle = Handle::new(hub, 10 + round, config("again"));
        assert_eq!(handle.connect(), Ok(()));
        assert_eq!(with(|w| w.tasks.len()), 1 + round);
        assert!(handle.publish("t", 2, 10).1.is_ok());
        run(1_000);
        handle.remove();
        with(|w| assert!(w.tasks.iter().all(|task| task.ended)));
    }
    all_is_gone();
    with(|w| assert_eq!((w.books.connected, w.books.disconnected), (5, 5)));
}

/// One that has never connected counts too.
#[test]
fn the_task_goes_on_while_there_is_a_handle() {
    let handle = connected();
    let other = Handle::new(handle.hub, 2, config("other"));
    handle.remove();
    run(20_000);
    assert_eq!(other.connect(), Ok(()));
    with(|w| assert_eq!(w.tasks.len(), 1));
    other.remove();
    with(|w| assert!(w.tasks[0].ended));
    all_is_gone();
}

/// Behind DISCONNECT the layers end, however little the network takes at a time, and then the stream.
#[cfg(feature = "websocket")]
#[test]
fn the_layers_end_and_the_stream() {
    for capacity in [65_536, 5] {
        let handle = one_with(crate::app::with_host(config("c"), "ws://broker:1883"));
        with(|w| w.broker.style.closes = 0);
        assert_eq!(handle.connect(), Ok(()));
        with(|w| w.faults.capacity = capacity);
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        handle.disconnect();
        run(1_000);
        with(|w| assert_eq!((w.broker.close_frames, w.conns[link].shut), (1, true), "{capacity} bytes at a time"));
        handle.remove();
        all_is_gone();
    }
}

/// A server that breaks the rules of a layer is told so.
#[cfg(feature = "websocket")]
#[test]
fn an_error_in_a_layer() {
    let handle = one_with(crate::app::with_host(config("c"), "ws://broker:1883"));
    assert_eq!(handle.connect(), Ok(()));
    with(|w| {
        let link = w.broker.link_of("c").expect("connected");
        w.server_write(link, b"\x8f\x00");
    });
    run(1_000);
    with(|w| assert_eq!((w.books.lost, w.broker.close_frames), (1, 1)));
    handle.remove();
    all_is_gone();
}

/// Schemes with layers.
#[cfg(feature = "websocket")]
const LAYERED: &[&str] = if cfg!(feature = "tls") {
    &["ws://broker:1883", "mqtts://broker:1883", "wss://broker:1883"]
} else {
    &["ws://broker:1883"]
};

/// Messages come in one read with the orderly end of the layers, more than there is room for; nothing is delivered for `ms`.
#[cfg(feature = "websocket")]
fn ended_with_messages(uri: &str, ms: u64) -> (Handle, Vec<u64>) {
    let handle = one_with(crate::app::with_host(config("c"), uri));
    with(|w| (w.limits.io_buffer, w.limits.backlog) = (16_384, 2_000));
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 1).is_ok());
    run(100);
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + ms;
        w.stop_mqtt_task(100);
    });
    let serials = send(100, 1, 10);
    run(20);
    broker::close_all(|_| true);
    run(1_000);
    let buffers = with(|w| w.buffers);
    assert!(buffers < 2 * (2_000 / 64 + 20), "{buffers} buffers");
    (handle, serials)
}

/// What came before the end of a layer is taken first, however long that takes, and the end has its cause.
#[cfg(feature = "websocket")]
#[test]
fn what_comes_with_the_end_of_a_layer_is_not_lost() {
    for uri in LAYERED {
        let ((handle, serials), lines) = crate::logged::logged(|| {
            let (handle, serials) = ended_with_messages(uri, 300_000);
            // Meanwhile calls are served, as where the end of TCP was not read.
            assert!(handle.publish("t", 0, 10).1.is_ok());
            assert!(handle.publish("t", 1, 10).1.is_ok());
            let start = now();
            assert_eq!(handle.subscribe("x", 1), Err(Error::Failure));
            assert_eq!(now() - start, 10_000);
            run(250_000);
            assert!(handle.publish("t", 0, 10).1.is_ok());
            run(60_000);
            (handle, serials)
        });
        assert_eq!(got(&handle), serials, "{uri}");
        assert_eq!(with(|w| w.books.lost), 1);
        let last = lines.last().expect("a line");
        assert!(last.contains("connection lost: ") && last.contains("closed by the server"), "{lines:?}");
        assert!(with(|w| w.buffers_peak) < 2 * (2_000 / 64 + 20));
        handle.remove();
        all_is_gone();
    }
}

/// Nor do a disconnect and a reconnect wait for that.
#[cfg(feature = "websocket")]
#[test]
fn calls_that_end_a_connection_whose_layers_have_ended() {
    for uri in LAYERED {
        for reconnects in [true, false] {
            let (handle, serials) = ended_with_messages(uri, 100_000);
            let start = now();
            if reconnects {
                assert_eq!(handle.reconnect(), Ok(()));
            } else {
                handle.disconnect();
                assert_eq!(handle.connect(), Ok(()));
            }
            assert!(now() - start < 1_000, "{uri}: it took {} ms", now() - start);
            run(200_000);
            let got: BTreeSet<_> = got(&handle).into_iter().collect();
            assert_eq!(got, serials.into_iter().collect());
            handle.remove();
            all_is_gone();
        }
    }
}

/// An idle server is not a silent one: what was published right before a reconnect leaves, however many turns that takes.
#[test]
fn a_reconnect_waits_for_what_is_leaving() {
    let handle = connected();
    run(10_000);
    let (serial, result) = handle.publish("t", 0, 40_000);
    assert_eq!((result, handle.reconnect()), (Ok(0), Ok(())));
    run(1_000);
    assert_eq!(with(|w| w.broker.arrivals[&serial].taken), 1);
}

/// Nor is a server silent that the client has not read for long: closed with bytes unread, the connection would be reset, and what has
/// left be lost.
#[test]
fn a_reconnect_loses_nothing_to_bytes_unread() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 60_000;
    });
    let serials = send(100, 1, 1000);
    run(10_000);
    let (serial, result) = handle.publish("t", 0, 10);
    assert_eq!((result, handle.reconnect()), (Ok(0), Ok(())));
    run(1_000);
    assert_eq!(with(|w| w.broker.arrivals.get(&serial).map(|arrival| arrival.taken)), Some(1));
    run(100_000);
    assert_eq!(got(&handle).into_iter().collect::<BTreeSet<_>>(), serials.into_iter().collect());
    handle.remove();
    all_is_gone();
}

/// Nor one whose bytes have come, but the port has not said so yet.
#[test]
fn a_reconnect_loses_nothing_to_bytes_that_nobody_has_reported() {
    for _ in 0..20 {
        let handle = subscribed();
        run(5_000);
        with(|w| (w.faults.late_readiness, w.faults.segment) = (1_000, 100));
        send(1, 1, 10);
        // They need 3 ms.
        run(4);
        let (serial, result) = handle.publish("t", 0, 1000);
        assert_eq!((result, handle.reconnect()), (Ok(0), Ok(())));
        run(1_000);
        assert_eq!(with(|w| w.broker.arrivals.get(&serial).map(|arrival| arrival.taken)), Some(1));
        with(|w| w.faults.late_readiness = 0);
        handle.remove();
        all_is_gone();
    }
}

/// Nor to a task that is not run for so long that the old connection's time is over when it first hears of the end: what the socket
/// takes goes out all the same.
#[test]
fn a_reconnect_loses_nothing_to_a_late_task() {
    let handle = one();
    // Four of them leave in a turn.
    with(|w| w.limits.io_buffer = 256);
    assert_eq!(handle.connect(), Ok(()));
    run(5_000);
    with(|w| w.stop_mqtt_task(2_000));
    let (serial, result) = handle.publish("t", 0, 2_000);
    assert_eq!((result, handle.reconnect()), (Ok(0), Ok(())));
    run(1_000);
    assert_eq!(with(|w| w.broker.arrivals.get(&serial).map(|arrival| arrival.taken)), Some(1));
    handle.remove();
    all_is_gone();
}

/// A server that sends on after DISCONNECT, more than is read in a turn, does not keep the MQTT task from the others.
#[test]
fn what_comes_after_disconnect_is_read_in_turns() {
    let handle = connected();
    with(|w| w.broker.style.closes = 0);
    let link = with(|w| w.broker.link_of("c")).expect("connected");
    handle.disconnect();
    let turns = with(|w| {
        w.server_write(link, &[0; 40_000]);
        w.turns
    });
    run(1_000);
    with(|w| {
        // 2,048 bytes at a time, four times a turn.
        assert!(w.turns - turns >= 40_000 / 2_048 / 4, "{} turns", w.turns - turns);
        assert_eq!(w.conns[link].bytes_read, 4 + 40_000);
    });
    run(9_100);
    assert_eq!(with(|w| w.sockets), 0, "10 s are 10 s");
    // And without an end: so long, or 200 ms for a client that is removed.
    for removed in [false, true] {
        assert_eq!(handle.connect(), Ok(()));
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        handle.disconnect();
        for n in 0..11_000 {
            with(|w| w.later(n, move || with(|w| w.server_write(link, &[0; 5_000]))));
        }
        if removed {
            let took = handle.remove();
            assert!((150..=220).contains(&took), "{took} ms");
            break;
        }
        run(10_100);
        assert_eq!(with(|w| w.sockets), 0);
        run(5_000);
    }
    assert_eq!(with(|w| w.sockets), 0);
    run(11_000);
    all_is_gone();
}

#[test]
fn remove_disconnects_first() {
    let handle = subscribed();
    let (serial, _) = handle.publish("t", 2, 10);
    assert!(handle.remove() < 100);
    run(100);
    with(|w| {
        assert_eq!((w.broker.graceful, w.broker.lost, w.books.disconnected), (1, 0, 1));
        assert_eq!(w.broker.arrivals[&serial].taken, 1);
    });
    all_is_gone();
}

#[test]
fn remove_ends_every_call_on_the_handle() {
    let handle = connected();
    with(|w| w.broker.style.ignores_subscription = 1000);
    let calls: Vec<_> = (0..4)
        .map(|n| {
            let caller = handle.clone();
            call_later(n, move || caller.subscribe("f", 1))
        })
        .collect();
    let removed = call_later(1_000, move || handle.remove());
    run(30_000);
    assert!((990..=1_000).contains(&with(|w| w.books.slowest["subscribe"])));
    // It waits for them, and in this simulation they cannot return before it does.
    assert!((10_000..=11_000).contains(&removed.borrow().expect("over").0));
    for call in &calls {
        assert_eq!(call.borrow().expect("over").0, Err(Error::Disconnected));
    }
    all_is_gone();
}

#[test]
fn remove_inside_the_event_callback() {
    let handle = connected();
    let other = Handle::new(handle.hub, 2, config("other"));
    with(|w| {
        w.books.alone = false;
        w.books.clients = 2;
    });
    assert_eq!(other.connect(), Ok(()));
    run(100);
    let handles = Rc::new(RefCell::new(vec![handle, other]));
    let (copy, reports) = (handles.clone(), record());
    let seen = reports.clone();
    react(move |delivery| {
        seen.borrow_mut().push(delivery.clone());
        let handle = copy.borrow_mut().pop();
        if let Some(handle) = handle {
            assert!(handle.remove() <= 8, "a round trip");
        }
    });
    // Any event will do.
    let first = handles.borrow()[0].clone();
    assert!(first.publish("t", 1, 10).1.is_ok());
    drop(first);
    run(5_000);
    assert!(handles.borrow().is_empty());
    let disconnected = |event: &&Delivery| matches!(event, Delivery::Disconnected(None));
    assert_eq!(reports.borrow().iter().filter(disconnected).count(), 2);
    all_is_gone();
}

/// In an endless loop, as an application may.
fn a_handler_that_reconnects(call: fn(&Handle) -> Result<(), Error>) {
    for ours_first in [false, true] {
        let handle = connected();
        with(|w| w.queue.ours_first = ours_first);
        let slot = Rc::new(RefCell::new(Some(handle.clone())));
        let copy = slot.clone();
        let results = Rc::new(RefCell::new(Vec::new()));
        let log = results.clone();
        react(move |delivery| {
            if let Delivery::Disconnected(_) = delivery {
                let handle = copy.borrow().clone();
                if let Some(handle) = handle {
                    log.borrow_mut().push(call(&handle));
                }
            }
        });
        for _ in 0..3 {
            broker::die(true);
            run(5_000);
            handle.disconnect();
            run(5_000);
        }
        let again = results.borrow().len();
        assert!(again >= 6 && results.borrow().iter().all(Result::is_ok), "{:?}", results.borrow());
        assert!(with(|w| w.broker.is_connected("c")));
        let took = handle.remove();
        assert!(took < 1_000, "{took} ms");
        run(5_000);
        assert!(results.borrow()[again..].iter().all(|result| *result == Err(Error::Disconnected)));
        slot.borrow_mut().take();
        all_is_gone();
    }
}

#[test]
fn a_handler_that_always_reconnects_does_not_keep_remove() {
    a_handler_that_reconnects(Handle::reconnect);
}

#[test]
fn a_handler_that_always_connects_does_not_keep_remove() {
    a_handler_that_reconnects(Handle::connect);
}

/// A worker reconnects after every DISCONNECTED, those included that its own reconnects cause.
#[test]
fn a_worker_that_reconnects_at_every_disconnected_comes_to_rest() {
    for pause in [1, 10, 300] {
        let handle = connected();
        let lost = Rc::new(RefCell::new(false));
        let (flag, worker) = (lost.clone(), handle.clone());
        react(move |delivery| *flag.borrow_mut() |= matches!(delivery, Delivery::Disconnected(_)));
        let flag = lost.clone();
        start_app(0, move || {
            if flag.replace(false) {
                assert_eq!(worker.reconnect(), Ok(()));
            }
            if with(|w| w.now) < 60_000 { Some(pause) } else { None }
        });
        for round in 1..=3 {
            // Once without need, and once because of a loss.
            lost.replace(true);
            run(5_000);
            assert_eq!(with(|w| w.broker.connects), 2 * round);
            broker::die(true);
            run(5_000);
            assert_eq!(with(|w| w.broker.connects), 2 * round + 1);
        }
        run(60_000);
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn reconnect_ends_what_is_no_fresh_connection() {
    let handle = connected();
    for (age, connects) in [(0, 2), (990, 2), (1_020, 3), (0, 3)] {
        run(age);
        assert_eq!(handle.reconnect(), Ok(()));
        assert_eq!(with(|w| w.broker.connects), connects, "{age} ms");
    }
    // Lost, or asked for otherwise.
    broker::die(true);
    run(100);
    assert_eq!(handle.reconnect(), Ok(()));
    handle.disconnect();
    assert_eq!(handle.connect(), Ok(()));
    assert_eq!(handle.reconnect(), Ok(()));
    assert_eq!(with(|w| w.broker.connects), 6);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_reconnecting_handler_while_the_broker_is_away() {
    let handle = connected();
    let (again, results) = (handle.clone(), Rc::new(RefCell::new(Vec::new())));
    let log = results.clone();
    react(move |delivery| {
        if let Delivery::Disconnected(_) = delivery {
            log.borrow_mut().push(again.reconnect());
        }
    });
    with(|w| w.faults.black_hole = 1000);
    broker::die(true);
    // The event task is in a connect that takes 30 s. A remove ends it.
    let ended = call_later(10_000, move || handle.remove());
    run(60_000);
    assert_eq!(*results.borrow(), [Err(Error::Failure)]);
    assert!((9_000..=10_000).contains(&with(|w| w.books.slowest["reconnect"])));
    assert!(ended.borrow().is_some());
    with(|w| w.handler = Some(Rc::new(enter)));
    all_is_gone();
}

#[test]
fn messages_that_were_not_delivered_go_with_the_handle() {
    let handle = subscribed();
    with(|w| w.faults.slow_callback = 0);
    // Nobody takes an event.
    with(|w| w.queue.busy_until = w.now + 60_000);
    let serials = send(100, 1, 100);
    run(5_000);
    assert!(with(|w| w.buffers) > 40);
    let start = now();
    handle.remove();
    // Acknowledged are those whose event was accepted; with the handle go the others.
    assert!(now() - start <= 11_000);
    assert!(with(|w| w.buffers) <= 2 * 16);
    run(100_000);
    assert!(with(|w| w.books.got.values().map(Vec::len).sum::<usize>()) < serials.len());
    assert!(with(|w| w.broker.has_session("c")));
    all_is_gone();
}

#[test]
fn removed_before_its_first_connect_has_begun() {
    for at in 0..12 {
        create(1, 0);
        let handle = Handle::new(hub(), 1, config("c"));
        let (hub, client) = (handle.hub, handle.client.clone());
        let locks = Rc::new(std::cell::Cell::new(0));
        with(|w| {
            w.queue.unbounded = true;
            w.at_lock = Some(Rc::new(move || {
                locks.set(locks.get() + 1);
                if locks.get() == at && !with(|w| w.is_running(crate::world::MQTT_TASK) || w.locks_held > 0) {
                    assert!(hub.remove(1).is_some());
                }
            }));
        });
        let result = handle.connect();
        with(|w| w.at_lock = None);
        run(1_000);
        // At the last locks it is connected already, or the lock is the task's.
        assert!(result.is_err() || hub.find(1).is_some() || at > 3, "lock {at}: {result:?}");
        drop((handle, client));
        if hub.find(1).is_some() {
            hub.remove(1);
        }
        all_is_gone();
    }
}

/// One long frame, or what TLS brings in as many bytes, is taken in pieces as there is room: nothing is lost where they meet, nor
/// where messages are skipped for want of memory, nor when the layers end behind it.
#[cfg(feature = "websocket")]
#[test]
fn a_long_frame_is_taken_in_pieces() {
    let least = |serials: &[(u64, usize)], len| serials.iter().filter(|sent| sent.1 < len).map(|sent| sent.0).collect();
    for (uri, most, ends) in LAYERED
        .iter()
        .flat_map(|uri| [(uri, usize::MAX, false), (uri, usize::MAX, true), (uri, 4_000, false), (uri, 4_000, true)])
    {
        let handle = one_with(crate::app::with_host(config("c"), uri));
        with(|w| w.limits.backlog = 2_000);
        assert_eq!(handle.connect(), Ok(()));
        run(100);
        with(|w| w.faults.slow_callback = 3);
        let (mut serials, mut packets) = (Vec::new(), Vec::new());
        for len in (0..400).map(|n| 300 + (n * n * 7) % 9_001) {
            let payload = payload(new_serial(), len);
            serials.push((serial(&payload).expect("a number"), len));
            let remaining = 6 + len;
            packets.extend([0x30, remaining as u8 | 0x80, (remaining >> 7) as u8]);
            packets.extend(b"\x00\x04in/x");
            packets.extend(payload);
        }
        broker::say_at_once("c", &packets);
        if ends {
            broker::close_all(|_| true);
        }
        memory::plan(Plan::MessagesOver(most));
        run(20_000);
        memory::is_back();
        run(20_000);
        let all: Vec<u64> = least(&serials, usize::MAX);
        let (got, short): (_, Vec<u64>) = (got(&handle), least(&serials, most.min(10_000) - 50));
        assert!(
            short.iter().all(|serial| got.contains(serial)),
            "{uri}, {most}, {ends}: {} of {}",
            got.len(),
            all.len()
        );
        assert_eq!(got, all.into_iter().filter(|serial| got.contains(serial)).collect::<Vec<_>>());
        assert_eq!(with(|w| w.books.lost), u64::from(ends));
        handle.remove();
        all_is_gone();
    }
}
