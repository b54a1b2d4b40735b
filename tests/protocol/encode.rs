//! The bytes of each packet that a client sends.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wm_mqtt_client::protocol::topic::{check_filter, check_name};
use wm_mqtt_client::protocol::{Connect, PublishError, Will};

use crate::support::*;
use crate::wire::{self, FromClient, FromServer, Publish};

/// The bytes of CONNECT.
fn connect_bytes(connect: &Connect<'_>) -> Vec<u8> {
    let mut bench = Bench::new(LIMITS);
    bench.session.connect(bench.now, connect).unwrap();
    bench.transmit(usize::MAX, 4096)
}

/// What CONNECT must say.
fn described(connect: &Connect<'_>) -> FromClient {
    FromClient::Connect {
        client_id: connect.client_id.to_vec(),
        clean: connect.clean_session,
        keep_alive: connect.keep_alive,
        will: connect.will.map(|w| wire::Will {
            topic: w.topic.to_vec(),
            message: w.message.to_vec(),
            qos: w.qos.level(),
            retain: w.retain,
        }),
        username: connect.username.map(<[u8]>::to_vec),
        // [MQTT-3.1.2-22]
        password: connect.username.and(connect.password).map(<[u8]>::to_vec),
    }
}

#[test]
fn connect_of_section_3_1() {
    // The example of section 3.1.2.6 with the fields of figure 3.6.
    let will = Will { topic: b"w", message: b"m\0", qos: qos(1), retain: false };
    let connect = Connect {
        client_id: b"id",
        clean_session: true,
        keep_alive: 10,
        will: Some(will),
        username: Some(b"u"),
        password: Some(b"p"),
    };
    #[rustfmt::skip]
    let expected = [
        0x10, 27, 0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_1110, 0, 10,
        0, 2, b'i', b'd', 0, 1, b'w', 0, 2, b'm', 0, 0, 1, b'u', 0, 1, b'p',
    ];
    assert_eq!(connect_bytes(&connect), expected);
    assert_eq!(connect_bytes(&PERSISTENT), [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 0, 0, 60, 0, 1, b'c']);
    assert_eq!(connect_bytes(&CLEAN)[9], 2);
}

#[test]
fn connect_with_every_combination_of_flags() {
    for bits in 0..0x80u32 {
        let on = |bit: u32| bits & 1 << bit != 0;
        for level in 0..3 {
            let will = Will {
                topic: b"will/topic",
                message: if on(4) { b"gone" } else { b"" },
                qos: qos(level),
                retain: on(3),
            };
            let connect = Connect {
                client_id: if on(5) { b"" } else { b"client" },
                clean_session: on(0) || on(5),
                keep_alive: if on(6) { 0xfffe } else { 0 },
                will: on(1).then_some(will),
                username: on(2).then_some(b"user"),
                password: on(3).then_some(b"pass"),
            };
            assert!(connect.is_well_formed());
            let bytes = connect_bytes(&connect);
            let expected = described(&connect);
            assert_eq!(wire::decode_all(&bytes), std::slice::from_ref(&expected));
            assert_eq!(bytes, expected.encode());
        }
    }
}

#[test]
fn connect_that_is_not_well_formed() {
    let long = vec![b'x'; 65_536];
    let will = Will { topic: b"t", message: b"", qos: qos(0), retain: false };
    // [MQTT-3.1.3-7]; fields longer than their length can say; strings that are none [MQTT-1.5.3-1]
    for bad in [
        Connect { client_id: b"", ..PERSISTENT },
        Connect { client_id: &long, ..PERSISTENT },
        Connect { client_id: b"\xff", ..PERSISTENT },
        Connect { username: Some(&long), ..PERSISTENT },
        Connect { username: Some(b"a\0"), ..PERSISTENT },
        Connect { username: Some(b"a"), password: Some(&long), ..PERSISTENT },
        Connect { will: Some(Will { topic: &long, ..will }), ..PERSISTENT },
        Connect { will: Some(Will { topic: b"\xc0", ..will }), ..PERSISTENT },
        Connect { will: Some(Will { message: &long, ..will }), ..PERSISTENT },
    ] {
        assert!(!bad.is_well_formed());
    }
    let longest = Connect {
        client_id: &long[1..],
        clean_session: true,
        keep_alive: 1,
        will: Some(Will { topic: &long[1..], message: &long[1..], qos: qos(2), retain: true }),
        username: Some(&long[1..]),
        password: Some(&long[1..]),
    };
    assert!(longest.is_well_formed());
    assert!(connect_bytes(&longest) == described(&longest).encode());
}

#[test]
fn small_packets() {
    let mut bench = Bench::connected();
    bench.publish(0, "a/b", b"hi");
    assert_eq!(bench.transmit(99, 99), b"\x30\x07\x00\x03a/bhi");
    bench.session.publish(b"a/b", b"", qos(0), true).unwrap();
    assert_eq!(bench.transmit(99, 99), b"\x31\x05\x00\x03a/b");
    bench.publish(1, "t", b"x");
    assert_eq!(bench.transmit(99, 99), b"\x32\x06\x00\x01t\x00\x01x");
    bench.session.publish(b"t", b"x", qos(2), true).unwrap();
    assert_eq!(bench.transmit(99, 99), b"\x35\x06\x00\x01t\x00\x02x");
    // [MQTT-3.8.1-1]
    assert_eq!(bench.session.subscribe(b"a/#", Some(qos(1))), Ok(3));
    assert_eq!(bench.transmit(99, 99), b"\x82\x08\x00\x03\x00\x03a/#\x01");
    // [MQTT-3.10.1-1]
    assert_eq!(bench.session.subscribe(b"a/#", None), Ok(4));
    assert_eq!(bench.transmit(99, 99), b"\xa2\x07\x00\x04\x00\x03a/#");
    // PUBREL [MQTT-3.6.1-1]
    bench.receive(&[FromServer::PubRec(2)]);
    assert_eq!(bench.transmit(99, 99), b"\x62\x02\x00\x02");
    // PUBACK, PUBREC, PUBCOMP
    bench.receive(&[FromServer::Publish(publish(0x1234, 1, "t", b"")), FromServer::Publish(publish(5, 2, "t", b""))]);
    bench.accept();
    assert_eq!(bench.transmit(99, 99), b"\x40\x02\x12\x34");
    bench.accept();
    assert_eq!(bench.transmit(99, 99), b"\x50\x02\x00\x05");
    bench.receive(&[FromServer::PubRel(5)]);
    assert_eq!(bench.transmit(99, 99), b"\x70\x02\x00\x05");
    // PINGREQ
    bench.advance(60_000);
    bench.session.handle_timeout(bench.now).unwrap();
    assert_eq!(bench.transmit(99, 99), b"\xc0\x00");
    // [MQTT-3.14.4-2]
    bench.session.disconnect();
    assert_eq!(bench.transmit(99, 99), b"\xe0\x00");
}

#[test]
fn remaining_length_around_its_boundaries() {
    for boundary in [128, 16_384, 2_097_152] {
        for remaining in boundary - 2..boundary + 3 {
            for level in 0..3 {
                let mut bench = Bench::connected();
                let header = if level == 0 { 3 } else { 5 };
                let payload: Vec<u8> = (0..remaining - header).map(|i| i as u8).collect();
                let id = bench.publish(level, "t", &payload);
                let bytes = bench.transmit(usize::MAX, 8192);
                let expected = publish(id, level, "t", &payload);
                assert!(bytes == expected.encode(), "{remaining} bytes at QoS {level}");
                assert!(wire::decode_all(&bytes) == [FromClient::Publish(expected)]);
            }
        }
    }
}

#[test]
fn a_message_longer_than_a_packet_can_be() {
    // 268,435,455 bytes remain at most (section 2.2.3). Untouched pages of zeroes cost nothing.
    let payload = vec![0; 268_435_455];
    let mut bench = Bench::connected();
    for level in 0..3 {
        let header = if level == 0 { 3 } else { 5 };
        let refused = bench.session.publish(b"t", &payload[..payload.len() - header + 1], qos(level), false);
        assert_eq!(refused, Err(PublishError::TooLarge));
    }
    assert_eq!(bench.sent(), []);
    assert!(bench.session.is_idle());
    // The longest packet that there is.
    assert_eq!(bench.session.publish(b"t", &payload[3..], qos(0), false), Ok(0));
}

#[test]
fn the_longest_topic_and_filter() {
    let topic = "t".repeat(65_535);
    let mut bench = Bench::connected();
    let id = bench.publish(1, &topic, b"p");
    bench.session.subscribe(topic.as_bytes(), Some(qos(2))).unwrap();
    bench.session.subscribe(topic.as_bytes(), None).unwrap();
    let sent = bench.sent();
    let filter = topic.clone().into_bytes();
    assert!(sent[0] == FromClient::Publish(publish(id, 1, &topic, b"p")));
    assert!(sent[1] == FromClient::Subscribe { id: 2, filters: vec![(filter.clone(), 2)] });
    assert!(sent[2] == FromClient::Unsubscribe { id: 3, filters: vec![filter] });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn connect_decodes_to_what_was_asked(
        client_id in "[a-zA-Z0-9é]{1,200}", clean_session: bool, keep_alive: u16,
        will in option::of(("[a-z/]{1,150}", vec(any::<u8>(), 0..150), 0u8..3, any::<bool>())),
        username in option::of("[a-zé]{0,200}"), password in option::of("[!-~]{0,200}"),
    ) {
        let will = will.as_ref().map(|(topic, message, level, retain)| {
            Will { topic: topic.as_bytes(), message, qos: qos(*level), retain: *retain }
        });
        let connect = Connect {
            client_id: client_id.as_bytes(), clean_session, keep_alive, will,
            username: username.as_ref().map(String::as_bytes), password: password.as_ref().map(String::as_bytes),
        };
        let bytes = connect_bytes(&connect);
        let expected = described(&connect);
        prop_assert_eq!(&bytes, &expected.encode());
        prop_assert_eq!(wire::decode_all(&bytes), [expected]);
    }

    #[test]
    fn publish_and_subscribe_decode_to_what_was_asked(
        topic in "[^+#\0]{1,200}", payload in vec(any::<u8>(), 0..700), level in 0u8..3, retain: bool,
        filter in "([a-z]{1,5}|\\+)(/([a-z]{0,5}|\\+)){0,5}(/#)?", wanted in option::of(0u8..3),
    ) {
        prop_assert_eq!(check_name(topic.as_bytes()), Ok(()));
        prop_assert_eq!(check_filter(filter.as_bytes()), Ok(()));
        let mut bench = Bench::connected();
        let id = bench.session.publish(topic.as_bytes(), &payload, qos(level), retain).unwrap();
        prop_assert_eq!(id == 0, level == 0);
        let request = bench.session.subscribe(filter.as_bytes(), wanted.map(qos)).unwrap();
        let bytes = bench.transmit(usize::MAX, 100);
        let expected = [
            FromClient::Publish(Publish { topic: topic.into(), payload, qos: level, retain, dup: false, id }),
            match wanted {
                Some(level) => FromClient::Subscribe { id: request, filters: vec![(filter.into(), level)] },
                None => FromClient::Unsubscribe { id: request, filters: vec![filter.into()] },
            },
        ];
        prop_assert_eq!(&bytes, &expected.iter().flat_map(FromClient::encode).collect::<Vec<_>>());
        prop_assert_eq!(wire::decode_all(&bytes), expected);
    }
}
