//! What a persistent session sends again on its next connection.

use proptest::collection::vec;
use proptest::prelude::*;
use wm_mqtt_client::protocol::Limits;

use crate::support::*;
use crate::wire::FromClient::{self, PubRel};
use crate::wire::FromServer::*;

fn again(id: u16, level: u8, payload: &[u8]) -> FromClient {
    FromClient::Publish(dup(publish(id, level, "t", payload)))
}

#[test]
fn unacknowledged_messages_with_dup_and_in_order() {
    // [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.3.1-1]
    let (small, large) = ([1; 20], [2; 2000]);
    let mut bench = Bench::connected();
    let ids: Vec<u16> = [(1, &small[..]), (2, &large), (1, &large), (2, &small), (1, &small), (2, &small)]
        .map(|(level, payload)| bench.publish(level, "t", payload))
        .to_vec();
    // QoS 0 is not (section 4.3.1).
    bench.publish(0, "t", b"lost");
    bench.publish(0, "t", &large);
    bench.sent();
    bench.receive(&[PubRec(ids[3]), PubAck(ids[4])]);
    for present in [true, false, true] {
        bench.reconnect(&PERSISTENT, present);
        let expected = [
            again(ids[0], 1, &small),
            again(ids[1], 2, &large),
            again(ids[2], 1, &large),
            PubRel(ids[3]),
            again(ids[5], 2, &small),
        ];
        assert_eq!(bench.sent(), expected);
    }
    // Everything completes on the connection where it is acknowledged.
    let answers = [PubComp(ids[3]), PubAck(ids[0]), PubAck(ids[2]), PubRec(ids[1]), PubRec(ids[5])];
    assert_eq!(bench.receive(&answers), [3, 0, 2].map(|n| Seen::Published(ids[n])));
    assert_eq!(bench.sent(), [PubRel(ids[1]), PubRel(ids[5])]);
    assert_eq!(bench.receive(&[PubComp(ids[1]), PubComp(ids[5])]), [1, 5].map(|n| Seen::Published(ids[n])));
    assert!(bench.session.is_idle());
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), []);
}

#[test]
fn nothing_is_sent_again_before_connack() {
    let mut bench = Bench::connected();
    let id = bench.publish(1, "t", b"p");
    for _ in 0..3 {
        // Attempts that end before CONNACK change nothing.
        bench.session.closed();
        bench.session.connect(bench.now, &PERSISTENT).unwrap();
        assert!(matches!(bench.sent()[..], [FromClient::Connect { .. }]));
    }
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), [again(id, 1, b"p")]);
}

#[test]
fn new_messages_follow_the_old_ones() {
    let mut bench = Bench::connected();
    let old = bench.publish(2, "t", &[3; 3000]);
    bench.reconnect(&PERSISTENT, true);
    let new = bench.publish(1, "t", b"new");
    assert_eq!(bench.sent(), [again(old, 2, &[3; 3000]), FromClient::Publish(publish(new, 1, "t", b"new"))]);
}

#[test]
fn a_message_that_was_cut_off_anywhere_comes_again_whole() {
    for len in [10, 520] {
        let payload = vec![9; len];
        let whole = publish(1, 1, "t", &payload).encode().len();
        for cut in 0..=whole {
            let mut bench = Bench::connected();
            let id = bench.publish(1, "t", &payload);
            assert_eq!(bench.transmit(cut, 64).len(), cut);
            bench.reconnect(&PERSISTENT, true);
            assert_eq!(bench.sent(), [again(id, 1, &payload)]);
        }
    }
}

#[test]
fn a_resend_that_was_cut_off_comes_again_whole() {
    let mut bench = Bench::connected();
    let ids = [bench.publish(2, "t", &[1; 600]), bench.publish(1, "t", &[2; 30]), bench.publish(1, "t", &[3; 900])];
    for cut in (0..1600).step_by(7) {
        bench.reconnect(&PERSISTENT, true);
        bench.transmit(cut, 50);
    }
    bench.reconnect(&PERSISTENT, true);
    assert_eq!(bench.sent(), [again(ids[0], 2, &[1; 600]), again(ids[1], 1, &[2; 30]), again(ids[2], 1, &[3; 900])]);
}

#[test]
fn pubrel_again_and_never_the_message() {
    // [MQTT-4.3.3-1]: once PUBREC has come the message must not be sent again
    let mut bench = Bench::connected();
    let id = bench.publish(2, "t", &[4; 1000]);
    bench.sent();
    bench.receive(&[PubRec(id)]);
    // PUBREL may have left or not.
    for _ in 0..3 {
        bench.reconnect(&PERSISTENT, true);
        assert_eq!(bench.sent(), [PubRel(id)]);
        // A second PUBREC is answered again.
        bench.receive(&[PubRec(id)]);
        assert_eq!(bench.sent(), [PubRel(id)]);
    }
    assert_eq!(bench.receive(&[PubComp(id)]), [Seen::Published(id)]);
}

#[test]
fn a_resend_is_not_limited_by_the_bounds_of_publish() {
    let limits = Limits { window: 20, outgoing: 100_000, ..LIMITS };
    let mut bench = Bench::connected_with(limits, &PERSISTENT);
    let payload = vec![5; 60_000];
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bench.publish(1, "t", &payload));
        bench.sent();
    }
    bench.reconnect(&PERSISTENT, true);
    let sent = bench.sent();
    assert!(sent == ids.iter().map(|id| again(*id, 1, &payload)).collect::<Vec<_>>());
}

#[test]
fn a_clean_session_sends_nothing_again() {
    // [MQTT-3.1.2-6]
    let mut bench = Bench::connected_with(LIMITS, &CLEAN);
    bench.publish(1, "t", b"p");
    bench.publish(2, "t", &[0; 600]);
    bench.sent();
    bench.receive(&[PubRec(2)]);
    bench.reconnect(&CLEAN, false);
    assert_eq!(bench.sent(), []);
    assert!(bench.session.is_idle());
    // An old acknowledgement means nothing.
    assert_eq!(bench.receive(&[PubAck(1)]), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    /// A server that answers some and reconnects at any byte gets every message in the end, QoS 2 once, and first
    /// sight of them in the order of publication.
    #[test]
    fn nothing_is_lost_over_many_connections(
        lens in vec((1u8..3, prop_oneof![0usize..30, 500usize..530, 900usize..1200]), 1..20),
        cuts in vec((0usize..3000, any::<u64>()), 0..12),
    ) {
        let mut bench = Bench::connected();
        let mut waiting = lens.iter().enumerate();
        let mut server = Server::default();
        for (cut, answers) in cuts {
            for (number, (level, len)) in waiting.by_ref().take(3) {
                bench.publish(*level, "t", &[&[number as u8][..], &vec![0; *len]].concat());
            }
            let mut bytes = bench.transmit(cut, 100);
            // what was cut off is lost
            server.take(&mut bytes);
            let packets = server.answer(answers);
            let events = bench.receive(&packets);
            server.published(&events);
            let mut rest = bytes;
            rest.extend(bench.transmit(usize::MAX, 1000));
            if answers & 1 == 0 {
                bench.reconnect(&PERSISTENT, true);
                server.connected();
            } else {
                server.take(&mut rest);
                prop_assert!(rest.is_empty());
            }
        }
        for (number, (level, len)) in waiting {
            bench.publish(*level, "t", &[&[number as u8][..], &vec![0; *len]].concat());
        }
        bench.reconnect(&PERSISTENT, true);
        server.connected();
        while !bench.session.is_idle() {
            let mut bytes = bench.transmit(usize::MAX, 1000);
            server.take(&mut bytes);
            prop_assert!(bytes.is_empty());
            let packets = server.answer(u64::MAX);
            let events = bench.receive(&packets);
            server.published(&events);
        }
        prop_assert_eq!(server.first_seen, (0..lens.len() as u8).collect::<Vec<_>>());
        for (number, (level, _)) in lens.iter().enumerate() {
            let count = server.owned.iter().filter(|n| usize::from(**n) == number).count();
            prop_assert!(count == 1 || (*level == 1 && count > 1), "message {} arrived {} times", number, count);
        }
        prop_assert_eq!(server.confirmed, lens.len());
    }
}

/// The receiving half of a server with a persistent session.
#[derive(Default)]
struct Server {
    /// QoS 2 identifiers between PUBLISH and PUBREL.
    unreleased: Vec<u16>,
    answers: Vec<crate::wire::FromServer>,
    first_seen: Vec<u8>,
    owned: Vec<u8>,
    confirmed: usize,
}

impl Server {
    fn connected(&mut self) {
        self.answers.clear();
    }

    /// Takes the whole packets off `bytes`.
    fn take(&mut self, bytes: &mut Vec<u8>) {
        while let Some((packet, len)) = crate::wire::decode(bytes).unwrap() {
            bytes.drain(..len);
            match packet {
                FromClient::Publish(message) => {
                    let number = message.payload[0];
                    if !self.first_seen.contains(&number) {
                        self.first_seen.push(number);
                    }
                    if message.qos == 1 {
                        self.owned.push(number);
                        self.answers.push(PubAck(message.id));
                    } else {
                        if !self.unreleased.contains(&message.id) {
                            self.unreleased.push(message.id);
                            self.owned.push(number);
                        }
                        self.answers.push(PubRec(message.id));
                    }
                }
                PubRel(id) => {
                    self.unreleased.retain(|known| *known != id);
                    self.answers.push(PubComp(id));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Some of the answers that are due.
    fn answer(&mut self, mask: u64) -> Vec<crate::wire::FromServer> {
        let mut keep = Vec::new();
        let mut answers = Vec::new();
        for (n, answer) in self.answers.drain(..).enumerate() {
            if mask >> (n % 64) & 1 != 0 { answers.push(answer) } else { keep.push(answer) }
        }
        self.answers = keep;
        answers
    }

    fn published(&mut self, events: &[Seen]) {
        assert!(events.iter().all(|event| matches!(event, Seen::Published(_))));
        self.confirmed += events.len();
    }
}
