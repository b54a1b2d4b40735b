//! Bytes leave in order and once, whatever the transport takes at a time.

use proptest::collection::vec;
use proptest::prelude::*;
use wm_mqtt_client::protocol::Limits;

use crate::support::*;
use crate::wire::{FromClient, FromServer, Publish};

/// Something that puts a packet into the queue.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        level: u8,
        len: usize,
        retain: bool,
    },
    Subscribe {
        len: usize,
        qos: Option<u8>,
    },
    Receive {
        qos: u8,
    },
    Ping,
    /// The transport takes so many bytes, offered in pieces of that size.
    Transmit {
        bytes: usize,
        piece: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0usize..40, 480usize..540, 100usize..5000];
    prop_oneof![
        5 => (0u8..3, len.clone(), any::<bool>()).prop_map(|(level, len, retain)| Step::Publish { level, len, retain }),
        1 => (len, proptest::option::of(0u8..3)).prop_map(|(len, qos)| Step::Subscribe { len: len + 1, qos }),
        1 => (1u8..3).prop_map(|qos| Step::Receive { qos }),
        1 => Just(Step::Ping),
        4 => (1usize..2000, 1usize..900).prop_map(|(bytes, piece)| Step::Transmit { bytes, piece }),
    ]
}

const ROOMY: Limits = Limits { window: 1000, outgoing: 1 << 30, ..LIMITS };

/// Does the steps; what must leave, and what has left.
fn run(steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
    let mut bench = Bench::connected_with(ROOMY, &PERSISTENT);
    let (mut expected, mut left) = (Vec::new(), Vec::new());
    // Up to here the last PINGREQ leaves.
    let (mut inbound, mut pinged) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Publish { level, len, retain } => {
                let payload = vec![number as u8; len];
                let id = bench.session.publish(b"t", &payload, qos(level), retain).unwrap();
                expected.extend(Publish { retain, ..publish(id, level, "t", &payload) }.encode());
            }
            Step::Subscribe { len, qos: level } => {
                let filter = vec![b'f'; len];
                let id = bench.session.subscribe(&filter, level.map(qos)).unwrap();
                expected.extend(match level {
                    Some(level) => FromClient::Subscribe { id, filters: vec![(filter, level)] }.encode(),
                    None => FromClient::Unsubscribe { id, filters: vec![filter] }.encode(),
                });
            }
            Step::Receive { qos } => {
                inbound += 1;
                bench.receive(&[FromServer::Publish(publish(inbound, qos, "t", b"p"))]);
                bench.accept();
                let answer = if qos == 1 { FromClient::PubAck(inbound) } else { FromClient::PubRec(inbound) };
                expected.extend(answer.encode());
            }
            Step::Ping => {
                bench.advance(60_000);
                bench.session.set_reading(bench.now, false);
                let due = bench.session.deadline() <= bench.now;
                bench.session.handle_timeout(bench.now).unwrap();
                if due && left.len() >= pinged {
                    expected.extend([0xc0, 0]);
                    pinged = expected.len();
                }
            }
            Step::Transmit { bytes, piece } => left.extend(bench.transmit(bytes, piece)),
        }
        assert_eq!(bench.session.wants_write(), left.len() < expected.len());
    }
    left.extend(bench.transmit(usize::MAX, 333));
    assert!(!bench.session.wants_write());
    (expected, left)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_chunks_give_the_same_stream(steps in vec(step(), 0..60)) {
        let (expected, left) = run(&steps);
        prop_assert!(expected == left, "{} bytes of {} left, or others", left.len(), expected.len());
    }

    /// What is handed over is handed over once, whatever the network makes of it.
    #[test]
    fn bytes_are_handed_over_once(lens in vec(0usize..1500, 1..10), rooms in vec((0usize..400, 0usize..500), 0..200)) {
        let mut bench = Bench::connected_with(ROOMY, &PERSISTENT);
        let mut expected = Vec::new();
        for (number, len) in lens.into_iter().enumerate() {
            let level = number as u8 % 3;
            let id = bench.publish(level, "t", &vec![number as u8; len]);
            expected.extend(publish(id, level, "t", &vec![number as u8; len]).encode());
        }
        let (mut handed, mut held) = (Vec::new(), 0);
        let mut buffer = [0; 512];
        for (room, leaves) in rooms {
            let len = bench.session.transmit(&mut buffer[..room]);
            prop_assert_eq!(len, room.min(expected.len() - handed.len()));
            handed.extend(&buffer[..len]);
            let left = leaves.min(held + len);
            bench.session.transmitted(bench.now, left);
            held = held + len - left;
            prop_assert_eq!(bench.session.wants_write(), held > 0 || handed.len() < expected.len());
        }
        bench.session.transmitted(bench.now, held);
        handed.extend(bench.transmit(usize::MAX, 512));
        prop_assert!(handed == expected);
        prop_assert!(!bench.session.wants_write());
    }
}

#[test]
fn an_empty_transport_takes_nothing() {
    let mut bench = Bench::connected();
    assert_eq!(bench.session.transmit(&mut [0; 64]), 0);
    bench.publish(2, "t", &[7; 600]);
    assert_eq!(bench.session.transmit(&mut []), 0);
    bench.session.transmitted(bench.now, 0);
    assert_eq!(bench.sent().len(), 1);
}
