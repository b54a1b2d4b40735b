//! The head of the answer to an upgrade, in pieces of any length: it says the same however it is cut, and where it opens the connection,
//! whoever reads it line by line finds in it what RFC 6455 demands.

use wm_mqtt_client::transport::Layers;
use wm_mqtt_client::transport::uri::Uri;

use crate::heap::peak;
use crate::pieces::{cut, lengths};

/// The key's bytes are those of the example in RFC 6455 section 1.3.
fn random(buffer: &mut [u8]) -> bool {
    buffer.iter_mut().zip(b"the sample nonce".iter().cycle()).for_each(|(byte, random)| *byte = *random);
    true
}

const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const LONGEST: usize = 8192;

fn feed(stream: &[u8], lengths: &[u8]) -> (Result<(), String>, bool) {
    let mut layers = Layers::default();
    layers.begin_websocket(&Uri::parse("ws://broker").unwrap(), random, &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    let mut pieces = cut(stream, lengths);
    let result = pieces.try_for_each(|piece| layers.receive(piece, &mut out, &mut |_| {}));
    let is_open = layers.is_open();
    if result.is_err() {
        assert!(!is_open && layers.send(b"data", &mut out).is_err());
    }
    (result.map_err(|error| error.to_string()), is_open)
}

/// The first byte says how many [pieces](lengths) there are.
pub fn run(data: &[u8]) {
    let Some((_, lengths, stream)) = lengths(data) else { return };
    let (whole, most) = peak(|| feed(stream, &[]));
    // A head, and its copy when it grows; behind a good one tungstenite is told by the server how much it shall allocate.
    let may_be_open = stream.windows(ACCEPT.len()).any(|part| part == ACCEPT);
    assert!(may_be_open || most < 4 * LONGEST, "{most} bytes of heap for {}", stream.len());
    assert_eq!(feed(stream, lengths), whole);
    if whole.1 {
        check_open(stream);
    }
}

/// What a head must have that is accepted, read in the simplest way.
fn check_open(mut stream: &[u8]) {
    assert!(!stream.is_empty());
    loop {
        let (status, fields, rest) = head(stream).expect("a head that ends");
        assert!(stream.len() - rest.len() <= LONGEST);
        stream = rest;
        let status = status.strip_prefix(b"HTTP/1.").expect("HTTP/1.1");
        // An interim answer comes before the final one (RFC 9110 section 15.2).
        if status[1..].starts_with(b" 1") && !status[1..].starts_with(b" 101") {
            continue;
        }
        assert!(status.starts_with(b"1 101"), "another status");
        let values = |name: &[u8]| {
            let of_it = fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
            of_it.map(|(_, value)| value.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        let is_upgrade = |value: &Vec<u8>| value.split(|c| *c == b',').any(|item| item.trim_ascii() == b"upgrade");
        assert!(values(b"Connection").iter().any(is_upgrade));
        for (name, expected, may_be_missing) in [
            (&b"Upgrade"[..], &b"websocket"[..], false),
            (b"Sec-WebSocket-Accept", ACCEPT, false),
            (b"Sec-WebSocket-Protocol", b"mqtt", true),
            (b"Sec-WebSocket-Extensions", b"", true),
        ] {
            let values = values(name);
            assert!(may_be_missing || !values.is_empty());
            assert!(values.iter().all(|value| value.eq_ignore_ascii_case(expected)), "{values:?}");
        }
        return;
    }
}

type Head<'a> = (&'a [u8], Vec<(&'a [u8], &'a [u8])>, &'a [u8]);

/// The first head: its first line, its fields, and what is behind it. Empty lines before it are passed.
fn head(stream: &[u8]) -> Option<Head<'_>> {
    let (mut first, mut fields, mut rest) = (None, Vec::new(), stream);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        match first {
            None if line.is_empty() => {}
            None => first = Some(line),
            Some(first) if line.is_empty() => return Some((first, fields, rest)),
            Some(_) => {
                // Without a colon all of it is a name.
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
                fields.push((&line[..colon], line.get(colon + 1..).unwrap_or_default().trim_ascii()));
            }
        }
    }
}
