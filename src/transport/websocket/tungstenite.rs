//! The engine of hosts: tungstenite between two buffers. It assembles messages, so their size is bounded.

use alloc::vec::Vec;
use std::io;

use ::tungstenite::Error as Failure;
use ::tungstenite::Message;
use ::tungstenite::error::ProtocolError;
use ::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use edge_ws::FrameHeader;

use super::{Engine, Error, Random, code, violation};
use crate::memory::look_for;

/// Longest message, and longest frame, that is received.
const MAX_MESSAGE: usize = 16 << 20;
/// Size of the buffer that holds received bytes until their frame is complete, at first.
const READ_BUFFER: usize = 4096;
/// Longest frame whose buffer is kept for the next ones.
const KEPT_FRAME: usize = 16_384;
/// Of a frame's first byte (RFC 6455 section 5.2): the last frame of a message, the opcode, and the first of control frames.
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 8;
/// More than a close frame takes.
const CLOSE: usize = 256;

/// The engine of hosts: takes messages of up to 16 MB.
pub struct Tungstenite {
    context: WebSocketContext,
    /// Bytes received since the last message was complete: tungstenite has them.
    collected: usize,
    /// The header that has begun, and what is still to come of the frame before it.
    header: [u8; FrameHeader::MAX_LEN],
    filled: usize,
    left: u64,
    /// A message has begun whose last frame has not.
    is_fragmented: bool,
    /// There was a longer frame than [`KEPT_FRAME`]: tungstenite's buffer never shrinks.
    has_grown: bool,
}

impl Tungstenite {
    fn context() -> WebSocketContext {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // tungstenite keeps nothing back: each write goes into `out` at once
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        WebSocketContext::new(Role::Client, Some(config))
    }

    /// All that was received was taken. A context in which nothing has begun is as good as new, but for its buffer.
    fn shrink(&mut self) {
        let is_idle = self.left == 0 && self.filled == 0 && !self.is_fragmented && self.context.can_write();
        // The new buffer is there beside the old one.
        if self.has_grown && is_idle && Self::look_for_memory().is_ok() {
            (self.context, self.has_grown) = (Self::context(), false);
        }
    }

    /// Looks for what tungstenite allocates as soon as it has a frame's header: all of the frame, beside `most` that may be there.
    fn look_ahead(&mut self, mut input: &[u8], most: usize) -> Result<(), Error> {
        loop {
            let passed = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
            input = &input[passed..];
            self.left -= passed as u64;
            match FrameHeader::deserialize(&self.header[..self.filled]) {
                Ok((header, _)) => {
                    (self.filled, self.left) = (0, header.payload_len);
                    self.has_grown |= header.payload_len > KEPT_FRAME as u64;
                    // Control frames come between a message's frames.
                    if self.header[0] & OPCODE < CONTROL {
                        self.is_fragmented = self.header[0] & FIN == 0;
                    }
                    // A longer one it refuses.
                    if let Ok(len @ READ_BUFFER..=MAX_MESSAGE) = usize::try_from(self.left) {
                        // A buffer that is almost long enough doubles.
                        look_for([2 * (len + most)])?;
                    }
                }
                Err(edge_ws::Error::Incomplete(missing)) if !input.is_empty() => {
                    let (part, rest) = input.split_at(missing.min(input.len()));
                    self.header[self.filled..][..part.len()].copy_from_slice(part);
                    // It makes room first, and refuses reserved bits then.
                    self.header[0] &= 0x8f;
                    (self.filled, input) = (self.filled + part.len(), rest);
                }
                // What is wrong tungstenite says.
                Err(_) => return Ok(()),
            }
        }
    }
}

impl Engine for Tungstenite {
    fn look_for_memory() -> Result<(), Error> {
        Ok(look_for([READ_BUFFER])?)
    }

    /// The masks are not from `random`: tungstenite has a generator of its own.
    fn new(_random: Random) -> Self {
        Self {
            context: Self::context(),
            collected: 0,
            header: [0; FrameHeader::MAX_LEN],
            filled: 0,
            left: 0,
            is_fragmented: false,
            has_grown: false,
        }
    }

    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        // Its buffer, which may double, the frame, and the message, which may double.
        self.collected += input.len();
        let most = self.collected + READ_BUFFER;
        look_for([2 * most, most, 2 * most])?;
        self.look_ahead(input, most)?;
        let pipe = &mut Pipe { input, out };
        loop {
            // Pings are answered by the read after the one that gives them.
            match self.context.read(pipe) {
                Ok(Message::Binary(data)) => {
                    // What is behind it, at most.
                    self.collected = input.len();
                    if !data.is_empty() {
                        up(&data);
                    }
                }
                // [MQTT-6.0.0-1]
                Ok(Message::Text(_)) => return Err(Error::Protocol(violation::TEXT)),
                Ok(Message::Close(frame)) => {
                    let code = frame.map(|frame| match frame.code {
                        code if code.is_allowed() => code.into(),
                        _ => code::PROTOCOL_ERROR,
                    });
                    self.context.flush(pipe).map_err(error)?;
                    return Err(Error::Closed(code));
                }
                Ok(Message::Ping(data) | Message::Pong(data)) => {
                    self.collected = self.collected.saturating_sub(data.len() + 2);
                }
                Ok(_) => {}
                Err(Failure::Io(failure)) if failure.kind() == io::ErrorKind::WouldBlock => {
                    self.shrink();
                    return Ok(());
                }
                Err(failure) => return Err(error(failure)),
            }
        }
    }

    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let pipe = &mut Pipe { input: &[], out };
        // The message, its frame, and the output, which may double.
        let most = pipe.out.len() + data.len() + READ_BUFFER;
        look_for([data.len(), most, 2 * most])?;
        self.context.write(pipe, Message::Binary(data.to_vec().into())).map_err(error)
    }

    fn close(&mut self, code: u16, out: &mut Vec<u8>) -> Result<(), Error> {
        look_for([CLOSE])?;
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.context.close(&mut Pipe { input: &[], out }, Some(frame)).map_err(error)
    }
}

/// tungstenite's stream: blocks where the input ends, and takes all that is written.
struct Pipe<'a> {
    input: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl io::Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl io::Write for Pipe<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.out.try_reserve(buffer.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.out.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn error(failure: Failure) -> Error {
    Error::Protocol(match failure {
        Failure::Io(_) => return Error::NoMemory,
        // RFC 6455 has no largest message; without a bound the server would choose how much is allocated
        Failure::Capacity(_) => "a message of more than 16 MB",
        Failure::Utf8(_) => "a text message, or a close reason, that is not UTF-8",
        Failure::Protocol(ProtocolError::InvalidCloseSequence) => violation::CLOSE_FRAME,
        Failure::Protocol(ProtocolError::UnexpectedContinueFrame) => violation::CONTINUATION,
        Failure::Protocol(ProtocolError::FragmentedControlFrame | ProtocolError::ControlFrameTooBig) => {
            violation::CONTROL_FRAME
        }
        Failure::Protocol(ProtocolError::NonZeroReservedBits | ProtocolError::InvalidOpcode(_)) => violation::HEADER,
        Failure::Protocol(ProtocolError::ExpectedFragment(_)) => violation::INTERLEAVED,
        Failure::Protocol(ProtocolError::MaskedFrameFromServer) => violation::MASKED,
        // tungstenite's other errors are those of URLs and TLS, none of which it sees here.
        _ => "what tungstenite refuses",
    })
}
