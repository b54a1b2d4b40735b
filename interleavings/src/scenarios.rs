//! What several tasks do at a time, and what must hold however they interleave.

use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use crate::app::*;
use crate::events::Event;
use crate::tasks;
use crate::world::{self, Place, below, sleep, with};

/// All scenarios, by name.
pub(crate) const SCENARIOS: &[(&str, fn())] = &[
    ("loss", publish_while_connections_are_lost),
    ("connects", two_first_connects),
    ("disconnect", connect_against_disconnect),
    ("deinit", deinit_against_calls),
    ("callback", deinit_against_callbacks),
    ("limit", answers_at_the_limit),
    ("backlog", backlog_against_deinit),
    ("handles", one_handle_ends_while_another_works),
    ("first", first_calls_of_the_program),
    ("last", last_deinit_against_a_new_handle),
    ("room", publishers_wait_for_room),
    ("refused", refused_connects),
    ("late", one_of_two_connects_gives_up),
    ("queue", messages_through_a_small_queue),
    ("turns", handles_take_turns),
];

/// What calls may take that nothing holds up: the end of a connection asks the network 2 ms later, and 4 ms after that. The
/// timers that stand behind lost wake-ups are longer.
const PROMPT: u64 = 10;

/// In three of four schedules time passes only while all sleep, and then no call may take longer than so.
fn calls_take_at_most(ms: impl Into<Option<u64>>) {
    let stalls = if below(4) == 0 { 40 } else { 0 };
    with(|w| (w.stalls, w.prompt) = (stalls, ms.into().filter(|_| stalls == 0)));
}

/// Waits until something is delivered.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut(&world::World) -> bool) {
    let (start, stalled) = with(|w| (w.now, w.stalled));
    let came = sleep(Place::App, Some(start + 120_000), |w| is_so(w).then_some(()));
    let (ms, bound) = with(|w| (w.now - start, w.prompt.unwrap_or(60_000) + (w.stalled - stalled)));
    assert!(came.is_some() && ms <= bound, "{what} took {ms} ms");
}

/// CONNECTED and DISCONNECTED of an only client alternate, and what belongs to a connection comes between them.
fn check_order() {
    let events = with(|w| w.queue.delivered.clone());
    let mut connected = false;
    for event in &events {
        match event {
            Event::Connected => assert!(!connected, "connected twice: {events:?}"),
            Event::Disconnected(_) => assert!(connected, "disconnected twice: {events:?}"),
            Event::Data { .. } => assert!(connected, "a message without a connection: {events:?}"),
            // Its delivery may have waited.
            Event::Published(_) => continue,
        }
        connected = matches!(event, Event::Connected) || connected && !matches!(event, Event::Disconnected(_));
    }
    assert!(!connected, "the last one is not DISCONNECTED: {events:?}");
}

/// Once nothing resets connections or refuses them any more, it stands behind some tries, however the tasks are run.
fn stay_connected(handle: Handle) {
    while handle.connect() != 0 {}
}

/// Two tasks publish, connections are lost, the callback reconnects: what was accepted arrives, with QoS 2 once.
fn publish_while_connections_are_lost() {
    calls_take_at_most(PROMPT);
    let resets = below(3);
    with(|w| w.server.resets = resets);
    let handle = init("a", false);
    on_event(move |event| {
        if let Event::Disconnected(Some(_)) = event {
            handle.reconnect();
        }
    });
    let system = start();
    stay_connected(handle);
    let accepted: Arc<Mutex<Vec<(String, u8)>>> = Arc::default();
    let publisher = |name: &'static str, qos: u8| {
        let accepted = accepted.clone();
        move || {
            for n in 0..2 {
                let message = format!("{name} {n}");
                while handle.publish(&message, qos) <= 0 {
                    handle.connect();
                }
                accepted.lock().unwrap().push((message, qos));
            }
        }
    };
    together(tasks![publisher("one", 1), publisher("two", 2)]);
    let stalled = with(|w| {
        w.server.resets = 0;
        std::mem::take(&mut w.stalls) > 0
    });
    let is_done = |w: &world::World| w.queue.count(|event| matches!(event, Event::Published(_))) == 4;
    stay_connected(handle);
    // The callback's reconnect may have failed for a stall.
    while stalled && !with(|w| is_done(w)) {
        world::nap(1000);
        stay_connected(handle);
    }
    eventually("PUBLISHED", is_done);
    for (message, qos) in accepted.lock().unwrap().iter() {
        let times = with(|w| w.server.got.iter().filter(|got| **got == message.as_bytes()).count());
        assert!(times == 1 || times > 1 && *qos == 1, "{message} has come {times} times");
    }
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// Two tasks connect a handle that the MQTT task does not know yet: both hear of it.
fn two_first_connects() {
    calls_take_at_most(PROMPT);
    let handle = init("a", true);
    let system = start();
    let stalls = with(|w| w.stalls) > 0;
    let body = || move || assert!(handle.connect() == 0 || stalls);
    together(tasks![body(), body()]);
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// Three tasks want different things of one connection, which may be lost too: all calls return, and the events alternate.
fn connect_against_disconnect() {
    calls_take_at_most(PROMPT);
    let (resets, clean) = (below(2), below(2) == 0);
    with(|w| w.server.resets = resets);
    let handle = init("a", clean);
    let system = start();
    together(tasks![
        move || {
            handle.connect();
            handle.publish("m", 1);
            handle.connect();
        },
        move || {
            handle.disconnect();
            handle.subscribe();
            handle.disconnect();
        },
        move || {
            handle.reconnect();
            handle.unsubscribe();
        },
    ]);
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// deinit against every other function, and against another deinit: one of them ends the handle, everybody returns.
fn deinit_against_calls() {
    calls_take_at_most(PROMPT);
    let (connected, resets) = (below(2) == 0, below(2));
    let handle = init("a", true);
    let system = start();
    if connected {
        stay_connected(handle);
    }
    with(|w| w.server.resets = resets);
    let ended: Arc<Mutex<Vec<c_int>>> = Arc::default();
    let end = || {
        let ended = ended.clone();
        move || {
            let result = handle.deinit();
            ended.lock().unwrap().push(result);
        }
    };
    together(tasks![
        move || {
            handle.publish("m", 2);
            handle.subscribe();
        },
        move || {
            handle.connect();
            handle.reconnect();
        },
        move || {
            handle.unsubscribe();
            handle.disconnect();
        },
        end(),
        end(),
    ]);
    let ended = ended.lock().unwrap();
    assert_eq!(ended.iter().filter(|result| **result == 0).count(), 1, "deinit returned {ended:?}");
    assert_eq!([handle.publish("m", 0), handle.connect(), handle.deinit()], [STALE; 3]);
    finish(system);
    check_order();
}

/// Messages come, the callback calls what it likes, deinit too, while another task ends the handle.
fn deinit_against_callbacks() {
    calls_take_at_most(PROMPT);
    with(|w| w.server.messages = 3);
    let handle = init("a", true);
    let client = handle.client();
    let ended: Arc<Mutex<Vec<c_int>>> = Arc::default();
    let in_callback = ended.clone();
    on_event(move |event| match event {
        Event::Connected => {
            handle.publish("m", 1);
        }
        Event::Data { client: of, .. } => {
            assert_eq!(*of, client, "a message of another client");
            match below(5) {
                0 => {
                    handle.subscribe();
                }
                1 => {
                    handle.publish("m", 2);
                }
                2 => {
                    handle.reconnect();
                }
                3 => {
                    handle.disconnect();
                }
                _ => {
                    let result = handle.deinit();
                    in_callback.lock().unwrap().push(result);
                }
            }
        }
        Event::Published(_) => {
            handle.unsubscribe();
        }
        Event::Disconnected(of) => assert!(of.is_none_or(|of| of == client)),
    });
    let system = start();
    assert!(handle.connect() <= 0);
    let in_task = ended.clone();
    together(tasks![
        move || {
            handle.subscribe();
        },
        move || {
            for _ in 0..below(20) {
                world::point();
            }
            let result = handle.deinit();
            in_task.lock().unwrap().push(result);
        },
    ]);
    finish(system);
    assert_eq!(ended.lock().unwrap().iter().filter(|result| **result == 0).count(), 1, "one of them ends it");
    check_order();
}

/// Answers come when calls give up: no call waits longer, and a late answer is not taken for that of another call.
fn answers_at_the_limit() {
    calls_take_at_most(None);
    let handle = init("a", true);
    let system = start();
    stay_connected(handle);
    with(|w| w.server.delays = vec![0, 1, 9_999, 10_000, 10_001, 10_499, 10_500, 10_501, 12_001]);
    together(tasks![
        move || {
            handle.subscribe();
            handle.unsubscribe();
        },
        move || {
            handle.subscribe();
        },
        move || {
            for _ in 0..3 {
                handle.publish("m", 1);
            }
        },
    ]);
    with(|w| {
        w.server.delays.clear();
        w.prompt = (w.stalls == 0).then_some(PROMPT);
    });
    // The server is behind.
    world::nap(120_000);
    stay_connected(handle);
    if with(|w| w.stalls) == 0 {
        assert!(handle.subscribe() > 0);
    }
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// Messages wait for a queue of few entries and a slow callback when the handle ends: what was acknowledged is delivered.
fn backlog_against_deinit() {
    calls_take_at_most(None);
    let (size, slow) = (2 + 2 * below(2) as usize, u64::from(below(2)) * 5);
    with(|w| (w.queue.size, w.queue.slow, w.server.messages) = (size, slow, 4));
    let handle = init("a", true);
    let system = start();
    let start = with(|w| w.now - w.stalled);
    stay_connected(handle);
    together(tasks![
        move || {
            handle.subscribe();
        },
        move || {
            handle.publish("m", 1);
        },
        move || {
            world::nap(below(30).into());
            assert_eq!(handle.deinit(), 0);
        },
    ]);
    finish(system);
    // Last events are given up after 10 s.
    if with(|w| w.stalls) == 0 {
        check_order();
    }
    with(|w| {
        // A delivery that did not wake the MQTT task would be noticed by a timer half a second later.
        let ms = w.now - w.stalled - start;
        assert!(w.stalls > 0 || ms < 400, "it took {ms} ms");
        let delivered = |payload: &Vec<u8>| {
            w.queue.count(|event| matches!(event, Event::Data { payload: it, .. } if it == payload))
        };
        for payload in &w.server.acknowledged {
            assert_eq!(delivered(payload), 1, "an acknowledged message");
        }
        assert_eq!(w.queue.count(|event| matches!(event, Event::Data { .. })), w.queue.accepted.len());
    });
}

/// Two handles of one hub: what one does is none of the other's business.
fn one_handle_ends_while_another_works() {
    calls_take_at_most(PROMPT);
    let (works, ends) = (init("works", true), init("ends", true));
    let system = start();
    stay_connected(works);
    let connected = below(2) == 0;
    if connected {
        stay_connected(ends);
    }
    let stalls = with(|w| w.stalls) > 0;
    together(tasks![
        move || {
            for _ in 0..2 {
                assert!(works.publish("m", 1) > 0 || stalls);
                assert!(works.subscribe() > 0 || stalls);
            }
        },
        move || {
            ends.publish("m", 1);
            assert_eq!(ends.deinit(), 0);
            let next = init("next", true);
            assert!(next.connect() == 0 || stalls);
            assert_eq!(next.deinit(), 0);
        },
        move || {
            ends.connect();
            ends.subscribe();
        },
    ]);
    assert_eq!(works.deinit(), 0);
    finish(system);
}

/// The program's first calls, at a time: one hub, one MQTT task.
fn first_calls_of_the_program() {
    calls_take_at_most(PROMPT);
    let system = start();
    let stalls = with(|w| w.stalls) > 0;
    let body = |name: &'static str| {
        move || {
            let handle = init(name, true);
            assert!(handle.connect() == 0 || stalls);
            assert!(handle.publish("m", 1) > 0 || stalls);
            assert_eq!(handle.deinit(), 0);
        }
    };
    together(tasks![body("a"), body("b"), || assert_eq!(init("c", true).deinit(), 0)]);
    finish(system);
}

/// The MQTT task is about to end when there is work for it again. A call on the ended handle, which is behind, wakes neither too
/// much nor too little.
fn last_deinit_against_a_new_handle() {
    calls_take_at_most(PROMPT);
    let last = init("last", true);
    let system = start();
    stay_connected(last);
    let stalls = with(|w| w.stalls) > 0;
    let late = move || {
        last.disconnect();
        last.connect();
    };
    together(tasks![move || assert_eq!(last.deinit(), 0), late, move || {
        for _ in 0..2 {
            let handle = init("new", true);
            assert!(handle.connect() == 0 || stalls);
            assert!(handle.publish("m", 1) > 0 || stalls);
            // The last deinit does not wait for the end of the task that serves this one now.
            world::nap(50);
            assert_eq!(handle.deinit(), 0);
        }
    },]);
    finish(system);
}

/// Publishers, a window of two: each is woken when there is room, also where two acknowledgements come at once and no more.
fn publishers_wait_for_room() {
    calls_take_at_most(PROMPT);
    let in_pairs = below(2) == 0;
    with(|w| w.server.in_pairs = in_pairs);
    let handle = init("a", true);
    let system = start();
    stay_connected(handle);
    let stalls = with(|w| w.stalls) > 0;
    let body = |qos| {
        move || {
            for _ in 0..2 {
                assert!(handle.publish("a message of some length, to fill the output", qos) >= 0 || stalls);
            }
        }
    };
    together(tasks![body(1), body(1), body(2), body(0)]);
    if !stalls {
        eventually("PUBLISHED", |w| w.queue.count(|event| matches!(event, Event::Published(_))) == 6);
    }
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// The server refuses: every connect that waits hears of it, and none of its successor's fate.
fn refused_connects() {
    calls_take_at_most(PROMPT);
    with(|w| w.server.refuses = 5);
    let handle = init("a", true);
    let system = start();
    let stalls = with(|w| w.stalls) > 0;
    let body = || move || assert!(handle.connect() == -4995 || stalls);
    together(tasks![body(), body()]);
    with(|w| w.server.refuses = 0);
    assert!(handle.connect() == 0 || stalls);
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// The MQTT task is not run for longer than one of two connects waits: the attempt is still the other one's.
fn one_of_two_connects_gives_up() {
    calls_take_at_most(None);
    with(|w| (w.stalls, w.net.late) = (0, 45_000));
    let handle = init("a", true);
    let system = start();
    together(tasks![move || assert_eq!(handle.connect(), FAILURE), move || {
        world::nap(20_000);
        assert_eq!(handle.connect(), 0);
    }]);
    assert_eq!(handle.deinit(), 0);
    finish(system);
    check_order();
}

/// Half of a small queue is for us: each delivery makes room, and for that nothing else wakes the MQTT task.
fn messages_through_a_small_queue() {
    calls_take_at_most(PROMPT);
    let (size, in_time) = (2 + 2 * below(2) as usize, with(|w| w.stalls) == 0);
    with(|w| (w.queue.size, w.server.messages) = (size, 6));
    let handle = init("a", true);
    let system = start();
    stay_connected(handle);
    assert!(handle.subscribe() > 0 || !in_time);
    if in_time {
        eventually("the last message", |w| w.queue.count(|event| matches!(event, Event::Data { .. })) == 6);
    }
    assert_eq!(handle.deinit(), 0);
    finish(system);
    // Last events are given up after 10 s.
    if in_time {
        check_order();
    }
}

/// Two floods wait in the client before the event task goes on: handles take turns, one event each.
fn handles_take_turns() {
    const COUNT: usize = 20;
    calls_take_at_most(None);
    with(|w| {
        (w.stalls, w.queue.size, w.server.messages) = (0, 4, COUNT as u32);
        w.backlog = 8192;
    });
    let (a, b) = (init("a", true), init("b", true));
    let is_first = std::sync::atomic::AtomicBool::new(true);
    on_event(move |event| {
        if matches!(event, Event::Data { .. }) && is_first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            world::nap(50);
        }
    });
    let system = start();
    stay_connected(a);
    stay_connected(b);
    assert!(a.subscribe() > 0 && b.subscribe() > 0);
    eventually("the last message", |w| w.queue.count(|event| matches!(event, Event::Data { .. })) == 2 * COUNT);
    let of: Vec<usize> = with(|w| {
        w.queue
            .delivered
            .iter()
            .filter_map(|e| if let Event::Data { client, .. } = e { Some(*client) } else { None })
            .collect()
    });
    // What the queue had taken before both were there.
    let mut run = 0;
    for at in 8..of.len() {
        run = if of[at] == of[at - 1] { run + 1 } else { 1 };
        let other_waits = of[at..].iter().any(|client| *client != of[at]);
        assert!(run <= 4 || !other_waits, "{run} events of one handle in a row, while the other's wait: {of:?}");
    }
    assert_eq!((a.deinit(), b.deinit()), (0, 0));
    finish(system);
}
