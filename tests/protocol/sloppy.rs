//! What servers do against the rules while nothing is lost, doubled or forged by it: the connection goes on, and the log says it
//! once a connection. The other cases end it: `decode.rs`, `handshake.rs`, `limits.rs`.

use wm_mqtt_client::protocol::Connect;

use crate::support::*;
use crate::wire::FromClient::{self, PubComp as OurPubComp, PubRec as OurPubRec, PubRel as OurPubRel};
use crate::wire::FromServer::*;
use crate::wire::packet;

/// What a CONNACK of these two bytes leads to, and the log.
fn connack(connect: &Connect<'_>, body: [u8; 2]) -> (Vec<Seen>, Vec<String>) {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, connect).unwrap();
    bench.sent();
    logged(|| bench.feed(&packet(0x20, &body)).unwrap())
}

/// From a server that does not read what it answers.
#[test]
fn connack_before_connect_has_left() {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, &PERSISTENT).unwrap();
    assert_eq!(bench.receive(&[ConnAck { present: false, code: 0 }]), [Seen::Connected { session_present: false }]);
    bench.publish(1, "t", b"p");
    assert!(
        matches!(bench.sent()[..], [FromClient::Connect { .. }, FromClient::Publish(_)]),
        "what waited leaves first"
    );
}

#[test]
fn connack_flags() {
    let warning = |flags: u8| vec![format!("WARN: CONNACK with flags {flags}")];
    let connected = |session_present| vec![Seen::Connected { session_present }];
    for (connect, body, seen, lines) in [
        // [MQTT-3.2.2-1]: no session is present in a clean one
        (&CLEAN, [1, 0], connected(false), warning(1)),
        (&CLEAN, [0xff, 0], connected(false), warning(255)),
        (&CLEAN, [2, 0], connected(false), warning(2)),
        (&CLEAN, [0, 0], connected(false), vec![]),
        (&PERSISTENT, [1, 0], connected(true), vec![]),
        (&PERSISTENT, [0, 0], connected(false), vec![]),
        // Reserved flags (section 3.2.2.1); the one that is not counts.
        (&PERSISTENT, [2, 0], connected(false), warning(2)),
        (&PERSISTENT, [0x83, 0], connected(true), warning(131)),
        // [MQTT-3.2.2-4]: nor is one with a refusal
        (&CLEAN, [1, 5], vec![Seen::Refused(5)], warning(1)),
        (&PERSISTENT, [1, 5], vec![Seen::Refused(5)], warning(1)),
        (&PERSISTENT, [0x80, 1], vec![Seen::Refused(1)], warning(128)),
        (&PERSISTENT, [0, 5], vec![Seen::Refused(5)], vec![]),
    ] {
        assert_eq!(connack(connect, body), (seen, lines), "{body:?}");
    }
}

/// A server that says "session present" to each clean session must not have one.
#[test]
fn a_clean_session_is_clean_whatever_the_server_says() {
    let mut bench = Bench::connected();
    bench.publish(1, "t", b"old");
    bench.sent();
    bench.receive(&[Publish(publish(7, 2, "in", b"old"))]);
    assert_eq!(bench.reconnect(&CLEAN, true), [Seen::Connected { session_present: false }]);
    assert_eq!(bench.sent(), []);
    // The identifier of the old session's message is that of a new one.
    assert_eq!(bench.receive(&[Publish(publish(7, 2, "in", b"new"))]).len(), 1);
    assert_eq!(bench.publish(1, "t", b"new"), 1);
}

#[test]
fn dup_at_qos_0() {
    let mut bench = Bench::connected();
    let message = publish(0, 0, "t", b"p");
    let retained = crate::wire::Publish { retain: true, ..message.clone() };
    let (seen, lines) = logged(|| bench.receive(&[dup(retained.clone()), dup(message.clone())].map(Publish)));
    assert_eq!(seen, [retained, message.clone()].map(Seen::Message));
    assert_eq!(lines, ["WARN: PUBLISH with flags 9"]);
    // At the other levels it is as it should be.
    let (_, lines) =
        logged(|| bench.receive(&[Publish(dup(publish(1, 1, "t", b""))), Publish(dup(publish(2, 2, "t", b"")))]));
    assert_eq!(lines, [""; 0]);
    // Once a connection.
    bench.reconnect(&PERSISTENT, true);
    let (_, lines) = logged(|| bench.receive(&[Publish(dup(message.clone())), Publish(dup(message))]));
    assert_eq!(lines, ["WARN: PUBLISH with flags 8"]);
}

#[test]
fn suback_codes() {
    for code in [0x80, 0x81, 0x87, 0x90, 0xff] {
        let mut bench = Bench::connected();
        let ids = [(); 3].map(|()| bench.session.subscribe(b"f", Some(qos(1))).unwrap());
        bench.sent();
        let answers = [(ids[0], code), (ids[1], code), (ids[2], 1)].map(|(id, code)| SubAck { id, code });
        let (seen, lines) = logged(|| bench.receive(&answers));
        let outcomes = [(ids[0], None), (ids[1], None), (ids[2], Some(1))];
        assert_eq!(seen, outcomes.map(|(id, granted)| Seen::Subscribed { id, granted }), "{code:#x}");
        let line = (code > 0x80).then(|| format!("WARN: SUBSCRIBE refused with code {code}"));
        assert_eq!(lines, Vec::from_iter(line));
        assert!(bench.session.is_connected() && bench.session.is_idle());
    }
}

#[test]
fn suback_with_another_qos_than_asked_for() {
    for (asked, granted) in [(0, 1), (0, 2), (1, 2), (2, 0), (1, 0)] {
        let mut bench = Bench::connected();
        let id = bench.session.subscribe(b"f", Some(qos(asked))).unwrap();
        bench.sent();
        let (seen, lines) = logged(|| bench.receive(&[SubAck { id, code: granted }]));
        assert_eq!((seen, lines), (vec![Seen::Subscribed { id, granted: Some(granted) }], vec![]));
    }
}

#[test]
fn pubrec_for_an_identifier_that_no_message_has() {
    // [MQTT-4.3.3-1]
    let mut bench = Bench::connected();
    let (seen, lines) = logged(|| bench.receive(&[PubRec(9), PubRec(9), PubRec(10)]));
    assert_eq!((seen, lines), (vec![], vec!["WARN: PUBREC with unexpected id 9".into()]));
    assert_eq!(bench.sent(), [9, 9, 10].map(OurPubRel));
    // A server that has forgotten its own PUBREC: the message is done, and it must come to an end there too.
    let id = bench.publish(2, "t", b"p");
    bench.sent();
    assert_eq!(bench.receive(&[PubRec(id), PubRec(id), PubComp(id), PubRec(id)]), [Seen::Published(id)]);
    assert_eq!(bench.sent(), [id; 3].map(OurPubRel));
    // A request's identifier is none of a message.
    let id = bench.session.subscribe(b"f", None).unwrap();
    bench.sent();
    assert_eq!(bench.receive(&[PubRec(id), UnsubAck(id)]), [Seen::Unsubscribed(id)]);
    assert_eq!(bench.sent(), [OurPubRel(id)]);
}

#[test]
fn pubrec_for_a_message_with_qos_1() {
    let mut bench = Bench::connected();
    let id = bench.publish(1, "t", b"p");
    bench.sent();
    let (seen, lines) = logged(|| bench.receive(&[PubRec(id)]));
    assert_eq!((seen, lines), (vec![], vec![format!("WARN: PUBREC with unexpected id {id}")]));
    // It would have no end, and PUBACK is still to come.
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.receive(&[PubAck(id)]), [Seen::Published(id)]);
    // The message itself is sent again on the next connection if PUBACK does not come.
    let id = bench.publish(1, "t", b"p");
    bench.sent();
    bench.receive(&[PubRec(id)]);
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), [FromClient::Publish(dup(publish(id, 1, "t", b"p")))]);
}

#[test]
fn after_disconnect_nothing_is_answered() {
    // [MQTT-3.14.4-2]
    let mut bench = Bench::connected();
    bench.session.disconnect();
    bench.sent();
    bench.receive(&[PubRec(9), PubRel(9)]);
    assert_eq!(bench.sent(), []);
}

/// Nor while a PUBREL is cut off that was sent again.
#[test]
fn after_disconnect_no_pubrel_leaves() {
    let mut bench = Bench::connected();
    let ids = [bench.publish(2, "t", b"1"), bench.publish(2, "t", b"2")];
    bench.sent();
    bench.receive(&[PubRec(ids[0])]);
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    let begun = bench.transmit(2, 2);
    bench.session.disconnect();
    bench.receive(&[PubRec(ids[1])]);
    let rest = bench.transmit(usize::MAX, 100);
    assert_eq!(crate::wire::decode_all(&[begun, rest].concat()), [OurPubRel(ids[0]), FromClient::Disconnect]);
}

#[test]
fn answers_that_nobody_waits_for() {
    for (answer, name) in [
        (PubAck(3), "PUBACK"),
        (PubComp(3), "PUBCOMP"),
        (SubAck { id: 3, code: 0 }, "SUBACK"),
        (SubAck { id: 3, code: 0x90 }, "SUBACK"),
        (UnsubAck(3), "UNSUBACK"),
    ] {
        let mut bench = Bench::connected();
        for _ in 0..2 {
            let (seen, lines) = logged(|| bench.receive(&[answer.clone(), answer.clone()]));
            assert_eq!((seen, lines), (vec![], vec![format!("WARN: {name} with unexpected id 3")]));
            assert_eq!(bench.sent(), []);
            bench.reconnect(&PERSISTENT, true);
        }
    }
    // Each type of packet is told for itself.
    let mut bench = Bench::connected();
    let (_, lines) = logged(|| bench.receive(&[PubAck(3), UnsubAck(4), PubAck(5), PubComp(6)]));
    assert_eq!(lines.len(), 3);
}

#[test]
fn pubrel_without_a_message() {
    let mut bench = Bench::connected();
    let (seen, lines) = logged(|| bench.receive(&[PubRel(4), PubRel(4)]));
    assert_eq!((seen, lines), (vec![], vec!["WARN: PUBREL with unexpected id 4".into()]));
    // [MQTT-4.3.3-2]
    assert_eq!(bench.sent(), [OurPubComp(4), OurPubComp(4)]);
}

#[test]
fn pubrel_before_pubrec() {
    let mut bench = Bench::connected();
    let message = || Publish(publish(1, 2, "t", b"p"));
    let (seen, lines) = logged(|| bench.receive(&[message(), PubRel(1)]));
    assert_eq!((seen.len(), lines), (1, vec!["WARN: PUBREL with unexpected id 1".into()]));
    assert_eq!(bench.sent(), []);
    bench.accept();
    assert_eq!(bench.sent(), [OurPubRec(1), OurPubComp(1)]);
}

/// On another connection than PUBLISH, for which PUBREC has never left.
#[test]
fn pubrel_on_another_connection_before_pubrec() {
    let mut bench = Bench::connected();
    bench.receive(&[Publish(publish(1, 2, "t", b"p"))]);
    bench.reconnect(&PERSISTENT, true);
    bench.receive(&[PubRel(1)]);
    assert_eq!(bench.sent(), []);
    bench.accept();
    // [MQTT-4.3.3-2]
    assert_eq!(bench.sent(), [OurPubComp(1)]);
    // What was owed on a connection is not on the next one.
    bench.receive(&[Publish(publish(2, 2, "t", b"p")), PubRel(2)]);
    bench.reconnect(&PERSISTENT, true);
    bench.accept();
    assert_eq!(bench.sent(), []);
}

#[test]
fn pingresp_that_nobody_asked_for() {
    let mut bench = Bench::connected();
    let (seen, lines) = logged(|| bench.receive(&[PingResp, PingResp]));
    assert_eq!((seen, lines), (vec![], vec![]));
    assert!(bench.session.is_connected());
}
