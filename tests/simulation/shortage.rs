//! Messages for which there is no memory: they wait for it, then the connection ends and they come again, and in the end
//! they are given up. Whatever happens, messages go on coming.

use std::cell::RefCell;
use std::rc::Rc;

use wm_mqtt_client::client::{Config, Error};

use crate::app::{Handle, Result, config, hub, payload};
use crate::broker;
use crate::directed::*;
use crate::events::Delivery;
use crate::memory::{self, Plan};
use crate::promises::all_is_gone;
use crate::wire::FromServer;
use crate::world::{Faults, call_later, run, run_until, with};

/// How long a message waits, and how often it is looked whether there is memory.
const PATIENCE: u64 = 2_000;
const LOOK: u64 = 50;
/// What the network takes in addition.
const SLACK: u64 = 50;

/// As `subscribed`, with an application that connects again whenever its connection is lost.
fn persevering(config: Config) -> Handle {
    persevere(one_with(config))
}

fn persevere(handle: Handle) -> Handle {
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 2).is_ok());
    run(100);
    with(|w| w.broker.style.forgives_order = true);
    let copy = handle.clone();
    react(move |delivery| {
        if matches!(delivery, Delivery::Disconnected(Some(_))) {
            let handle = copy.clone();
            call_later(100, move || handle.connect());
        }
    });
    handle
}

fn over_tcp() -> Handle {
    persevering(config("c"))
}

/// There is none for messages (`Plan`), and there is again in so many milliseconds.
fn shortage(plan: Plan, ms: u64) {
    memory::plan(plan);
    with(|w| w.later(ms, || _ = memory::is_back()));
}

/// Nobody has memory for so many messages at a time.
const NEVER: u64 = 1 << 40;

/// What a message of each size lacks: its topic, or its payload.
fn cases() -> impl Iterator<Item = (usize, Plan)> {
    let lens = [1, 100, 600, 3000, 20_000, 65_535];
    let payload = lens.into_iter().skip(1).map(|len| (len, Plan::MessagesOver(len / 2)));
    let anything = lens.into_iter().map(|len| (len, Plan::MessagesOver(0)));
    // Nor for what was read already: then it cannot wait.
    let everything = lens.into_iter().map(|len| (len, Plan::Over(0)));
    payload.chain(anything).chain(everything)
}

fn losses() -> u64 {
    with(|w| w.broker.lost)
}

fn end(handle: Handle) {
    memory::is_back();
    handle.remove();
    all_is_gone();
}

#[test]
fn memory_that_is_back_in_a_second() {
    for (len, plan) in cases().filter(|(_, plan)| matches!(plan, Plan::MessagesOver(_))) {
        for qos in 0..3 {
            let handle = over_tcp();
            shortage(plan, 1_000);
            let (serials, start) = (send(2, qos, len), now());
            assert!(run_until(10_000, || got(&handle).len() == 2), "{len} bytes, {plan:?}, QoS {qos}");
            assert!(now() - start <= 1_000 + LOOK + SLACK, "{} ms", now() - start);
            run(20_000);
            assert_eq!(got(&handle), serials);
            assert_eq!(losses(), 0);
            end(handle);
        }
    }
}

/// One that was told in time does not shorten the time of the next one.
#[test]
fn shortages_that_come_again_and_again() {
    let handle = over_tcp();
    let mut serials = Vec::new();
    for _ in 0..10 {
        shortage(Plan::MessagesOver(500), 1_500);
        serials.extend(send(1, 1, 3_000));
        run(1_500 + LOOK + SLACK);
        assert_eq!((got(&handle), losses()), (serials.clone(), 0));
    }
    end(handle);
}

/// A device that has just started.
#[test]
fn when_the_clock_has_just_begun() {
    let handle = one();
    with(|w| w.now = 0);
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 1).is_ok());
    shortage(Plan::MessagesOver(500), 1_500);
    let serials = send(1, 1, 3_000);
    run(1_700);
    assert_eq!((got(&handle), losses()), (serials, 0));
    end(handle);
}

#[test]
fn memory_that_is_back_in_three_seconds() {
    for (len, plan) in cases() {
        for qos in 0..3 {
            let handle = over_tcp();
            let waits = matches!(plan, Plan::MessagesOver(_));
            shortage(plan, 3_000);
            let (serials, start) = (send(1, qos, len), now());
            if qos == 0 {
                // Nothing is to be had by another connection.
                run(20_000);
                assert_eq!((got(&handle).len(), losses()), (0, 0), "{len} bytes, {plan:?}");
            } else {
                assert!(run_until(10_000, || losses() == 1), "{len} bytes, {plan:?}, QoS {qos}");
                let after = now() - start;
                assert!((if waits { PATIENCE } else { 0 }..PATIENCE + LOOK + SLACK).contains(&after), "{after} ms");
                run(20_000);
                let got = got(&handle);
                assert_eq!((got, with(|w| w.broker.given_up.len())), (serials, 0), "{len} bytes, {plan:?}, QoS {qos}");
                assert_eq!(with(|w| w.books.disconnected), losses());
            }
            // And the next one comes.
            let next = send(1, qos, 10);
            run(100);
            assert!(got(&handle).ends_with(&next));
            end(handle);
        }
    }
}

#[test]
fn memory_that_never_comes() {
    for (len, plan) in cases().filter(|(_, plan)| matches!(plan, Plan::MessagesOver(1..))) {
        for qos in 1..3 {
            let handle = over_tcp();
            memory::plan(plan);
            let serials = send(1, qos, len);
            let behind = send(3, qos, 5);
            run(4 * (PATIENCE + 1_000));
            assert_eq!(losses(), 3, "{len} bytes, QoS {qos}");
            assert_eq!(with(|w| w.broker.given_up.clone()), serials);
            let mut all = got(&handle);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, behind, "what is behind it comes");
            assert!(!with(|w| w.broker.owes()));
            // From now on it is in nobody's way.
            let next = send(1, qos, 5);
            run(100);
            assert!(got(&handle).ends_with(&next));
            run(100_000);
            assert_eq!(losses(), 3);
            end(handle);
        }
    }
}

/// All that the server has under way, and more.
#[test]
fn more_than_a_window_of_them() {
    for (ms, given_up) in [(1_000, 0), (5_000, 0), (NEVER, 25)] {
        for qos in 1..3 {
            let handle = over_tcp();
            shortage(Plan::MessagesOver(500), ms);
            let large = send(25, qos, 3_000);
            let small = send(25, qos, 10);
            run(600_000);
            let all = got(&handle);
            assert!(small.iter().all(|serial| all.contains(serial)), "back in {ms} ms, QoS {qos}");
            assert_eq!(large.iter().filter(|serial| !all.contains(serial)).count(), given_up);
            assert_eq!(with(|w| w.broker.given_up.len()), given_up);
            assert!(!with(|w| w.broker.owes()));
            end(handle);
        }
    }
}

#[test]
fn a_clean_session_goes_on_without_them() {
    for qos in 0..3 {
        let handle = persevering(Config { clean_session: true, ..config("c") });
        memory::plan(Plan::MessagesOver(500));
        send(50, qos, 3_000);
        let small = send(25, qos, 10);
        run(60_000);
        assert_eq!((got(&handle), losses()), (small, 0));
        assert_eq!(with(|w| w.broker.given_up.len()), if qos == 0 { 0 } else { 50 });
        end(handle);
    }
}

/// What is of use behind such a message is read, and the connection ends when nothing of ours is under way.
#[test]
fn acknowledgements_behind_it_are_read() {
    let handle = over_tcp();
    memory::plan(Plan::MessagesOver(500));
    let record = record();
    send(1, 1, 3_000);
    run(100);
    for qos in 1..3 {
        assert!(handle.publish("t", qos, 10).1.is_ok());
    }
    let copy = handle.clone();
    let subscribe = call_later(0, move || copy.subscribe("other", 1));
    let start = now();
    run(PATIENCE + 500);
    let events = record.borrow().clone();
    let expected = [Delivery::Published(2), Delivery::Published(3), Delivery::Disconnected(Some(handle.token()))];
    assert_eq!(events, expected);
    let subscribed = subscribe.borrow().expect("over");
    assert!(subscribed.0.is_ok());
    assert!((PATIENCE - 100..PATIENCE).contains(&(subscribed.1 - start)), "{} ms", subscribed.1 - start);
    end(handle);
}

#[test]
fn it_ends_when_the_last_acknowledgement_is_here_or_after_ten_seconds() {
    for (answers_after, ends_after) in [(4_000, 4_000), (NEVER, PATIENCE + 10_000)] {
        let handle = over_tcp();
        memory::plan(Plan::MessagesOver(500));
        with(|w| w.broker.style.acknowledges = false);
        let start = now();
        send(1, 2, 3_000);
        assert!(handle.publish("t", 1, 10).1.is_ok());
        with(|w| {
            w.later(answers_after, || {
                broker::say("c", &[0x40, 2, 0, 2]);
            });
        });
        run(PATIENCE + 100);
        // Messages come meanwhile, and others that find no memory do not put the end off.
        for _ in 0..3 {
            let small = send(1, 1, 10);
            send(1, 1, 3_000);
            run(100);
            assert!(got(&handle).ends_with(&small));
        }
        // Nor does one wait again, however late.
        if ends_after > 8_000 {
            run(5_000);
            send(1, 1, 3_000);
            let small = send(1, 1, 10);
            run(100);
            assert!(got(&handle).ends_with(&small));
        }
        assert!(run_until(20_000, || losses() == 1));
        let after = now() - start;
        assert!((ends_after..ends_after + LOOK + SLACK).contains(&after), "{after} ms");
        broker::behave();
        end(handle);
    }
}

/// Nor before requests are answered.
#[test]
fn it_ends_when_requests_are_answered() {
    let handle = over_tcp();
    memory::plan(Plan::MessagesOver(500));
    send(1, 1, 3_000);
    run(PATIENCE - 100);
    with(|w| w.broker.style.reply = (3_000, 3_000));
    assert!(handle.subscribe("other", 1).is_ok());
    assert!(run_until(100, || losses() == 1));
    end(handle);
}

/// Nor before what was read is told, or is there to be read: it would come a second time.
#[test]
fn it_ends_when_everything_behind_it_is_told() {
    for (io_buffer, busy) in [(50, 0), (2048, 5_000)] {
        let handle = one();
        with(|w| w.limits.io_buffer = io_buffer);
        let handle = persevere(handle);
        memory::plan(Plan::MessagesOver(500));
        // The queue has no room for a while.
        with(|w| {
            w.queue.foreign(if busy > 0 { 32 } else { 0 });
            w.queue.busy_until = w.now + busy;
        });
        let start = now();
        send(1, 1, 600);
        let small = send(19, 1, 400);
        assert!(run_until(20_000, || losses() == 1));
        assert!(now() - start >= busy.max(PATIENCE));
        run(100);
        assert_eq!(got(&handle), small);
        memory::is_back();
        run(20_000);
        assert_eq!(got(&handle).len(), 1 + small.len());
        end(handle);
    }
}

#[test]
fn other_handles_go_on_and_the_task_sleeps() {
    let handle = over_tcp();
    let other = Handle::new(handle.hub, 2, config("d"));
    with(|w| (w.books.alone, w.books.clients) = (false, 2));
    assert_eq!(other.connect(), Ok(()));
    assert!(other.subscribe("for/d", 1).is_ok());
    run(100);
    memory::plan(Plan::MessagesOver(500));
    send(1, 1, 3_000);
    run(50);
    let before = with(|w| w.turns);
    for n in 0..15 {
        broker::publish("for/d", &payload(100 + n, 10), 1);
        run(10);
        assert_eq!(got(&other).len(), 1 + n as usize);
        let copy = other.clone();
        let publish = call_later(0, move || copy.publish("t", 1, 10).1);
        run(90);
        assert!(publish.borrow().expect("over").0.is_ok());
    }
    // One look in 50 ms, and some turns for each message of the other.
    let turns = with(|w| w.turns) - before;
    assert!((30..30 + 15 * 8).contains(&turns), "{turns} turns");
    assert_eq!(losses(), 0);
    other.remove();
    end(handle);
}

#[test]
fn keep_alive_meanwhile() {
    for keep_alive in [1, 2] {
        let handle = persevering(Config { keep_alive, ..config("c") });
        memory::plan(Plan::MessagesOver(500));
        with(|w| w.broker.style.acknowledges = false);
        assert!(handle.publish("t", 1, 10).1.is_ok());
        let (start, pings) = (now(), with(|w| w.broker.pings));
        send(1, 1, 3_000);
        assert!(run_until(20_000, || losses() == 1));
        // The server's answers are not read, and that is not its silence.
        assert!(now() - start >= PATIENCE + 10_000);
        with(|w| {
            assert!(w.broker.pings - pings >= 10 / u64::from(keep_alive));
            assert!(w.broker.longest_silence <= 100, "{} %", w.broker.longest_silence);
        });
        broker::behave();
        end(handle);
    }
}

/// While a message waits for memory (`early`), and while its connection goes on without it.
#[test]
fn calls_meanwhile() {
    type Call = fn(&Handle) -> Result<()>;
    let calls: [(&str, Call); 5] = [
        ("publish", |handle| handle.publish("t", 1, 10).1.map(drop)),
        ("publish, QoS 0", |handle| handle.publish("t", 0, 10).1.map(drop)),
        ("disconnect", |handle| handle.try_disconnect().0),
        ("reconnect", Handle::reconnect),
        ("remove", |handle| {
            handle.clone().remove();
            Ok(())
        }),
    ];
    for early in [true, false] {
        for (name, call) in calls {
            let handle = over_tcp();
            memory::plan(Plan::MessagesOver(500));
            with(|w| w.broker.style.acknowledges = early);
            assert!(early || handle.publish("t", 1, 10).1.is_ok());
            send(1, 2, 3_000);
            run(if early { 500 } else { PATIENCE + 500 });
            broker::behave();
            assert_eq!(losses(), 0);
            let (copy, start) = (handle.clone(), now());
            let outcome = call_later(0, move || call(&copy));
            run(11_000);
            let (result, at) = outcome.borrow().expect("over");
            assert_eq!(result, Ok(()), "{name}, early: {early}");
            let ends = ["disconnect", "remove"].contains(&name);
            // What is in flight was never acknowledged.
            let limit = if !early && ends { 10_000 } else { 500 };
            assert!(at - start <= limit, "{name} takes {} ms, early: {early}", at - start);
            if ends {
                assert_eq!(with(|w| (w.broker.graceful, w.broker.lost)), (1, 0), "{name}, early: {early}");
            }
            memory::is_back();
            if name == "remove" {
                drop(handle);
                all_is_gone();
            } else {
                end(handle);
            }
        }
    }
}

/// In the middle of one, that waits or is skipped.
#[test]
fn a_connection_that_breaks() {
    for waits in [100, PATIENCE + 20] {
        for qos in 1..3 {
            let handle = over_tcp();
            with(|w| w.faults = Faults { latency: (5, 5), segment: 1000, capacity: 1000, ..Faults::NONE });
            memory::plan(Plan::MessagesOver(500));
            let serials = send(1, qos, 60_000);
            run(waits);
            assert_eq!(losses(), 0);
            broker::die(true);
            memory::is_back();
            run(5_000);
            assert_eq!(got(&handle), serials);
            assert_eq!(losses(), 1);
            end(handle);
        }
    }
}

/// Messages with QoS 0 that come all the time do not keep anything from being read for long.
#[test]
fn a_flood_of_them() {
    let handle = over_tcp();
    memory::plan(Plan::MessagesOver(500));
    for n in 0..300 {
        with(|w| w.later(100 * n, || broker::publish("in/x", &payload(7, 3_000), 0)));
    }
    for _ in 0..10 {
        let start = now();
        assert!(handle.subscribe("other", 1).is_ok());
        assert!(now() - start < PATIENCE + LOOK + SLACK);
        run(1_300);
    }
    assert_eq!(losses(), 0);
    end(handle);
}

/// In the callback that waits for what is behind it.
#[test]
fn a_call_in_a_callback() {
    let handle = over_tcp();
    let results = Rc::new(RefCell::new(Vec::new()));
    let (caller, log) = (handle.clone(), results.clone());
    react(move |delivery| {
        if matches!(delivery, Delivery::Data { .. }) {
            log.borrow_mut().push(caller.subscribe("other", 1).map(drop));
        }
    });
    memory::plan(Plan::MessagesOver(500));
    send(1, 1, 10);
    send(1, 1, 3_000);
    run(10_000);
    assert_eq!(results.borrow()[..], [Ok(())]);
    end(handle);
}

/// The backlog is full, so input waits for room, and then for memory.
#[test]
fn behind_a_full_backlog() {
    let handle = over_tcp();
    with(|w| {
        w.broker.style.window = 0;
        w.queue.busy_until = w.now + 5_000;
    });
    shortage(Plan::MessagesOver(2_000), 7_000);
    let mut serials = send(30, 1, 1_000);
    serials.extend(send(1, 1, 3_000));
    serials.extend(send(5, 1, 10));
    run(60_000);
    let mut all = got(&handle);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, serials);
    end(handle);
}

#[test]
fn the_largest_payload() {
    let handle = one();
    handle.remove();
    with(|w| w.limits.session.payload = 1_000);
    let handle = Handle::new(hub(), 2, config("d"));
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 2).is_ok());
    run(100);
    // It is not even looked for memory for what is larger.
    memory::plan(Plan::MessagesOver(1_001));
    let mut serials = Vec::new();
    for qos in 0..3 {
        serials.extend(send(1, qos, 1_000));
        send(1, qos, 1_001);
    }
    run(1_000);
    assert_eq!(got(&handle), serials);
    assert!(!with(|w| w.broker.owes()));
    assert_eq!(losses(), 0);
    end(handle);
}

/// What comes out of a layer cannot be kept: there it does not wait.
#[cfg(feature = "websocket")]
#[test]
fn over_websocket() {
    for (ms, given_up) in [(30, false), (1_000, false), (NEVER, true)] {
        for qos in 0..3 {
            for len in [600, 20_000] {
                let handle = persevering(crate::app::with_host(config("c"), "ws://broker:1883"));
                shortage(Plan::MessagesOver(500), ms);
                let (large, start) = (send(1, qos, len), now());
                let small = send(1, qos, 10);
                assert!(run_until(1_000, || got(&handle) == small), "what is behind it is read at once");
                // Nor does it end before: an application would have used up all connections in no time.
                assert!(qos == 0 || run_until(5_000, || losses() == 1));
                let after = now() - start;
                assert!(qos == 0 || (PATIENCE..PATIENCE + LOOK + SLACK).contains(&after), "{after} ms");
                run(60_000);
                let mut all = got(&handle);
                all.sort_unstable();
                all.dedup();
                let expected = if qos == 0 || given_up { small } else { [large, small].concat() };
                assert_eq!(all, expected, "QoS {qos}, {len} bytes, back in {ms} ms");
                assert_eq!(with(|w| w.broker.given_up.len()), usize::from(given_up && qos > 0));
                assert!(!with(|w| w.broker.owes()));
                end(handle);
            }
        }
    }
}

/// Nor does a connection end at once when there is no memory for something else: what was read, an acknowledgement, what a layer must keep.
#[test]
fn no_memory_for_the_rest_of_the_input() {
    for scheme in [
        "mqtt",
        #[cfg(feature = "websocket")]
        "ws",
    ] {
        for qos in 1..3 {
            let handle = persevering(crate::app::with_host(config("c"), &format!("{scheme}://broker:1883")));
            shortage(Plan::OwnOver(250), 1_000);
            let (serials, start) = (send(20, qos, 10), now());
            // Memory that is back is of no use: what could not be kept is missing.
            let read = || with(|w| w.conns[w.broker.link_of("c").expect("connected")].bytes_read);
            run(1_200);
            let before = read();
            broker::say("c", &FromServer::PingResp.encode());
            run(500);
            assert_eq!(read(), before, "{scheme}, QoS {qos}");
            assert!(run_until(10_000, || losses() == 1), "{scheme}, QoS {qos}");
            let after = now() - start;
            assert!((PATIENCE..PATIENCE + LOOK + SLACK).contains(&after), "{scheme}, QoS {qos}: {after} ms");
            run(20_000);
            assert_eq!(losses(), 1);
            assert!(!with(|w| w.broker.owes()));
            let mut all = got(&handle);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, serials);
            end(handle);
        }
    }
}

/// A disconnect does not wait for a connection that has no memory to go on.
#[test]
fn disconnect_without_memory() {
    let handle = persevering(config("c"));
    shortage(Plan::OwnOver(250), 1_000);
    send(20, 1, 10);
    run(1_100);
    assert_eq!(losses(), 0);
    let start = now();
    assert_eq!(handle.client.disconnect(), Ok(()));
    assert!(now() - start <= 1_000, "{} ms", now() - start);
    end(handle);
}

/// A publish says at once that there is no memory for it: its message is still the application's.
#[test]
fn publish_without_memory() {
    let handle = over_tcp();
    memory::plan(Plan::Over(500));
    for qos in 0..3 {
        let start = now();
        assert_eq!(handle.publish("t", qos, 3_000).1, Err(Error::Failure));
        assert_eq!(now(), start);
        assert!(handle.publish("t", qos, 10).1.is_ok());
    }
    run(1_000);
    assert_eq!(losses(), 0);
    end(handle);
}

/// The wait of a message that was lost long ago is not the wait of what comes later.
#[test]
fn no_memory_for_a_ping_long_after_a_message_was_lost() {
    let handle = over_tcp();
    shortage(Plan::MessagesOver(500), 3_000);
    send(1, 0, 3_000);
    run(10_000);
    assert_eq!((got(&handle).len(), losses()), (0, 0));
    let before = with(|w| w.broker.pings);
    assert!(run_until(60_000, || with(|w| w.broker.pings) > before));
    run(58_000);
    shortage(Plan::OwnOver(1), 2_500);
    run(3_000);
    assert_eq!(losses(), 0, "2 s are not over");
    run(2_000);
    assert_eq!(losses(), 1);
    end(handle);
}

/// The acknowledgement before that of a skipped message finds no memory.
#[test]
fn a_skipped_message_behind_one_that_cannot_be_acknowledged() {
    one().remove();
    with(|w| w.limits.session.payload = 1_000);
    let handle = persevere(Handle::new(hub(), 2, config("c")));
    with(|w| {
        w.broker.style.window = 0;
        w.queue.foreign(32);
        w.queue.busy_until = w.now + 1_000;
    });
    let serials = send(1, 1, 10);
    send(1, 1, 1_001);
    run(990);
    memory::plan(Plan::OwnOver(1));
    run(1_000);
    memory::is_back();
    run(20_000);
    let mut all = got(&handle);
    all.dedup();
    assert_eq!(all, serials);
    assert!(!with(|w| w.broker.owes()));
    end(handle);
}
