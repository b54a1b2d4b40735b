//! The broker's end of a WebSocket (RFC 6455), for clients that keep to the rules.

use tungstenite::handshake::derive_accept_key;

#[derive(Default)]
pub(crate) struct Server {
    input: Vec<u8>,
    open: bool,
}

impl Server {
    /// Takes bytes from the client: what they carry, and the answer to its upgrade.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.input.extend(bytes);
        let (mut carried, mut answer) = (Vec::new(), Vec::new());
        if !self.open {
            let Some(end) = self.input.windows(4).position(|end| end == b"\r\n\r\n") else { return (carried, answer) };
            let head: Vec<u8> = self.input.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("ASCII");
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt";
            let head = format!("HTTP/1.1 101 Yes\r\n{fields}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
            answer.extend(head.into_bytes());
            self.open = true;
        }
        while let Some((opcode, payload)) = self.frame() {
            // pong and close say nothing that this broker wants to know
            if opcode == 2 {
                carried.extend(payload);
            }
        }
        (carried, answer)
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, len) = (*self.input.first()?, *self.input.get(1)?);
        assert!(first & 0xf0 == 0x80 && len & 0x80 != 0, "a fragment, or without a mask");
        let (begin, len) = match len & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]))),
            127 => panic!("a longer frame than expected"),
            len => (2, usize::from(len)),
        };
        let end = begin + 4 + len;
        if self.input.len() < end {
            return None;
        }
        let frame: Vec<u8> = self.input.drain(..end).collect();
        let (mask, payload) = frame[begin..].split_at(4);
        Some((first & 0x0f, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
    }
}

/// Bytes for the client: a ping, and a binary message in two fragments.
pub(crate) fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut frames = b"\x89\x04ping".to_vec();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (opcode, part) in [(0x02, first), (0x80, second)] {
        frames.extend([opcode, 127]);
        frames.extend((part.len() as u64).to_be_bytes());
        frames.extend(part);
    }
    frames
}
