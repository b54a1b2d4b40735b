//! A server that misbehaves: TLS and WebSocket written by hand, so that it can send what no library would. It is honest up to a
//! step, and then does something.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use crate::report::Report;

mod actions;
mod keys;
mod mqtt;
mod peer;
mod steps;
mod tls12;
mod tls13;
mod websocket;

pub use actions::{ACTIONS, Action};
use peer::Peer;
pub use peer::{FRAGMENT, Identity};
pub use steps::{STEPS, Step};

type Result<T = ()> = io::Result<T>;

/// What becomes of a connection.
pub struct Script {
    pub step: &'static Step,
    pub action: &'static Action,
    pub identity: Arc<Identity>,
    /// Bytes of a write, and of a record's fragment, at most.
    pub piece: usize,
    pub fragment: usize,
    /// Names of authorities in a CertificateRequest, if there is one.
    pub names: usize,
}

/// Serves connections for ever, one after the other. How each has ended is reported.
pub fn serve(listener: &TcpListener, script: &Script, report: &Report) -> Result {
    loop {
        let (socket, _) = listener.accept()?;
        report.line("connection");
        let mut peer = Peer::new(socket, script.identity.clone())?;
        (peer.piece, peer.fragment, peer.names) = (script.piece, script.fragment, script.names);
        let result = (script.step.run)(&mut peer).and_then(|()| {
            report.line("step");
            (script.action.run)(&mut peer)
        });
        report.line(result.map_or_else(|error| format!("end {error}"), |()| "end".into()));
    }
}
