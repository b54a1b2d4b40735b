//! The broker's end of a WebSocket (RFC 6455), for clients that keep to the rules.

use std::collections::VecDeque;

use tungstenite::handshake::derive_accept_key;

#[derive(Default)]
pub(crate) struct Server {
    input: VecDeque<u8>,
    open: bool,
    /// Close frames that have come.
    pub(crate) closes: u64,
    /// The frame whose payload is coming.
    frame: Option<Frame>,
}

struct Frame {
    opcode: u8,
    mask: [u8; 4],
    /// How much of its payload has come.
    at: usize,
    len: usize,
}

impl Server {
    /// Takes bytes from the client: what they carry, and the answer to its upgrade.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.input.extend(bytes);
        let (mut carried, mut answer) = (Vec::new(), Vec::new());
        if !self.open {
            let Some(end) = self.input.make_contiguous().windows(4).position(|end| end == b"\r\n\r\n") else {
                return (carried, answer);
            };
            let head: Vec<u8> = self.input.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("ASCII");
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let accept = derive_accept_key(key.as_bytes());
            let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt";
            let head = format!("HTTP/1.1 101 Yes\r\n{fields}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n");
            answer.extend(head.into_bytes());
            self.open = true;
        }
        // A frame's payload is passed on as it comes, so that MQTT can answer before the frame is whole.
        while let Some(frame) = self.frame.take().or_else(|| self.header()) {
            let count = self.input.len().min(frame.len - frame.at);
            let payload: Vec<u8> = self.input.drain(..count).collect();
            self.closes += u64::from(frame.opcode == 8 && frame.at == 0);
            // A pong says nothing that this broker wants to know.
            if frame.opcode == 2 {
                let mask = frame.mask.iter().cycle().skip(frame.at % 4);
                carried.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            }
            if frame.at + count < frame.len {
                self.frame = Some(Frame { at: frame.at + count, ..frame });
                break;
            }
        }
        (carried, answer)
    }

    fn header(&mut self) -> Option<Frame> {
        let (first, len) = (*self.input.front()?, *self.input.get(1)?);
        assert!(first & 0xf0 == 0x80 && len & 0x80 != 0, "a fragment, or without a mask");
        let (begin, len) = match len & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([*self.input.get(2)?, *self.input.get(3)?]))),
            127 => panic!("a longer frame than expected"),
            len => (2, usize::from(len)),
        };
        if self.input.len() < begin + 4 {
            return None;
        }
        let header: Vec<u8> = self.input.drain(..begin + 4).collect();
        Some(Frame { opcode: first & 0x0f, mask: header[begin..].try_into().expect("four bytes"), at: 0, len })
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
