//! CONNECT, CONNACK and DISCONNECT.

use wm_mqtt_client::protocol::Violation;
use wm_mqtt_client::time::Instant;

use crate::support::*;
use crate::wire::FromServer::{self, *};

fn connecting() -> Bench {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, &PERSISTENT).unwrap();
    bench.sent();
    bench
}

#[test]
fn nothing_but_connack_may_come_first() {
    // [MQTT-3.2.0-1]
    let others = [
        Publish(publish(0, 0, "t", b"p")),
        Publish(publish(1, 1, "t", b"p")),
        PubAck(1),
        PubRec(1),
        PubRel(1),
        PubComp(1),
        SubAck { id: 1, code: 0 },
        UnsubAck(1),
        PingResp,
    ];
    for packet in others {
        assert_eq!(connecting().violates(std::slice::from_ref(&packet)), Violation::Unexpected, "{packet:?}");
        // Nor may anything come while there is no connection at all.
        assert_eq!(Bench::new(LIMITS).violates(std::slice::from_ref(&packet)), Violation::Unexpected, "{packet:?}");
    }
    assert_eq!(Bench::new(LIMITS).violates(&[ConnAck { present: false, code: 0 }]), Violation::Unexpected);
}

#[test]
fn there_is_only_one_connack() {
    let connack = || ConnAck { present: false, code: 0 };
    assert_eq!(connecting().violates(&[connack(), connack()]), Violation::Unexpected);
    let mut bench = Bench::connected();
    bench.session.disconnect();
    assert_eq!(bench.violates(&[connack()]), Violation::Unexpected);
}

#[test]
fn refusals() {
    // Section 3.2.2.3
    for code in 1..=5 {
        let mut bench = connecting();
        assert_eq!(bench.receive(&[ConnAck { present: false, code }]), [Seen::Refused(code)]);
        assert!(!bench.session.is_connected());
        assert_eq!(bench.session.deadline(), Instant::NEVER);
        // [MQTT-3.2.2-5]: the server closes; whatever comes before that is out of place
        assert_eq!(bench.violates(&[PingResp]), Violation::Unexpected);
    }
}

#[test]
fn a_refusal_leaves_the_session_as_it_was() {
    let mut bench = Bench::connected();
    let id = bench.publish(1, "t", b"p");
    bench.session.closed();
    bench.session.connect(bench.now, &PERSISTENT).unwrap();
    bench.sent();
    assert_eq!(bench.receive(&[ConnAck { present: false, code: 3 }]), [Seen::Refused(3)]);
    assert_eq!(bench.sent(), []);
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), [crate::wire::FromClient::Publish(dup(publish(id, 1, "t", b"p")))]);
}

#[test]
fn session_present() {
    let mut bench = connecting();
    assert_eq!(bench.receive(&[ConnAck { present: true, code: 0 }]), [Seen::Connected { session_present: true }]);
}

#[test]
fn packets_right_behind_connack() {
    let mut bench = connecting();
    let message = publish(9, 1, "t", b"p");
    assert_eq!(
        bench.receive(&[ConnAck { present: true, code: 0 }, Publish(message.clone()), PingResp]),
        [Seen::Connected { session_present: true }, Seen::Message(message)]
    );
}

#[test]
fn half_a_packet_dies_with_its_connection() {
    let mut bench = Bench::connected();
    let bytes = Publish(publish(1, 1, "topic", &[1; 300])).encode();
    for cut in 1..bytes.len() {
        assert_eq!(bench.feed(&bytes[..cut]), Ok(vec![]));
        bench.reconnect(&PERSISTENT, true);
    }
    assert_eq!(live_buffers(), 0);
    // The same for half a packet on its way out.
    bench.publish(0, "t", &[2; 700]);
    bench.transmit(100, 100);
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), []);
}

#[test]
fn disconnect() {
    let mut bench = Bench::connected();
    bench.publish(0, "t", b"p");
    bench.session.disconnect();
    bench.session.disconnect();
    assert!(!bench.session.is_connected());
    // [MQTT-3.14.4-2]: the last packet, so no acknowledgement and no PINGREQ follow
    bench.receive(&[Publish(publish(4, 1, "t", b"")), Publish(publish(5, 2, "t", b"")), PubRel(6)]);
    bench.accept();
    bench.accept();
    bench.advance(1_000_000);
    assert_eq!(bench.session.deadline(), Instant::NEVER);
    assert_eq!(bench.session.handle_timeout(bench.now), Ok(()));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1], crate::wire::FromClient::Disconnect);
    // Before CONNACK there is nothing to disconnect.
    let mut bench = connecting();
    bench.session.disconnect();
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[FromServer::ConnAck { present: false, code: 0 }]).len(), 1);
}
