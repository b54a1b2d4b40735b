//! One suite for both engines, against a server side of its own.

mod frames;
#[path = "../../../../tests/shared/logged.rs"]
mod logged;
mod random;
mod server;
mod upgrade;

use super::*;

/// The key's bytes are those of the example in RFC 6455 section 1.3; the masks are never the same twice.
fn sample(buffer: &mut [u8]) -> bool {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MASK: AtomicU32 = AtomicU32::new(0x1234_5678);
    match buffer.len() {
        16 => buffer.copy_from_slice(b"the sample nonce"),
        4 => buffer.copy_from_slice(&MASK.fetch_add(0x1111_0101, Ordering::Relaxed).to_be_bytes()),
        len => panic!("{len} random bytes?"),
    }
    true
}

/// An answer to the request of [`sample`].
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// First byte and payload of each.
type Frames = Vec<(u8, Vec<u8>)>;

/// A WebSocket, and what came out of it above and below.
struct Client<E> {
    socket: WebSocket<E>,
    up: Vec<u8>,
    out: Vec<u8>,
}

impl<E: Engine> Client<E> {
    /// With the request in `out`.
    fn connecting(random: Random) -> Self {
        let mut out = Vec::new();
        let socket = WebSocket::connect(&Uri::parse("ws://broker").unwrap(), random, &mut out).unwrap();
        Self { socket, up: Vec::new(), out }
    }

    fn open_with(random: Random) -> Self {
        let mut client = Self::connecting(random);
        client.receive(ANSWER.as_bytes()).unwrap();
        assert!(client.socket.is_open());
        client.out.clear();
        client
    }

    fn open() -> Self {
        Self::open_with(sample)
    }

    fn receive(&mut self, input: &[u8]) -> Result<(), Error> {
        self.socket.receive(input, &mut self.out, &mut |part| {
            assert!(!part.is_empty());
            self.up.extend_from_slice(part);
        })
    }

    /// Whatever the pieces are: stops at the first error.
    fn receive_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Error> {
        pieces.into_iter().try_for_each(|piece| self.receive(piece))
    }

    fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        self.socket.send(data, &mut self.out)
    }

    /// The frames that went out since the last time.
    fn sent(&mut self) -> Frames {
        let frames = read_frames(&self.out);
        self.out.clear();
        frames.into_iter().map(|(first, _, payload)| (first, payload)).collect()
    }
}

/// A frame as a server sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..65_536 => frame.extend([126, (len >> 8) as u8, len as u8]),
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// Takes apart what a client sent: first byte, mask and payload of whole frames.
fn read_frames(mut bytes: &[u8]) -> Vec<(u8, [u8; 4], Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        assert!(length & 0x80 != 0, "not masked");
        let (len, rest) = match length & 0x7f {
            126 => (u16::from_be_bytes([rest[0], rest[1]]).into(), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(len), rest),
        };
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(len);
        // the shortest form of the length (section 5.2)
        assert_eq!(bytes.len() - rest.len(), frame(*first, payload).len() + 4);
        let payload = payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        frames.push((*first, mask.try_into().unwrap(), payload));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Runs generic tests with each engine.
macro_rules! with_each_engine {
    ($($test:ident)*) => {
        mod embedded {
            $(#[test] fn $test() { super::$test::<super::Embedded>(); })*
        }
        #[cfg(feature = "tungstenite")]
        mod tungstenite {
            $(#[test] fn $test() { super::$test::<super::Tungstenite>(); })*
        }
    };
}
use with_each_engine;
