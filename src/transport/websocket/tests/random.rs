//! Arbitrary servers: no panic, and both engines agree.

use super::*;
use proptest::prelude::*;

/// Cuts bytes at these lengths, over and over.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for len in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*len).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![prop::collection::vec(1usize..40, 1..6), Just(vec![usize::MAX])]
}

/// A frame with a valid header more often than not; whole in any case. Text is never fragmented: there tungstenite
/// waits for its end.
fn server_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(&[0x82u8, 0x02, 0x00, 0x80, 0x89, 0x8a][..]),
        1 => prop::sample::select(&[0x88u8, 0x81, 0x09, 0x08, 0x83, 0x8b, 0xc2, 0x92][..]),
    ];
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 120..300),
        1 => (990u16..5010).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

fn run<E: Engine>(bytes: &[u8], lengths: &[usize]) -> (Result<(), Error>, Client<E>) {
    let mut client = Client::open();
    (client.receive_pieces(cut(bytes, lengths)), client)
}

proptest! {
    #[test]
    fn any_head(bytes: Vec<u8>, lengths in lengths()) {
        let mut client = Client::<Embedded>::connecting(sample);
        let _ = client.receive_pieces(cut(&bytes, &lengths));
    }

    #[test]
    fn almost_a_head(at in 0..ANSWER.len(), byte: u8, insert: bool, lengths in lengths()) {
        let mut bytes = ANSWER.as_bytes().to_vec();
        bytes.splice(at..at + usize::from(!insert), [byte]);
        let mut whole = Client::<Embedded>::connecting(sample);
        let result = whole.receive(&bytes);
        let mut cut_up = Client::<Embedded>::connecting(sample);
        prop_assert_eq!(cut_up.receive_pieces(cut(&bytes, &lengths)), result);
        prop_assert_eq!(cut_up.socket.is_open(), whole.socket.is_open());
    }

    #[test]
    fn embedded_any_split(frames in prop::collection::vec(server_frame(), 0..12), lengths in lengths()) {
        let bytes = frames.concat();
        let (result, mut whole) = run::<Embedded>(&bytes, &[usize::MAX]);
        let (other, mut cut_up) = run::<Embedded>(&bytes, &lengths);
        prop_assert_eq!(result, other);
        prop_assert_eq!(&whole.up, &cut_up.up);
        prop_assert_eq!(whole.sent(), cut_up.sent());
    }

    #[test]
    fn embedded_any_bytes(bytes: Vec<u8>, lengths in lengths()) {
        let _ = run::<Embedded>(&bytes, &lengths);
    }
}

#[cfg(feature = "tungstenite")]
proptest! {
    #[test]
    fn same_frames(frames in prop::collection::vec(server_frame(), 0..12), lengths in lengths()) {
        let bytes = frames.concat();
        let (ours, mut embedded) = run::<Embedded>(&bytes, &lengths);
        let (theirs, mut tungstenite) = run::<Tungstenite>(&bytes, &lengths);
        match (ours, theirs) {
            (Err(Error::Protocol(_)), Err(Error::Protocol(_))) => {}
            _ => prop_assert_eq!(ours, theirs),
        }
        // tungstenite keeps what is not a whole message yet
        prop_assert!(embedded.up.starts_with(&tungstenite.up));
        let (mut ours, mut theirs) = (embedded.sent(), tungstenite.sent());
        for (first, payload) in ours.iter_mut().chain(&mut theirs) {
            // The answer to an impossible code has a reason of tungstenite's.
            if *first == 0x88 && payload.starts_with(&[3, 0xea]) {
                payload.truncate(2);
            }
        }
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn same_bytes(bytes: Vec<u8>, lengths in lengths()) {
        let (ours, embedded) = run::<Embedded>(&bytes, &lengths);
        let (theirs, tungstenite) = run::<Tungstenite>(&bytes, &lengths);
        prop_assert!(embedded.up.starts_with(&tungstenite.up));
        match (ours, theirs) {
            (Err(Error::Protocol(_)), Err(Error::Protocol(_))) => {}
            // It looks at frames, and at text messages, only when they are whole.
            (Err(Error::Protocol(_)), Ok(())) => {}
            // A length that it refuses; ours hands on what comes of it, and the decoder of MQTT has bounds.
            (Ok(()), Err(Error::Protocol("a message of more than 16 MB"))) => {}
            _ => prop_assert_eq!(ours, theirs),
        }
    }
}
