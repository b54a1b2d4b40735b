//! A socket with the layers on it: what MQTT reads and writes.

use alloc::vec::Vec;

use super::connection_error::ConnectionError;
use crate::port::{Net, NetError, Port, Socket, Token};
use crate::transport::uri::Uri;
use crate::transport::{HAS_LAYERS, LayerError, Layers};

pub(super) type LinkSocket<P> = <<P as Port>::Net as Net>::Socket;

/// The layers' output buffer is given back when it has become larger than this and is empty.
const OUTPUT: usize = 1024;
/// Unsent answers (pong, alerts, key updates) to a server that sends but does not read. Behind them we stop reading.
const ANSWERS: usize = 4096;

/// A stream to the server.
pub(super) struct Pipe<P: Port> {
    /// Names the socket in what [`Net::wait`] reports.
    token: Token,
    socket: LinkSocket<P>,
    layers: Layers,
    /// The socket may have something to read, or room for a write: since it was ready no call has said
    /// [`NetError::WouldBlock`], nor that nothing is left to read.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The server may have ended the stream, or it is broken: then it is read until a read says which.
    may_be_over: bool,
    /// Bytes for the socket: what the layers have made, or without layers what the socket did not take of MQTT's.
    output: Vec<u8>,
    /// How much of `output` the socket has taken.
    sent: usize,
    /// How many bytes of MQTT the rest of `output` carries.
    carried: usize,
    /// How many bytes of MQTT the socket has taken since [`take_left`](Self::take_left).
    left: usize,
    /// The socket has taken something of `output` since [`take_moved`](Self::take_moved).
    #[cfg(any(feature = "tls", feature = "websocket"))]
    moved: bool,
    /// How many bytes of `output` are the layers' answers to the server.
    answers: usize,
    /// The server has ended the layers, and what came before that may wait for room: the next read says so. What is written
    /// until then is lost, as behind the end of TCP.
    end: Option<LayerError>,
}

impl<P: Port> Pipe<P> {
    /// A stream over a connected socket, without layers.
    pub(super) fn new(token: Token, socket: LinkSocket<P>) -> Self {
        Self {
            token,
            socket,
            layers: Layers::default(),
            readable: true,
            writable: true,
            // While the addresses raced nobody has listened to that.
            may_be_over: true,
            output: Vec::new(),
            sent: 0,
            carried: 0,
            left: 0,
            #[cfg(any(feature = "tls", feature = "websocket"))]
            moved: false,
            answers: 0,
            end: None,
        }
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Whether MQTT may begin.
    pub(super) fn is_open(&self) -> bool {
        self.layers.is_open()
    }

    /// Whether bytes pass as they are, so that what is read can be kept.
    pub(super) fn is_plain(&self) -> bool {
        self.layers.is_empty()
    }

    /// For the log, see [`Layers::description`].
    pub(super) fn description(&self) -> Option<(&'static str, &'static str)> {
        self.layers.description()
    }

    /// The network has reported the socket: reading and writing are tried again.
    pub(super) fn ready(&mut self) {
        (self.readable, self.writable) = (true, true);
    }

    /// And that the server has ended the stream, or that it is broken.
    pub(super) fn ended(&mut self) {
        self.may_be_over = true;
    }

    /// Whether reading must wait until the server has taken the answers that it has asked the layers for.
    pub(super) fn is_congested(&self) -> bool {
        HAS_LAYERS && self.answers > ANSWERS
    }

    /// Whether there is memory to read on, see [`Layers::has_memory`].
    pub(super) fn has_memory(&mut self) -> bool {
        self.layers.has_memory()
    }

    /// Reads once; what it brings goes to `up`. Whether anything has come, maybe not enough for the layers to pass it on.
    pub(super) fn read(&mut self, buffer: &mut [u8], up: &mut dyn FnMut(&[u8])) -> Result<bool, ConnectionError> {
        if let Some(end) = self.end.take() {
            return Err(end.into());
        }
        let len = match self.socket.read(buffer) {
            Ok(0) if self.layers.is_empty() => return Err(ConnectionError::ClosedByServer),
            Ok(0) => return Err(ConnectionError::UnexpectedEnd),
            Ok(len) => len,
            Err(NetError::WouldBlock) => {
                (self.readable, self.may_be_over) = (false, false);
                return Ok(false);
            }
            Err(NetError::Failed(failure)) => return Err(ConnectionError::Network(failure)),
        };
        self.readable = self.may_be_over || !self.socket.is_drained();
        let before = self.output.len();
        let result = self.layers.receive(&buffer[..len], &mut self.output, up);
        self.answers += self.output.len() - before;
        match result {
            // No answer need leave before the next read, which is of no socket.
            Err(end) if end.is_orderly() => (self.end, self.readable, self.answers) = (Some(end), true, 0),
            result => result?,
        }
        Ok(true)
    }

    /// Appends an answer of a TLS handshake, which is not among the layers yet, and takes it.
    #[cfg(feature = "tls")]
    pub(super) fn answer(&mut self, answer: &mut Vec<u8>) -> Result<(), ConnectionError> {
        self.output.try_reserve_exact(answer.len()).map_err(|_| ConnectionError::NoMemory)?;
        self.output.append(answer);
        Ok(())
    }

    /// Puts TLS on the socket, which had no layer.
    #[cfg(feature = "tls")]
    pub(super) fn set_layers(&mut self, layers: &mut Layers) {
        core::mem::swap(&mut self.layers, layers);
    }

    /// Puts WebSocket on top, if the URI asks for it.
    pub(super) fn upgrade(&mut self, broker: &Uri<'_>) -> Result<(), ConnectionError> {
        Ok(self.layers.begin_websocket(broker, P::random, &mut self.output)?)
    }

    /// Whether [`write`](Self::write) may be called: the socket has taken what was written before.
    pub(super) fn may_write(&self) -> bool {
        self.writable && self.carried == 0
    }

    /// Takes bytes of MQTT, all of them: the socket's own buffer has them then, or this pipe.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.carried = bytes.len();
        if !self.layers.is_empty() {
            if self.end.is_none() {
                self.layers.send(bytes, &mut self.output)?;
            }
            return self.flush();
        }
        let taken = self.write_to_socket(bytes)?;
        let rest = &bytes[taken..];
        self.output.try_reserve_exact(rest.len()).map_err(|_| ConnectionError::NoMemory)?;
        self.output.extend_from_slice(rest);
        (self.carried, self.left) = (rest.len(), self.left + taken);
        self.flush()
    }

    fn write_to_socket(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        match self.socket.write(bytes) {
            Ok(taken) => Ok(taken),
            Err(NetError::WouldBlock) => {
                self.writable = false;
                Ok(0)
            }
            Err(NetError::Failed(failure)) => Err(ConnectionError::Network(failure)),
        }
    }

    /// Sends what waits here, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.output.is_empty() && self.carried == 0 {
            return Ok(());
        }
        while self.writable && self.sent < self.output.len() {
            let taken = match self.socket.write(&self.output[self.sent..]) {
                Ok(taken) => taken,
                Err(NetError::WouldBlock) => {
                    self.writable = false;
                    0
                }
                Err(NetError::Failed(failure)) => return Err(ConnectionError::Network(failure)),
            };
            self.sent += taken;
            #[cfg(any(feature = "tls", feature = "websocket"))]
            {
                self.moved |= taken > 0;
            }
            // Where MQTT's bytes stand in the layers' output is not known here: the last of them counts as sent with the last
            // byte of all.
            let left = taken.min(self.carried.saturating_sub(1));
            self.carried -= left;
            self.left += left;
        }
        if self.sent < self.output.len() {
            return Ok(());
        }
        self.left += core::mem::take(&mut self.carried);
        self.output.clear();
        if self.output.capacity() > OUTPUT {
            self.output = Vec::new();
        }
        (self.sent, self.answers) = (0, 0);
        Ok(())
    }

    /// How many bytes of MQTT the socket has taken since the last call.
    pub(super) fn take_left(&mut self) -> usize {
        core::mem::take(&mut self.left)
    }

    /// Whether the socket has taken anything since the last call, be it an answer of the layers.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub(super) fn take_moved(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// Lets the server go on that sends in small steps, TLS tickets among them: with Nagle's algorithm it waits after
    /// each until that is acknowledged, and there may be nothing to say to it.
    pub(super) fn acknowledge(&mut self) {
        self.socket.acknowledge();
    }

    /// Ends the layers in order, as far as there is memory for that, and lets go of them.
    pub(super) fn close(&mut self) {
        core::mem::take(&mut self.layers).close(&mut self.output);
    }

    /// Whether the socket has taken everything.
    pub(super) fn is_flushed(&self) -> bool {
        self.sent == self.output.len()
    }

    /// Ends the outgoing half of the stream.
    pub(super) fn shutdown(&mut self) {
        self.socket.shutdown();
    }

    /// Whether the server has received everything, the end included.
    pub(super) fn is_acknowledged(&mut self) -> bool {
        self.socket.is_acknowledged()
    }

    /// Reads once, and drops what it brings.
    pub(super) fn discard(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        if !self.readable {
            return Err(NetError::WouldBlock);
        }
        let read = self.socket.read(buffer);
        self.readable = read != Err(NetError::WouldBlock);
        read
    }

    /// Whether something has come, also if nobody has reported it; it is dropped.
    pub(super) fn has_input(&mut self, buffer: &mut [u8]) -> bool {
        self.readable = true;
        matches!(self.discard(buffer), Ok(1..))
    }

    /// Ends the stream after an error; the server is told why as far as that goes at once.
    pub(super) fn give_up(mut self) {
        let _ = self.flush();
    }
}
