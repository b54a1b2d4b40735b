//! The relay's WebSocket server: tungstenite over a stream in memory.

use std::io::{self, Read, Write};
use std::mem;

use tungstenite::error::Error;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::{HeaderValue, StatusCode, header};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::report::Report;

const SUBPROTOCOL: &str = "mqtt";
const HEAD_LIMIT: usize = 8 << 10;
const INTERIM: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nServer: x\r\n\r\n";

/// What can be chosen about the server.
#[derive(Clone)]
pub struct Options {
    /// Another path is answered with 404; `None` takes any.
    pub path: Option<String>,
    /// Interim answers come before the final one.
    pub interim: bool,
    /// Names the subprotocol in the answer, if the client has offered it.
    pub subprotocol: bool,
    /// The largest payload of a frame to the client.
    pub frame: usize,
    /// These frames are messages, not fragments of one.
    pub messages: bool,
    /// A ping before each frame.
    pub ping: bool,
    /// A close frame at the end.
    pub close: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            path: None,
            interim: false,
            subprotocol: true,
            frame: usize::MAX,
            messages: false,
            ping: false,
            close: true,
        }
    }
}

/// The server's side of one connection: bytes in, bytes out.
pub(crate) struct Server {
    options: Options,
    state: State,
    /// The code of the client's close frame.
    pub(crate) closed: Option<u16>,
}

enum State {
    /// The request's head as far as it has come: tungstenite takes one in small pieces for an attack.
    Head(Vec<u8>),
    Open(Box<WebSocket<Memory>>),
    Ended,
}

impl Server {
    pub(crate) fn new(options: Options) -> Self {
        Server { options, state: State::Head(Vec::new()), closed: None }
    }

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Takes bytes from the client; what they carry goes to `payload`, answers go to `out`.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        payload: &mut Vec<u8>,
        out: &mut Vec<u8>,
        report: &Report,
    ) -> Result<(), String> {
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                if head.windows(4).any(|window| window == b"\r\n\r\n") {
                    let head = mem::take(head);
                    self.upgrade(head, out, report)?;
                } else if head.len() > HEAD_LIMIT {
                    return Err("the request's head is too long".into());
                }
                Ok(())
            }
            State::Open(socket) => {
                socket.get_mut().input.extend_from_slice(bytes);
                let result = self.read(payload);
                self.take_output(out);
                result
            }
            State::Ended => Ok(()),
        }
    }

    fn upgrade(&mut self, head: Vec<u8>, out: &mut Vec<u8>, report: &Report) -> Result<(), String> {
        let options = &self.options;
        #[allow(clippy::result_large_err, reason = "tungstenite's type")]
        let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            let offered = text(header::SEC_WEBSOCKET_PROTOCOL);
            report.line(format!(
                "http path={} host={} protocol={}",
                request.uri(),
                text(header::HOST).unwrap_or("-"),
                offered.map_or("-".into(), |offered| offered.replace(' ', ""))
            ));
            if options.path.as_deref().is_some_and(|path| path != request.uri().path()) {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::NOT_FOUND;
                refusal.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
                return Err(refusal);
            }
            if options.subprotocol && offered.is_some_and(|list| list.split(',').any(|one| one.trim() == SUBPROTOCOL)) {
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
            }
            Ok(response)
        };
        // Unbuffered: what it writes goes to memory. Unlimited: the broker says what is too large for it.
        let config = WebSocketConfig::default().write_buffer_size(0).read_buffer_size(16 << 10);
        let config = config.max_message_size(None).max_frame_size(None);
        let mut memory = Memory { input: head, output: Vec::new() };
        if options.interim {
            memory.output.extend_from_slice(INTERIM);
        }
        match tungstenite::accept_hdr_with_config(&mut memory, answer, Some(config)) {
            Ok(_) => {
                out.append(&mut memory.output);
                let socket = WebSocket::from_raw_socket(memory, tungstenite::protocol::Role::Server, Some(config));
                self.state = State::Open(Box::new(socket));
                Ok(())
            }
            Err(HandshakeError::Failure(error)) => {
                out.append(&mut memory.output);
                Err(match error {
                    Error::Http(response) => format!("answered {}", response.status().as_u16()),
                    other => other.to_string(),
                })
            }
            Err(HandshakeError::Interrupted(_)) => Err("the request's head is incomplete".into()),
        }
    }

    fn read(&mut self, payload: &mut Vec<u8>) -> Result<(), String> {
        let State::Open(socket) = &mut self.state else { return Ok(()) };
        loop {
            match socket.read() {
                Ok(Message::Binary(data)) => payload.extend_from_slice(&data),
                Ok(Message::Close(frame)) => {
                    // 1005 stands for a close frame without a code.
                    self.closed = Some(frame.map_or(1005, |frame| frame.code.into()));
                    let _ = socket.flush(); // the answer; then it says that the connection is closed
                    return Ok(());
                }
                Ok(Message::Text(_)) => {
                    self.close(CloseCode::Unsupported);
                    return Err("a text message".into());
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(()),
                Err(error) => {
                    self.close(CloseCode::Protocol);
                    return Err(error.to_string());
                }
            }
        }
    }

    /// Frames with `data`, which must not be empty, into `out`.
    pub(crate) fn send(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let State::Open(socket) = &mut self.state else { return };
        let count = data.len().div_ceil(self.options.frame);
        for (index, piece) in data.chunks(self.options.frame).enumerate() {
            let continues = index > 0 && !self.options.messages;
            let code = OpCode::Data(if continues { Data::Continue } else { Data::Binary });
            let last = self.options.messages || index + 1 == count;
            if self.options.ping {
                let _ = socket.write(Message::Ping("relay".into()));
            }
            // Writing to memory fails only after a close, when nothing may be sent any more.
            let _ = socket.write(Message::Frame(Frame::message(piece.to_vec(), code, last)));
        }
        let _ = socket.flush();
        self.take_output(out);
    }

    /// The broker has ended the connection.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.options.close {
            self.close(CloseCode::Normal);
        }
        self.take_output(out);
    }

    fn close(&mut self, code: CloseCode) {
        if let State::Open(socket) = &mut self.state {
            let _ = socket.close(Some(CloseFrame { code, reason: "".into() }));
        }
    }

    fn take_output(&mut self, out: &mut Vec<u8>) {
        if let State::Open(socket) = &mut self.state {
            out.append(&mut socket.get_mut().output);
            if self.closed.is_some() {
                self.state = State::Ended;
            }
        }
    }
}

/// A stream that is filled and emptied by hand.
struct Memory {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = buffer.len().min(self.input.len());
        buffer[..len].copy_from_slice(&self.input[..len]);
        self.input.drain(..len);
        Ok(len)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
