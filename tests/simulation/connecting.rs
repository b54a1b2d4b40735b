//! The way to a connection, and what can end it.

use std::rc::Rc;

use wm_mqtt_client::client::{Client, Config, Error, Text};

use crate::app::{Handle, config, text, with_host};
use crate::broker;
use crate::directed::*;
use crate::events::Delivery;
use crate::hostile::Trick;
use crate::hosts::Hosts;
use crate::logged::logged;
use crate::manners::Style;
use crate::memory::{self, Plan};
use crate::promises::all_is_gone;
use crate::wire::{FromServer, Will};
use crate::world::{Faults, MQTT_TASK, World, call_later, run, run_until, with};

fn failure<T>() -> Result<T, Error> {
    Err(Error::Failure)
}

#[test]
fn connect_and_disconnect() {
    let handle = one();
    let events = record();
    for round in 1..4 {
        assert_eq!(handle.connect(), Ok(()));
        // Connected already: nothing happens.
        assert_eq!(handle.connect(), Ok(()));
        run(100);
        assert!(handle.disconnect() <= 8, "a round trip");
        assert_eq!(handle.disconnect(), 0);
        run(100);
        assert_eq!(*events.borrow(), vec![[Delivery::Connected, Delivery::Disconnected(None)]; round].concat());
    }
    with(|w| assert_eq!((w.broker.connects, w.broker.graceful, w.broker.lost), (3, 3, 0)));
    handle.remove();
    all_is_gone();
}

#[test]
fn tls_that_is_switched_off_is_refused_at_once() {
    for (uri, expected) in [
        ("mqtts://broker", Err(Error::TlsNotSupported)),
        ("wss://broker", Err(Error::TlsNotSupported)),
        ("mqtt://broker", Ok(())),
    ] {
        let handle = one_with(with_host(config("c"), uri));
        with(|w| w.parts.tls = false);
        assert_eq!(handle.connect(), expected, "{uri}");
        with(|w| assert_eq!(w.broker.connects, u64::from(expected.is_ok()), "{uri}"));
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn names_and_passwords_are_utf_8() {
    let name = |bytes: &[u8]| Text::copy(bytes).expect("memory");
    for (username, password, is_right) in [(&b"u"[..], &b"p"[..], true), (b"u", b"\xff", false), (b"\xff", b"p", false)]
    {
        let handle = one_with(Config { username: Some(name(username)), password: Some(name(password)), ..config("c") });
        let result = if is_right { Ok(()) } else { Err(Error::BadUtf8String) };
        assert_eq!(handle.connect(), result, "{username:?}, {password:?}");
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn wills() {
    let will_qos = 2;
    for (topic, qos, expected) in [
        (&b"left"[..], will_qos, Ok(())),
        (b"", will_qos, Err(Error::EmptyWillTopic)),
        (b"left/#", will_qos, failure()),
        (b"\xff", will_qos, Err(Error::BadUtf8String)),
        (b"left", 3, Err(Error::BadQoS)),
    ] {
        let will_topic = Text::copy(topic);
        let config =
            Config { will_topic, will_message: Some(text("m")), will_qos: qos, will_retain: true, ..config("c") };
        let handle = one_with(config);
        assert_eq!(handle.connect(), expected, "{topic:?}, QoS {qos}");
        let will = Will { topic: b"left".to_vec(), message: b"m".to_vec(), qos: will_qos, retain: true };
        with(|w| assert_eq!(w.broker.will, expected.is_ok().then_some(will)));
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn a_server_that_waits_for_acknowledgements() {
    let hosts: &[_] = &[
        "mqtt://broker",
        #[cfg(feature = "websocket")]
        "ws://broker:1883",
    ];
    for host in hosts {
        let handle = one_with(with_host(config("c"), host));
        // CONNACK comes in four steps, the answer to the upgrade in more than a hundred.
        with(|w| w.faults = Faults { segment: 1, delayed_ack: 200, ..Faults::NONE });
        assert_eq!(handle.connect(), Ok(()), "{host}");
        with(|w| assert_eq!(w.late_acks, 0, "{host}"));
        // Afterwards they are kept back again, to travel with what is sent.
        run(1000);
        with(|w| assert_eq!(w.late_acks, 1, "{host}"));
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn failures_and_how_long_they_take() {
    for (host, least, most, reason) in [
        ("nowhere", 0, 1_000, "host not found"),
        ("refusing", 0, 1_000, "no address of the host accepts connections"),
        ("memoryless", 0, 1_000, "out of memory"),
        ("silent", 30_000, 30_000, "no CONNACK within 30 s"),
        ("never", 30_000, 30_000, "no CONNACK within 30 s"),
    ] {
        let handle = one_with(with_host(config("c"), host));
        for _ in 0..2 {
            let start = now();
            let (result, lines) = logged(|| handle.connect());
            assert_eq!(result, failure(), "{host}");
            assert_eq!(lines, [format!("connect to {host}:1883 failed: {reason}")]);
            let took = now() - start;
            assert!((least..=most).contains(&took), "{host}: {took} ms");
            run(10);
            with(|w| assert_eq!((w.sockets, w.books.connected), (0, 0)));
        }
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn what_the_log_says_of_a_want() {
    let handle = one();
    memory::plan(Plan::Burst { first: 1, count: 1 });
    let (result, lines) = logged(|| handle.connect());
    assert_eq!((result, memory::is_back()), (failure(), 1));
    assert_eq!(lines, ["connect: no memory, file or thread for it"]);
    for want in [|w: &mut World| w.hosts.no_lookups = true, |w: &mut World| w.hosts.most_sockets = 0] {
        with(want);
        let (result, lines) = logged(|| handle.connect());
        assert_eq!(result, failure());
        let reason = "no free socket, file or thread, or no memory for one";
        assert_eq!(lines, [format!("connect to broker:1883 failed: {reason}")]);
        with(|w| w.hosts = Hosts::default());
    }
    handle.remove();
    all_is_gone();
}

#[test]
fn what_the_log_says_of_a_loss() {
    let layered = ("ws://broker:1883", "cut off by the server or on the way");
    for (uri, reason) in [("mqtt://broker", "closed by the server"), layered] {
        if uri == layered.0 && !cfg!(feature = "websocket") {
            continue;
        }
        let handle = one_with(with_host(config("c"), uri));
        assert_eq!(handle.connect(), Ok(()));
        let ((), lines) = logged(|| {
            broker::close_all(|_| false);
            run(1_000);
        });
        assert_eq!(lines, [format!("connection lost: {reason}")]);
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn refusals() {
    let handle = one();
    with(|w| w.broker.style.refuses = 1000);
    assert!(matches!(handle.connect(), Err(Error::Refused(code)) if code.code() == 3));
    with(|w| w.broker.style = Style { ignores: 1000, ..Style::GOOD });
    let start = now();
    assert_eq!(handle.connect(), failure());
    assert_eq!(now() - start, 30_000);
    broker::behave();
    assert_eq!(handle.connect(), Ok(()));
    handle.remove();
    all_is_gone();
}

/// Calls `end` while `connect` is at each of its stages.
fn ended_by(name: &str, end: impl Fn(&Handle) + Clone + 'static, expected: Error) {
    let silent_broker = Style { ignores: 1000, ..Style::GOOD };
    for (stage, host) in [("lookup", "never"), ("tcp", "silent"), ("CONNACK", "broker")] {
        let handle = one_with(with_host(config("c"), host));
        with(|w| w.broker.style = silent_broker.clone());
        let (caller, ender, end) = (handle.clone(), handle.clone(), end.clone());
        let connect = call_later(10, move || caller.connect());
        let other = handle.clone();
        let second = call_later(20, move || other.connect());
        let ended = call_later(1_000, move || end(&ender));
        run(60_000);
        for call in [&connect, &second] {
            let outcome = call.borrow().unwrap_or_else(|| panic!("{name} does not end a connect at {stage}"));
            assert_eq!(outcome.0, Err(expected), "{name} at {stage}");
        }
        let slowest = with(|w| w.books.slowest["connect"]);
        assert!((900..=1_000).contains(&slowest), "{name} at {stage} ends a connect after {slowest} ms");
        with(|w| assert_eq!((w.books.connected, w.sockets), (0, 0), "{name} at {stage}"));
        assert!(ended.borrow().is_some(), "{name} at {stage} waits");
        drop((connect, second, ended));
        if name != "remove" {
            handle.remove();
        } else {
            drop(handle);
        }
        all_is_gone();
    }
}

#[test]
fn disconnect_ends_a_connect_at_once() {
    ended_by("disconnect", |handle| assert_eq!(handle.disconnect(), 0), Error::Failure);
}

#[test]
fn reconnect_ends_a_connect_at_once() {
    ended_by("reconnect", |handle| assert_eq!(handle.reconnect(), failure()), Error::Failure);
}

#[test]
fn remove_ends_a_connect_at_once() {
    // It waits for the connects, which in this simulation cannot return before it does.
    ended_by("remove", |handle| _ = handle.clone().remove(), Error::Failure);
}

#[test]
fn two_tasks_connect() {
    let handle = one();
    let calls: Vec<_> = (0..5)
        .map(|n| {
            let caller = handle.clone();
            call_later(n, move || caller.connect())
        })
        .collect();
    run(1_000);
    for call in &calls {
        assert_eq!(call.borrow().as_ref().map(|(result, _)| *result), Some(Ok(())));
    }
    with(|w| assert_eq!((w.broker.connects, w.books.connected, w.tasks.len()), (1, 1, 1)));
    handle.remove();
    all_is_gone();
}

/// Interrupted at each lock of its first connect, by somebody else's.
#[test]
fn two_first_connects_at_a_time() {
    for at in 1..12 {
        let handle = one();
        let other = handle.clone();
        let locks = Rc::new(std::cell::Cell::new(0));
        with(|w| {
            w.at_lock = Some(Rc::new(move || {
                locks.set(locks.get() + 1);
                if locks.get() == at && !with(|w| w.is_running(MQTT_TASK) || w.locks_held > 0) {
                    assert_eq!(other.connect(), Ok(()));
                }
            }));
        });
        assert_eq!(handle.connect(), Ok(()), "interrupted at lock {at}");
        with(|w| w.at_lock = None);
        run(1_000);
        with(|w| {
            assert_eq!((w.broker.connects, w.books.connected, w.sockets), (1, 1, 1), "interrupted at lock {at}");
        });
        assert!(handle.publish("t", 2, 10).1.is_ok());
        run(100_000);
        assert!(handle.disconnect() < 1_000);
        run(1_000);
        with(|w| assert_eq!((w.broker.connects, w.books.disconnected, w.sockets), (1, 1, 0)));
        handle.remove();
        all_is_gone();
    }
}

/// The MQTT task was not run for long, and takes CONNACK just as connect gives up: what connect says is what holds.
#[test]
fn connack_comes_as_connect_gives_up() {
    for at in 1..4 {
        let handle = one();
        with(|w| w.broker.style.reply = (100, 100));
        let (over, locks) = (now() + 42_000, Rc::new(std::cell::Cell::new(0)));
        with(|w| {
            w.later(50, || with(|w| w.stop_mqtt_task(60_000)));
            w.at_lock = Some(Rc::new(move || {
                if now() < over || with(|w| w.is_running(MQTT_TASK)) {
                    return;
                }
                locks.set(locks.get() + 1);
                if locks.get() == at {
                    with(|w| w.stop_mqtt_task(0));
                    run(50);
                }
            }));
        });
        let result = handle.connect();
        with(|w| {
            w.at_lock = None;
            w.stop_mqtt_task(0);
        });
        run(1_000);
        assert_eq!(result.is_ok(), with(|w| w.broker.is_connected("c")), "interrupted at lock {at}: {result:?}");
        handle.remove();
        all_is_gone();
    }
}

/// The same where a full backlog has ended the call, since it may be the event task's, and is not.
#[test]
fn connack_comes_as_a_full_backlog_ends_reconnect() {
    for at in 1..8 {
        let handle = one();
        with(|w| {
            w.queue.busy_until = w.now + 60_000;
            w.broker.style.window = 0;
        });
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe("in/#", 1).is_ok());
        with(|w| w.broker.style.ignores_subscription = 1000);
        send(100, 1, 1_000);
        assert_eq!(handle.subscribe("other", 1), failure());
        let locks = std::cell::Cell::new(0);
        with(|w| {
            w.at_lock = Some(Rc::new(move || {
                if with(|w| w.is_running(MQTT_TASK) || w.locks_held > 0) {
                    return;
                }
                locks.set(locks.get() + 1);
                if locks.get() == at {
                    with(|w| w.queue.busy_until = w.now);
                    run(1_000);
                }
            }));
        });
        let result = handle.reconnect();
        with(|w| (w.at_lock, w.queue.busy_until) = (None, w.now));
        run(1_000);
        assert_eq!(result.is_ok(), with(|w| w.broker.is_connected("c")), "interrupted at lock {at}: {result:?}");
        handle.remove();
        all_is_gone();
    }
}

/// However late it looks: somebody else's connection is there by then.
#[test]
fn a_connect_that_a_reconnect_has_ended_says_so() {
    let handle = one();
    with(|w| w.broker.style.ignores = 1000);
    let other = handle.clone();
    let reconnect = call_later(1_000, move || {
        broker::behave();
        other.reconnect()
    });
    assert_eq!(handle.connect(), failure());
    assert_eq!(reconnect.borrow().expect("over").0, Ok(()));
    run(1_000);
    assert!(with(|w| w.broker.is_connected("c")));
    handle.remove();
    all_is_gone();
}

/// Somebody disconnects just as CONNACK is read, and messages behind it: an application that is not told of the
/// connection must not be told of its messages.
#[test]
fn no_data_without_connected() {
    let handle = subscribed();
    handle.disconnect();
    run(1_000);
    let serials = send(3, 1, 20);
    let events = record();
    let other = handle.clone();
    let done = Rc::new(std::cell::Cell::new(false));
    with(|w| {
        w.at_lock = Some(Rc::new(move || {
            // The first lock of the MQTT task after it has read CONNACK, which it knows nothing of yet: the client is
            // still connecting, so that the call does not wait.
            let now = with(|w| w.is_running(MQTT_TASK) && w.conns.len() == 2 && w.conns[1].bytes_read > 0);
            if now && !done.replace(true) {
                assert_eq!(other.disconnect(), 0);
            }
        }));
    });
    assert_eq!(handle.connect(), failure());
    with(|w| w.at_lock = None);
    run(1_000);
    assert_eq!(*events.borrow(), []);
    assert_eq!(handle.connect(), Ok(()));
    run(1_000);
    assert_eq!(got(&handle), serials);
    handle.remove();
    all_is_gone();
}

#[test]
fn reconnect_with_a_server_that_does_not_close() {
    let handle = connected();
    with(|w| w.broker.style.closes = 0);
    for _ in 0..3 {
        let start = now();
        assert_eq!(handle.reconnect(), Ok(()));
        assert!(now() - start < 500, "{} ms", now() - start);
        // Until the connection is no fresh one any more.
        run(1_000);
    }
    assert_eq!(with(|w| w.sockets), 2, "one for each client ends");
    run(10_000);
    with(|w| {
        assert_eq!((w.books.connected, w.books.disconnected, w.sockets), (4, 3, 1));
        assert_eq!((w.broker.graceful, w.broker.lost), (3, 0));
    });
    handle.remove();
    all_is_gone();
}

#[test]
fn a_lost_connection_ends_every_call_at_once() {
    let handle = one_with(Config { clean_session: true, ..config("c") });
    with(|w| w.limits.session.window = 1);
    let handle = {
        // Limits are read when a handle is made.
        handle.remove();
        Handle::new(crate::app::hub(), 2, config("d"))
    };
    with(|w| w.broker.style.ignores_subscription = 1000);
    assert_eq!(handle.connect(), Ok(()));
    with(|w| w.broker.style.acknowledges = false);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let start = now();
    let publisher = handle.clone();
    let publish = call_later(10, move || publisher.publish("t", 1, 10).1);
    let calls: Vec<_> = (0..3)
        .map(|n| {
            let caller = handle.clone();
            call_later(n, move || caller.subscribe("f", 1))
        })
        .collect();
    with(|w| w.later(2_000, || broker::die(true)));
    run(5_000);
    for call in calls.iter().chain([&publish]) {
        let (result, at) = call.borrow().expect("over");
        assert_eq!(result, Err(Error::Disconnected));
        assert!(at - start < 2_100);
    }
    // A second task's disconnect ends them too.
    broker::behave();
    with(|w| w.broker.style = Style { ignores_subscription: 1000, ..Style::GOOD });
    assert_eq!(handle.connect(), Ok(()));
    let caller = handle.clone();
    let subscribe = call_later(0, move || caller.subscribe("f", 1));
    let ender = handle.clone();
    call_later(100, move || ender.disconnect());
    run(1_000);
    assert_eq!(subscribe.borrow().expect("over").0, Err(Error::Disconnected));
    handle.remove();
    all_is_gone();
}

#[test]
fn a_connect_while_a_disconnect_drains() {
    let handle = connected();
    with(|w| w.broker.style.acknowledges = false);
    assert!(handle.publish("t", 1, 10).1.is_ok());
    let (first, second) = (handle.clone(), handle.clone());
    let disconnect = call_later(0, move || first.disconnect());
    let connect = call_later(100, move || second.connect());
    run(15_000);
    assert_eq!(connect.borrow().expect("over").0, Ok(()));
    assert!((8_900..9_200).contains(&with(|w| w.books.slowest["connect"])));
    assert!((9_000..9_100).contains(&disconnect.borrow().expect("over").0));
    with(|w| assert_eq!((w.books.connected, w.books.disconnected), (2, 1)));
    broker::behave();
    run(1_000);
    handle.remove();
    all_is_gone();
}

#[test]
fn a_dead_network_is_noticed() {
    let handle = one_with(Config { keep_alive: 10, ..config("c") });
    let events = record();
    assert_eq!(handle.connect(), Ok(()));
    run(5_000);
    with(|w| w.broker.style.reads = false);
    let start = now();
    assert!(run_until(60_000, || with(|w| w.books.disconnected == 1)));
    assert!((14_000..16_000).contains(&(now() - start)), "{} ms", now() - start);
    assert_eq!(events.borrow().last(), Some(&Delivery::Disconnected(Some(handle.token()))));
    with(|w| assert_eq!(w.sockets, 0));
    drop(events);
    handle.remove();
    all_is_gone();
}

#[test]
fn calls_in_a_wrong_state() {
    let handle = one();
    let disconnected: Result<u16, Error> = Err(Error::Disconnected);
    assert_eq!(handle.publish("t", 1, 1).1, disconnected);
    assert_eq!(handle.subscribe("f", 1), disconnected);
    assert_eq!(handle.unsubscribe("f"), disconnected);
    // Connected comes before UTF-8, length, wildcards and QoS.
    assert_eq!(handle.client.publish(b"\xff", b"", 3, false), disconnected);
    assert_eq!(handle.connect(), Ok(()));
    assert_eq!(handle.client.publish(b"\xff+", b"", 3, false), Err(Error::BadUtf8String));
    assert_eq!(handle.client.publish(b"+", b"", 3, false), failure());
    assert_eq!(handle.client.publish(b"t", b"", 3, false), Err(Error::BadQoS));
    assert_eq!(handle.subscribe("a#", 3), failure());
    assert_eq!(handle.subscribe("a", 3), Err(Error::BadQoS));
    let client = handle.client.clone();
    handle.remove();
    assert_eq!(client.publish(b"t", b"", 0, false), disconnected);
    assert_eq!(client.subscribe(b"t", 0), disconnected);
    assert_eq!(Client::connect(&client), Err(Error::Disconnected));
    assert_eq!(client.disconnect(), Ok(()));
    drop(client);
    all_is_gone();
}

#[test]
fn late_and_odd_readiness() {
    for seed in 0..20 {
        let handle = one();
        with(|w| {
            w.rng = crate::rng::Rng::new(seed);
            w.faults = Faults { late_readiness: 500, segment: 3, capacity: 16, latency: (0, 50), ..Faults::NONE };
        });
        assert_eq!(handle.connect(), Ok(()));
        assert!(handle.subscribe("in/#", 2).is_ok());
        let serials = send(20, 2, 100);
        for _ in 0..20 {
            assert!(handle.publish("out", 2, 100).1.is_ok());
        }
        assert!(run_until(600_000, || got(&handle) == serials));
        assert!(run_until(60_000, || with(|w| w.books.published.len() == 20)));
        handle.remove();
        all_is_gone();
    }
}

/// A server that acknowledges, right after CONNACK, what it had received on the connection before: the repetition is leaving just then.
#[test]
fn late_acknowledgements_on_a_slow_network() {
    for qos in [1, 2] {
        let handle = connected();
        with(|w| w.broker.tricks.extend((0..5).map(|_| Trick::Unsaid)));
        let sent = [(); 5].map(|()| handle.publish("t", qos, 5_000));
        run(1_000);
        broker::die(true);
        run(100);
        with(|w| {
            w.broker.style.hostile = true;
            w.faults = Faults { latency: (10, 10), capacity: 1_000, segment: 500, ..Faults::NONE };
        });
        assert_eq!(handle.connect(), Ok(()));
        for (_, id) in &sent {
            let id = id.expect("taken");
            broker::say("c", &if qos == 1 { FromServer::PubAck(id) } else { FromServer::PubRec(id) }.encode());
        }
        run(60_000);
        with(|w| {
            assert_eq!((w.broker.connects, w.books.published.len()), (2, 5));
            assert!(sent.iter().all(|(serial, _)| w.broker.arrivals[serial].taken > 0));
        });
        handle.remove();
        run(1_000);
        all_is_gone();
    }
}
