//! Bounds of memory: the backlog of events, and what an application in its callback may wait for.

use std::cell::RefCell;
use std::rc::Rc;

use wm_mqtt_client::client::{Config, Error};
use wm_mqtt_client::protocol::Buffer;

use crate::app::{Handle, config};
use crate::broker;
use crate::directed::*;
use crate::events::Delivery;
use crate::hostile::Trick;
use crate::memory::{self, Plan};
use crate::port::SimBuffer;
use crate::promises::all_is_gone;
use crate::wire::Publish;
use crate::world::{call_later, run, with};

const BACKLOG: usize = 16 * 1024;

#[test]
fn reading_stops_at_the_bound_and_resumes() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 300_000;
        w.faults.capacity = 4096;
    });
    let serials = send(1000, 1, 1000);
    run(60_000);
    let (buffers, unread) = with(|w| (w.buffers, w.unread(w.broker.link_of("c").expect("connected"))));
    // In the queue and waiting for it; topic and payload are two buffers.
    assert!(buffers <= 2 * (BACKLOG / 1068 + 2), "{buffers} buffers");
    assert!(unread > 2000, "the network does not push back: {unread}");
    // Meanwhile the connection lives, and API calls are served.
    assert!(handle.publish("t", 1, 10).1.is_ok());
    run(200_000);
    with(|w| assert_eq!((w.broker.connects, w.broker.lost), (1, 0)));
    assert!(with(|w| w.broker.pings) >= 3);
    run(100_000);
    assert_eq!(got(&handle), serials);
    assert!(with(|w| w.buffers_peak) <= 2 * (BACKLOG / 1068 + 2));
    handle.remove();
    all_is_gone();
}

/// The bound leaves room for one message of any size, and for no second one beside it.
#[test]
fn large_messages_come_one_at_a_time() {
    for (len, most) in [(60_000, 1), (BACKLOG, 1), (10_000, 1), (8_000, 2), (5_000, 3)] {
        let handle = subscribed();
        with(|w| {
            w.broker.style.window = 0;
            w.faults.slow_callback = 100;
        });
        let serials = send(30, 2, len);
        run(20_000);
        assert_eq!(got(&handle), serials);
        let peak = with(|w| w.buffers_peak);
        assert_eq!(peak, 2 * most, "{len} bytes");
        // One in delivery does not keep what its callback waits for from being read.
        let (caller, results) = (handle.clone(), Rc::new(RefCell::new(Vec::new())));
        let log = results.clone();
        react(move |delivery| {
            if matches!(delivery, Delivery::Data { .. }) {
                log.borrow_mut().push(caller.subscribe("x", 1));
            }
        });
        send(1, 1, len);
        run(5_000);
        assert!(matches!(results.borrow()[..], [Ok(_)]), "{:?}", results.borrow());
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn small_messages_are_counted_by_bytes() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 30_000;
    });
    let serials = send(3000, 1, 1);
    run(20_000);
    let waiting = with(|w| w.buffers) / 2;
    // 64 bytes of overhead, topic and payload each.
    assert!((BACKLOG / 80..BACKLOG / 64 + 20).contains(&waiting), "{waiting} messages");
    run(60_000);
    assert_eq!(got(&handle), serials);
    handle.remove();
    all_is_gone();
}

#[test]
fn requests_are_answered_while_the_backlog_is_full() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 100_000;
    });
    send(1000, 1, 1000);
    run(1_000);
    // QoS 0 leaves; a SUBACK stands behind the messages, so this one fails in its time.
    let (serial, result) = handle.publish("t", 0, 10);
    assert_eq!(result, Ok(0));
    let start = now();
    assert_eq!(handle.subscribe("x", 1), Err(Error::Failure));
    assert_eq!(now() - start, 10_000);
    // Only for a call in the callback more is read.
    let peak = with(|w| w.buffers_peak);
    assert!(peak <= 2 * (BACKLOG / 1068 + 2), "{peak} buffers");
    assert_eq!(with(|w| w.broker.arrivals[&serial].taken), 1);
    run(300_000);
    handle.remove();
    all_is_gone();
}

/// A message that is skipped takes no room, so it is not one too many for a call in a callback.
#[test]
fn a_message_too_large_is_not_one_too_many() {
    for len in [70_000, 1_000_000] {
        let handle = subscribed();
        handle.disconnect();
        let serials = send(1, 1, 10);
        send(1, 1, len);
        let (caller, results) = (handle.clone(), Rc::new(RefCell::new(Vec::new())));
        let log = results.clone();
        react(move |delivery| {
            if matches!(delivery, Delivery::Connected) {
                log.borrow_mut().push(caller.subscribe("x", 1));
            }
        });
        assert_eq!(handle.connect(), Ok(()));
        run(20_000);
        assert!(matches!(results.borrow()[..], [Ok(_)]), "{:?}", results.borrow());
        assert_eq!(got(&handle), serials);
        handle.remove();
        all_is_gone();
    }
}

/// CONNACK stands behind nothing: neither events of the connection before nor a callback that takes its time keep it from being read.
#[test]
fn connect_with_a_backlog_that_is_full() {
    for len in [60_000, 1] {
        let handle = subscribed();
        with(|w| {
            w.broker.style.window = 0;
            w.queue.busy_until = w.now + 100_000;
        });
        let serials = send(100, 1, len);
        run(1_000);
        for reconnects in [true, false, true] {
            let start = now();
            if reconnects {
                assert_eq!(handle.reconnect(), Ok(()));
            } else {
                let _ = handle.try_disconnect();
                assert_eq!(handle.connect(), Ok(()));
            }
            assert!(now() - start < 11_000, "it took {} ms", now() - start);
            run(2_000);
            let (most, buffers) = (2 * (BACKLOG / (len + 68)).max(1) + 4, with(|w| w.buffers));
            assert!(buffers <= most, "{buffers} buffers of {len} bytes");
        }
        run(300_000);
        let got: std::collections::BTreeSet<_> = got(&handle).into_iter().collect();
        assert_eq!(got, serials.into_iter().collect());
        handle.remove();
        all_is_gone();
    }
}

/// A message before CONNACK waits as behind it, and the task sleeps.
#[test]
fn a_message_before_connack_with_a_backlog_that_is_full() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 100_000;
    });
    send(500, 1, 1);
    run(1_000);
    let (topic, payload) = (b"in/x".to_vec(), vec![0; 3_000]);
    let early = Publish { topic, payload, qos: 0, retain: false, dup: false, id: 0 }.encode();
    with(|w| w.broker.tricks.push_back(Trick::Before(early)));
    let before = with(|w| w.turns);
    assert_eq!(handle.reconnect(), Err(Error::Failure));
    assert!(with(|w| w.turns) - before < 1_000, "{} turns", with(|w| w.turns) - before);
    handle.remove();
    run(200_000);
    all_is_gone();
}

/// In the callback for the first of these messages the application subscribes.
fn subscribe_behind(messages: usize, len: usize) -> (Handle, Vec<u64>, Vec<Result<u16, Error>>) {
    let handle = subscribed();
    with(|w| w.broker.style.window = 0);
    let results = Rc::new(RefCell::new(Vec::new()));
    let (caller, log) = (handle.clone(), results.clone());
    react(move |delivery| {
        if matches!(delivery, Delivery::Data { .. }) && log.borrow().is_empty() {
            log.borrow_mut().push(Err(Error::BadQoS));
            let result = caller.subscribe("x", 1);
            log.borrow_mut().push(result);
        }
    });
    let serials = send(messages, 1, len);
    run(60_000);
    let results = results.borrow()[1..].to_vec();
    (handle, serials, results)
}

#[test]
fn a_call_in_the_callback_may_stand_behind_four_times_the_bound() {
    let (handle, serials, results) = subscribe_behind(60, 1000);
    assert!(results[0].is_ok(), "{results:?}");
    assert_eq!(got(&handle), serials);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_call_in_the_callback_fails_behind_more() {
    let (handle, serials, results) = subscribe_behind(2000, 1000);
    assert_eq!(results, [Err(Error::Failure)]);
    let peak = with(|w| w.buffers_peak);
    assert!(peak <= 2 * (4 * BACKLOG / 1068 + 3), "{peak} buffers");
    // Nothing is lost, and the connection is the same.
    assert_eq!(got(&handle), serials);
    with(|w| assert_eq!((w.broker.connects, w.broker.lost), (1, 0)));
    assert!(handle.subscribe("x", 1).is_ok());
    handle.remove();
    all_is_gone();
}

/// Behind far too many messages: a disconnect, and a connect that waits for somebody else's.
#[test]
fn ending_in_the_callback_behind_too_many_messages() {
    for clean_session in [false, true] {
        for (disconnects, reconnects) in [(true, false), (false, true), (true, true), (false, false)] {
            let handle = one_with(Config { clean_session, ..config("c") });
            assert_eq!(handle.connect(), Ok(()));
            assert!(handle.subscribe("in/#", 1).is_ok());
            run(100);
            with(|w| w.broker.style.window = 0);
            let done = Rc::new(RefCell::new(0));
            let (caller, count) = (handle.clone(), done.clone());
            react(move |delivery| {
                if matches!(delivery, Delivery::Data { .. }) && *count.borrow() == 0 {
                    *count.borrow_mut() += 1;
                    with(|w| w.broker.style.acknowledges = false);
                    let _ = caller.publish("t", 1, 10);
                    if disconnects {
                        // It gives up when too many messages come meanwhile.
                        let _ = caller.try_disconnect();
                    }
                    if reconnects {
                        let _ = caller.reconnect();
                    } else {
                        let _ = caller.connect();
                    }
                    *count.borrow_mut() += 1;
                }
            });
            send(2000, 1, 1000);
            let other = handle.clone();
            let disconnect = call_later(500, move || other.try_disconnect().1);
            let before = with(|w| w.turns);
            run(60_000);
            assert_eq!(*done.borrow(), 2);
            assert!(disconnect.borrow().is_some());
            assert!(with(|w| w.turns) - before < 30_000, "{} turns", with(|w| w.turns) - before);
            broker::behave();
            handle.remove();
            run(100_000);
            all_is_gone();
        }
    }
}

#[test]
fn a_broker_that_sends_but_does_not_read() {
    // Acknowledgements pile up to four times the outgoing bound; then reading stops, and memory with it.
    let handle = one();
    handle.remove();
    with(|w| {
        w.limits.session.outgoing = 200;
        w.faults.capacity = 2000;
    });
    let handle = Handle::new(crate::app::hub(), 2, Config { keep_alive: 60, ..config("d") });
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 1).is_ok());
    run(100);
    with(|w| {
        w.broker.style.window = 0;
        w.broker.style.reads = false;
    });
    let serials = send(5000, 1, 10);
    run(30_000);
    let taken = got(&handle).len();
    // 2000 bytes in the network and 4 * 200 in the queue, 4 for each.
    assert!((500..1100).contains(&taken), "{taken} messages");
    broker::behave();
    run(60_000);
    let mut all = got(&handle);
    all.dedup();
    assert_eq!(all, serials);
    handle.remove();
    all_is_gone();
}

/// Answers of a layer pile up to their bound; then reading stops.
#[cfg(feature = "websocket")]
#[test]
fn a_broker_that_pings_but_does_not_read() {
    let handle = one_with(crate::app::with_host(config("c"), "ws://broker:1883"));
    with(|w| w.limits.io_buffer = 500);
    assert_eq!(handle.connect(), Ok(()));
    run(100);
    let pings = [&[0x89, 125][..], &[7; 125]].concat().repeat(500);
    let (link, before) = with(|w| {
        w.faults.capacity = 2000;
        w.broker.style.reads = false;
        let link = w.broker.link_of("c").expect("connected");
        w.server_write(link, &pings);
        (link, w.conns[link].bytes_read)
    });
    let read = || with(|w| w.conns[link].bytes_read) - before;
    run(10_000);
    // 2000 bytes of answers in the network, and 4096 and those to one more read that wait.
    assert!((5_900..6_600).contains(&read()), "{} bytes", read());
    broker::behave();
    run(10_000);
    assert_eq!(read(), pings.len());
    with(|w| assert_eq!((w.broker.connects, w.broker.lost), (1, 0)));
    handle.remove();
    all_is_gone();
}

/// What did not fit into the network at once waits in memory that is given back.
#[test]
fn a_large_message_leaves_nothing_behind() {
    let handle = connected();
    with(|w| w.faults.capacity = 100);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    run(1_000);
    let before = memory::live();
    let (serial, result) = handle.publish("t", 1, 60_000);
    assert!(result.is_ok());
    run(10_000);
    assert_eq!(with(|w| w.broker.arrivals[&serial].taken), 1);
    let live = memory::live();
    assert!(live <= before + 1_024, "{live} bytes, {before} before");
    handle.remove();
    all_is_gone();
}

/// Nor do many small ones that had to wait for the event queue.
#[test]
fn a_burst_leaves_nothing_behind() {
    let handle = subscribed();
    with(|w| w.broker.style.window = 0);
    send(3, 1, 10);
    run(1_000);
    let before = memory::live();
    with(|w| w.queue.busy_until = w.now + 5_000);
    send(150, 1, 10);
    run(10_000);
    assert_eq!(got(&handle).len(), 153);
    let live = memory::live();
    assert!(live <= before + 1_024, "{live} bytes, {before} before");
    handle.remove();
    all_is_gone();
}

#[test]
fn oversized_messages_pass_by() {
    let handle = subscribed();
    let before = send(1, 1, 10);
    for qos in 0..3 {
        send(1, qos, 70_000);
    }
    let after = send(1, 2, 10);
    run(5_000);
    assert_eq!(got(&handle), [before, after].concat());
    assert!(!with(|w| w.broker.owes()), "skipped messages are acknowledged");
    handle.remove();
    all_is_gone();
}

/// The backlog of the connection before is full, so CONNACK is not read while the callback waits for it.
#[test]
fn a_connect_that_a_callback_has_given_up_does_not_come_later() {
    let handle = subscribed();
    with(|w| (w.broker.style.window, w.broker.style.acknowledges) = (0, false));
    let results = Rc::new(RefCell::new(Vec::new()));
    let (caller, log) = (handle.clone(), results.clone());
    react(move |delivery| {
        if matches!(delivery, Delivery::Data { .. }) && log.borrow().is_empty() {
            log.borrow_mut().push(Ok(()));
            let _ = caller.publish("t", 1, 10);
            // Too many messages come meanwhile.
            log.borrow_mut().push(caller.try_disconnect().0);
            log.borrow_mut().push(caller.connect());
        }
    });
    send(2000, 1, 1000);
    run(60_000);
    assert_eq!(results.borrow()[1..], [Err(Error::Failure), Err(Error::Failure)]);
    with(|w| assert_eq!((w.books.connected, w.books.disconnected), (1, 1)));
    broker::behave();
    handle.remove();
    all_is_gone();
}

#[test]
fn no_memory_for_messages() {
    let handle = subscribed();
    with(|w| w.broker.style.forgives_order = true);
    memory::plan(Plan::Permille(300));
    let serials = send(100, 2, 100);
    run(5_000);
    let some = got(&handle).len();
    assert!(some < 80, "{some}");
    memory::is_back();
    // Without memory nothing was acknowledged; with the next connection the rest comes.
    while with(|w| !w.broker.is_connected("c") || w.broker.owes()) {
        assert_eq!(handle.reconnect(), Ok(()));
        run(5_000);
    }
    let mut all = got(&handle);
    all.sort_unstable();
    assert_eq!(all, serials);
    handle.remove();
    all_is_gone();
}

#[test]
fn garbage_ends_the_connection() {
    for garbage in
        [&b"\x00\x00"[..], b"\x20\x02\x00\x00", b"\x30\x00", b"\x40\x02\x00\x00", b"\xff\xff\xff\xff\xff\xff"]
    {
        let handle = connected();
        broker::say("c", garbage);
        run(1_000);
        with(|w| assert_eq!((w.books.disconnected, w.broker.lost, w.sockets), (1, 1, 0)));
        assert_eq!(handle.connect(), Ok(()));
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn a_buffer_takes_what_it_was_made_for() {
    let _handle = one();
    let mut buffer = SimBuffer::allocate(3).expect("memory");
    buffer.append(b"ab");
    buffer.append(b"c");
    assert_eq!(buffer.as_slice(), b"abc");
}

/// Behind a lost connection: neither of them waits for its backlog.
#[test]
fn a_connect_beside_one_in_the_callback() {
    let handle = subscribed();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 3_000;
    });
    let (results, caller) = (Rc::new(RefCell::new(Vec::new())), handle.clone());
    let log = results.clone();
    react(move |delivery| {
        if matches!(delivery, Delivery::Data { .. }) && log.borrow().is_empty() {
            log.borrow_mut().push((Ok(()), 0));
            let start = now();
            log.borrow_mut().push((caller.connect(), now() - start));
        }
    });
    let serials = send(200, 1, 56);
    run(1_000);
    broker::die(true);
    run(10);
    // Who does not read learns of the end when it writes.
    assert!(handle.publish("t", 0, 10).1.is_ok());
    run(10);
    let start = now();
    assert_eq!(handle.connect(), Ok(()));
    assert!(now() - start < 100, "it took {} ms", now() - start);
    run(10_000);
    let (result, took) = results.borrow()[1];
    assert!(result == Ok(()) && took < 100, "{result:?} after {took} ms");
    let mut all = got(&handle);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, serials);
    handle.remove();
    all_is_gone();
}
