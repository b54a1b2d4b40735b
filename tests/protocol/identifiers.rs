//! Packet identifiers and the window of unacknowledged messages.

use wm_mqtt_client::protocol::{Limits, PublishError, SubscribeError};

use crate::support::*;
use crate::wire::FromServer::*;

/// Acknowledges a QoS 1 message at once.
fn publish_and_complete(bench: &mut Bench) -> u16 {
    let id = bench.publish(1, "t", b"");
    bench.sent();
    assert_eq!(bench.receive(&[PubAck(id)]), [Seen::Published(id)]);
    id
}

#[test]
fn count_up_and_wrap_from_65535_to_1() {
    // [MQTT-2.3.1-1] never 0
    let mut bench = Bench::connected();
    for expected in 1..=65_535 {
        assert_eq!(publish_and_complete(&mut bench), expected);
    }
    assert_eq!(publish_and_complete(&mut bench), 1);
    assert_eq!(publish_and_complete(&mut bench), 2);
}

#[test]
fn wrapping_skips_identifiers_in_use() {
    // [MQTT-2.3.1-2] [MQTT-2.3.1-4]: an identifier is free again when its exchange is over
    let mut bench = Bench::connected();
    assert_eq!(bench.publish(1, "t", b"1"), 1);
    assert_eq!(bench.session.subscribe(b"f", Some(qos(0))), Ok(2));
    assert_eq!(bench.publish(2, "t", b"3"), 3);
    assert_eq!(bench.session.subscribe(b"f", None), Ok(4));
    assert_eq!(bench.publish(2, "t", b"5"), 5);
    bench.sent();
    // 5 has come as far as PUBREL: still in use
    bench.receive(&[PubRec(5)]);
    for expected in 6..=65_535 {
        assert_eq!(publish_and_complete(&mut bench), expected);
    }
    assert_eq!(publish_and_complete(&mut bench), 6);
    assert_eq!(bench.receive(&[SubAck { id: 2, code: 0 }]), [Seen::Subscribed { id: 2, granted: Some(0) }]);
    for expected in 7..=65_535 {
        assert_eq!(publish_and_complete(&mut bench), expected);
    }
    assert_eq!(publish_and_complete(&mut bench), 2);
    // [MQTT-2.3.1-3]: all requests count on from the same number
    assert_eq!(bench.session.subscribe(b"f", None), Ok(6));
}

#[test]
fn an_identifier_stays_in_use_across_a_reconnect() {
    let mut bench = Bench::connected();
    let lost = bench.publish(1, "t", b"");
    let released = bench.publish(2, "t", b"");
    bench.sent();
    bench.receive(&[PubRec(released)]);
    bench.reconnect(&PERSISTENT, true);
    bench.sent();
    for expected in 3..=65_535 {
        assert_eq!(publish_and_complete(&mut bench), expected);
    }
    assert_eq!(publish_and_complete(&mut bench), 3);
    assert_eq!(bench.receive(&[PubAck(lost), PubComp(released)]), [Seen::Published(lost), Seen::Published(released)]);
}

#[test]
fn a_clean_session_begins_anew() {
    // [MQTT-3.1.2-6]
    let mut bench = Bench::connected();
    bench.publish(1, "t", b"");
    bench.reconnect(&CLEAN, false);
    assert_eq!(bench.sent(), []);
    assert!(bench.session.is_idle());
    assert_eq!(bench.publish(1, "t", b""), 1);
}

#[test]
fn the_window() {
    let mut bench = Bench::connected_with(Limits { window: 3, ..LIMITS }, &PERSISTENT);
    let publish = |bench: &mut Bench, level| bench.session.publish(b"t", b"", qos(level), false);
    assert_eq!([1, 2, 1].map(|level| publish(&mut bench, level)), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(publish(&mut bench, 1), Err(PublishError::WindowFull));
    assert_eq!(publish(&mut bench, 2), Err(PublishError::WindowFull));
    // QoS 0 and requests need no place in it, and a refused publish uses no identifier.
    assert_eq!(publish(&mut bench, 0), Ok(0));
    assert_eq!(bench.session.subscribe(b"f", None), Ok(4));
    bench.sent();
    // PUBREC does not make room, PUBCOMP does.
    bench.receive(&[PubRec(2)]);
    assert_eq!(publish(&mut bench, 1), Err(PublishError::WindowFull));
    bench.sent();
    bench.receive(&[PubComp(2)]);
    assert_eq!(publish(&mut bench, 1), Ok(5));
    assert_eq!(publish(&mut bench, 1), Err(PublishError::WindowFull));
    // Out of order is fine (section 4.6 binds the server, not us).
    bench.sent();
    assert_eq!(bench.receive(&[PubAck(3)]), [Seen::Published(3)]);
    assert_eq!(publish(&mut bench, 1), Ok(6));
}

#[test]
fn nothing_is_taken_without_a_connection() {
    let mut bench = Bench::new(LIMITS);
    let publish = |bench: &mut Bench| bench.session.publish(b"t", b"", qos(1), false);
    let subscribe = |bench: &mut Bench| bench.session.subscribe(b"f", None);
    assert_eq!(publish(&mut bench), Err(PublishError::NotConnected));
    bench.session.connect(bench.now, &PERSISTENT).unwrap();
    assert_eq!(publish(&mut bench), Err(PublishError::NotConnected));
    assert_eq!(subscribe(&mut bench), Err(SubscribeError::NotConnected));
    bench.receive(&[ConnAck { present: false, code: 0 }]);
    assert_eq!(publish(&mut bench), Ok(1));
    // [MQTT-3.14.4-2]
    bench.session.disconnect();
    assert_eq!(publish(&mut bench), Err(PublishError::NotConnected));
    assert_eq!(subscribe(&mut bench), Err(SubscribeError::NotConnected));
    bench.session.closed();
    assert_eq!(publish(&mut bench), Err(PublishError::NotConnected));
}

#[test]
fn answers_to_requests() {
    let mut bench = Bench::connected();
    let ids: Vec<u16> = (0..5).map(|n| bench.session.subscribe(b"f", (n < 4).then(|| qos(2))).unwrap()).collect();
    bench.sent();
    let answers = [
        UnsubAck(ids[4]),
        SubAck { id: ids[0], code: 0x80 },
        SubAck { id: ids[1], code: 1 },
        SubAck { id: ids[2], code: 2 },
        // a second one, and one that nobody asked for
        SubAck { id: ids[2], code: 2 },
        UnsubAck(999),
    ];
    assert_eq!(
        bench.receive(&answers),
        [
            Seen::Unsubscribed(ids[4]),
            Seen::Subscribed { id: ids[0], granted: None },
            Seen::Subscribed { id: ids[1], granted: Some(1) },
            Seen::Subscribed { id: ids[2], granted: Some(2) },
        ]
    );
    // A late answer is ignored.
    bench.session.forget(ids[3]);
    assert_eq!(bench.receive(&[SubAck { id: ids[3], code: 0 }]), []);
    // A request does not survive its connection.
    let id = bench.session.subscribe(b"f", None).unwrap();
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[UnsubAck(id)]), []);
}

#[test]
fn acknowledgements_of_nothing_are_ignored() {
    let mut bench = Bench::connected();
    assert_eq!(bench.receive(&[PubAck(1), PubComp(2)]), []);
    assert_eq!(bench.sent(), []);
    // The wrong acknowledgement does not complete a message.
    let (one, two) = (bench.publish(1, "t", b""), bench.publish(2, "t", b""));
    bench.sent();
    assert_eq!(bench.receive(&[PubAck(two), PubComp(two), PubComp(one), PubRec(one)]), []);
    assert_eq!(bench.sent(), []);
    assert!(!bench.session.is_idle());
    assert_eq!(bench.receive(&[PubAck(one), PubRec(two), PubComp(two)]), [Seen::Published(one), Seen::Published(two)]);
}
