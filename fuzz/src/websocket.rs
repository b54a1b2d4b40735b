//! Frames of a server, in pieces of any length: the embedded engine says the same however they are cut, and what tungstenite says, where
//! that does not wait for the end of a frame or message, or refuses it for its length.

use std::cell::Cell;

use wm_mqtt_client::transport::websocket::{Embedded, Engine, Error, Tungstenite};

use crate::pieces::{cut, lengths};

thread_local! {
    static MASK: Cell<u32> = const { Cell::new(0) };
}

/// Masks that are never the same twice.
fn random(buffer: &mut [u8]) -> bool {
    MASK.set(MASK.get().wrapping_add(0x1111_0101));
    let mask = MASK.get().to_be_bytes();
    buffer.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, random)| *byte = *random);
    true
}

/// What came of it: above, below, and at the end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    up: Vec<u8>,
    out: Vec<(u8, Vec<u8>)>,
    result: Result<(), Error>,
}

fn feed<E: Engine>(stream: &[u8], lengths: &[u8]) -> Seen {
    let mut engine = E::new(random);
    let (mut up, mut out) = (Vec::new(), Vec::new());
    let result = cut(stream, lengths).try_for_each(|piece| {
        engine.receive(piece, &mut out, &mut |part| {
            assert!(!part.is_empty());
            up.extend_from_slice(part);
        })
    });
    // A server's answers go on, and the end is said once.
    if result.is_ok() {
        engine.send(b"data", &mut out).unwrap();
        engine.close(1000, &mut out).unwrap();
    }
    Seen { up, out: frames(&out), result }
}

/// Takes apart what a client sent: first byte and payload of whole frames. Close frames without their reasons: tungstenite has some.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert!(length & 0x80 != 0, "not masked");
        // nothing that is sent here is longer
        let len = usize::from(length & 0x7f);
        assert!(len <= 125);
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(len);
        let mut payload: Vec<_> = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        if *first == 0x88 && payload.starts_with(&1002_u16.to_be_bytes()) {
            payload.truncate(2);
        }
        frames.push((*first, payload));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

/// The first byte says how many [pieces](lengths) there are.
pub fn run(data: &[u8]) {
    let Some((_, lengths, stream)) = lengths(data) else { return };
    let embedded = feed::<Embedded>(stream, lengths);
    assert_eq!(embedded, feed::<Embedded>(stream, &[]), "in pieces, and whole");
    let tungstenite = feed::<Tungstenite>(stream, lengths);
    // What tungstenite keeps is not a whole message.
    assert!(embedded.up.starts_with(&tungstenite.up));
    match (embedded.result, tungstenite.result) {
        (Err(Error::Protocol(_)), Err(Error::Protocol(_)) | Ok(())) => {}
        // It looks at the kind of a message when that is whole.
        (Err(Error::Protocol("a text message")), Err(Error::Closed(_))) => {}
        (Ok(()), Err(Error::Protocol("a message of more than 16 MB"))) => {}
        (ours, theirs) => {
            assert_eq!(ours, theirs);
            assert_eq!(embedded.out, tungstenite.out);
        }
    }
}
