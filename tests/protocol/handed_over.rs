//! Bytes that were handed over and are not with the network yet: TLS, WebSocket or a full socket hold them. For the session
//! they are sent, and a server may have answered the first of them.

use wm_mqtt_client::protocol::{Limits, PublishError, Violation};

use crate::support::*;
use crate::wire::FromClient::{self, Disconnect, PubAck as OurPubAck, PubRel};
use crate::wire::FromServer::*;
use crate::wire::decode_all;

/// What the session hands over, as packets; the network has none of it.
fn hand_over(bench: &mut Bench) -> (Vec<FromClient>, usize) {
    let mut bytes = vec![0; 100_000];
    let len = bench.session.transmit(&mut bytes);
    (decode_all(&bytes[..len]), len)
}

fn sent(id: u16, level: u8, payload: &[u8]) -> FromClient {
    FromClient::Publish(publish(id, level, "t", payload))
}

fn again(id: u16, level: u8, payload: &[u8]) -> FromClient {
    FromClient::Publish(dup(publish(id, level, "t", payload)))
}

#[test]
fn an_answer_comes_while_the_stream_holds_the_packet() {
    for (len, level) in [(5, 1), (600, 1), (5, 2), (600, 2), (20_000, 2)] {
        let mut bench = Bench::connected();
        let ids = [(); 3].map(|()| bench.publish(level, "t", &vec![1; len]));
        let (packets, held) = hand_over(&mut bench);
        assert_eq!(packets.len(), 3);
        for id in ids {
            if level == 1 {
                assert_eq!(bench.receive(&[PubAck(id)]), [Seen::Published(id)]);
            } else {
                assert_eq!(bench.receive(&[PubRec(id)]), []);
                assert_eq!(hand_over(&mut bench).0, [PubRel(id)]);
                assert_eq!(bench.receive(&[PubComp(id)]), [Seen::Published(id)]);
            }
        }
        // All is acknowledged, but the stream has not delivered it: a disconnect waits.
        assert!(!bench.session.is_idle() && bench.session.wants_write());
        let pubrels = if level == 2 { 12 } else { 0 };
        bench.session.transmitted(bench.now, held + pubrels);
        assert!(bench.session.is_idle() && !bench.session.wants_write());
    }
}

#[test]
fn what_is_queued_behind_a_resend_leaves_once() {
    for len in [5, 600, 20_000] {
        let mut bench = Bench::connected();
        let ids = [bench.publish(1, "t", &vec![1; len]), bench.publish(2, "t", &vec![2; len])];
        bench.sent();
        bench.reconnect(&PERSISTENT, true);
        let (packets, held) = hand_over(&mut bench);
        assert_eq!(packets, [again(ids[0], 1, &vec![1; len]), again(ids[1], 2, &vec![2; len])]);
        assert_eq!(bench.receive(&[PubAck(ids[0]), PubRec(ids[1])]), [Seen::Published(ids[0])]);
        bench.publish(0, "t", b"late");
        bench.session.transmitted(bench.now, held);
        assert_eq!(bench.sent(), [PubRel(ids[1]), sent(0, 0, b"late")]);
    }
}

#[test]
fn a_packet_of_which_a_part_was_handed_over_is_not_sent_yet() {
    let mut bench = Bench::connected();
    let id = bench.publish(1, "t", &[1; 2000]);
    bench.session.transmit(&mut [0; 1000]);
    assert_eq!(bench.violates(&[PubAck(id)]), Violation::EarlyAcknowledgement);
}

#[test]
fn a_resend_that_has_not_begun_is_not_needed_after_its_answer() {
    let mut bench = Bench::connected();
    let ids = [1, 2, 1].map(|level| bench.publish(level, "t", &[level; 700]));
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    bench.session.transmit(&mut [0; 100]);
    // The server remembers the others from the connection before.
    assert_eq!(bench.receive(&[PubRec(ids[1]), PubAck(ids[2])]), [Seen::Published(ids[2])]);
    let rest = bench.transmit(usize::MAX, 64);
    let first = dup(publish(ids[0], 1, "t", &[1; 700])).encode();
    assert_eq!(rest, [&first[100..], &PubRel(ids[1]).encode()].concat());
}

#[test]
fn what_the_stream_holds_counts_for_room() {
    let mut bench = Bench::connected_with(Limits { window: 20, outgoing: 1000, ..LIMITS }, &PERSISTENT);
    bench.publish(0, "t", &[0; 1500]);
    let (_, held) = hand_over(&mut bench);
    let publish = |bench: &mut Bench| bench.session.publish(b"t", b"p", qos(0), false);
    assert_eq!(publish(&mut bench), Err(PublishError::Congested));
    bench.session.transmitted(bench.now, held - 1000);
    assert_eq!(publish(&mut bench), Err(PublishError::Congested));
    bench.session.transmitted(bench.now, 1);
    assert_eq!(publish(&mut bench), Ok(0));
}

#[test]
fn only_acknowledgements_count_for_congestion() {
    let limits = Limits { window: 1000, outgoing: 100, ..LIMITS };
    let mut bench = Bench::connected_with(limits, &PERSISTENT);
    bench.publish(1, "t", &[0; 60_000]);
    assert!(!bench.session.is_congested());
    hand_over(&mut bench);
    assert!(!bench.session.is_congested());
    bench.session.subscribe(&[b'f'; 5000], Some(qos(1))).unwrap();
    assert!(!bench.session.is_congested());
    // 4 bytes each; handed over or not.
    for id in 1..=100 {
        bench.receive(&[Publish(publish(id, 1, "t", b""))]);
        bench.accept();
        if id == 50 {
            hand_over(&mut bench);
        }
    }
    assert!(!bench.session.is_congested());
    bench.receive(&[Publish(publish(101, 1, "t", b""))]);
    bench.accept();
    assert!(bench.session.is_congested());
    let (packets, _) = hand_over(&mut bench);
    assert_eq!(packets.len(), 51);
    assert!(matches!(packets[0], OurPubAck(51)));
    assert!(bench.session.is_congested());
    bench.session.transmitted(bench.now, 100_000);
    assert!(!bench.session.is_congested());
}

#[test]
fn a_resumed_session_is_never_congested_by_what_it_sends_again() {
    let limits = Limits { window: 20, outgoing: 1_000, ..LIMITS };
    let mut bench = Bench::connected_with(limits, &PERSISTENT);
    let ids: Vec<u16> = (0..20)
        .map(|n| {
            let id = bench.publish(1, "t", &[n; 5_000]);
            bench.sent();
            id
        })
        .collect();
    bench.reconnect(&PERSISTENT, true);
    assert!(bench.session.wants_write() && !bench.session.is_congested());
    // Nothing new overtakes what is older.
    assert_eq!(bench.session.publish(b"t", b"new", qos(0), false), Err(PublishError::Congested));
    let resends: Vec<FromClient> = ids.iter().enumerate().map(|(n, id)| again(*id, 1, &[n as u8; 5_000])).collect();
    assert!(bench.sent() == resends);
    assert_eq!(bench.publish(0, "t", b"new"), 0);
}

#[test]
fn pubrels_keep_the_order_of_pubrecs() {
    // [MQTT-4.6.0-4]
    let mut bench = Bench::connected();
    let ids = [(); 4].map(|()| bench.publish(2, "t", b"p"));
    bench.sent();
    bench.receive(&[PubRec(ids[2]), PubRec(ids[0]), PubRec(ids[3])]);
    for _ in 0..2 {
        bench.reconnect(&PERSISTENT, true);
        // Where there is no PUBREC yet the message keeps its place.
        let (packets, held) = hand_over(&mut bench);
        assert_eq!(packets, [PubRel(ids[2]), again(ids[1], 2, b"p"), PubRel(ids[0]), PubRel(ids[3])]);
        bench.session.transmitted(bench.now, held);
    }
    // A PUBREC that comes while PUBREL of earlier ones have not left again.
    bench.reconnect(&PERSISTENT, true);
    let mut bytes = bench.transmit(4, 4);
    assert_eq!(decode_all(&bytes), [PubRel(ids[2])]);
    bench.receive(&[PubRec(ids[1]), PubComp(ids[2])]);
    bytes = bench.transmit(usize::MAX, 3);
    assert_eq!(decode_all(&bytes), [PubRel(ids[0]), PubRel(ids[3]), PubRel(ids[1])]);
    let rest = [ids[0], ids[3], ids[1]];
    assert_eq!(bench.receive(&rest.map(PubComp)), rest.map(Seen::Published));
    assert!(bench.session.is_idle());
}

#[test]
fn a_pubrec_between_pubrels_of_which_some_have_left() {
    let mut bench = Bench::connected();
    let ids = [(); 4].map(|()| bench.publish(2, "t", b"p"));
    bench.sent();
    bench.receive(&[PubRec(ids[1]), PubRec(ids[2]), PubRec(ids[3])]);
    bench.reconnect(&PERSISTENT, true);
    let first = [again(ids[0], 2, b"p"), PubRel(ids[1])];
    let len = first.iter().map(|packet| packet.encode().len()).sum();
    assert_eq!(decode_all(&bench.transmit(len, len)), first);
    bench.receive(&[PubRec(ids[0])]);
    // [MQTT-4.6.0-4]
    assert_eq!(bench.sent(), [PubRel(ids[2]), PubRel(ids[3]), PubRel(ids[0])]);
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), [1, 2, 3, 0].map(|n| PubRel(ids[n])));
}

#[test]
fn disconnect_sends_nothing_again_behind_itself() {
    // [MQTT-3.14.4-2]
    let mut bench = Bench::connected();
    let ids = [bench.publish(1, "t", &[1; 900]), bench.publish(1, "t", &[2; 900])];
    bench.sent();
    bench.reconnect(&PERSISTENT, true);
    let mut bytes = bench.transmit(100, 100);
    bench.session.disconnect();
    bytes.extend(bench.transmit(usize::MAX, 100));
    assert_eq!(decode_all(&bytes), [again(ids[0], 1, &[1; 900]), Disconnect]);
    assert!(!bench.session.wants_write());
    // The next connection has both.
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent().len(), 2);
}

#[test]
fn the_time_for_pingresp_begins_when_pingreq_has_left_the_stream() {
    let mut bench = Bench::connected();
    bench.advance(30_000);
    bench.publish(0, "t", &[0; 1000]);
    bench.receive(&[PingResp]);
    let (_, held) = hand_over(&mut bench);
    bench.advance(60_000);
    bench.session.handle_timeout(bench.now).unwrap();
    let (packets, ping) = hand_over(&mut bench);
    assert_eq!(packets, [FromClient::PingReq]);
    // As long as anything in front of it moves, the server has time.
    for _ in 0..held / 100 {
        bench.advance(59_000);
        bench.session.handle_timeout(bench.now).unwrap();
        bench.session.transmitted(bench.now, 100);
    }
    bench.session.transmitted(bench.now, held % 100 + ping);
    bench.advance(59_999);
    bench.session.handle_timeout(bench.now).unwrap();
    bench.advance(1);
    assert!(bench.session.handle_timeout(bench.now).is_err());
}

/// A server may send acknowledgements of the connection before as soon as there is another one. In the middle of the repetition its
/// bytes must be sent to their end, and the packet is needed for that; the server answers it again.
#[test]
fn an_answer_from_before_comes_while_the_repetition_leaves() {
    for (level, len) in [(1, 5), (1, 2000), (2, 5), (2, 2000)] {
        let payload = vec![1; len];
        let answer = |id| if level == 1 { PubAck(id) } else { PubRec(id) };
        let whole = again(1, level, &payload).encode().len();
        for cut in 1..whole {
            let mut bench = Bench::connected();
            let id = bench.publish(level, "t", &payload);
            bench.sent();
            bench.reconnect(&PERSISTENT, true);
            let mut bytes = bench.transmit(cut, cut);
            assert_eq!(bench.feed(&answer(id).encode()), Ok(vec![]));
            bytes.extend(bench.transmit(usize::MAX, 1000));
            assert_eq!(decode_all(&bytes), [again(id, level, &payload)]);
            let published = bench.receive(&[answer(id)]);
            if level == 1 {
                assert_eq!(published, [Seen::Published(id)]);
            } else {
                assert_eq!(bench.sent(), [PubRel(id)]);
                assert_eq!(bench.receive(&[PubComp(id)]), [Seen::Published(id)]);
            }
            assert!(bench.session.is_idle());
        }
    }
}

#[test]
fn an_answer_comes_while_pubrel_leaves_again() {
    for answer in [PubRec, PubComp] {
        let mut bench = Bench::connected();
        let id = bench.publish(2, "t", b"p");
        bench.sent();
        bench.receive(&[PubRec(id)]);
        bench.reconnect(&PERSISTENT, true);
        let mut bytes = bench.transmit(2, 2);
        assert_eq!(bench.feed(&answer(id).encode()), Ok(vec![]));
        bytes.extend(bench.transmit(usize::MAX, 1000));
        assert_eq!(decode_all(&bytes), [PubRel(id)]);
        assert_eq!(bench.receive(&[PubComp(id)]), [Seen::Published(id)]);
    }
}

/// Behind repetitions a new message leaves from where it is stored: if it was taken for acknowledged, it would never leave.
#[test]
fn an_answer_to_a_message_that_waits_behind_repetitions() {
    for (level, len, sent) in [(1, 5, 1000), (1, 600, 1000), (2, 5, 1000), (2, 600, 1000), (1, 600, 2100), (2, 5, 2010)]
    {
        let mut bench = Bench::connected();
        bench.publish(1, "t", &[1; 2000]);
        bench.sent();
        bench.reconnect(&PERSISTENT, true);
        let id = bench.publish(level, "t", &vec![2; len]);
        assert_eq!(bench.session.transmit(&mut vec![0; sent]), sent);
        let answer = if level == 1 { PubAck(id) } else { PubRec(id) };
        assert_eq!(bench.violates(&[answer]), Violation::EarlyAcknowledgement, "{level} {len}");
    }
}
