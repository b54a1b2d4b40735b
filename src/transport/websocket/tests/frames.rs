//! Frames: what both engines have in common, and what only one does.

use super::*;

/// First bytes of frames: FIN and opcode.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// Without FIN.
const BEGIN: u8 = 0x02;
const MIDDLE: u8 = 0x00;
const END: u8 = 0x80;

with_each_engine! {
    sizes_in sizes_out big fragments pings violations closed_by_server closed_by_us every_split one_read fresh_masks
}

fn sizes_in<E: Engine>() {
    let mut client = Client::<E>::open();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        client.receive(&frame(BINARY, &pattern(len))).unwrap();
        assert!(client.up == pattern(len), "{len}");
        client.up.clear();
    }
    assert!(client.out.is_empty());
}

fn sizes_out<E: Engine>() {
    let mut client = Client::<E>::open();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        client.send(&pattern(len)).unwrap();
        assert!(client.sent() == [(BINARY, pattern(len))], "{len}");
    }
}

fn big<E: Engine>() {
    let data = pattern(300_000);
    let mut client = Client::<E>::open();
    client.receive_pieces(frame(BINARY, &data).chunks(1400)).unwrap();
    assert!(client.up == data);
    client.up.clear();
    client.receive(&frame(BEGIN, &data[..200_000])).unwrap();
    client.receive(&frame(END, &data[200_000..])).unwrap();
    assert!(client.up == data);
    client.send(&data).unwrap();
    assert!(client.sent() == [(BINARY, data)]);
}

fn fragments<E: Engine>() {
    let mut client = Client::<E>::open();
    client.receive(&frame(BEGIN, b"one ")).unwrap();
    client.receive(&frame(MIDDLE, b"")).unwrap();
    client.receive(&frame(PING, b"?")).unwrap();
    assert_eq!(client.sent(), [(PONG, b"?".to_vec())]);
    client.receive(&frame(MIDDLE, b"two ")).unwrap();
    client.receive(&frame(PONG, b"!")).unwrap();
    client.receive(&frame(END, b"")).unwrap();
    client.receive(&frame(BEGIN, b"")).unwrap();
    client.receive(&frame(END, b"three")).unwrap();
    client.receive(&frame(BINARY, b" four")).unwrap();
    assert_eq!(client.up, b"one two three four");
    assert!(client.out.is_empty());
}

fn pings<E: Engine>() {
    let mut client = Client::<E>::open();
    let payloads = [pattern(125), Vec::new(), b"a".to_vec()];
    let pings: Vec<u8> = payloads.iter().flat_map(|payload| frame(PING, payload)).collect();
    client.receive(&pings).unwrap();
    assert_eq!(client.sent(), payloads.map(|payload| (PONG, payload)));
    client.receive(&frame(PONG, &pattern(125))).unwrap();
    assert!(client.out.is_empty() && client.up.is_empty());
}

fn violations<E: Engine>() {
    let unmasked = frame(BINARY, b"1234");
    let masked = [&[BINARY, 0x84, 0, 0, 0, 0][..], b"1234"].concat();
    let high_bit = [&[BINARY, 127, 0x80][..], &[0; 7]].concat();
    let long_ping = [&[PING, 126, 0, 126][..], &[0; 126]].concat();
    for bytes in [
        masked,
        high_bit,
        long_ping,
        frame(0x81, b"text"),
        frame(0x81, b"\xff"),
        [frame(0x01, b"te"), frame(END, b"xt")].concat(),
        frame(BINARY | 0x40, b"x"),
        frame(BINARY | 0x20, b"x"),
        frame(PING | 0x10, b"x"),
        frame(0x83, b"x"),
        frame(0x87, b"x"),
        frame(0x8b, b"x"),
        frame(0x8f, b"x"),
        frame(END, b"x"),
        frame(MIDDLE, b"x"),
        [frame(BEGIN, b"x"), frame(BINARY, b"x")].concat(),
        [frame(BEGIN, b"x"), frame(BEGIN, b"x")].concat(),
        [frame(BEGIN, b"x"), frame(END, b"x"), frame(END, b"x")].concat(),
        frame(PING & 0x7f, b"x"),
        frame(CLOSE & 0x7f, b"\x03\xe8"),
        frame(CLOSE, &[3; 126]),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, b"\x03\xe8\xff"),
    ] {
        let mut client = Client::<E>::open();
        client.receive(&unmasked).unwrap();
        let result = client.receive(&bytes);
        assert!(matches!(result, Err(Error::Protocol(_))), "{bytes:x?}: {result:?}");
        assert!(client.up.starts_with(b"1234"));
        assert_eq!(client.sent(), [(CLOSE, vec![3, 0xea])]);
        // and that is the end
        assert!(!client.socket.is_open());
        assert_eq!(client.send(b"x"), Err(Error::NotOpen));
        assert_eq!(client.receive(&unmasked), Err(Error::Protocol(violation::AFTER_CLOSE)));
        client.socket.close(&mut client.out);
        assert!(client.out.is_empty());
    }
}

fn closed_by_server<E: Engine>() {
    for (payload, code) in [
        (&b""[..], None),
        (b"\x03\xe8", Some(1000)),
        (b"\x03\xf0too big \xc3\xbc", Some(1008)),
        (b"\x0b\xb8", Some(3000)),
        (b"\x13\x87", Some(4999)),
    ] {
        let mut client = Client::<E>::open();
        let bytes = [frame(BINARY, b"last"), frame(CLOSE, payload)].concat();
        assert_eq!(client.receive(&bytes), Err(Error::Closed(code)));
        assert_eq!(client.up, b"last");
        assert_eq!(client.sent(), [(CLOSE, payload.to_vec())]);
        assert!(!client.socket.is_open());
        assert_eq!(client.send(b"x"), Err(Error::NotOpen));
        assert_eq!(client.receive(b""), Ok(()));
        assert_eq!(client.receive(&frame(BINARY, b"more")), Err(Error::Protocol(violation::AFTER_CLOSE)));
        assert_eq!(client.up, b"last");
    }
    // codes that no frame may carry
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, u16::MAX] {
        let expected = 1002u16;
        let mut client = Client::<E>::open();
        assert_eq!(client.receive(&frame(CLOSE, &code.to_be_bytes())), Err(Error::Closed(Some(expected))), "{code}");
        let sent = client.sent();
        assert_eq!((sent.len(), sent[0].0, &sent[0].1[..2]), (1, CLOSE, &expected.to_be_bytes()[..]));
    }
    // in the middle of a message
    let mut client = Client::<E>::open();
    client.receive(&frame(BEGIN, b"half")).unwrap();
    assert_eq!(client.receive(&frame(CLOSE, b"")), Err(Error::Closed(None)));
}

fn closed_by_us<E: Engine>() {
    let mut client = Client::<E>::open();
    client.socket.close(&mut client.out);
    assert_eq!(client.sent(), [(CLOSE, vec![3, 0xe8])]);
    client.socket.close(&mut client.out);
    assert!(!client.socket.is_open());
    assert_eq!(client.send(b"x"), Err(Error::NotOpen));
    // What was under way arrives; nothing is sent behind our close frame.
    client.receive(&[frame(BINARY, b"late"), frame(PING, b"?")].concat()).unwrap();
    assert_eq!(client.up, b"late");
    assert_eq!(client.receive(&frame(CLOSE, b"\x03\xe8")), Err(Error::Closed(Some(1000))));
    assert!(client.out.is_empty());

    let mut client = Client::<E>::open();
    client.socket.close(&mut client.out);
    client.out.clear();
    assert!(matches!(client.receive(&frame(END, b"")), Err(Error::Protocol(_))));
    assert!(client.out.is_empty());
}

/// A conversation, the head of the answer included, and what must come of it.
fn conversation() -> (Vec<u8>, Vec<u8>, Frames) {
    let stream = [
        ANSWER.as_bytes().to_vec(),
        // many packets in one frame
        frame(BINARY, b"\x20\x02\0\0\xd0\0\xd0\0\x40\x02\0\x01"),
        frame(PING, b"first"),
        // one packet over many frames
        frame(BINARY, b"\x30"),
        frame(BINARY, b""),
        frame(BEGIN, b"\x05\0"),
        frame(PING, b""),
        frame(MIDDLE, b"\x01"),
        frame(END, b"ab"),
        frame(BINARY, &[b"c\x30\x80\x02\0\x01t".to_vec(), pattern(253)].concat()),
        frame(PONG, b"pong"),
        frame(CLOSE, b"\x03\xe9bye"),
    ]
    .concat();
    let up = [b"\x20\x02\0\0\xd0\0\xd0\0\x40\x02\0\x01\x30\x05\0\x01abc\x30\x80\x02\0\x01t".to_vec(), pattern(253)];
    let out = vec![(PONG, b"first".to_vec()), (PONG, Vec::new()), (CLOSE, b"\x03\xe9bye".to_vec())];
    (stream, up.concat(), out)
}

fn every_split<E: Engine>() {
    let (stream, up, out) = conversation();
    let halves = (0..=stream.len()).map(|at| stream.split_at(at)).map(|(a, b)| vec![a, b]);
    for pieces in halves.chain((1..=20).map(|len| stream.chunks(len).collect())) {
        let mut client = Client::<E>::connecting(sample);
        client.out.clear();
        assert_eq!(client.receive_pieces(pieces), Err(Error::Closed(Some(1001))));
        assert_eq!(client.up, up);
        assert_eq!(client.sent(), out);
    }
}

fn one_read<E: Engine>() {
    let mut client = Client::<E>::connecting(sample);
    client.receive(&[ANSWER.as_bytes(), &frame(BINARY, b"at once")].concat()).unwrap();
    assert!(client.socket.is_open());
    assert_eq!(client.up, b"at once");
}

fn fresh_masks<E: Engine>() {
    let mut client = Client::<E>::open();
    (0..8).for_each(|_| client.send(b"same").unwrap());
    let masks: Vec<[u8; 4]> = read_frames(&client.out).into_iter().map(|(_, mask, _)| mask).collect();
    // Four random numbers of 32 bits are never the same.
    assert!(masks.windows(4).all(|m| m.iter().any(|mask| *mask != m[0])));
}

#[test]
fn embedded_passes_any_length_through() {
    let mut client = Client::<Embedded>::open();
    client.receive(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").unwrap();
    for piece in pattern(10_000).chunks(700) {
        client.receive(piece).unwrap();
    }
    assert_eq!(client.up, pattern(10_000));
}

#[test]
fn embedded_without_randomness() {
    let only_the_key = |buffer: &mut [u8]| buffer.len() == 16 && sample(buffer);
    let mut client = Client::<Embedded>::open_with(only_the_key);
    assert_eq!(client.send(b"x"), Err(Error::NoRandom));
    assert_eq!(client.receive(&frame(BINARY, b"in")), Ok(()));
    assert_eq!(client.receive(&frame(PING, b"?")), Err(Error::NoRandom));
    let mut client = Client::<Embedded>::open_with(only_the_key);
    client.socket.close(&mut client.out);
    assert_eq!(client.receive(&frame(CLOSE, b"")), Err(Error::Closed(None)));
    assert!(client.out.is_empty());
}

#[cfg(feature = "tungstenite")]
#[test]
fn tungstenite_is_bounded() {
    let mut client = Client::<Tungstenite>::open();
    client.receive(b"\x82\x7f\0\0\0\0\x01\0\0\0").unwrap();
    let mut client = Client::<Tungstenite>::open();
    let error = client.receive(b"\x82\x7f\0\0\0\0\x01\0\0\x01");
    assert_eq!(error, Err(Error::Protocol("a message of more than 16 MB")));
}
