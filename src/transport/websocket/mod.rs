//! MQTT over WebSocket (RFC 6455; MQTT 3.1.1 section 6): bytes in, bytes out, the client's side.
//!
//! The upgrade is written once; behind it one of two engines does the frames.

mod embedded;
mod error;
mod request;
#[cfg(test)]
mod tests;
#[cfg(feature = "tungstenite")]
mod tungstenite;
mod upgrade;

use alloc::vec::Vec;

pub use self::embedded::Embedded;
pub use self::error::Error;
#[cfg(feature = "tungstenite")]
pub use self::tungstenite::Tungstenite;
use self::upgrade::Upgrade;
use super::Layer;
use super::uri::Uri;

/// The engine of a [`WebSocket`] for which no other is named.
#[cfg(feature = "tungstenite")]
pub type DefaultEngine = Tungstenite;
/// The engine of a [`WebSocket`] for which no other is named.
#[cfg(not(feature = "tungstenite"))]
pub type DefaultEngine = Embedded;

/// Fills a buffer with random bytes; `false` when there are none.
pub type Random = fn(&mut [u8]) -> bool;

/// The frames of an open connection. Whatever it answers, it answers at once, into `out`.
pub trait Engine {
    /// Looks for the memory that [`new`](Self::new) takes.
    fn look_for_memory() -> Result<(), Error> {
        Ok(())
    }
    /// Begins behind the head of the HTTP answer.
    fn new(random: Random) -> Self;
    /// Takes bytes from the server: the payload of binary messages goes to `up`, pong and close to `out`.
    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error>;
    /// Appends `data` to `out` as one binary message in one frame.
    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error>;
    /// Appends a close frame with this code to `out`, unless there has been one.
    fn close(&mut self, code: u16, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// A WebSocket connection's client side: bytes in, bytes out.
///
/// An error is final: nothing is received or sent after it. What it left in `out` (the answer to the server's close
/// frame, or a close frame that names a violation) is still worth sending.
pub struct WebSocket<E = DefaultEngine> {
    random: Random,
    state: State<E>,
}

enum State<E> {
    /// The server's answer is not complete.
    Upgrade(Upgrade),
    Open(E),
    /// Our close frame is out; the server may still send.
    Closing(E),
    /// Closed by the server, or failed.
    Ended,
}

impl<E: Engine> WebSocket<E> {
    /// Begins: the upgrade request for `uri` is appended to `out`.
    pub fn connect(uri: &Uri<'_>, random: Random, out: &mut Vec<u8>) -> Result<Self, Error> {
        let mut nonce = [0; 16];
        if !random(&mut nonce) {
            return Err(Error::NoRandom);
        }
        let key = request::key(&nonce);
        request::append(uri, &key, out)?;
        Ok(Self { random, state: State::Upgrade(Upgrade::new(&key)) })
    }

    fn try_receive(&mut self, mut input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        if let State::Upgrade(upgrade) = &mut self.state {
            if !upgrade.receive(&mut input)? {
                return Ok(());
            }
            E::look_for_memory()?;
            self.state = State::Open(E::new(self.random));
        }
        match &mut self.state {
            State::Open(engine) | State::Closing(engine) => engine.receive(input, out, up),
            _ if input.is_empty() => Ok(()),
            _ => Err(Error::Protocol(violation::AFTER_CLOSE)),
        }
    }
}

impl<E: Engine> Layer for WebSocket<E> {
    type Error = Error;

    /// Whether the server has accepted the upgrade and nobody has closed the connection, so that `send` may be called.
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes bytes from the server: what they carry goes to `up` piece by piece in order, never empty; pong and close
    /// go to `out`.
    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let result = self.try_receive(input, out, up);
        if let Err(error) = result {
            if let (Error::Protocol(_), State::Open(engine)) = (error, &mut self.state) {
                // What happened is in `error`; this close frame is a courtesy (section 7.1.7).
                let _ = engine.close(code::PROTOCOL_ERROR, out);
            }
            self.state = State::Ended;
        }
        result
    }

    /// Appends `data` to `out` as one binary frame. Nothing is appended on an error.
    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.state {
            State::Open(engine) => engine.send(data, out),
            _ => Err(Error::NotOpen),
        }
    }

    /// Appends a close frame (code 1000) to `out`, unless the connection is not open. What the server still sends may
    /// be received; its own close frame comes as [`Error::Closed`].
    fn close(&mut self, out: &mut Vec<u8>) {
        self.state = match core::mem::replace(&mut self.state, State::Ended) {
            State::Open(mut engine) => {
                // Without memory or random numbers for a close frame, the server sees the end of the stream only.
                let _ = engine.close(code::NORMAL, out);
                State::Closing(engine)
            }
            state => state,
        };
    }
}

/// Close codes (section 7.4.1).
mod code {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const PROTOCOL_ERROR: u16 = 1002;
}

/// How a server breaks the rules; both engines say it alike.
mod violation {
    pub(super) const AFTER_CLOSE: &str = "bytes after the end";
    pub(super) const CLOSE_FRAME: &str = "a malformed close frame";
    pub(super) const CONTINUATION: &str = "a continuation of nothing";
    pub(super) const CONTROL_FRAME: &str = "a fragmented or long control frame";
    pub(super) const HEADER: &str = "a reserved bit or opcode";
    pub(super) const INTERLEAVED: &str = "a message inside another";
    pub(super) const MASKED: &str = "a masked frame";
    pub(super) const TEXT: &str = "a text message";
}
