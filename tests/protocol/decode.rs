//! What a server sends, cut anywhere, well-formed or not.

use proptest::collection::vec;
use proptest::prelude::*;
use wm_mqtt_client::protocol::{Malformed, Violation};

use crate::support::*;
use crate::wire::{FromServer, Publish, packet};

/// What a stream of bytes leads to: events, the error that ended it, and what the session sends in answer.
type Outcome = (Vec<Seen>, Option<Violation>, Vec<u8>);

/// Feeds `bytes` in pieces that end at `cuts`, stopping at the first error.
fn feed(bytes: &[u8], cuts: &[usize], connected: bool) -> Outcome {
    let mut bench = if connected { Bench::connected() } else { Bench::new(LIMITS) };
    if !connected {
        bench.session.connect(bench.now, &PERSISTENT).unwrap();
    }
    let mut seen = Vec::new();
    let mut error = None;
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        match bench.feed(&bytes[piece[0]..piece[1]]) {
            Ok(events) => seen.extend(events),
            Err((events, violation)) => {
                seen.extend(events);
                error = Some(violation);
                break;
            }
        }
    }
    while !bench.receipts.is_empty() {
        bench.accept();
    }
    let sent = bench.transmit(usize::MAX, 777);
    drop(bench);
    assert_eq!(live_buffers(), 0);
    (seen, error, sent)
}

fn topic() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z/é]{1,20}".prop_map(String::into_bytes),
        (100usize..300).prop_map(|len| vec![b't'; len]),
        vec(any::<u8>(), 0..4),
    ]
}

fn from_server() -> impl Strategy<Value = FromServer> {
    let publish = (topic(), 0u8..3, any::<[bool; 2]>(), 1u16..6, vec(any::<u8>(), 0..300)).prop_map(
        |(topic, qos, [retain, dup], id, payload)| {
            let id = if qos == 0 { 0 } else { id };
            FromServer::Publish(Publish { topic, payload, qos, retain, dup, id })
        },
    );
    let id = 0u16..6;
    prop_oneof![
        6 => publish,
        1 => (any::<bool>(), 0u8..7).prop_map(|(present, code)| FromServer::ConnAck { present, code }),
        1 => id.clone().prop_map(FromServer::PubAck),
        1 => id.clone().prop_map(FromServer::PubRec),
        2 => id.clone().prop_map(FromServer::PubRel),
        1 => id.clone().prop_map(FromServer::PubComp),
        1 => (id.clone(), prop_oneof![0u8..4, 0x80u8..0x83]).prop_map(|(id, code)| FromServer::SubAck { id, code }),
        1 => id.prop_map(FromServer::UnsubAck),
        1 => Just(FromServer::PingResp),
    ]
}

/// Streams that are mostly well-formed, with a byte changed here and there.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let mutation = (any::<usize>(), any::<u8>());
    (vec(from_server(), 0..12), vec(mutation, 0..2)).prop_map(|(packets, mutations)| {
        let mut bytes: Vec<u8> = packets.iter().flat_map(FromServer::encode).collect();
        for (at, byte) in mutations {
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_split_gives_the_same(bytes in stream(), cuts in vec(any::<usize>(), 0..20), connected: bool) {
        prop_assert_eq!(feed(&bytes, &[], connected), feed(&bytes, &cuts, connected));
    }

    #[test]
    fn byte_by_byte_gives_the_same(bytes in stream(), connected: bool) {
        let cuts: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(feed(&bytes, &[], connected), feed(&bytes, &cuts, connected));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<usize>(), 0..5)) {
        prop_assert_eq!(feed(&bytes, &[], true), feed(&bytes, &cuts, true));
    }

    /// An owner should close after an error. One that goes on must not be punished with a panic.
    #[test]
    fn bytes_after_an_error_never_panic(pieces in vec(prop_oneof![
        vec(any::<u8>(), 0..12),
        vec(prop_oneof![Just(0x20u8), Just(0x30), Just(0x34), Just(0x80), Just(0xff), Just(0), Just(2)], 0..12),
    ], 0..12)) {
        let mut bench = Bench::connected();
        for piece in pieces {
            let _ = bench.feed(&piece);
        }
    }

    #[test]
    fn what_a_server_encodes_is_what_the_session_tells(
        topic in "[a-z/é]{1,200}", level in 0u8..3, retain: bool, dup: bool, id in 1u16..,
        payload in vec(any::<u8>(), 0..400), cuts in vec(any::<usize>(), 0..5),
    ) {
        let id = if level == 0 { 0 } else { id };
        let mut message = Publish { topic: topic.into(), payload, qos: level, retain, dup, id };
        let (seen, error, _) = feed(&message.encode(), &cuts, true);
        prop_assert_eq!(error, None);
        // [MQTT-3.3.1-2]
        message.dup &= level > 0;
        prop_assert_eq!(seen, [Seen::Message(message)]);
    }
}

#[test]
fn every_first_byte() {
    for first in 0..=255u8 {
        let violation = match (first >> 4, first & 15) {
            // reserved, or only for clients to send (section 2.2.1)
            (0 | 1 | 8 | 10 | 12 | 14 | 15, _) => Some(Malformed::PacketType),
            // [MQTT-3.3.1-4]
            (3, flags) if flags & 6 == 6 => Some(Malformed::QoS),
            (3, _) | (6, 2) => None,
            (6, _) => Some(Malformed::Flags),
            (_, 0) => None,
            // [MQTT-2.2.2-2]
            (_, _) => Some(Malformed::Flags),
        };
        let error = Bench::connected().feed(&[first]).err().map(|(_, violation)| violation);
        assert_eq!(error, violation.map(Violation::Malformed), "{first:#04x}");
    }
}

#[test]
fn each_kind_of_malformed_packet() {
    use Malformed::*;
    let long_topic = [&[0x30, 0x7f, 0x00, 0x7e][..], &[b't'; 126]].concat();
    for (bytes, malformed) in [
        // a fifth byte of the remaining length (section 2.2.3)
        (&[0x20, 0x80, 0x80, 0x80, 0x80][..], Length),
        (&[0x30, 0xff, 0xff, 0xff, 0xff], Length),
        // every packet but PUBLISH has one length
        (&[0x20, 0x03], Length),
        (&[0x20, 0x01], Length),
        (&[0x40, 0x00], Length),
        (&[0x40, 0x03], Length),
        (&[0x50, 0x01], Length),
        (&[0x62, 0x03], Length),
        (&[0x70, 0x80, 0x01], Length),
        (&[0x90, 0x02], Length),
        (&[0x90, 0x04], Length),
        (&[0xb0, 0x03], Length),
        (&[0xd0, 0x01], Length),
        // a PUBLISH without room for its topic, or for its packet identifier
        (&[0x30, 0x00], Length),
        (&[0x30, 0x01, 0x00], Length),
        (&[0x30, 0x02], Length),
        (&[0x32, 0x04], Length),
        (&[0x30, 0x03, 0x00, 0x02], Length),
        (&[0x32, 0x03, 0x00, 0x01], Length),
        (&[0x32, 0x04, 0x00, 0x01, b't', 0x00], Length),
        (&long_topic, Length),
        // [MQTT-2.3.1-1]
        (&[0x40, 0x02, 0x00, 0x00], PacketId),
        (&[0x50, 0x02, 0x00, 0x00], PacketId),
        (&[0x62, 0x02, 0x00, 0x00], PacketId),
        (&[0x70, 0x02, 0x00, 0x00], PacketId),
        (&[0x90, 0x03, 0x00, 0x00, 0x00], PacketId),
        (&[0xb0, 0x02, 0x00, 0x00], PacketId),
        (&[0x32, 0x05, 0x00, 0x01, b't', 0x00, 0x00], PacketId),
        (&[0x34, 0x05, 0x00, 0x01, b't', 0x00, 0x00], PacketId),
        // [MQTT-4.7.3-1] [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-1.5.3-1] [MQTT-1.5.3-2]
        (&[0x30, 0x03, 0x00, 0x00, b'p'], Topic),
        (&[0x30, 0x03, 0x00, 0x01, b'#'], Topic),
        (&[0x30, 0x03, 0x00, 0x01, b'+'], Topic),
        (&[0x30, 0x03, 0x00, 0x01, 0x00], Topic),
        (&[0x30, 0x03, 0x00, 0x01, 0xff], Topic),
        (&[0x30, 0x05, 0x00, 0x03, 0xed, 0xa0, 0x80], Topic),
        // [MQTT-3.9.3-2]
        (&[0x90, 0x03, 0x00, 0x01, 0x03], ReturnCode),
        (&[0x90, 0x03, 0x00, 0x01, 0x7f], ReturnCode),
    ] {
        let (seen, error, _) = feed(bytes, &[], true);
        assert_eq!((seen, error), (vec![], Some(Violation::Malformed(malformed))), "{bytes:02x?}");
    }
}

#[test]
fn malformed_connack() {
    for (body, violation) in [
        ([0, 6], Violation::Malformed(Malformed::ReturnCode)),
        ([0, 255], Violation::Malformed(Malformed::ReturnCode)),
        ([1, 6], Violation::Malformed(Malformed::ReturnCode)),
        ([0xff, 0x80], Violation::Malformed(Malformed::ReturnCode)),
    ] {
        assert_eq!(feed(&packet(0x20, &body), &[], false).1, Some(violation), "{body:?}");
    }
}

#[test]
fn the_longest_topic_and_the_longest_payload() {
    let topic = "t".repeat(65_535);
    let message = publish(7, 2, &topic, &vec![0x5a; 65_535]);
    let (seen, error, _) = feed(&message.encode(), &[1, 2, 3, 70_000, 100_000], true);
    assert_eq!(error, None);
    assert!(seen == [Seen::Message(message)]);
}

#[test]
fn a_remaining_length_may_be_longer_than_it_need_be() {
    // Section 2.2.3 does not forbid it to a server; it decodes to the same number.
    assert_eq!(feed(&[0xd0, 0x80, 0x00], &[], true).1, None);
    let (seen, _, _) = feed(&[0x30, 0x84, 0x80, 0x00, 0x00, 0x01, b't', b'p'], &[], true);
    assert_eq!(seen, [Seen::Message(publish(0, 0, "t", b"p"))]);
}
