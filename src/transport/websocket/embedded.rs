//! The engine that needs no std: edge-ws reads and writes frame headers, the rest is here.
//!
//! Payloads pass through without being assembled or copied; only control frames (125 bytes at most) are collected.

use alloc::vec::Vec;

use edge_ws::{FrameHeader, FrameType};

use super::{Engine, Error, Random, code, violation};

/// Longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;

/// The engine that needs no std: streams, whatever the length of a message.
pub struct Embedded {
    random: Random,
    header: [u8; FrameHeader::MAX_LEN],
    /// How much of `header` is there.
    filled: usize,
    /// The frame whose payload comes now, and how much of that is still to come.
    frame: Option<FrameType>,
    left: u64,
    /// A fragmented message has begun and not ended.
    fragmented: bool,
    /// The payload of a control frame.
    control: [u8; MAX_CONTROL],
    collected: usize,
    /// Our close frame is out: nothing may follow it (section 5.5.1).
    closing: bool,
}

impl Engine for Embedded {
    fn new(random: Random) -> Self {
        Self {
            random,
            header: [0; FrameHeader::MAX_LEN],
            filled: 0,
            frame: None,
            left: 0,
            fragmented: false,
            control: [0; MAX_CONTROL],
            collected: 0,
            closing: false,
        }
    }

    fn receive(&mut self, mut input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        loop {
            let Some(frame) = self.frame else {
                match self.next_header(&mut input)? {
                    Some(header) => self.begin(&header)?,
                    None => return Ok(()),
                }
                continue;
            };
            let part = take(&mut input, self.left);
            self.left -= part.len() as u64;
            if is_control(frame) {
                self.control[self.collected..][..part.len()].copy_from_slice(part);
                self.collected += part.len();
            } else if !part.is_empty() {
                up(part);
            }
            if self.left > 0 {
                return Ok(());
            }
            self.frame = None;
            if is_control(frame) {
                self.handle_control(frame, out)?;
            }
        }
    }

    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        append(self.random, FrameType::Binary(false), data, out)
    }

    fn close(&mut self, code: u16, out: &mut Vec<u8>) -> Result<(), Error> {
        if core::mem::replace(&mut self.closing, true) {
            return Ok(());
        }
        append(self.random, FrameType::Close, &code.to_be_bytes(), out)
    }
}

impl Embedded {
    /// The next frame's header, once all of it is there.
    fn next_header(&mut self, input: &mut &[u8]) -> Result<Option<FrameHeader>, Error> {
        loop {
            match FrameHeader::deserialize(&self.header[..self.filled]) {
                Ok((header, _)) => {
                    self.filled = 0;
                    return Ok(Some(header));
                }
                Err(edge_ws::Error::Incomplete(_)) if input.is_empty() => return Ok(None),
                Err(edge_ws::Error::Incomplete(missing)) => {
                    let part = take(input, missing as u64);
                    self.header[self.filled..][..part.len()].copy_from_slice(part);
                    self.filled += part.len();
                }
                Err(_) => return Err(Error::Protocol(violation::HEADER)),
            }
        }
    }

    /// A header is complete: may such a frame come now?
    fn begin(&mut self, header: &FrameHeader) -> Result<(), Error> {
        // edge-ws does not look at FIN of a control frame
        let fin = self.header[0] & 0x80 != 0;
        let wrong = if header.payload_len >> 63 != 0 {
            Some(violation::HEADER)
        } else if header.mask_key.is_some() {
            Some(violation::MASKED)
        } else {
            match header.frame_type {
                FrameType::Binary(_) | FrameType::Text(_) if self.fragmented => Some(violation::INTERLEAVED),
                // [MQTT-6.0.0-1]
                FrameType::Text(_) => Some(violation::TEXT),
                FrameType::Continue(_) if !self.fragmented => Some(violation::CONTINUATION),
                FrameType::Binary(_) | FrameType::Continue(_) => {
                    self.fragmented = !fin;
                    None
                }
                _ if !fin || header.payload_len > MAX_CONTROL as u64 => Some(violation::CONTROL_FRAME),
                _ => None,
            }
        };
        if let Some(violation) = wrong {
            return Err(Error::Protocol(violation));
        }
        self.frame = Some(header.frame_type);
        self.left = header.payload_len;
        self.collected = 0;
        Ok(())
    }

    /// A control frame is complete.
    fn handle_control(&mut self, frame: FrameType, out: &mut Vec<u8>) -> Result<(), Error> {
        let payload = &self.control[..self.collected];
        match frame {
            FrameType::Ping if !self.closing => append(self.random, FrameType::Pong, payload, out),
            FrameType::Close => {
                let (code, answer) = match payload {
                    [] => (None, payload),
                    [high, low, reason @ ..] if core::str::from_utf8(reason).is_ok() => {
                        match u16::from_be_bytes([*high, *low]) {
                            code if may_be_sent(code) => (Some(code), payload),
                            _ => (Some(code::PROTOCOL_ERROR), &code::PROTOCOL_ERROR.to_be_bytes()[..]),
                        }
                    }
                    _ => return Err(Error::Protocol(violation::CLOSE_FRAME)),
                };
                if !self.closing {
                    // The connection counts as closed also when the answering close frame could not be written.
                    let _ = append(self.random, FrameType::Close, answer, out);
                }
                Err(Error::Closed(code))
            }
            _ => Ok(()),
        }
    }
}

/// Appends a frame to `out`, masked with fresh random bytes (section 5.3).
fn append(random: Random, frame_type: FrameType, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut mask = [0; 4];
    if !random(&mut mask) {
        return Err(Error::NoRandom);
    }
    let header =
        FrameHeader { frame_type, payload_len: payload.len() as u64, mask_key: Some(u32::from_be_bytes(mask)) };
    let mut bytes = [0; FrameHeader::MAX_LEN];
    // cannot fail: no header is longer
    let len = header.serialize(&mut bytes).unwrap_or(0);
    out.try_reserve(len + payload.len()).map_err(|_| Error::NoMemory)?;
    out.extend_from_slice(&bytes[..len]);
    let begin = out.len();
    out.extend_from_slice(payload);
    header.mask(&mut out[begin..], 0);
    Ok(())
}

fn is_control(frame: FrameType) -> bool {
    matches!(frame, FrameType::Ping | FrameType::Pong | FrameType::Close)
}

/// Whether a close frame may carry this code (section 7.4); tungstenite sees it the same way.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// Up to `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], len: u64) -> &'a [u8] {
    let len = usize::try_from(len).map_or(input.len(), |len| len.min(input.len()));
    let (part, rest) = input.split_at(len);
    *input = rest;
    part
}
