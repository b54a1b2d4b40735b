//! Handles beside each other in one event queue: what one waits for does not hold up another.

use std::cell::Cell;
use std::rc::Rc;

use crate::app::{Handle, config, hub};
use crate::broker;
use crate::directed::*;
use crate::events;
use crate::promises::all_is_gone;
use crate::world::{MQTT_TASK, create, run, run_until, start_app, with};

#[test]
fn clients_take_turns() {
    create(1, 0);
    let hub = hub();
    let handles: Vec<Handle> = (1..=4).map(|n| Handle::new(hub, n, config(&format!("c{n}")))).collect();
    with(|w| {
        w.books.clients = 4;
        w.handler = Some(Rc::new(crate::app::enter));
        w.faults.slow_callback = 10;
    });
    for handle in &handles {
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe(&format!("in/{}", handle.id), 1).is_ok());
    }
    run(1_000);
    for _ in 0..100 {
        let serial = crate::app::new_serial();
        broker::publish("in/c1", &crate::app::payload(serial, 20), 1);
    }
    run(100);
    for handle in &handles[1..] {
        let serial = crate::app::new_serial();
        broker::publish(&format!("in/{}", handle.id), &crate::app::payload(serial, 20), 1);
    }
    // They need not wait for the first one's hundred.
    assert!(run_until(600, || handles[1..].iter().all(|handle| got(handle).len() == 1)));
    assert!(got(&handles[0]).len() < 80);
    assert!(run_until(10_000, || got(&handles[0]).len() == 100));
    for handle in handles {
        handle.remove();
    }
    all_is_gone();
}

/// So many handles, each subscribed to a topic of its own (of [`TOPICS`]), with a queue that takes one event of ours at a time.
fn with_one_entry(count: usize) -> Vec<Handle> {
    create(1, 0);
    with(|w| {
        w.books.clients = count as u64;
        w.handler = Some(Rc::new(crate::app::enter));
        w.broker.style.window = 0;
        (w.limits.event_share, w.limits.session.payload) = (1, 1_000);
        w.queue.size = 2;
    });
    let hub = hub();
    let handles: Vec<Handle> = (1..=count).map(|n| Handle::new(hub, n, config(&format!("c{n}")))).collect();
    for (handle, topic) in handles.iter().zip(TOPICS) {
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe(topic, 1).is_ok());
    }
    run(1_000);
    handles
}

const TOPICS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn send_to(topic: &str, size: usize) {
    broker::publish(topic, &crate::app::payload(crate::app::new_serial(), size), 1);
}

/// A delivery makes room for one event: who has found none before is the next.
#[test]
fn floods_get_equal_parts_of_a_small_queue() {
    let handles = with_one_entry(2);
    with(|w| w.faults.slow_callback = 10);
    for _ in 0..100 {
        TOPICS[..2].iter().for_each(|topic| send_to(topic, 20));
    }
    let counts = || handles.iter().map(|handle| got(handle).len());
    assert!(run_until(10_000, || counts().sum::<usize>() > 100));
    assert!(counts().all(|count| (49..=52).contains(&count)), "{:?}", counts().collect::<Vec<_>>());
    for handle in handles {
        handle.remove();
    }
    all_is_gone();
}

/// A message that is skipped has no event, so it waits for those before it of its own handle alone.
#[test]
fn a_skipped_message_waits_for_nobodys_events() {
    for (skipped, topic) in TOPICS.iter().enumerate() {
        let handles = with_one_entry(TOPICS.len());
        with(|w| w.queue.busy_until = w.now + 60_000);
        for _ in 0..5 {
            (0..TOPICS.len()).filter(|n| *n != skipped).for_each(|n| send_to(TOPICS[n], 20));
        }
        run(1_000);
        assert_eq!(with(|w| w.broker.acknowledged), 1, "the one in the queue");
        send_to(topic, 1_001);
        run(50);
        assert_eq!(with(|w| w.broker.acknowledged), 2, "the one of {topic} that is skipped");
        run(60_000);
        assert!(!with(|w| w.broker.owes()));
        for handle in handles {
            handle.remove();
        }
        all_is_gone();
    }
}

/// From now on one event is delivered in each millisecond in which the MQTT task has a turn, in the middle of that.
fn deliver_in_turns() {
    let last = Cell::new(0);
    let hook = move || {
        let (now, may) = with(|w| {
            let in_turn = w.running.last() == Some(&MQTT_TASK) && w.locks_held == 0;
            (w.now, in_turn && !w.queue.is_empty())
        });
        if may && last.replace(now) != now {
            events::deliver();
        }
    };
    with(|w| w.at_lock = Some(Rc::new(hook)));
}

/// Input of one handle waits for deliveries. They come while the MQTT task is in the middle of turns that another handle's messages
/// have called for, whose events wait, too.
#[test]
fn input_hears_of_deliveries_in_the_middle_of_a_turn() {
    create(1, 0);
    with(|w| {
        w.books.clients = 2;
        w.handler = Some(Rc::new(crate::app::enter));
        w.broker.style.window = 0;
        (w.limits.event_share, w.limits.backlog) = (1, 600);
        w.queue.size = 3;
    });
    let hub = hub();
    let [a, b] = [1, 2].map(|n| Handle::new(hub, n, config(&format!("c{n}"))));
    for (handle, topic) in [&a, &b].iter().zip(TOPICS) {
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe(topic, 1).is_ok());
    }
    run(1_000);
    with(|w| w.queue.busy_until = u64::MAX / 2);
    send_to("a", 500);
    run(20);
    send_to("a", 500);
    run(20);
    send_to("b", 20);
    send_to("b", 20);
    run(20);
    assert_eq!((got(&a).len(), got(&b).len()), (0, 0));
    deliver_in_turns();
    let begin = now();
    start_app(0, move || {
        send_to("b", 20);
        if now() < begin + 20_000 { Some(5) } else { None }
    });
    let mut took = None;
    while now() < begin + 15_000 {
        run(10);
        if took.is_none() && got(&a).len() == 2 {
            took = Some((now() - begin, got(&b).len()));
        }
    }
    with(|w| (w.at_lock, w.queue.busy_until) = (None, 0));
    assert!(took.is_some_and(|(ms, _)| ms < 400), "A's second message took {took:?} (ms, events of B meanwhile)");
    run(30_000);
    a.remove();
    b.remove();
    all_is_gone();
}

/// Deliveries come every 5 ms, each in the middle of a turn: none fails to come, so nothing is registered anew.
#[test]
fn no_registration_while_deliveries_come() {
    let handle = with_one_entry(1).remove(0);
    with(|w| {
        w.queue.size = 3;
        w.queue.busy_until = u64::MAX / 2;
    });
    (0..5).for_each(|_| send_to("a", 20));
    run(20);
    deliver_in_turns();
    let begin = now();
    start_app(0, move || {
        send_to("a", 20);
        if now() < begin + 5_000 { Some(5) } else { None }
    });
    let before = with(|w| w.queue.listens);
    run(4_000);
    let (after, count) = (with(|w| w.queue.listens), got(&handle).len());
    with(|w| (w.at_lock, w.queue.busy_until) = (None, 0));
    assert_eq!(after, before, "registered anew, though {count} events were delivered in 4 s");
    run(10_000);
    handle.remove();
    all_is_gone();
}

/// Handles that come and go, with callbacks that are slower: those that stay get their turns too.
#[test]
fn handles_that_come_and_go_leave_others_their_turns() {
    create(1, 5_000);
    let hub = hub();
    let stays = Handle::new(hub, 1, config("stays"));
    with(|w| {
        w.books.clients = 1_000_000;
        w.handler = Some(Rc::new(crate::app::enter));
    });
    assert_eq!(stays.connect(), Ok(()));
    assert!(stays.subscribe("in/#", 1).is_ok());
    run(1_000);
    with(|w| w.faults.slow_callback = 20);
    let (end, mut n) = (now() + 60_000, 1);
    start_app(0, move || {
        n += 1;
        let handle = Handle::new(hub, n, config(&format!("c{n}")));
        assert_eq!(handle.connect(), Ok(()));
        handle.remove();
        (now() < end).then_some(2)
    });
    run(5_000);
    let serials = send(20, 1, 20);
    let all = run_until(50_000, || got(&stays).len() == serials.len());
    assert!(all, "a handle that stays has had {} of 20 events in 50 s", got(&stays).len());
}
