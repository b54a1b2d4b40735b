//! A time limit counts the server's silence: what has arrived is read before it is judged, however late that is, and an
//! answer that is still in the network has one second more. Absolute limits hold against whoever talks.

use wm_mqtt_client::client::{Config, Error};

use crate::app::{Handle, config};
use crate::broker;
use crate::directed::*;
use crate::promises::all_is_gone;
use crate::world::{Faults, call_later, run, run_until, with};

/// The MQTT task is not run for so long, from now on.
fn stop(ms: u64) {
    with(|w| w.stop_mqtt_task(ms));
}

/// The same, in `delay` milliseconds: a call that waits drives the world itself.
fn stop_later(delay: u64, ms: u64) {
    with(|w| w.later(delay, move || stop(ms)));
}

fn lost() -> u64 {
    with(|w| w.broker.lost)
}

/// Answers take so long.
fn answers_take(ms: u64) {
    with(|w| w.broker.style.reply = (ms, ms));
}

#[test]
fn pingresp_waits_in_the_socket() {
    for stopped in [900, 12_000, 100_000] {
        let handle = one_with(Config { keep_alive: 10, ..config("c") });
        assert_eq!(handle.connect(), Ok(()));
        answers_take(150);
        assert!(run_until(20_000, || with(|w| w.broker.pings) == 1));
        stop(stopped);
        run(stopped + 5_000);
        assert_eq!(lost(), 0, "stopped for {stopped} ms");
        assert!(with(|w| w.broker.is_connected("c")));
        handle.remove();
        all_is_gone();
    }
}

/// Nor is it silence that a PINGREQ still waits for this task to send it, though the server has room for it.
#[test]
fn a_ping_that_has_not_left_is_not_unanswered() {
    let handle = one_with(Config { keep_alive: 3, ..config("c") });
    assert_eq!(handle.connect(), Ok(()));
    // 100 bytes in 100 ms: the message takes 10 s, and the PINGREQ is due before that.
    with(|w| w.faults = Faults { latency: (100, 100), capacity: 100, segment: 100, delayed_ack: 0, ..Faults::NONE });
    assert!(handle.publish("a/b", 0, 10_000).1.is_ok());
    run(4_000);
    stop(3_500);
    run(30_000);
    assert_eq!(lost(), 0);
    assert!(with(|w| w.broker.pings) > 0);
    handle.remove();
    all_is_gone();
}

/// A PINGREQ that is due in a turn with more to send than the others can wait for does not end it: the next turn goes on.
#[test]
fn a_ping_that_is_due_amid_a_long_message() {
    for len in [3_000, 8_100, 9_000, 20_000] {
        let handle = one_with(Config { keep_alive: 3, ..config("c") });
        assert_eq!(handle.connect(), Ok(()));
        run(2_800);
        stop(200);
        let (serial, result) = handle.publish("a/b", 0, len);
        assert_eq!((result, with(|w| w.broker.pings)), (Ok(0), 0));
        run(300);
        let taken = with(|w| w.broker.arrivals.get(&serial).map_or(0, |arrival| arrival.taken));
        assert_eq!((taken, with(|w| w.broker.pings)), (1, 1), "{len} bytes");
        handle.remove();
        all_is_gone();
    }
}

/// A server that does not read for a while (RabbitMQ without memory) and sends meanwhile gets no PINGREQ for each of its messages.
#[test]
fn pings_do_not_pile_up_before_a_server_that_sends() {
    let handle = one_with(Config { keep_alive: 3, ..config("c") });
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 0).is_ok());
    with(|w| (w.faults.capacity, w.broker.style.reads) = (500, false));
    assert!(handle.publish("a/b", 0, 1000).1.is_ok());
    for _ in 0..2_000 {
        send(1, 0, 10);
        run(10);
    }
    with(|w| assert_eq!((w.broker.lost, w.broker.pings), (0, 0)));
    broker::behave();
    run(1_000);
    with(|w| assert_eq!((w.broker.lost, w.broker.pings), (0, 1)));
    handle.remove();
    all_is_gone();
}

/// One that sends and never takes what it is owed for that is dead for the client, although that does not read any more.
#[test]
fn a_server_that_takes_no_acknowledgements() {
    let handle = one();
    handle.remove();
    with(|w| (w.limits.session.outgoing, w.faults.capacity) = (200, 2_000));
    let handle = Handle::new(crate::app::hub(), 2, Config { keep_alive: 10, ..config("d") });
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 1).is_ok());
    with(|w| (w.broker.style.window, w.broker.style.reads) = (0, false));
    send(5_000, 1, 10);
    run(9_000);
    assert_eq!(with(|w| w.books.lost), 0);
    run(12_000);
    assert_eq!(with(|w| w.books.lost), 1);
    broker::behave();
    handle.remove();
    run(10_000);
    all_is_gone();
}

/// Nor is it one when the port reports the answer too late, or not at all.
#[test]
fn pingresp_that_nobody_reports() {
    let handle = one_with(Config { keep_alive: 10, ..config("c") });
    assert_eq!(handle.connect(), Ok(()));
    with(|w| w.faults.late_readiness = 1_000_000);
    run(300_000);
    with(|w| assert_eq!((w.broker.connects, w.broker.lost), (1, 0)));
    assert!(with(|w| w.broker.pings) >= 15);
    with(|w| w.faults.late_readiness = 0);
    handle.remove();
    all_is_gone();
}

/// A WebSocket frame or a TLS record that takes longer than keep-alive is no silence.
#[cfg(feature = "websocket")]
#[test]
fn a_frame_comes_slowly() {
    use crate::app::with_host;

    let handle = one_with(with_host(Config { keep_alive: 3, ..config("c") }, "ws://broker:1883"));
    assert_eq!(handle.connect(), Ok(()));
    assert!(handle.subscribe("in/#", 1).is_ok());
    // 100 bytes in 200 ms: each half of the message, a frame of its own, takes 10 s.
    with(|w| w.faults = Faults { latency: (100, 100), capacity: 100, segment: 100, delayed_ack: 0, ..Faults::NONE });
    let sent = send(1, 1, 10_000);
    run(60_000);
    assert_eq!(lost(), 0);
    assert_eq!(got(&handle), sent);
}

/// Nor is a ping of WebSocket, although MQTT gets nothing of it.
#[cfg(feature = "websocket")]
#[test]
fn pings_of_a_layer() {
    use crate::app::with_host;

    for (pings, lives) in [(true, true), (false, false)] {
        let handle = one_with(with_host(Config { keep_alive: 3, ..config("c") }, "ws://broker:1883"));
        assert_eq!(handle.connect(), Ok(()));
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        answers_take(20_000);
        for n in 0..if pings { 40 } else { 0 } {
            with(|w| w.later(500 * n, move || with(|w| w.server_write(link, b"\x89\x00"))));
        }
        run(20_000);
        assert_eq!(lost() == 0, lives, "pings: {pings}");
        handle.remove();
        run(30_000);
        all_is_gone();
    }
}

/// Nor that PINGREQ waits behind the pongs that the server has asked for, and takes slowly.
#[cfg(feature = "websocket")]
#[test]
fn pongs_that_move_before_a_ping() {
    for (seconds, lives) in [(60, true), (4, false)] {
        let handle = one_with(crate::app::with_host(Config { keep_alive: 3, ..config("c") }, "ws://broker:1883"));
        assert_eq!(handle.connect(), Ok(()));
        let link = with(|w| w.broker.link_of("c")).expect("connected");
        with(|w| {
            (w.faults.capacity, w.broker.style.reads) = (500, false);
            w.server_write(link, &[&[0x89, 125][..], &[7; 125]].concat().repeat(60));
        });
        // So many bytes each second, for so long.
        for n in 1..seconds {
            let read = || {
                with(|w| w.broker.style.reads = true);
                broker::look();
                with(|w| w.broker.style.reads = false);
            };
            with(|w| w.later(1000 * n, read));
        }
        run(30_000);
        assert_eq!((with(|w| w.books.disconnected) == 0, with(|w| w.broker.pings) > 0), (lives, lives));
        broker::behave();
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn connack_waits_in_the_socket() {
    // Up to the 2 s that connect waits longer than the task.
    for stopped in [29_000, 30_500, 31_500] {
        let handle = one();
        answers_take(150);
        let result = call_later(0, move || handle.connect());
        stop_later(50, stopped);
        run(stopped + 1_000);
        assert_eq!(result.borrow().expect("over").0, Ok(()), "stopped for {stopped} ms");
    }
}

#[test]
fn suback_waits_in_the_socket() {
    for stopped in [9_000, 10_500, 11_500] {
        let handle = connected();
        answers_take(150);
        let result = call_later(0, move || handle.subscribe("f", 1));
        stop_later(50, stopped);
        run(stopped + 1_000);
        assert!(result.borrow().expect("over").0.is_ok(), "stopped for {stopped} ms");
    }
}

#[test]
fn pubacks_wait_in_the_socket_while_a_disconnect_waits() {
    for stopped in [9_500, 10_500, 11_500] {
        let handle = connected();
        answers_take(150);
        let serial = handle.publish("t", 1, 10).0;
        let copy = handle.clone();
        let result = call_later(0, move || copy.disconnect());
        stop_later(50, stopped);
        run(stopped + 1_000);
        assert!(result.borrow().is_some());
        with(|w| {
            assert_eq!(w.broker.arrivals[&serial].taken, 1);
            assert_eq!(w.books.published.len(), 1, "stopped for {stopped} ms");
            assert_eq!((w.broker.graceful, w.broker.lost), (1, 0), "the will goes out");
        });
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn acknowledgements_of_a_full_window_wait_in_the_socket() {
    for stopped in [9_500, 10_500, 11_500] {
        let handle = connected();
        answers_take(150);
        for _ in 0..20 {
            assert!(handle.publish("t", 1, 10).1.is_ok());
        }
        let result = call_later(0, move || handle.publish("t", 1, 10).1);
        stop_later(50, stopped);
        run(stopped + 1_000);
        assert!(result.borrow().expect("over").0.is_ok(), "stopped for {stopped} ms");
    }
}

#[test]
fn an_answer_that_is_still_in_the_network_has_a_second_more_and_no_other() {
    // PINGREQ has left at 10 s; the device sleeps past its limit, and the answer needs some time more.
    for (still, lives) in [(700, true), (1_300, false)] {
        let handle = one_with(Config { keep_alive: 10, ..config("c") });
        assert_eq!(handle.connect(), Ok(()));
        answers_take(25_000 + still);
        assert!(run_until(20_000, || with(|w| w.broker.pings) == 1));
        stop(25_000);
        run(25_000 + 5_000);
        assert_eq!(lost() == 0, lives, "{still} ms after the sleep");
        with(|w| w.broker.style.reply = (0, 0));
        handle.remove();
        all_is_gone();
    }
    // A task that is late again and again judges all the same.
    let handle = one_with(Config { keep_alive: 10, ..config("c") });
    assert_eq!(handle.connect(), Ok(()));
    with(|w| w.broker.style.pongs = false);
    assert!(run_until(20_000, || with(|w| w.broker.pings) == 1));
    for _ in 0..8 {
        stop(3_000);
        run(3_000);
    }
    assert_eq!(with(|w| w.books.disconnected), 1);
    handle.remove();
    all_is_gone();
}

/// In a while the whole system stands still for so long, callers included: light sleep, SIGSTOP, a debugger.
fn stand_still_later(delay: u64, ms: u64) {
    with(|w| w.later(delay, move || with(|w| w.sleep(ms))));
}

#[test]
fn callers_do_not_judge_before_the_task() {
    // The answers are in the socket when all tasks go on, and the caller is the first to run.
    for still in [8_000, 12_500, 20_000, 100_000] {
        let handle = connected();
        answers_take(150);
        for _ in 0..20 {
            assert!(handle.publish("t", 1, 10).1.is_ok());
        }
        stand_still_later(50, still);
        assert!(handle.publish("t", 1, 10).1.is_ok(), "publish, {still} ms");
        run(1_000);
        stand_still_later(50, still);
        assert!(handle.subscribe("f", 1).is_ok(), "subscribe, {still} ms");
        assert!(handle.publish("t", 1, 10).1.is_ok());
        stand_still_later(50, still);
        assert!(handle.disconnect() <= still + 1_000, "disconnect, {still} ms");
        run(100);
        assert_eq!(with(|w| w.books.published.len()), 22, "disconnect, {still} ms");
        stand_still_later(50, 35_000);
        assert_eq!(handle.connect(), Ok(()), "connect, {still} ms");
        assert_eq!(lost(), 0);
        handle.remove();
        all_is_gone();
    }
}

#[test]
fn calls_return_when_the_task_cannot_run_at_all() {
    let handle = connected();
    with(|w| w.broker.style.acknowledges = false);
    for _ in 0..20 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
    }
    stop(100_000);
    let (one, other) = (handle.clone(), handle.clone());
    let results = [
        call_later(0, move || one.publish("t", 1, 10).1.map(drop)),
        call_later(0, move || other.subscribe("f", 1).map(drop)),
    ];
    run(12_100);
    for (result, error) in results.iter().zip([Error::MaxMessagesInFlight, Error::Failure]) {
        let result = result.borrow();
        assert_eq!(result.expect("over").0, Err(error));
    }
    run(100_000);
    broker::behave();
    handle.remove();
    all_is_gone();
}

/// Whoever talks all the time, but does not answer.
#[test]
fn a_talkative_server_gains_nothing() {
    let handle = subscribed();
    with(|w| {
        (w.broker.style.acknowledges, w.broker.style.ignores_subscription) = (false, 1000);
        w.broker.style.window = 0;
        w.limits.io_buffer = 600;
    });
    for n in 0..4_000 {
        with(|w| w.later(10 * n, || broker::publish("in/x", &crate::app::payload(7, 400), 0)));
    }
    for _ in 0..20 {
        assert!(handle.publish("t", 1, 10).1.is_ok());
    }
    with(|w| w.handler = Some(std::rc::Rc::new(|_| {})));
    let (one, other, last) = (handle.clone(), handle.clone(), handle.clone());
    let publish = call_later(0, move || one.publish("t", 1, 10).1.map(drop));
    let subscribe = call_later(0, move || other.subscribe("f", 1).map(drop));
    let start = now();
    run(11_000);
    assert_eq!(publish.borrow().expect("over"), (Err(Error::MaxMessagesInFlight), start + 10_000));
    assert_eq!(subscribe.borrow().expect("over"), (Err(Error::Failure), start + 10_000));
    let disconnect = call_later(0, move || last.disconnect());
    run(11_000);
    assert!(disconnect.borrow().expect("over").0 <= 10_000);
    broker::behave();
    run(40_000);
    handle.remove();
    all_is_gone();
}
