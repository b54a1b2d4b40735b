//! A queue of 1 to 512 entries that belongs to everybody, and that the application may end and begin again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::app::{Handle, config, hub};
use crate::directed::*;
use crate::events::{self, Delivery};
use crate::promises::all_is_gone;
use crate::world::{create, run, run_until, start_app, with};
/// The queue stays full for `ms` milliseconds: the event task stands still and others fill what is left.
fn fill(ms: u64) {
    with(|w| {
        w.queue.foreign(32);
        w.queue.busy_until = w.now + ms;
    });
}

/// Entries of the queue, and our share, which on Linux is always that of a queue with 32.
const QUEUES: [(usize, usize); 9] = [(1, 1), (2, 1), (3, 1), (1, 16), (2, 16), (3, 16), (5, 2), (32, 16), (512, 256)];

/// Connected and subscribed, with a queue of `entries` and a share of them that is ours.
fn with_entries(entries: usize, share: usize) -> Handle {
    let handle = one();
    with(|w| {
        w.queue.size = entries;
        w.limits.event_share = share;
    });
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 2).is_ok());
    handle
}

#[test]
fn full_for_long_then_drained() {
    for (window, qos) in [(0, 1), (0, 2), (20, 1), (20, 2), (1, 2)] {
        let handle = subscribed();
        with(|w| w.broker.style.window = window);
        fill(60_000);
        let serials = send(200, qos, 50);
        for _ in 0..5 {
            assert!(handle.publish("t", 1, 10).1.is_ok());
        }
        run(50_000);
        with(|w| {
            assert_eq!(w.broker.acknowledged, 0, "acknowledged before its event was accepted");
            // Tries again, but not too often: 10 ms, doubling to 100.
            assert!((400..600).contains(&w.queue.refused), "{} tries in 50 s", w.queue.refused);
        });
        run(30_000);
        assert_eq!(got(&handle), serials);
        with(|w| {
            assert_eq!(w.books.published.len(), 5);
            assert_eq!(w.broker.connects, 1);
            assert!(w.queue.ours_peak <= 16);
        });
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn our_share_is_half_and_others_lose_nothing() {
    let handle = subscribed();
    // The application takes 20 ms for each event, others send one every 30 ms.
    with(|w| w.faults.slow_callback = 20);
    start_app(0, || {
        with(|w| w.queue.foreign(1));
        if now() < 60_000 { Some(30) } else { None }
    });
    let serials = send(500, 1, 20);
    assert!(run_until(60_000, || got(&handle).len() == serials.len()));
    assert_eq!(got(&handle), serials);
    with(|w| assert_eq!((w.queue.lost_foreign, w.queue.ours_peak), (0, 14)));
    handle.remove();
    run(60_000);
    all_is_gone();
}

/// The MQTT task may let input gather where several messages came at a time, and nobody waits for anything in it.
#[test]
fn messages_gather_behind_others_that_were_sent() {
    let handle = with_entries(32, 16);
    let gathers = |act: &dyn Fn()| {
        let before = with(|w| w.nets[0].gathers);
        act();
        with(|w| w.nets[0].gathers - before)
    };
    for qos in 0..=2 {
        let come = |count| {
            send(count, qos, 20);
            run(1_000);
        };
        assert_eq!((gathers(&|| come(1)), gathers(&|| come(2)), gathers(&|| come(14))), (0, 1, 1), "QoS {qos}");
    }
    // Their acknowledgements come at a time, too, and are events.
    let publish = || {
        for _ in 0..5 {
            assert!(handle.publish("t", 1, 10).1.is_ok());
        }
        run(1_000);
    };
    assert_eq!(gathers(&publish), 0);
    // While some wait for the queue, it is that which matters.
    with(|w| w.queue.busy_until = w.now + 20_000);
    let wait = || {
        send(30, 1, 20);
        run(10_000);
    };
    assert_eq!(gathers(&wait), 0);
    assert!(gathers(&|| run(30_000)) > 0);
    handle.remove();
    all_is_gone();
}

#[test]
fn deliveries_wake_the_task_instead_of_a_timer() {
    let handle = subscribed();
    run(1_000);
    with(|w| w.queue.busy_until = w.now + 100_000);
    let serials = send(60, 2, 20);
    run(1_000);
    let before = with(|w| (w.turns, w.queue.refused));
    run(98_000);
    let after = with(|w| (w.turns, w.queue.refused));
    // 14 of ours are in the queue, so one of them will wake the task. Meanwhile only keep-alive does, and a few times the
    // doubt whether they will be told.
    assert_eq!(after.1, before.1);
    assert!(after.0 - before.0 <= 12, "{} turns", after.0 - before.0);
    run(10_000);
    assert_eq!(got(&handle), serials);
    handle.remove();
    all_is_gone();
}

/// 500 messages wait at the broker, and the application does in its callback what the SDK's examples do.
#[test]
fn the_example_with_500_messages_waiting() {
    for (window, qos) in [(20, 1), (0, 1), (20, 2), (0, 2)] {
        for ours_first in [false, true] {
            let handle = subscribed();
            handle.disconnect();
            run(1_000);
            with(|w| {
                w.broker.style.window = window;
                w.queue.ours_first = ours_first;
            });
            let serials = send(500, qos, 40);
            let (example, results) = (handle.clone(), Rc::new(RefCell::new(Vec::new())));
            let log = results.clone();
            react(move |delivery| {
                if *delivery == Delivery::Connected {
                    let calls = [
                        example.publish("out", 1, 20).1,
                        example.subscribe("qos0", 0),
                        example.subscribe("qos1", 1),
                        example.unsubscribe("qos1"),
                    ];
                    log.borrow_mut().extend(calls);
                }
            });
            assert_eq!(handle.connect(), Ok(()));
            assert!(run_until(60_000, || got(&handle).len() >= serials.len()));
            assert_eq!(got(&handle), serials);
            assert_eq!(results.borrow().len(), 4);
            assert!(results.borrow().iter().all(Result::is_ok), "{:?}", results.borrow());
            run(1_000);
            with(|w| w.handler = Some(Rc::new(crate::app::enter)));
            handle.remove();
            all_is_gone();
        }
    }
}

#[test]
fn last_events_come_even_when_the_queue_is_full_for_a_while() {
    let handle = connected();
    let hub = handle.hub;
    fill(5_000);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let took = handle.remove();
    assert!(took < 100, "it waits for the queue: {took} ms");
    run(10_000);
    with(|w| {
        assert_eq!((w.books.connected, w.books.disconnected), (1, 1));
        assert_eq!(w.books.published.len(), 1);
        assert!(w.tasks[0].ended);
    });
    // A queue that stays full keeps the task no longer than 10 s.
    let handle = Handle::new(hub, 2, config("second"));
    assert_eq!(handle.connect(), Ok(()));
    run(100);
    fill(60_000);
    handle.remove();
    run(11_000);
    with(|w| assert!(w.tasks[1].ended));
    run(60_000);
    all_is_gone();
}

/// Its successor waits for them, too.
#[test]
fn events_of_a_task_that_has_ended_count_in_our_share() {
    let handle = connected();
    run(1_000);
    with(|w| (w.books.clients, w.queue.busy_until) = (2, w.now + 60_000));
    (0..7).for_each(|_| assert!(handle.publish("t", 1, 10).1.is_ok()));
    run(100);
    let hub = handle.hub;
    handle.remove();
    let next = Handle::new(hub, 2, config("second"));
    assert_eq!(next.connect(), Ok(()));
    assert!(next.subscribe("in/#", 1).is_ok());
    let serials = send(100, 1, 20);
    run(1_000);
    with(|w| assert_eq!((w.tasks.len(), w.tasks[0].ended, w.queue.ours_peak), (2, true, 14)));
    run(60_000);
    assert_eq!(got(&next), serials);
    next.remove();
    all_is_gone();
}

/// They may use more than our share, and so they wait for nobody who may not.
#[test]
fn last_events_do_not_wait_for_the_events_of_others() {
    create(1, 0);
    let hub = hub();
    let (stays, goes) = (Handle::new(hub, 1, config("c")), Handle::new(hub, 2, config("d")));
    with(|w| {
        w.books.clients = 2;
        w.handler = Some(Rc::new(crate::app::enter));
    });
    assert_eq!((stays.connect(), goes.connect()), (Ok(()), Ok(())));
    assert!(stays.subscribe("in/#", 1).is_ok());
    run(1_000);
    with(|w| w.queue.busy_until = w.now + 60_000);
    let serials = send(100, 1, 20);
    run(1_000);
    goes.remove();
    run(70_000);
    with(|w| assert_eq!((w.books.connected, w.books.disconnected), (2, 1)));
    assert_eq!(got(&stays), serials);
    stays.remove();
    all_is_gone();
}

/// Nor does each wait for a turn of the task.
#[test]
fn all_last_events_go_at_once() {
    create(1, 0);
    let hub = hub();
    let [stays, first, second] = [1, 2, 3].map(|n| Handle::new(hub, n, config(&format!("c{n}"))));
    with(|w| {
        w.books.clients = 3;
        w.handler = Some(Rc::new(crate::app::enter));
    });
    assert_eq!([&stays, &first, &second].map(|handle| handle.connect()), [Ok(()); 3]);
    assert!(stays.subscribe("in/#", 1).is_ok());
    run(1_000);
    with(|w| w.queue.busy_until = w.now + 60_000);
    send(100, 1, 20);
    run(1_000);
    let full = with(|w| w.queue.ours_peak);
    for handle in [&first, &second] {
        (0..7).for_each(|_| assert!(handle.publish("t", 1, 10).1.is_ok()));
    }
    run(200);
    with(|w| assert_eq!(w.queue.ours_peak, full));
    first.remove();
    second.remove();
    with(|w| assert_eq!(w.queue.ours_peak, full + 2 * (7 + 1)));
    run(60_000);
    with(|w| assert_eq!(w.books.published.values().sum::<u32>(), 14));
    stays.remove();
    all_is_gone();
}

#[test]
fn the_registration_meets_a_full_queue() {
    let handle = one();
    fill(3_000);
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 2).is_ok());
    let serials = send(40, 2, 20);
    run(10_000);
    assert_eq!(got(&handle), serials);
    with(|w| assert_eq!(w.books.connected, 1));
    handle.remove();
    all_is_gone();
}

#[test]
fn small_queues_deliver_as_fast_as_large_ones() {
    for (entries, share) in QUEUES {
        for callback in [0, 20] {
            let handle = with_entries(entries, share);
            with(|w| w.faults.slow_callback = callback);
            let start = now();
            let serials = send(50, 1, 20);
            for _ in 0..50 {
                assert!(handle.publish("t", 1, 10).1.is_ok());
            }
            let all = || got(&handle).len() == 50 && with(|w| w.books.published.values().sum::<u32>()) == 50;
            assert!(run_until(60_000, all), "{entries} entries");
            // The window of 20, and the callbacks.
            let took = now() - start;
            assert!(took < 200 + 101 * callback, "{took} ms with {entries} entries, callbacks of {callback} ms");
            assert_eq!(got(&handle), serials);
            handle.remove();
            all_is_gone();
        }
    }
}

/// Between two of them more events come than the queue holds, or fewer, or none.
#[test]
fn the_application_restarts_the_queue() {
    for (entries, share) in QUEUES {
        for (throw, events, down) in
            [(false, 60, 0), (true, 60, 0), (false, 3, 100), (true, 3, 100), (true, 0, 1), (false, 60, 5_000)]
        {
            let handle = with_entries(entries, share);
            run(100);
            for round in 1..=5 {
                events::restart(throw, down);
                let mut serials = Vec::new();
                for n in 0..events {
                    assert!(handle.publish("t", 1, 10).1.is_ok());
                    serials.extend(send(1, 1 + n as u8 % 2, 20));
                }
                let published = || with(|w| w.books.published.values().sum::<u32>());
                let all = || got(&handle).ends_with(&serials) && published() == round * events;
                assert!(run_until(down + 1_000, all), "{entries} entries, {events} events, round {round}");
                // What was delivered untold is found out, if anybody waits for it.
                run(1_000);
            }
            // The probe is lost too: the next one comes later.
            for _ in 0..5 {
                events::restart(throw, down);
                for _ in 0..60 {
                    assert!(handle.publish("t", 1, 10).1.is_ok());
                }
                run(550);
            }
            let published = || with(|w| w.books.published.values().sum::<u32>());
            assert!(run_until(10_000, || published() == 5 * (events + 60)), "{entries} entries");
            handle.remove();
            all_is_gone();
        }
    }
}

/// A limit that passed while nothing was run is over a second later.
#[test]
fn last_events_outlive_a_sleep() {
    let handle = connected();
    fill(5_500);
    handle.remove();
    run(1_000);
    with(|w| {
        w.sleep(15_000);
        w.queue.busy_until = w.now + 500;
    });
    run(5_000);
    with(|w| assert_eq!((w.books.connected, w.books.disconnected), (1, 1)));
    all_is_gone();
}

/// Handles that come and go while no event is delivered.
#[test]
fn last_events_are_given_up_though_others_come() {
    let handle = connected();
    let hub = handle.hub;
    with(|w| w.books.clients = 1_000);
    fill(100_000_000);
    handle.remove();
    let mut live = Vec::new();
    for n in 0..100 {
        let handle = Handle::new(hub, 2 + n, config("c"));
        assert_eq!(handle.connect(), Ok(()));
        handle.remove();
        run(5_000);
        live.push(crate::memory::live());
    }
    assert!(live[99] < live[10] + 2_000, "{} bytes, {} before", live[99], live[10]);
}

/// Each time that deliveries fail to come, a registration and a probe are sent, and stay behind the callback that does not return. For the
/// first time there is a place for them.
#[test]
fn half_of_the_queue_stays_for_others_but_for_probes_behind_a_long_callback() {
    for (seconds, lost) in [(2, 0), (5, 2), (20, 4)] {
        let handle = subscribed();
        with(|w| w.queue.busy_until = w.now + seconds * 1000);
        send(100, 1, 50);
        run(seconds * 1000 - 10);
        with(|w| w.queue.foreign(16));
        assert_eq!(with(|w| w.queue.lost_foreign), lost, "of 16 events of others after {seconds} s");
        run(60_000);
        handle.remove();
        all_is_gone();
    }
}
