//! From a broker's URI to a stream of bytes: TLS and WebSocket as layers between the socket and MQTT. Sans-IO: bytes in,
//! bytes out.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::fmt;

#[cfg(not(all(feature = "tls", feature = "websocket")))]
mod absent;
#[cfg(feature = "tls")]
pub mod tls;
pub mod uri;
#[cfg(feature = "websocket")]
pub mod websocket;

use crate::log::Say;

#[cfg(not(feature = "tls"))]
use absent::Absent as Tls;
#[cfg(not(feature = "websocket"))]
use absent::Absent as WebSocket;
#[cfg(feature = "tls")]
use tls::Tls;
#[cfg(feature = "websocket")]
use websocket::WebSocket;

/// A layer: what the server sends goes up through it, what we send down.
trait Layer {
    /// Why it failed, or how it ended. What was appended to `out` before that should still be sent.
    type Error: Failure;

    /// Whether it is ready to [`send`](Self::send).
    fn is_open(&self) -> bool;

    /// Takes bytes from below: what they carry goes to `up` piece by piece, answers are appended to `out`.
    fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), Self::Error>;

    /// Appends what carries `data` to `out`.
    fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Self::Error>;

    /// Appends what ends the stream in order.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// Why a layer failed, or how it ended.
trait Failure: Say {
    /// Whether there was no memory.
    fn is_out_of_memory(&self) -> bool;

    /// Whether the server has ended the layer as it should.
    fn is_orderly(&self) -> bool;
}

/// Why the layers of a connection failed, or how they ended.
#[derive(Debug)]
pub struct LayerError(Either<<Tls as Layer>::Error, <WebSocket as Layer>::Error>);

#[derive(Debug)]
enum Either<T, W> {
    Tls(T),
    WebSocket(W),
}

impl LayerError {
    /// Whether there was no memory.
    pub fn is_out_of_memory(&self) -> bool {
        match &self.0 {
            Either::Tls(error) => error.is_out_of_memory(),
            Either::WebSocket(error) => error.is_out_of_memory(),
        }
    }

    /// Whether it is the server's end of the stream, in order.
    pub fn is_orderly(&self) -> bool {
        match &self.0 {
            Either::Tls(error) => error.is_orderly(),
            Either::WebSocket(error) => error.is_orderly(),
        }
    }
}

impl Say for LayerError {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        match &self.0 {
            Either::Tls(error) => error.say(out),
            Either::WebSocket(error) => error.say(out),
        }
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::log::fmt(self, f)
    }
}

#[cfg(feature = "tls")]
impl From<tls::Error> for LayerError {
    fn from(error: tls::Error) -> Self {
        tls_error(error)
    }
}

fn tls_error(error: <Tls as Layer>::Error) -> LayerError {
    LayerError(Either::Tls(error))
}

fn websocket_error(error: <WebSocket as Layer>::Error) -> LayerError {
    LayerError(Either::WebSocket(error))
}

/// Whether this build has any layer. Without one there is nothing that waits for them.
pub(crate) const HAS_LAYERS: bool = cfg!(any(feature = "tls", feature = "websocket"));

/// The layers that a URI's scheme asks for. Without any, bytes pass as they are.
#[derive(Default)]
pub struct Layers {
    tls: Option<Tls>,
    /// With what it says to TLS, for as long as that takes.
    websocket: Option<(WebSocket, Vec<u8>)>,
}

impl Layers {
    /// Puts TLS under what is there; what begins its handshake is appended to `out`.
    #[cfg(feature = "tls")]
    pub fn begin_tls(&mut self, config: &tls::TlsConfig, host: &str, out: &mut Vec<u8>) -> Result<(), LayerError> {
        self.tls = Some(Tls::connect(config, host, out).map_err(tls_error)?);
        Ok(())
    }

    /// Puts WebSocket on top, if the URI asks for it; its request is appended to `out`.
    #[cfg(feature = "websocket")]
    pub fn begin_websocket(
        &mut self,
        uri: &uri::Uri<'_>,
        random: fn(&mut [u8]) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        if !uri.scheme.websocket {
            return Ok(());
        }
        let mut between = Vec::new();
        let request = if self.tls.is_some() { &mut between } else { &mut *out };
        let websocket = WebSocket::connect(uri, random, request).map_err(websocket_error)?;
        let (_, between) = self.websocket.insert((websocket, between));
        match &mut self.tls {
            Some(tls) => pass_on(tls, between, out).map_err(tls_error),
            None => Ok(()),
        }
    }

    /// A URI that asks for it was refused before.
    #[cfg(not(feature = "websocket"))]
    pub fn begin_websocket(
        &mut self,
        _: &uri::Uri<'_>,
        _: fn(&mut [u8]) -> bool,
        _: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        Ok(())
    }

    /// Whether bytes pass as they are.
    pub fn is_empty(&self) -> bool {
        self.tls.is_none() && self.websocket.is_none()
    }

    /// Whether MQTT may begin.
    pub fn is_open(&self) -> bool {
        self.tls.as_ref().is_none_or(Layer::is_open)
            && self.websocket.as_ref().is_none_or(|(websocket, _)| websocket.is_open())
    }

    /// Whether there is memory for what the server has begun to send; always without TLS, whose records must be complete.
    pub fn has_memory(&mut self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.as_mut().is_none_or(Tls::has_memory);
        #[cfg(not(feature = "tls"))]
        true
    }

    /// Whether what comes next is for the handshake of TLS.
    pub fn is_in_tls_handshake(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_open())
    }

    /// Makes room for a step of TLS's handshake: how much of `input` that is, and how much of the heap it may take, see
    /// [`Tls::step`].
    #[cfg(feature = "tls")]
    pub fn handshake_step(&mut self, input: &[u8]) -> Result<(usize, tls::Need), LayerError> {
        let Some(tls) = &mut self.tls else { return Ok((input.len(), tls::Need::whole(0))) };
        tls.step(input).map_err(LayerError::from)
    }

    /// The TLS layer's version and kind of session, for the log.
    pub fn description(&self) -> Option<(&'static str, &'static str)> {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().map(Tls::description);
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Takes bytes from the socket: what they carry goes to `up` piece by piece, answers are appended to `out`, also
    /// those to an error.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>, up: &mut dyn FnMut(&[u8])) -> Result<(), LayerError> {
        match (&mut self.tls, &mut self.websocket) {
            (None, None) => {
                up(input);
                Ok(())
            }
            (Some(tls), None) => tls.receive(input, out, up).map_err(tls_error),
            (None, Some((websocket, _))) => websocket.receive(input, out, up).map_err(websocket_error),
            (Some(tls), Some((websocket, between))) => {
                let mut above = Ok(());
                let below = tls.receive(input, out, &mut |plain| {
                    if above.is_ok() {
                        above = websocket.receive(plain, between, up);
                    }
                });
                let passed_on = pass_on(tls, between, out);
                above.map_err(websocket_error)?;
                below.and(passed_on).map_err(tls_error)
            }
        }
    }

    /// Appends what carries `data` to `out`.
    pub fn send(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), LayerError> {
        match (&mut self.tls, &mut self.websocket) {
            (None, None) => Ok(()),
            (Some(tls), None) => tls.send(data, out).map_err(tls_error),
            (None, Some((websocket, _))) => websocket.send(data, out).map_err(websocket_error),
            (Some(tls), Some((websocket, between))) => {
                websocket.send(data, between).map_err(websocket_error)?;
                pass_on(tls, between, out).map_err(tls_error)
            }
        }
    }

    /// Appends what ends the stream in order: a close frame, close_notify.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        match (&mut self.tls, &mut self.websocket) {
            (Some(tls), Some((websocket, between))) => {
                websocket.close(between);
                // The stream ends here anyway: without the close frame the server sees the end of TLS.
                let _ = pass_on(tls, between, out);
                tls.close(out);
            }
            (Some(tls), None) => tls.close(out),
            (None, Some((websocket, _))) => websocket.close(out),
            (None, None) => {}
        }
    }
}

/// Sends through TLS what WebSocket has to say, as soon as that is open.
fn pass_on(tls: &mut Tls, between: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), <Tls as Layer>::Error> {
    if between.is_empty() || !tls.is_open() {
        return Ok(());
    }
    tls.send(&core::mem::take(between), out)
}
