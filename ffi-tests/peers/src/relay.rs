//! The relay: a TCP listener in front of a broker, with TLS, WebSocket, both or neither between them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{io, thread};

use rustix::net::sockopt;
use rustls::ServerConfig;

use crate::connection;
use crate::report::Report;
use crate::websocket;

/// How much the relay keeps of what one side has not taken yet; more is not read from the other side. The sockets'
/// buffers have this size too, or they would take megabytes and a test of back pressure would never end.
pub(crate) const LIMIT: usize = 64 << 10;

/// What the relay does with a connection. The defaults are plain TCP, passed on as it comes.
pub struct Options {
    /// The broker.
    pub to: SocketAddr,
    pub tls: Option<Arc<ServerConfig>>,
    pub websocket: Option<websocket::Options>,
    /// Writes to the client have this size at most, and each is a TCP segment of its own.
    pub segment: usize,
    /// Ends TLS without close_notify.
    pub truncate: bool,
}

impl Options {
    pub fn new(to: SocketAddr) -> Self {
        Options { to, tls: None, websocket: None, segment: usize::MAX, truncate: false }
    }
}

/// Serves connections for ever, each on a thread of its own.
pub fn serve(listener: &TcpListener, options: Options, report: &Report) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);

    let options = Arc::new(options);
    // Accepted sockets inherit it, in time for the window that the first segment announces.
    sockopt::set_socket_recv_buffer_size(listener, LIMIT)?;
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            // The client has given up already, or descriptors are short for a moment.
            Err(_) => {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        let (options, report) = (options.clone(), report.clone());
        report.line(format!("connection {}", COUNT.fetch_add(1, Ordering::Relaxed) + 1));
        // Without a thread for it the connection is closed; the others go on.
        let _ = thread::Builder::new().spawn(move || connection::run(client, &options, &report));
    }
}

pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    sockopt::set_socket_recv_buffer_size(socket, LIMIT)?;
    Ok(sockopt::set_socket_send_buffer_size(socket, LIMIT)?)
}
