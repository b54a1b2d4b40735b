//! Sockets over mio's edge-triggered poller.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll};

use super::Host;
use super::lookups::{Found, LOOKUPS, Lookup, Lookups};
use crate::memory::look_for;
use crate::port::{Net, NetError, Port, Readiness, Socket, Token, Waker};
use crate::time::Instant;

/// The token of the poller's own waker; tokens of sockets count up from 1.
const WAKER: mio::Token = mio::Token(usize::MAX);

/// The network on Linux: a poller, and lookups in threads.
#[derive(Debug)]
pub struct HostNet {
    poll: Poll,
    events: Events,
    waker: HostWaker,
    lookups: &'static Lookups,
    /// This network, as [`Lookups`] know it.
    asker: usize,
    found: Receiver<(Token, Found)>,
    /// Of the lookups that the last wait has reported, those that could not be made.
    failed: Vec<Token>,
    lookup_done: Sender<(Token, Found)>,
    /// The next wait is to let messages gather.
    gathers: bool,
}

/// How long messages gather; Linux adds 50 µs. Of a server that sends as fast as it can, each one or two would wake this task, and then the
/// event task: up to 30 % more messages a second, with two thirds of the processor's time.
const GATHERING: Duration = Duration::from_micros(10);

/// Bytes of heap that a lookup is given without asking.
const LOOKUP: usize = 16_384;

/// Wakes the poller.
#[derive(Clone, Debug)]
pub struct HostWaker(Arc<mio::Waker>);

impl Waker for HostWaker {
    fn wake(&self) {
        // notify fails only when the poller is closed, and then no task waits in it.
        let _ = self.0.wake();
    }
}

impl HostNet {
    fn with(lookups: &'static Lookups) -> Option<Self> {
        static ASKERS: AtomicUsize = AtomicUsize::new(0);
        let poll = Poll::new().ok()?;
        let waker = HostWaker(Arc::new(mio::Waker::new(poll.registry(), WAKER).ok()?));
        let (lookup_done, found) = channel();
        let asker = ASKERS.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            poll,
            events: Events::with_capacity(64),
            waker,
            lookups,
            asker,
            found,
            failed: Vec::new(),
            lookup_done,
            gathers: false,
        })
    }

    /// Whether the wait that begins is to let messages gather: not where something is due.
    fn lets_gather(&mut self, timeout: Option<Duration>) -> bool {
        core::mem::take(&mut self.gathers) && timeout != Some(Duration::ZERO)
    }
}

impl Drop for HostNet {
    fn drop(&mut self) {
        self.lookups.forget(self.asker, None);
    }
}

impl Net for HostNet {
    type Socket = HostSocket;
    type Waker = HostWaker;

    fn open() -> Option<Self> {
        Self::with(&LOOKUPS)
    }

    fn waker(&self) -> HostWaker {
        self.waker.clone()
    }

    fn resolve(&mut self, token: Token, host: &str, port: u16) -> bool {
        // Of queue, thread, channel and answer; the resolver of the C library takes its own.
        if look_for([LOOKUP]).is_err() {
            return false;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            self.waker.wake();
            return self.lookup_done.send((token, Some(vec![(address, port).into()]))).is_ok();
        }
        let (done, waker) = (self.lookup_done.clone(), self.waker.clone());
        self.lookups.ask(Lookup { asker: self.asker, token, host: host.to_owned(), port, done, waker });
        true
    }

    fn lookup_failed(&self, token: Token) -> bool {
        self.failed.contains(&token)
    }

    fn forget(&mut self, token: Token) {
        self.lookups.forget(self.asker, Some(token));
    }

    fn races() -> usize {
        2
    }

    fn connect(&mut self, token: Token, address: SocketAddr) -> Result<HostSocket, NetError> {
        let mut stream = TcpStream::connect(address).map_err(net_error)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, mio::Token(token), interest).map_err(net_error)?;
        Ok(HostSocket { stream, is_drained: false })
    }

    fn wait(&mut self, deadline: Option<Instant>, mut ready: impl FnMut(Token, Readiness)) {
        let timeout = deadline.map(|deadline| Duration::from_millis(deadline.millis_from(Host::now()).into()));
        if self.lets_gather(timeout) {
            std::thread::sleep(GATHERING);
        }
        if self.poll.poll(&mut self.events, timeout).is_ok() {
            for event in self.events.iter().filter(|event| event.token() != WAKER) {
                let is_ended = event.is_read_closed() || event.is_error();
                ready(event.token().0, if is_ended { Readiness::Ended } else { Readiness::Socket });
            }
        }
        self.failed.clear();
        for (token, found) in self.found.try_iter() {
            if found.is_none() {
                self.failed.push(token);
            }
            ready(token, Readiness::Resolved(found.unwrap_or_default()));
        }
    }

    fn gather(&mut self) {
        self.gathers = true;
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct HostSocket {
    stream: TcpStream,
    /// The last read has brought less than there was room for: what comes after that is reported (epoll(7), question 9).
    is_drained: bool,
}

impl Socket for HostSocket {
    fn established(&mut self) -> Result<(), NetError> {
        if let Some(error) = self.stream.take_error().map_err(net_error)? {
            return Err(net_error(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => self.stream.set_nodelay(true).map_err(net_error),
            Err(error) if error.kind() == ErrorKind::NotConnected => Err(NetError::WouldBlock),
            Err(error) => Err(net_error(error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        let result = uninterrupted(|| self.stream.read(buffer));
        self.is_drained = result.is_ok_and(|len| len < buffer.len());
        result
    }

    fn is_drained(&self) -> bool {
        self.is_drained
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        uninterrupted(|| self.stream.write(bytes))
    }

    fn acknowledge(&mut self) {
        // Sends what is due, and then lasts for a few segments only: Linux goes back to waiting by itself.
        let (on, len) = (1_i32, size_of::<i32>() as libc::socklen_t);
        let (level, option, value) = (libc::IPPROTO_TCP, libc::TCP_QUICKACK, (&raw const on).cast());
        // SAFETY: the descriptor is open while `self` lives, and `on` has the length that is given. Without success the
        // acknowledgement comes later.
        unsafe { libc::setsockopt(self.stream.as_raw_fd(), level, option, value, len) };
    }

    fn shutdown(&mut self) {
        // A socket that is not connected any more cannot be shut down, and need not be.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn is_acknowledged(&mut self) -> bool {
        unacknowledged(&self.stream) == 0 || is_gone(&self.stream)
    }
}

/// Bytes that the peer has not acknowledged; its end counts as one.
fn unacknowledged(stream: &impl AsRawFd) -> i32 {
    let mut count = 0_i32;
    // SAFETY: the descriptor is open, and the answer is an `int`. A connected socket does not refuse it.
    unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    count
}

/// Whether the connection has been closed by both sides or reset: Linux goes on counting what nobody will acknowledge.
fn is_gone(stream: &TcpStream) -> bool {
    /// `TCP_CLOSE`, which the crate libc does not have.
    const CLOSED: u8 = 7;
    // The first byte of a `tcp_info`.
    let (mut state, mut len) = (0_u8, 1);
    let (level, option, value) = (libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut state).cast());
    // SAFETY: the descriptor is open, and Linux writes no more than the length that is given.
    unsafe { libc::getsockopt(stream.as_raw_fd(), level, option, value, &raw mut len) };
    state == CLOSED
}

/// Readiness is reported once for each change, so a signal must not make us give up on it.
fn uninterrupted(mut operation: impl FnMut() -> io::Result<usize>) -> Result<usize, NetError> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.map_err(net_error),
        }
    }
}

fn net_error(error: io::Error) -> NetError {
    match error.kind() {
        ErrorKind::WouldBlock => NetError::WouldBlock,
        _ if is_shortage(&error) => NetError::EXHAUSTED,
        _ => NetError::broken(error.raw_os_error().unwrap_or(0)),
    }
}

/// Whether the system has no file or memory for it.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn acknowledges_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut net = HostNet::open().unwrap();
        let mut socket = net.connect(1, listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nodelay(true).unwrap();
        let mut byte = [0];
        let at_once = |_| {
            // After a few questions and answers Linux waits for the next question to send an acknowledgement with.
            for _ in 0..10 {
                while socket.write(b"?") == Err(NetError::WouldBlock) {}
                server.read_exact(&mut byte).unwrap();
                server.write_all(b"!").unwrap();
                while socket.read(&mut byte) == Err(NetError::WouldBlock) {}
            }
            let before = unacknowledged(&server);
            socket.acknowledge();
            before == 1 && unacknowledged(&server) == 0
        };
        // Not always: the kernel may be slow with this, or quick without it.
        assert!((0..100).any(at_once));
    }

    /// A connection and the server's end of it, which has room for little.
    fn connected(net: &mut HostNet) -> (HostSocket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bytes = 4096_i32;
        let (value, len) = ((&raw const bytes).cast(), size_of::<i32>() as libc::socklen_t);
        // SAFETY: the descriptor is open, and `bytes` has the length that is given.
        let set = unsafe { libc::setsockopt(listener.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, value, len) };
        assert_eq!(set, 0);
        let mut socket = net.connect(1, listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        while socket.established().is_err() {}
        (socket, server)
    }

    /// Until it is acknowledged, which takes the kernel a moment.
    fn becomes_acknowledged(socket: &mut HostSocket) -> bool {
        (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            socket.is_acknowledged()
        })
    }

    fn fill(socket: &mut HostSocket) {
        while socket.write(&[0; 4096]).is_ok() {}
    }

    #[test]
    fn tells_when_all_is_acknowledged() {
        let mut net = HostNet::open().unwrap();
        let (mut socket, mut server) = connected(&mut net);
        assert!(socket.is_acknowledged());
        fill(&mut socket);
        socket.shutdown();
        // What its buffer has no room for stays with us, though the server has sent something, and we have not read it.
        server.write_all(b"unread").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(!socket.is_acknowledged());
        // All that there is, the end included.
        server.read_to_end(&mut Vec::new()).unwrap();
        assert!(becomes_acknowledged(&mut socket));
    }

    /// Whoever reads no further behind a short read must not miss an end that came with the bytes.
    #[test]
    fn the_end_is_reported_with_the_last_bytes() {
        let mut net = HostNet::open().unwrap();
        let (mut socket, mut server) = connected(&mut net);
        let mut wait = || {
            let mut told = Vec::new();
            net.wait(None, |_, readiness| told.push(matches!(readiness, Readiness::Ended)));
            told
        };
        wait();
        server.write_all(b"first").unwrap();
        assert_eq!(wait(), [false]);
        assert_eq!((socket.read(&mut [0; 4]), socket.is_drained()), (Ok(4), false));
        assert_eq!((socket.read(&mut [0; 4]), socket.is_drained()), (Ok(1), true));
        server.write_all(b"last").unwrap();
        drop(server);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(wait(), [true]);
        assert_eq!((socket.read(&mut [0; 9]), socket.is_drained()), (Ok(4), true));
        assert_eq!(socket.read(&mut [0; 9]), Ok(0));
    }

    #[test]
    fn messages_gather_once_and_not_where_something_is_due() {
        let mut net = HostNet::open().unwrap();
        let mut gathers = |timeout| {
            net.gather();
            (net.lets_gather(timeout), net.lets_gather(timeout))
        };
        assert_eq!(gathers(None), (true, false));
        assert_eq!(gathers(Some(Duration::from_millis(1))), (true, false));
        assert_eq!(gathers(Some(Duration::ZERO)), (false, false));
        net.gather();
        net.waker.wake();
        let begin = std::time::Instant::now();
        net.wait(None, |_, _| ());
        assert!(begin.elapsed() >= GATHERING);
    }

    #[test]
    fn the_end_of_the_stream_is_acknowledged_too() {
        let mut net = HostNet::open().unwrap();
        let (mut socket, server) = connected(&mut net);
        socket.shutdown();
        assert!(becomes_acknowledged(&mut socket));
        drop(server);
        assert!(becomes_acknowledged(&mut socket));
    }

    #[test]
    fn a_connection_that_is_gone_counts_as_acknowledged() {
        let mut net = HostNet::open().unwrap();
        let (mut socket, mut server) = connected(&mut net);
        fill(&mut socket);
        socket.shutdown();
        // Closed with something unread: a reset.
        server.read_exact(&mut [0]).unwrap();
        drop(server);
        assert!(becomes_acknowledged(&mut socket));
        assert_ne!(unacknowledged(&socket.stream), 0, "this would be no test of a connection that is gone");
    }
}
