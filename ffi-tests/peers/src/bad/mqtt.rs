//! As much of a broker as shows that the connection is alive: everything is acknowledged.

use super::Result;
use super::peer::Peer;
use super::websocket::{self, BINARY, CLOSE, CONTINUATION, FIN};

/// The longest packet that is read has so many bytes behind its head.
const LONGEST: u8 = 127;

impl Peer {
    /// The next packet: its first byte and its body.
    pub fn packet(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut packet = Vec::new();
        loop {
            if let [first, len @ ..=LONGEST, ..] = packet[..]
                && packet.len() == 2 + usize::from(len)
            {
                return Ok((first, packet.split_off(2)));
            }
            packet.push(self.byte()?);
        }
    }

    fn byte(&mut self) -> Result<u8> {
        while self.payload.is_empty() {
            let more = self.receive()?;
            if !self.websocket {
                self.payload.extend(more);
                continue;
            }
            self.received.extend(more);
            while let Some((first, payload)) = websocket::take_frame(&mut self.received) {
                match first & 0x0f {
                    CONTINUATION | BINARY => self.payload.extend(payload),
                    CLOSE => {
                        self.send(&websocket::frame(FIN | CLOSE, &payload))?;
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    _ => {}
                }
            }
        }
        Ok(self.payload.pop_front().unwrap_or_default())
    }

    /// A packet to the client.
    pub fn answer(&mut self, packet: &[u8]) -> Result {
        if self.websocket { self.send(&websocket::frame(FIN | BINARY, packet)) } else { self.send(packet) }
    }

    /// Takes CONNECT and answers it.
    pub fn connack(&mut self) -> Result {
        self.packet()?;
        self.answer(&[0x20, 2, 0, 0])
    }

    /// Serves the client until it goes; `more` is done before each answer.
    pub fn serve_with(&mut self, mut more: impl FnMut(&mut Self) -> Result) -> Result {
        loop {
            let (first, body) = self.packet()?;
            let id = |at: usize| body.get(at..at + 2).unwrap_or(&[0, 0]);
            let answer = match first >> 4 {
                1 => vec![0x20, 2, 0, 0],
                3 if first & 6 == 2 => {
                    let topic = body.get(..2).map_or(0, |len| usize::from(u16::from_be_bytes([len[0], len[1]])));
                    [&[0x40, 2], id(2 + topic)].concat()
                }
                12 => vec![0xd0, 0],
                _ => continue,
            };
            more(self)?;
            self.answer(&answer)?;
        }
    }

    pub fn serve(&mut self) -> Result {
        self.serve_with(|_| Ok(()))
    }
}
