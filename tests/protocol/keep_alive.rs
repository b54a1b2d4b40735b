//! Keep-alive from both sides (section 3.1.2.10).

use wm_mqtt_client::protocol::{Connect, Limits, TimeoutError};
use wm_mqtt_client::time::{Instant, Millis};

use crate::support::*;
use crate::wire::FromClient::PingReq;
use crate::wire::FromServer::*;

fn bench(seconds: u16) -> Bench {
    Bench::connected_with(LIMITS, &Connect { keep_alive: seconds, ..PERSISTENT })
}

/// Lets time pass up to the session's own deadline, which must be `ms` from now.
fn wait(bench: &mut Bench, ms: Millis) -> Result<(), TimeoutError> {
    assert_eq!(bench.session.deadline().millis_from(bench.now), ms);
    bench.advance(ms - 1);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert!(!bench.session.wants_write(), "before its time");
    bench.advance(1);
    bench.session.handle_timeout(bench.now)
}

#[test]
fn a_ping_after_silence_and_the_end_after_another() {
    // [MQTT-3.1.2-23]: 100 ms before the 10 s are over
    let mut bench = bench(10);
    for _ in 0..3 {
        assert!(!bench.session.awaits_answer());
        assert_eq!(wait(&mut bench, 9_900), Ok(()));
        assert_eq!(bench.sent(), [PingReq]);
        assert!(bench.session.awaits_answer());
        bench.advance(700);
        assert_eq!(bench.receive(&[PingResp]), []);
        bench.advance(9_200);
        // [MQTT-3.1.2-23] counts from our last packet, not from the answer
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
        assert_eq!(bench.sent(), [PingReq]);
        bench.receive(&[PingResp]);
    }
    assert_eq!(wait(&mut bench, 9_900), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
    assert_eq!(wait(&mut bench, 10_000), Err(TimeoutError::ServerSilent));
}

#[test]
fn sending_postpones_the_ping_only_as_long_as_something_comes_back() {
    let mut bench = bench(10);
    bench.advance(4_000);
    bench.publish(1, "t", b"");
    bench.sent();
    bench.advance(100);
    bench.receive(&[PubAck(1)]);
    // 10 s after what left last, and 100 ms before
    bench.advance(9_799);
    bench.session.transmitted(bench.now, 0);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), []);
    bench.advance(1);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
    bench.receive(&[PingResp]);
    // Messages at QoS 0 leave all the time, and nothing comes back: the peer is probed all the same.
    let mut pinged = 0;
    for _ in 0..25 {
        bench.advance(1_000);
        bench.publish(0, "t", b"");
        if bench.session.handle_timeout(bench.now).is_err() {
            break;
        }
        pinged += bench.sent().iter().filter(|p| **p == PingReq).count();
    }
    assert_eq!(pinged, 1);
    assert_eq!(bench.session.handle_timeout(bench.now), Err(TimeoutError::ServerSilent));
}

#[test]
fn any_byte_from_the_server_proves_it_alive() {
    let mut bench = bench(10);
    let bytes = Publish(publish(0, 0, "t", &[0; 100])).encode();
    for (n, byte) in bytes.iter().enumerate() {
        bench.advance(9_000);
        // what is sent meanwhile keeps the other half quiet
        bench.publish(0, "t", b"");
        bench.sent();
        let complete = n + 1 == bytes.len();
        assert_eq!(bench.feed(&[*byte]).unwrap().len(), usize::from(complete));
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    }
    // Only received, nothing sent: our ping is due, since the server times us too [MQTT-3.1.2-24].
    bench.advance(9_899);
    bench.receive(&[PingResp]);
    assert_eq!(wait(&mut bench, 1), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
}

#[test]
fn pings_wait_for_connack_and_none_follow_the_end() {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, &PERSISTENT).unwrap();
    bench.sent();
    assert_eq!(bench.session.deadline(), Instant::NEVER);
    bench.advance(100_000_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), []);
    bench.session.closed();
    assert_eq!(bench.session.deadline(), Instant::NEVER);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_late_connack_is_no_silence() {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, &Connect { keep_alive: 2, ..PERSISTENT }).unwrap();
    bench.sent();
    bench.advance(25_000);
    bench.receive(&[ConnAck { present: false, code: 0 }]);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
    bench.advance(1_999);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.receive(&[PingResp]);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
}

#[test]
fn zero_turns_it_off() {
    // Section 3.1.2.10
    let mut bench = bench(0);
    assert_eq!(bench.session.deadline(), Instant::NEVER);
    bench.advance(Millis::MAX);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), []);
}

#[test]
fn the_longest_interval() {
    let mut bench = bench(65_535);
    assert_eq!(wait(&mut bench, 65_534_900), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
}

#[test]
fn whoever_does_not_read_cannot_complain_of_silence() {
    let mut bench = bench(10);
    bench.session.set_reading(bench.now, false);
    for _ in 0..20 {
        // The server must still hear from us.
        assert_eq!(wait(&mut bench, 9_900), Ok(()));
        assert_eq!(bench.sent(), [PingReq]);
    }
    // From here on silence counts again, and a first ping comes before the end.
    bench.session.set_reading(bench.now, true);
    assert_eq!(wait(&mut bench, 9_900), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
    assert_eq!(wait(&mut bench, 10_000), Err(TimeoutError::ServerSilent));
}

#[test]
fn a_ping_that_cannot_leave_is_queued_once() {
    let mut bench = bench(10);
    bench.session.set_reading(bench.now, false);
    for _ in 0..5 {
        bench.advance(10_000);
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    }
    assert_eq!(bench.sent(), [PingReq]);
    // And again when it has left.
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
}

#[test]
fn a_clock_far_from_its_origin() {
    for start in [0, u64::from(u32::MAX) - 5_000, u64::MAX / 2] {
        let mut bench = Bench::new(LIMITS);
        bench.now = at(start);
        bench.reconnect(&Connect { keep_alive: 10, ..PERSISTENT }, false);
        for _ in 0..3 {
            assert_eq!(wait(&mut bench, 9_900), Ok(()));
            assert_eq!(bench.sent(), [PingReq]);
            bench.receive(&[PingResp]);
        }
    }
}

#[test]
fn a_slow_transport_is_no_dead_one() {
    let mut bench = bench(10);
    bench.publish(0, "t", &[0; 60_000]);
    // Two kilobytes each 3 s: the ping leaves long after it was due, and its answer comes later still.
    let mut left = 0;
    while bench.session.wants_write() {
        bench.advance(3_000);
        left += bench.transmit(2_000, 500).len();
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()), "after {left} bytes");
    }
    assert!(left > 60_000);
    // The PINGREQ has just left: from now on silence counts.
    assert_eq!(wait(&mut bench, 10_000), Err(TimeoutError::ServerSilent));
}

#[test]
fn taking_bytes_without_ever_answering_is_no_life() {
    let mut bench = bench(10);
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.transmit(2, 2);
    // Always something on its way, and always something left.
    for _ in 0..9 {
        bench.publish(0, "t", &[0; 1000]);
        bench.advance(1_000);
        bench.transmit(500, 500);
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    }
    bench.advance(1_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Err(TimeoutError::ServerSilent));
}

/// What moves behind a PINGREQ that has left says nothing of the server.
#[cfg(any(feature = "tls", feature = "websocket"))]
#[test]
fn what_the_layers_send_behind_a_ping_is_no_life() {
    let mut bench = bench(10);
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.transmit(2, 2);
    bench.advance(5_000);
    bench.session.moved(bench.now);
    assert_eq!(wait(&mut bench, 5_000), Err(TimeoutError::ServerSilent));
}

#[test]
fn a_transport_that_takes_nothing_is_dead() {
    let mut bench = bench(10);
    bench.publish(0, "t", &[0; 60_000]);
    bench.transmit(2_000, 500);
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.advance(9_999);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.advance(1);
    assert_eq!(bench.session.handle_timeout(bench.now), Err(TimeoutError::ServerSilent));
}

/// Nor is one over which a large message leaves again: PINGREQ comes behind the rest of it.
#[test]
fn a_slow_transport_is_no_dead_one_on_the_next_connection() {
    let mut bench = bench(10);
    bench.publish(1, "t", &[0; 60_000]);
    bench.reconnect(&Connect { keep_alive: 10, ..PERSISTENT }, true);
    let mut left = 0;
    while bench.session.wants_write() {
        bench.advance(3_000);
        left += bench.transmit(2_000, 500).len();
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()), "after {left} bytes");
    }
    assert!(left > 60_000);
    assert_eq!(wait(&mut bench, 10_000), Err(TimeoutError::ServerSilent));
}

/// A request that was taken back is not waited for.
#[test]
fn a_ping_behind_a_request_that_was_taken_back() {
    let mut bench = bench(10);
    let id = bench.session.subscribe(&[b'x'; 60_000], Some(qos(0))).unwrap();
    bench.advance(9_900);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.session.forget(id);
    assert_eq!(bench.sent(), [PingReq]);
    for _ in 0..9 {
        bench.advance(1_000);
        bench.publish(0, "t", b"");
        bench.sent();
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    }
    bench.advance(1_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Err(TimeoutError::ServerSilent));
}

/// Nor does the PINGREQ behind it count as one that has left.
#[test]
fn a_ping_waits_behind_a_request_that_was_taken_back() {
    let mut bench = bench(10);
    let id = bench.session.subscribe(b"x", Some(qos(0))).unwrap();
    bench.advance(9_900);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    bench.session.forget(id);
    bench.receive(&[Publish(publish(0, 0, "t", b""))]);
    bench.advance(9_900);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    assert_eq!(bench.sent(), [PingReq]);
}

/// Behind acknowledgements that wait nothing is read, so that the answer may be there: while something moves, that is no silence.
#[test]
fn an_answer_that_waits_until_acknowledgements_have_left() {
    let limits = Limits { outgoing: 200, ..LIMITS };
    let mut bench = Bench::connected_with(limits, &Connect { keep_alive: 10, ..PERSISTENT });
    let (mut out, mut held) = (vec![0; 4096], 0);
    // One byte always waits in the stream, so that all of them count.
    let mut pass_on = |bench: &mut Bench, left: usize| {
        held += bench.session.transmit(&mut out);
        let count = held - left.min(held);
        bench.session.transmitted(bench.now, count);
        held -= count;
    };
    bench.publish(0, "t", b"");
    for id in 1..250 {
        bench.receive(&[Publish(publish(id, 1, "t", b""))]);
        bench.accept();
        pass_on(&mut bench, 1);
    }
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    pass_on(&mut bench, 1);
    bench.publish(0, "t", &[0; 2_000]);
    assert!(!bench.session.is_congested());
    pass_on(&mut bench, 2_000);
    assert!(bench.session.is_congested(), "more than four times `outgoing`");
    for n in 1..20 {
        bench.advance(1_000);
        pass_on(&mut bench, 2_000 - 50 * n);
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()), "after {n} s");
    }
    bench.advance(10_000);
    assert_eq!(bench.session.handle_timeout(bench.now), Err(TimeoutError::ServerSilent));
}

/// A server that sends and does not read hears of us once: the PINGREQ that waits is enough.
#[test]
fn pings_do_not_pile_up_while_the_server_sends_and_does_not_read() {
    let mut bench = bench(10);
    bench.advance(10_000);
    for _ in 0..1000 {
        assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
        bench.receive(&[Publish(publish(0, 0, "t", b""))]);
        bench.advance(1);
    }
    assert_eq!(bench.sent(), [PingReq]);
}
