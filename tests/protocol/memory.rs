//! Messages for which there is no memory: they wait, or are skipped and come again, and in the end they are given up.

use wm_mqtt_client::protocol::{Buffer, Connect, Event};

use crate::support::*;
use crate::wire::FromClient::{PubAck, PubComp, PubRec};
use crate::wire::FromServer::{self, PubRel};

fn message(id: u16, level: u8, payload: &[u8]) -> FromServer {
    FromServer::Publish(publish(id, level, "topic", payload))
}

/// Which allocation fails: the topic's, or the payload's.
const TOPIC: u32 = 1;
const PAYLOAD: u32 = 2;

/// Feeds a message whose n-th allocation fails, for which its owner does not wait.
fn without_memory(bench: &mut Bench, failing: u32, packet: FromServer) -> Vec<Seen> {
    fail_allocation(failing);
    let seen = bench.receive(&[packet]);
    fail_allocation(0);
    seen
}

fn acknowledgement(level: u8, id: u16) -> crate::wire::FromClient {
    if level == 1 { PubAck(id) } else { PubRec(id) }
}

/// Input that has come stays until there is memory.
#[test]
fn a_message_waits_for_memory() {
    let stream = [FromServer::PingResp, message(1, 2, &[5; 100]), message(2, 1, b"small")].map(|p| p.encode()).concat();
    for failing in [TOPIC, PAYLOAD] {
        for split in 0..stream.len() {
            let mut bench = Bench::connected();
            fail_allocation(failing);
            let mut rest = &stream[..split];
            let mut seen = Vec::new();
            let mut waits = 0;
            for last in [false, true] {
                if last {
                    rest = &stream[split - rest.len()..];
                }
                loop {
                    if let Some(event) = bench.session.handle_input(bench.now, &mut rest).unwrap() {
                        assert!(matches!(event, Event::Message(_)), "{event:?}");
                        seen.push(bench.session.take_message().unwrap().payload.unwrap().as_slice().len());
                    } else if rest.is_empty() {
                        break;
                    } else {
                        assert_eq!(bench.session.announced(), 0);
                        waits += 1;
                        fail_allocation(1);
                        assert!(!bench.session.has_memory());
                        assert!(bench.session.has_memory(), "it is looked for again");
                    }
                }
            }
            assert_eq!(seen, [100, 5], "split at {split}");
            assert!(waits <= 1);
        }
    }
    assert_eq!(live_buffers(), 0);
}

#[test]
fn it_stays_unacknowledged_and_the_stream_in_step() {
    for failing in [TOPIC, PAYLOAD] {
        for level in 0..3 {
            let mut bench = Bench::connected();
            let id = if level == 0 { 0 } else { 6 };
            let seen = without_memory(&mut bench, failing, message(id, level, &[1; 300]));
            assert_eq!(seen, [if level == 0 { Seen::Skipped } else { Seen::Missed }]);
            bench.receipts.clear();
            assert_eq!(bench.sent(), []);
            assert_eq!(bench.receive(&[message(7, 1, b"next")]), [Seen::Message(publish(7, 1, "topic", b"next"))]);
            bench.accept();
            assert_eq!(bench.sent(), [PubAck(7)]);
            // The server sends it again on the next connection, and then it is told.
            if level > 0 {
                bench.reconnect(&PERSISTENT, true);
                let again = FromServer::Publish(dup(publish(id, level, "topic", &[1; 300])));
                assert_eq!(bench.receive(&[again]).len(), 1);
                bench.accept();
                assert_eq!(bench.sent(), [acknowledgement(level, id)]);
            }
        }
    }
    assert_eq!(live_buffers(), 0);
}

#[test]
fn an_oversized_message_needs_none() {
    let mut bench = Bench::connected();
    let seen = without_memory(&mut bench, TOPIC, message(1, 1, &vec![1; 70_000]));
    assert_eq!(seen, [Seen::Skipped]);
    bench.accept();
    assert_eq!(bench.sent(), [PubAck(1)]);
}

/// Nobody sends it again, and a server waits for acknowledgements before it sends more.
#[test]
fn a_clean_session_acknowledges_it() {
    for level in 1..3 {
        let mut bench = Bench::connected_with(LIMITS, &CLEAN);
        assert_eq!(without_memory(&mut bench, PAYLOAD, message(1, level, b"large")), [Seen::Skipped]);
        bench.accept();
        assert_eq!(bench.sent(), [acknowledgement(level, 1)]);
    }
}

/// Whichever memory is missing, and whatever identifier it has.
#[test]
fn it_is_given_up_after_three_connections() {
    for level in 1..3 {
        let mut bench = Bench::connected();
        for (id, failing) in [(1, PAYLOAD), (1, TOPIC), (9, PAYLOAD)] {
            for _ in 0..2 {
                let seen = without_memory(&mut bench, failing, message(id, level, b"large"));
                assert_eq!(seen, [Seen::Missed], "however often it comes on one connection");
            }
            assert_eq!(bench.sent(), []);
            bench.reconnect(&PERSISTENT, true);
        }
        for id in [1, 9] {
            assert_eq!(without_memory(&mut bench, PAYLOAD, message(id, level, b"large")), [Seen::Skipped]);
            // In its turn.
            assert_eq!(bench.sent(), []);
            bench.accept();
            assert_eq!(bench.sent(), [acknowledgement(level, id)]);
        }
        if level == 2 {
            bench.receive(&[PubRel(1), PubRel(9)]);
            assert_eq!(bench.sent(), [PubComp(1), PubComp(9)]);
        }
        // With memory it is a message as any other.
        assert_eq!(bench.receive(&[message(2, level, b"large")]).len(), 1);
    }
}

/// Connects, and misses these messages; which of them are given up.
fn connection(bench: &mut Bench, connect: &Connect<'_>, payloads: &[&str]) -> Vec<bool> {
    bench.reconnect(connect, true);
    let missed = |(n, payload): (usize, &&str)| {
        let seen = without_memory(bench, PAYLOAD, message(1 + n as u16, 1, payload.as_bytes()));
        assert_eq!(seen.len(), 1);
        seen == [Seen::Skipped]
    };
    payloads.iter().enumerate().map(missed).collect()
}

#[test]
fn three_connections_in_a_row() {
    let mut bench = Bench::connected();
    for _ in 0..2 {
        for _ in 0..3 {
            assert_eq!(connection(&mut bench, &PERSISTENT, &["a"]), [false]);
        }
        // One without it.
        connection(&mut bench, &PERSISTENT, &["b"]);
    }
    // Attempts that the server does not accept are none.
    for _ in 0..3 {
        assert_eq!(connection(&mut bench, &PERSISTENT, &["a"]), [false]);
        bench.session.closed();
        bench.session.connect(bench.now, &PERSISTENT).unwrap();
        assert_eq!(bench.receive(&[FromServer::ConnAck { present: false, code: 3 }]), [Seen::Refused(3)]);
    }
    assert_eq!(connection(&mut bench, &PERSISTENT, &["a"]), [true]);
}

/// The same contents as often as it comes, as of a switch that is on again; each time it is told on the next connection.
#[test]
fn a_message_that_was_told_was_not_hopeless() {
    for level in 1..3 {
        let mut bench = Bench::connected();
        for id in 1..10 {
            assert_eq!(without_memory(&mut bench, PAYLOAD, message(id, level, b"on")), [Seen::Missed], "{id}");
            bench.reconnect(&PERSISTENT, true);
            let again = FromServer::Publish(dup(publish(id, level, "topic", b"on")));
            assert_eq!(bench.receive(&[again]).len(), 1);
            bench.accept();
        }
    }
}

#[test]
fn another_topic_length_or_payload_is_another_message() {
    let packets = [("a", "bc"), ("b", "bc"), ("a", "bd"), ("a", "bcc"), ("a", "cb"), ("aa", "bc")];
    for (first, one) in packets.iter().enumerate() {
        for other in &packets[first + 1..] {
            let mut bench = Bench::connected();
            // As many connections as would do for one of them.
            for (topic, payload) in [one, other, one, other] {
                bench.reconnect(&PERSISTENT, true);
                let packet = FromServer::Publish(publish(1, 1, topic, payload.as_bytes()));
                assert_eq!(without_memory(&mut bench, PAYLOAD, packet), [Seen::Missed], "{one:?} and {other:?}");
            }
        }
    }
}

/// Also when there are more of them than are counted at a time, in whichever order they come.
#[test]
fn all_are_given_up_in_the_end() {
    let mut bench = Bench::connected();
    let mut left = vec!["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for connections in 1.. {
        assert!(connections <= 3 * 5 + 3, "{} are left", left.len());
        let given_up = connection(&mut bench, &PERSISTENT, &left);
        let mut given_up = given_up.into_iter();
        left.retain(|_| !given_up.next().unwrap());
        if left.is_empty() {
            break;
        }
        let by = connections % left.len();
        left.rotate_left(by);
    }
}

#[test]
fn the_log_says_what_becomes_of_it() {
    let (mut bench, packet) = (Bench::connected(), |level| message(u16::from(level > 0), level, b"12345"));
    let ((), lines) = logged(|| {
        without_memory(&mut bench, PAYLOAD, packet(1));
        without_memory(&mut bench, PAYLOAD, packet(0));
        bench.receive(&[message(2, 1, &vec![1; 70_000])]);
    });
    let expected = [
        "5 bytes: no memory, not acknowledged (0 lost so far)",
        "5 bytes: no memory, lost (1 lost so far)",
        "70000 bytes: too large, lost (2 lost so far)",
    ];
    assert_eq!(lines, expected.map(|line| format!("ERROR: message of {line}")));
}

/// A server without its sessions gives other identifiers on each connection.
#[test]
fn a_kept_message_with_the_identifier_of_a_missed_one_before() {
    let mut bench = Bench::connected();
    for connection in 1..=8 {
        bench.reconnect(&PERSISTENT, false);
        let big_first = connection % 2 == 1;
        let order = if big_first { [true, false] } else { [false, true] };
        let mut skipped = false;
        for (id, big) in (1..).zip(order) {
            if big {
                fail_allocation(2);
            }
            let payload = if big { vec![1; 1000] } else { vec![2; 10] };
            let seen = bench.receive(&[FromServer::Publish(publish(id, 1, "t", &payload))]);
            fail_allocation(0);
            skipped |= seen == [Seen::Skipped];
        }
        if skipped {
            assert_eq!(connection, 4);
            return;
        }
    }
    panic!("never given up");
}
