//! What lies between the client's socket and the broker's bytes: TLS, WebSocket, both or neither. Bytes in, bytes out.

use std::io::{Read, Write};

use rustls::ServerConnection;

use crate::relay::Options;
use crate::report::Report;
use crate::{tls, websocket};

pub(crate) struct Layers {
    tls: Option<Box<ServerConnection>>,
    tls_described: bool,
    websocket: Option<websocket::Server>,
    close_notify: bool,
    truncate: bool,
    report: Report,
}

impl Layers {
    pub(crate) fn new(options: &Options, report: &Report) -> Result<Self, String> {
        let tls = options.tls.clone().map(ServerConnection::new).transpose().map_err(|error| error.to_string())?;
        Ok(Layers {
            tls: tls.map(Box::new),
            tls_described: false,
            websocket: options.websocket.clone().map(websocket::Server::new),
            close_notify: false,
            truncate: options.truncate,
            report: report.clone(),
        })
    }

    /// All handshakes are complete.
    pub(crate) fn is_open(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
            && self.websocket.as_ref().is_none_or(websocket::Server::is_open)
    }

    /// The client has said that no more comes, by a close frame or close_notify.
    pub(crate) fn client_ended(&self) -> bool {
        self.close_notify || self.client_closed()
    }

    /// The client has sent a close frame: nothing may be sent after the answer.
    pub(crate) fn client_closed(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.closed.is_some())
    }

    /// Whether all signs of the end that these layers have were seen.
    pub(crate) fn end_is_complete(&self) -> bool {
        self.close_notify
    }

    pub(crate) fn describe_end(&self) -> String {
        let close_notify = if self.close_notify { "yes" } else { "no" };
        let code = self.websocket.as_ref().and_then(|websocket| websocket.closed);
        format!("end close_notify={close_notify} close={}", code.map_or("-".into(), |code| code.to_string()))
    }

    /// Takes bytes from the client's socket; what they carry goes to `payload`, answers go to `out`.
    pub(crate) fn receive(&mut self, bytes: &[u8], payload: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(tls) = &mut self.tls else { return self.receive_plain(bytes, payload, out) };
        let mut plain = Vec::new();
        let mut result = Ok(());
        let mut rest = bytes;
        while !rest.is_empty() && !self.close_notify {
            result = tls.read_tls(&mut rest).map_err(|error| error.to_string()).and_then(|_| {
                let state = tls.process_new_packets().map_err(|error| tls::reason(&error))?;
                self.close_notify |= state.peer_has_closed();
                Ok(())
            });
            // WouldBlock is all that can come: the end of the stream is the socket's matter.
            let _ = tls.reader().read_to_end(&mut plain);
            if result.is_err() {
                break;
            }
        }
        if !tls.is_handshaking() && !self.tls_described {
            self.tls_described = true;
            self.report.line(tls::describe(tls));
        }
        let mut answers = Vec::new();
        let above = if plain.is_empty() { Ok(()) } else { self.receive_plain(&plain, payload, &mut answers) };
        self.encrypt(&answers, out);
        result.and(above)
    }

    fn receive_plain(&mut self, bytes: &[u8], payload: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
        match &mut self.websocket {
            Some(websocket) => websocket.receive(bytes, payload, out, &self.report),
            None => {
                payload.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Wraps the broker's bytes for the client's socket.
    pub(crate) fn send(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.websocket {
            Some(websocket) => {
                let mut frames = Vec::new();
                websocket.send(data, &mut frames);
                self.encrypt(&frames, out);
            }
            None => self.encrypt(data, out),
        }
    }

    /// The broker has ended the connection.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(websocket) = &mut self.websocket {
            let mut frames = Vec::new();
            websocket.finish(&mut frames);
            self.encrypt(&frames, out);
        }
        if let Some(tls) = self.tls.as_mut().filter(|_| !self.truncate) {
            tls.send_close_notify();
        }
        self.encrypt(&[], out);
    }

    /// With no bytes: what TLS has to say itself.
    fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let Some(tls) = &mut self.tls else { return out.extend_from_slice(plain) };
        // Less than rustls buffers at once; memory takes what it writes.
        for piece in plain.chunks(16 << 10) {
            let _ = tls.writer().write_all(piece);
            drain(tls, out);
        }
        drain(tls, out);
    }
}

fn drain(tls: &mut ServerConnection, out: &mut Vec<u8>) {
    while tls.wants_write() {
        let _ = tls.write_tls(out);
    }
}
