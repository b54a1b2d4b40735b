//! Bounds: of what waits for the transport, and of what a server may claim.

use wm_mqtt_client::protocol::{Limits, PublishError, Violation};

use crate::support::*;
use crate::wire::FromClient;
use crate::wire::FromServer::{self, PubAck, PubComp, PubRec};

const TIGHT: Limits = Limits { window: 100, outgoing: 1000, ..LIMITS };

#[test]
fn publish_is_refused_while_too_much_waits() {
    let mut bench = Bench::connected_with(TIGHT, &PERSISTENT);
    let publish = |bench: &mut Bench, level| bench.session.publish(b"t", &[0; 300], qos(level), false).map(|_| ());
    // One that begins below the bound may end above it.
    for level in [0, 1, 2, 0] {
        assert_eq!(publish(&mut bench, level), Ok(()));
    }
    for level in 0..3 {
        assert_eq!(publish(&mut bench, level), Err(PublishError::Congested));
    }
    // Requests and acknowledgements are not.
    assert_eq!(bench.session.subscribe(b"f", None), Ok(3));
    bench.transmit(250, 250);
    assert_eq!(publish(&mut bench, 0), Ok(()));
    assert_eq!(publish(&mut bench, 0), Err(PublishError::Congested));
    bench.transmit(usize::MAX, 4096);
    assert_eq!(publish(&mut bench, 2), Ok(()));
}

#[test]
fn a_single_message_may_be_larger_than_the_bound() {
    let mut bench = Bench::connected_with(TIGHT, &PERSISTENT);
    bench.publish(1, "t", &[0; 50_000]);
    assert_eq!(bench.session.publish(b"t", b"", qos(0), false), Err(PublishError::Congested));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn congestion() {
    // Acknowledgements that cannot leave: from four times the bound on, the owner stops reading.
    let mut bench = Bench::connected_with(TIGHT, &PERSISTENT);
    let mut acknowledged = 0;
    while !bench.session.is_congested() {
        bench.receive(&[FromServer::Publish(publish(1, 1, "t", b""))]);
        bench.accept();
        acknowledged += 4;
    }
    assert_eq!(acknowledged, 4 * 1000 + 4);
    bench.transmit(3, 3);
    assert!(bench.session.is_congested());
    bench.transmit(1, 1);
    assert!(!bench.session.is_congested());
    bench.session.closed();
    assert!(!bench.session.is_congested());
}

#[test]
fn an_acknowledgement_of_a_packet_that_has_not_left() {
    let mut bench = Bench::connected();
    let one = bench.publish(1, "t", &[0; 600]);
    let two = bench.publish(2, "t", &[0; 600]);
    let bytes = publish(one, 1, "t", &[0; 600]).encode().len();
    for (id, left) in [(one, 0), (one, bytes - 1), (two, bytes), (two, 2 * bytes - 1)] {
        for packet in [PubAck(id), PubRec(id), PubComp(id)] {
            let mut bench = Bench::connected();
            bench.publish(1, "t", &[0; 600]);
            bench.publish(2, "t", &[0; 600]);
            bench.transmit(left, 100);
            if packet == if id == one { PubAck(id) } else { PubRec(id) } {
                assert_eq!(bench.violates(&[packet]), Violation::EarlyAcknowledgement);
            } else {
                // Of the wrong kind: ignored, like one that comes later.
                assert_eq!(bench.receive(&[packet]), []);
            }
        }
    }
}

#[test]
fn an_acknowledgement_of_a_resend_that_has_not_left() {
    // What was sent on the first connection is acknowledged on the second, before its turn to be sent again.
    let mut bench = Bench::connected();
    let one = bench.publish(1, "t", &[0; 600]);
    let two = bench.publish(2, "t", &[0; 600]);
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.receive(&[PubComp(two)]), []);
    assert_eq!(bench.receive(&[PubAck(one)]), [Seen::Published(one)]);
    assert_eq!(bench.receive(&[PubRec(two)]), []);
    assert_eq!(bench.sent(), [FromClient::PubRel(two)]);
}

#[test]
fn an_early_acknowledgement_of_a_small_packet_does_no_harm() {
    // Its bytes are in the queue, and leave.
    let mut bench = Bench::connected();
    let ids = [bench.publish(1, "t", b"small"), bench.publish(1, "t", &[0; 600])];
    assert_eq!(bench.receive(&[PubAck(ids[0])]), [Seen::Published(ids[0])]);
    assert_eq!(bench.sent().len(), 2);
    assert_eq!(bench.receive(&[PubAck(ids[1])]), [Seen::Published(ids[1])]);
    assert!(bench.session.is_idle());
}

#[test]
fn idle_means_that_nothing_is_in_flight_and_nothing_waits() {
    let mut bench = Bench::connected();
    assert!(bench.session.is_idle() && !bench.session.wants_write());
    bench.publish(0, "t", b"");
    assert!(!bench.session.is_idle() && bench.session.wants_write());
    bench.sent();
    assert!(bench.session.is_idle());
    let id = bench.publish(2, "t", b"");
    bench.sent();
    assert!(!bench.session.is_idle() && !bench.session.wants_write());
    bench.receive(&[PubRec(id)]);
    bench.sent();
    assert!(!bench.session.is_idle());
    bench.receive(&[PubComp(id)]);
    assert!(bench.session.is_idle());
}
