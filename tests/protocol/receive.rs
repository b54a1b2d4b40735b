//! Messages from the server: acknowledged once their event was accepted, at QoS 2 told once. `memory.rs` has those for which
//! there is no memory.

use wm_mqtt_client::protocol::{Buffer, Event, Limits};

use crate::support::*;
use crate::wire::FromClient::{PubAck, PubComp, PubRec};
use crate::wire::FromServer::{self, PubRel};

fn message(id: u16, level: u8, payload: &[u8]) -> FromServer {
    FromServer::Publish(publish(id, level, "t", payload))
}

fn message_again(id: u16, level: u8, payload: &[u8]) -> FromServer {
    FromServer::Publish(dup(publish(id, level, "t", payload)))
}

#[test]
fn acknowledged_when_accepted_and_in_their_order() {
    // [MQTT-4.6.0-2] [MQTT-4.6.0-3]
    let mut bench = Bench::connected();
    let packets =
        [message(7, 1, b"a"), message(0, 0, b"b"), message(3, 2, b"c"), message(9, 1, b"d"), message(5, 2, b"")];
    assert_eq!(bench.receive(&packets).len(), 5);
    assert_eq!(bench.sent(), []);
    for expected in [vec![PubAck(7)], vec![], vec![PubRec(3)], vec![PubAck(9)], vec![PubRec(5)]] {
        bench.accept();
        assert_eq!(bench.sent(), expected);
    }
    assert_eq!(bench.receive(&[PubRel(3), PubRel(5)]), []);
    assert_eq!(bench.sent(), [PubComp(3), PubComp(5)]);
}

#[test]
fn qos_1_is_told_as_often_as_it_comes() {
    // [MQTT-4.3.2-2]
    let mut bench = Bench::connected();
    assert_eq!(bench.receive(&[message(1, 1, b"a"), message_again(1, 1, b"a")]).len(), 2);
    bench.accept();
    bench.accept();
    assert_eq!(bench.sent(), [PubAck(1), PubAck(1)]);
}

#[test]
fn qos_2_is_told_once_until_pubrel() {
    // Section 4.3.3, method B
    let mut bench = Bench::connected();
    assert_eq!(bench.receive(&[message(1, 2, b"a")]).len(), 1);
    assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
    assert_eq!(bench.sent(), []);
    bench.accept();
    // Each of them is answered [MQTT-4.3.3-2].
    assert_eq!(bench.sent(), [PubRec(1), PubRec(1)]);
    assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
    assert_eq!(bench.sent(), [PubRec(1)]);
    bench.receive(&[PubRel(1)]);
    assert_eq!(bench.sent(), [PubComp(1)]);
    // [MQTT-4.3.3-2]: from PUBREL on the identifier stands for a new message
    assert_eq!(bench.receive(&[message(1, 2, b"b")]), [Seen::Message(publish(1, 2, "t", b"b"))]);
}

#[test]
fn pubrel_with_an_unknown_identifier_is_completed() {
    // [MQTT-4.3.3-2]
    let mut bench = Bench::connected();
    assert_eq!(bench.receive(&[PubRel(4), PubRel(4)]), []);
    assert_eq!(bench.sent(), [PubComp(4), PubComp(4)]);
}

#[test]
fn qos_2_is_told_once_across_a_reconnect() {
    // accepted, PUBREC lost with the connection
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a")]);
    bench.accept();
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
    assert_eq!(bench.sent(), [PubRec(1)]);
    bench.receive(&[PubRel(1)]);
    // PUBCOMP lost with the connection
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.receive(&[PubRel(1)]), []);
    assert_eq!(bench.sent(), [PubComp(1)]);
}

#[test]
fn qos_2_is_told_once_when_its_event_was_still_waiting() {
    // accepted before the server sends it again
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a")]);
    bench.reconnect(&PERSISTENT, true);
    bench.accept();
    // Not yet: on this connection the server has not sent it.
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
    assert_eq!(bench.sent(), [PubRec(1)]);
    // accepted after that
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a")]);
    for _ in 0..3 {
        bench.reconnect(&PERSISTENT, true);
        assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
        assert_eq!(bench.sent(), []);
    }
    bench.accept();
    // What was owed has ended with its connection.
    assert_eq!(bench.sent(), [PubRec(1)]);
    assert_eq!(bench.receive(&[PubRel(1)]), []);
    assert_eq!(bench.sent(), [PubComp(1)]);
}

#[test]
fn each_qos_2_publish_is_answered_when_its_event_is_accepted() {
    // [MQTT-4.3.3-2]
    for (copies, answers) in [(1, 1), (2, 2), (3, 3), (255, 255), (300, 255)] {
        let mut bench = Bench::connected();
        assert_eq!(bench.receive(&[message(1, 2, b"a")]).len(), 1);
        for _ in 1..copies {
            assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
        }
        assert_eq!(bench.sent(), []);
        bench.accept();
        assert_eq!(bench.sent(), vec![PubRec(1); answers]);
    }
}

#[test]
fn pubrecs_that_are_owed_end_with_the_connection() {
    for again in 0..3 {
        let mut bench = Bench::connected();
        bench.receive(&[message(1, 2, b"a"), message_again(1, 2, b"a")]);
        bench.reconnect(&PERSISTENT, true);
        for _ in 0..again {
            assert_eq!(bench.receive(&[message_again(1, 2, b"a")]), []);
        }
        bench.accept();
        assert_eq!(bench.sent(), vec![PubRec(1); again]);
    }
}

#[test]
fn pubrecs_come_in_the_order_of_the_last_publishes() {
    // [MQTT-4.6.0-3], where the server sends again what was accepted already behind what was not
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a"), message(2, 2, b"b")]);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1)]);
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.receive(&[message(3, 2, b"c")]).len(), 1);
    assert_eq!(bench.receive(&[message_again(2, 2, b"b"), message_again(1, 2, b"a")]), []);
    // What nothing is owed for does not hold up the others, and PUBCOMP waits for PUBREC.
    assert_eq!(bench.receive(&[PubRel(1)]), []);
    bench.accept();
    assert_eq!(bench.sent(), []);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(3), PubRec(2), PubRec(1), PubComp(1)]);
    assert_eq!(bench.receive(&[PubRel(2), message_again(3, 2, b"c"), PubRel(3)]), []);
    assert_eq!(bench.sent(), [PubComp(2), PubRec(3), PubComp(3)]);
}

#[test]
fn pubcomp_comes_behind_all_pubrecs() {
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a"), message_again(1, 2, b"a"), PubRel(1)]);
    assert_eq!(bench.sent(), []);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1), PubRec(1), PubComp(1)]);
    // Released on a connection that is gone: nothing is owed on the next one.
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a"), PubRel(1)]);
    bench.reconnect(&PERSISTENT, true);
    bench.accept();
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[PubRel(1)]), []);
    assert_eq!(bench.sent(), [PubComp(1)]);
}

#[test]
fn a_receipt_of_an_old_connection_does_not_acknowledge_qos_1() {
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 1, b"a")]);
    bench.reconnect(&PERSISTENT, true);
    // The same identifier, and not accepted yet: it may be another message by now.
    bench.receive(&[message(1, 1, b"b")]);
    bench.accept();
    assert_eq!(bench.sent(), []);
    bench.accept();
    assert_eq!(bench.sent(), [PubAck(1)]);
}

/// A message with an identifier that another one had in a session that is gone.
fn a_receipt_of_an_old_session_does_not_acknowledge_qos_2(connect: &wm_mqtt_client::protocol::Connect<'_>) {
    let mut bench = Bench::connected_with(LIMITS, connect);
    bench.receive(&[message(1, 2, b"a")]);
    bench.reconnect(connect, false);
    assert_eq!(bench.receive(&[message(1, 2, b"b")]), [Seen::Message(publish(1, 2, "t", b"b"))]);
    bench.accept();
    assert_eq!(bench.sent(), [], "an old receipt has acknowledged a message whose event was not accepted");
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1)]);
}

#[test]
fn a_receipt_of_a_lost_session_does_not_acknowledge() {
    a_receipt_of_an_old_session_does_not_acknowledge_qos_2(&PERSISTENT);
}

#[test]
fn a_receipt_of_a_clean_session_does_not_acknowledge_in_the_next() {
    a_receipt_of_an_old_session_does_not_acknowledge_qos_2(&CLEAN);
}

#[test]
fn a_server_that_releases_without_waiting_for_pubrec() {
    // PUBREC and PUBCOMP wait for the event all the same, and each message of the identifier is told.
    let mut bench = Bench::connected();
    assert_eq!(bench.receive(&[message(1, 2, b"a"), PubRel(1), message(1, 2, b"b")]).len(), 2);
    assert_eq!(bench.sent(), []);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1), PubComp(1)]);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1)]);
    bench.receive(&[PubRel(1)]);
    assert_eq!(bench.sent(), [PubComp(1)]);
}

#[test]
fn a_session_that_the_server_has_forgotten() {
    // Its identifiers are new ones.
    let mut bench = Bench::connected();
    bench.receive(&[message(1, 2, b"a")]);
    bench.accept();
    bench.reconnect(&PERSISTENT, false);
    assert_eq!(bench.receive(&[message(1, 2, b"b")]), [Seen::Message(publish(1, 2, "t", b"b"))]);
    bench.accept();
    assert_eq!(bench.sent(), [PubRec(1)]);
}

#[test]
fn oversized_messages_are_skipped_and_acknowledged() {
    // `payload_len` of the event has 16 bits; without the acknowledgement they would come for ever.
    for (len, cut) in [(65_536, 1), (65_536, 65_540), (100_000, 777), (2_500_000, 1000)] {
        let payload = vec![8; len];
        let mut bench = Bench::connected();
        let stream: Vec<u8> =
            [message(0, 0, &payload), message(1, 1, &payload), message(2, 2, &payload), message(3, 1, b"next")]
                .iter()
                .flat_map(FromServer::encode)
                .collect();
        let mut seen = bench.feed(&stream[..cut]).unwrap();
        seen.extend(bench.feed(&stream[cut..]).unwrap());
        assert_eq!(seen[..3], [Seen::Skipped, Seen::Skipped, Seen::Skipped]);
        assert_eq!(seen[3..], [Seen::Message(publish(3, 1, "t", b"next"))]);
        // In the order of the messages [MQTT-4.6.0-2] [MQTT-4.6.0-3], so not at once.
        assert_eq!(bench.sent(), []);
        (0..4).for_each(|_| bench.accept());
        assert_eq!(bench.sent(), [PubAck(1), PubRec(2), PubAck(3)]);
        bench.receive(&[PubRel(2)]);
        assert_eq!(bench.sent(), [PubComp(2)]);
    }
    assert_eq!(live_buffers(), 0);
}

#[test]
fn the_longest_payload_that_is_told() {
    for largest in [0, 1, 1000, 65_535] {
        let mut bench = Bench::connected_with(Limits { payload: largest, ..LIMITS }, &PERSISTENT);
        let payload = vec![8; usize::from(largest) + 1];
        let (told, skipped) = (&payload[1..], &payload[..]);
        let seen = bench.receive(&[message(1, 1, told), message(2, 1, skipped), message(0, 0, skipped)]);
        assert!(seen == [Seen::Message(publish(1, 1, "t", told)), Seen::Skipped, Seen::Skipped]);
        (0..3).for_each(|_| bench.accept());
        assert_eq!(bench.sent(), [PubAck(1), PubAck(2)]);
    }
}

#[test]
fn many_qos_2_messages_at_a_time() {
    let mut bench = Bench::connected();
    for id in 1..=300 {
        assert_eq!(bench.receive(&[message(id, 2, b"p")]).len(), 1);
    }
    for _ in 1..=300 {
        bench.accept();
    }
    assert_eq!(bench.sent(), (1..=300).map(PubRec).collect::<Vec<_>>());
    bench.reconnect(&PERSISTENT, true);
    for id in (1..=300).rev() {
        assert_eq!(bench.receive(&[message_again(id, 2, b"p")]), []);
        bench.receive(&[PubRel(id)]);
    }
    let sent = bench.sent();
    assert_eq!(sent, (1..=300).rev().flat_map(|id| [PubRec(id), PubComp(id)]).collect::<Vec<_>>());
}

/// A message waits outside, nothing of it in memory, until its owner has room for it; what is before it comes.
#[test]
fn a_message_waits_for_room() {
    let stream = [FromServer::PingResp, message(1, 1, &[5; 100]), message(2, 0, b"small")]
        .map(|packet| packet.encode())
        .concat();
    for split in 0..stream.len() {
        let mut bench = Bench::connected();
        bench.session.set_room(50);
        let mut rest = &stream[..split];
        assert!(bench.session.handle_input(bench.now, &mut rest).unwrap().is_none());
        // What was not taken comes first.
        let mut rest = &stream[split - rest.len()..];
        assert!(bench.session.handle_input(bench.now, &mut rest).unwrap().is_none());
        let held = bench.session.announced();
        // Topic, packet identifier, payload.
        assert_eq!((held, live_buffers()), (1 + 2 + 100, 0), "split at {split}");
        assert!(rest.len() > 100);
        bench.session.set_room(held);
        let event = bench.session.handle_input(bench.now, &mut rest).unwrap();
        assert!(matches!(event, Some(Event::Message(_))), "{event:?}");
        assert_eq!(bench.session.take_message().unwrap().payload.unwrap().as_slice(), [5; 100]);
        bench.session.set_room(0);
        assert!(bench.session.handle_input(bench.now, &mut rest).unwrap().is_none());
        assert_eq!((bench.session.announced(), rest.len()), (1 + 5, 1 + 5));
    }
}

/// A payload that is skipped needs no room, and its topic only until then.
#[test]
fn a_message_too_large_waits_for_room_for_its_topic() {
    for (level, id_len) in [(0, 0), (1, 2), (2, 2)] {
        let mut bench = Bench::connected_with(Limits { payload: 100, ..LIMITS }, &PERSISTENT);
        for (len, announced) in [(100, 1 + id_len + 100), (101, 1 + id_len)] {
            let bytes = message(if level > 0 { len } else { 0 }, level, &vec![5; len.into()]).encode();
            bench.session.set_room(0);
            let mut rest = &bytes[..];
            assert!(bench.session.handle_input(bench.now, &mut rest).unwrap().is_none());
            assert_eq!((bench.session.announced(), live_buffers()), (announced, 0));
            bench.session.set_room(announced);
            assert!(bench.session.handle_input(bench.now, &mut rest).unwrap().is_some());
            assert_eq!((bench.session.announced(), rest.len()), (0, 0));
            bench.session.take_message();
        }
    }
}
