//! WebSocket's server (RFC 6455): the upgrade, and frames by hand.

use std::io;

use tungstenite::handshake::derive_accept_key;

use super::Result;
use super::peer::{Peer, vector16};

pub const CONTINUATION: u8 = 0;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const FIN: u8 = 0x80;

/// A frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    match payload.len() {
        len @ ..126 => [&[first, len as u8], payload].concat(),
        _ => [&[first, 126][..], &vector16(payload)].concat(),
    }
}

impl Peer {
    /// Reads the request; the head of the answer that accepts it.
    pub fn request(&mut self) -> Result<String> {
        while !self.received.ends_with(b"\r\n\r\n") {
            let more = self.receive()?;
            self.received.extend(more);
        }
        let head = String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned();
        let key = head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| *name == "Sec-WebSocket-Key");
        let (_, key) = key.ok_or(io::Error::other("no key in the request"))?;
        Ok(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
            derive_accept_key(key.as_bytes())
        ))
    }

    /// The upgrade as it should be.
    pub fn upgrade(&mut self) -> Result {
        let answer = self.request()?;
        self.send(answer.as_bytes())?;
        self.websocket = true;
        Ok(())
    }
}

/// Takes a frame off the front of what the client has sent, if it is all there: its first byte and its payload.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (len, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])), 4),
        len => (usize::from(len), 2),
    };
    let mask = bytes.get(head..head + 4)?.to_vec();
    let payload = bytes.get(head + 4..head + 4 + len)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    bytes.drain(..head + 4 + len);
    Some((first, payload))
}
