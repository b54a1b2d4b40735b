//! A socket with the layers on it: what MQTT reads and writes.

use alloc::vec::Vec;

use super::security::handshake_step;
use super::trouble::Trouble;
use crate::port::{Net, NetError, Port, Socket};
use crate::transport::Layers;

pub(super) type LinkSocket<P> = <<P as Port>::Net as Net>::Socket;

/// The layers' output buffer is given back when it has become larger than this and is empty.
const OUTPUT: usize = 1024;
/// Unsent answers (pong, alerts, key updates) to a server that sends but does not read. Behind them we stop reading.
const ANSWERS: usize = 4096;

/// A stream to the server.
pub(super) struct Pipe<P: Port> {
    socket: LinkSocket<P>,
    layers: Layers,
    /// News of the socket has not been followed to its end yet.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// What the layers have to send.
    output: Vec<u8>,
    /// How much of it the socket has.
    sent: usize,
    /// How much of MQTT's own stands in it.
    carried: usize,
    /// How much of it are answers to the server.
    answers: usize,
}

impl<P: Port> Pipe<P> {
    /// A stream over a connected socket; `output` is what the layers begin with.
    pub(super) fn new(socket: LinkSocket<P>, layers: Layers, output: Vec<u8>) -> Self {
        Self { socket, layers, readable: true, writable: true, output, sent: 0, carried: 0, answers: 0 }
    }

    /// Whether MQTT may begin.
    pub(super) fn is_open(&self) -> bool {
        self.layers.is_open()
    }

    /// For the log, see [`Layers::description`].
    pub(super) fn description(&self) -> Option<(&'static str, &'static str)> {
        self.layers.description()
    }

    /// Something may have happened to the socket.
    pub(super) fn ready(&mut self) {
        (self.readable, self.writable) = (true, true);
    }

    /// Whether to read on must wait until the server has taken what it asked for.
    pub(super) fn is_congested(&self) -> bool {
        self.answers > ANSWERS
    }

    /// Reads once; what it brings goes to `up`.
    pub(super) fn read(&mut self, buffer: &mut [u8], up: &mut dyn FnMut(&[u8])) -> Result<(), Trouble> {
        let len = match self.socket.read(buffer) {
            Ok(0) if self.layers.is_empty() => return Err(Trouble::ClosedByServer),
            Ok(0) => return Err(Trouble::CutOff),
            Ok(len) => len,
            Err(NetError::WouldBlock) => {
                self.readable = false;
                return Ok(());
            }
            Err(error) => return Err(Trouble::Broken(error)),
        };
        let before = self.output.len();
        let is_handshake = self.layers.is_in_tls_handshake();
        let mut receive = || self.layers.receive(&buffer[..len], &mut self.output, up);
        let result = if is_handshake { handshake_step::<P, _>(receive) } else { receive().map_err(Trouble::Layer) };
        self.answers += self.output.len() - before;
        result
    }

    /// Whether [`write`](Self::write) would do anything.
    pub(super) fn may_write(&self) -> bool {
        self.writable && self.carried == 0
    }

    /// Sends bytes of MQTT; how many have left for good, also of those that were handed over before. What has not left
    /// must not be handed over again until [`may_write`](Self::may_write) allows.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        if self.layers.is_empty() {
            return self.write_to_socket(bytes);
        }
        self.layers.send(bytes, &mut self.output).map_err(Trouble::Layer)?;
        self.carried = bytes.len();
        self.flush()
    }

    fn write_to_socket(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        match self.socket.write(bytes) {
            Err(NetError::WouldBlock) => {
                self.writable = false;
                Ok(0)
            }
            result => result.map_err(Trouble::Broken),
        }
    }

    /// Sends what the layers have left; how many bytes of MQTT have left with it.
    pub(super) fn flush(&mut self) -> Result<usize, Trouble> {
        while self.writable && self.sent < self.output.len() {
            self.sent += match self.socket.write(&self.output[self.sent..]) {
                Ok(sent) => sent,
                Err(NetError::WouldBlock) => {
                    self.writable = false;
                    0
                }
                Err(error) => return Err(Trouble::Broken(error)),
            };
        }
        if self.sent < self.output.len() {
            return Ok(0);
        }
        self.output.clear();
        if self.output.capacity() > OUTPUT {
            self.output = Vec::new();
        }
        (self.sent, self.answers) = (0, 0);
        Ok(core::mem::take(&mut self.carried))
    }

    /// Lets the server go on that sends in small steps, TLS tickets among them: with Nagle's algorithm it waits after
    /// each until that is acknowledged, and there may be nothing to say to it.
    pub(super) fn acknowledge(&mut self) {
        self.socket.acknowledge();
    }

    /// Ends the stream in order and leaves the socket, to wait for the server's end.
    pub(super) fn finish(mut self) -> LinkSocket<P> {
        self.layers.close(&mut self.output);
        // All of MQTT has left, so there is room; and without close frame and close_notify DISCONNECT is an end too.
        let _ = self.flush();
        self.socket.shutdown();
        self.socket
    }

    /// Gives the socket up after an error; the server is told why as far as that goes at once.
    pub(super) fn give_up(mut self) -> LinkSocket<P> {
        let _ = self.flush();
        self.socket
    }
}
