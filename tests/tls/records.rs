//! Sizes and splits: nothing about how bytes arrive may matter.

use std::io::Write;

use proptest::prelude::*;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::self_signed;
use crate::support::*;

#[test]
fn every_split_of_both_directions() {
    let identity = self_signed(|_| {});
    for version in VERSIONS {
        let server = server(version, &identity);
        // 5 is a record's header, 6 one byte more.
        for size in [1, 2, 3, 5, 6, 7, 64, 1000, 4096] {
            let mut pair = Pair::new(&unverified(), &server);
            pair.run_in_pieces(&mut || size).unwrap();
            assert!(pair.client.layers.is_open());
            let (there, back) = (data(40_000), data(50_000));
            pair.client.send(&there);
            pair.server.writer().write_all(&back).unwrap();
            pair.run_in_pieces(&mut || size).unwrap();
            assert!(pair.received == there && pair.client.up == back, "in pieces of {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_splits(
        sizes in prop::collection::vec(1..3000_usize, 1..20),
        writes in prop::collection::vec((any::<bool>(), 1..20_000_usize), 1..10),
        record in 64..20_000_usize,
        tls13: bool,
    ) {
        let version = if tls13 { VERSIONS[0] } else { VERSIONS[VERSIONS.len() - 1] };
        let client = TlsConfig::new(Settings { record, ..settings() }).unwrap();
        let mut pair = Pair::new(&client, &server(version, &self_signed(|_| {})));
        let mut sizes = sizes.into_iter().cycle();
        let mut size = || sizes.next().unwrap();
        pair.run_in_pieces(&mut size).unwrap();
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for (client, len) in writes {
            let data = data(len);
            if client {
                pair.client.send(&data);
                there.extend(data);
            } else {
                pair.server.writer().write_all(&data).unwrap();
                back.extend(data);
            }
            if len % 3 == 0 {
                pair.run_in_pieces(&mut size).unwrap();
            }
        }
        pair.run_in_pieces(&mut size).unwrap();
        prop_assert!(pair.received == there && pair.client.up == back);
    }
}

#[test]
fn what_is_sent_is_cut_into_records_of_the_configured_size() {
    let identity = self_signed(|_| {});
    // The last two are out of bounds.
    for (configured, record) in [(64, 64), (512, 512), (1024, 1024), (16_384, 16_384), (0, 64), (70_000, 16_384)] {
        for version in VERSIONS {
            let client = TlsConfig::new(Settings { record: configured, ..settings() }).unwrap();
            let server = server(version, &identity);
            let mut pair = Pair::new(&client, &server);
            assert!(records(&pair.client.out).iter().all(|(_, len)| *len <= record));
            pair.run().unwrap();
            for len in [1, record - 1, record, record + 1, 3 * record, 40_000] {
                let data = data(len);
                pair.client.send(&data);
                // Content type and tag, or nonce and tag.
                let overhead = if name(version) == "TLS 1.3" { 1 + 16 } else { 8 + 16 };
                let expected: Vec<_> = data.chunks(record).map(|piece| (23, piece.len() + overhead)).collect();
                assert_eq!(records(&pair.client.out), expected, "{} {len} in records of {configured}", name(version));
                pair.run().unwrap();
                assert!(pair.received == data);
                pair.received.clear();
            }
        }
    }
}

#[test]
fn what_is_sent_in_two_calls_leaves_in_two_records_in_order() {
    let mut pair = Pair::open(&unverified(), &server(VERSIONS[0], &self_signed(|_| {})));
    pair.client.send(b"one");
    pair.client.send(b"");
    pair.client.send(b"two");
    assert_eq!(records(&pair.client.out), [(23, 20), (23, 20)]);
    pair.run().unwrap();
    assert_eq!(pair.received, b"onetwo");
}

#[test]
fn records_of_every_size_are_received() {
    let identity = self_signed(|_| {});
    for version in VERSIONS {
        for size in [32, 512, 2047, 2048, 2049, 16_384] {
            let mut server = server(version, &identity);
            server.max_fragment_size = Some(size + 5);
            let mut pair = Pair::open(&unverified(), &server);
            for len in [1, size, 5 * size + 1] {
                let data = data(len);
                let bytes = pair.says(&data);
                assert!(records(&bytes).iter().all(|(_, len)| *len <= size + 24));
                pair.client.receive(&bytes).unwrap();
                assert!(pair.client.up == data, "{len} in records of {size}");
                pair.client.up.clear();
            }
        }
    }
}

#[test]
fn many_records_in_one_read() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        let mut bytes = Vec::new();
        for i in 0..5000_u16 {
            bytes.extend(pair.says(&i.to_be_bytes()));
        }
        // Half a record is left.
        let half = bytes.len() - 10;
        pair.client.receive(&bytes[..half]).unwrap();
        pair.client.receive(&bytes[half..]).unwrap();
        assert!(pair.client.up == (0..5000_u16).flat_map(u16::to_be_bytes).collect::<Vec<_>>());
    }
}

#[test]
fn data_right_behind_the_servers_finished() {
    // TLS 1.3: it arrives before the server has our Finished. In 1.2 the server's comes last.
    for version in VERSIONS {
        let mut server = server(version, &self_signed(|_| {}));
        server.send_half_rtt_data = true;
        let mut pair = Pair::new(&unverified(), &server);
        while !pair.client.layers.is_open() {
            pair.deliver(&mut || usize::MAX);
            let bytes = pair.says(b"early bird");
            pair.client.receive(&bytes).unwrap();
        }
        assert!(pair.client.up.starts_with(b"early bird"));
        pair.assert_works();
    }
}

#[test]
fn half_a_record_does_not_keep_from_sending() {
    for version in VERSIONS {
        for cut in [1, 4, 5, 6, 2000] {
            let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
            let bytes = pair.says(&data(5000));
            pair.client.receive(&bytes[..cut]).unwrap();
            pair.client.send(b"meanwhile");
            pair.answer();
            assert_eq!(pair.received, b"meanwhile");
            pair.client.receive(&bytes[cut..]).unwrap();
            assert!(pair.client.up == data(5000));
        }
    }
}

#[test]
fn key_updates() {
    for (bytes, requests) in [(1, 1), (20_000, 1), (1, 20)] {
        let mut pair = Pair::open(&unverified(), &server(VERSIONS[0], &self_signed(|_| {})));
        for _ in 0..requests {
            pair.server.refresh_traffic_keys().unwrap();
            let (there, back) = (data(bytes), data(bytes));
            pair.client.send(&there);
            pair.server.writer().write_all(&back).unwrap();
            pair.run_in_pieces(&mut || 7).unwrap();
            // What is sent next carries our own new key.
            pair.client.send(&there);
            pair.run().unwrap();
            assert!(pair.received.ends_with(&there) && pair.client.up.ends_with(&back));
        }
    }
    // Several without a word of ours in between.
    let mut pair = Pair::open(&unverified(), &server(VERSIONS[0], &self_signed(|_| {})));
    for _ in 0..10 {
        pair.server.refresh_traffic_keys().unwrap();
        let bytes = pair.says(b"news");
        pair.client.receive(&bytes).unwrap();
    }
    assert_eq!(pair.client.up, b"news".repeat(10));
    pair.assert_works();
}
