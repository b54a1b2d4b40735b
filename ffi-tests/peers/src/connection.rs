//! One connection through the relay: two sockets that do not block, and a thread that sleeps in poll between them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt;

use crate::layers::Layers;
use crate::relay::{self, LIMIT, Options};
use crate::report::Report;

/// How long a client may take to hear why it was refused.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a connection does not end by itself.
enum Stop {
    /// A socket was reset; the other one gets a reset too.
    Reset(String),
    /// A handshake failed, or the client broke a protocol.
    Failed(String),
}

pub(crate) fn run(client: TcpStream, options: &Options, report: &Report) {
    let mut connection = match Connection::new(client, options, report) {
        Ok(connection) => connection,
        Err(reason) => return report.line(format!("failed {reason}")),
    };
    match connection.pump() {
        Ok(()) => connection.report_end(),
        Err(Stop::Reset(reason)) => {
            if connection.broker.is_none() {
                report.line(format!("failed {reason}"));
            } else {
                connection.report_end();
            }
            connection.reset();
        }
        Err(Stop::Failed(reason)) => {
            report.line(format!("failed {reason}"));
            if let Some(broker) = connection.broker.take() {
                broker.reset();
            }
            connection.client.say_goodbye();
        }
    }
}

struct Connection<'a> {
    client: Side,
    /// Not before the handshakes are complete.
    broker: Option<Side>,
    layers: Layers,
    /// For the broker, until there is one.
    early: Vec<u8>,
    end_reported: bool,
    options: &'a Options,
    report: &'a Report,
}

impl<'a> Connection<'a> {
    fn new(client: TcpStream, options: &'a Options, report: &'a Report) -> Result<Self, String> {
        Ok(Connection {
            client: Side::new(client).map_err(|error| error.to_string())?,
            broker: None,
            layers: Layers::new(options, report)?,
            early: Vec::new(),
            end_reported: false,
            options,
            report,
        })
    }

    /// Passes bytes on until both directions have ended.
    fn pump(&mut self) -> Result<(), Stop> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            if self.broker.is_none() && self.layers.is_open() {
                self.connect()?;
            }
            self.client.flush(self.options.segment).map_err(by_client)?;
            if let Some(broker) = &mut self.broker {
                broker.flush(usize::MAX).map_err(by_broker)?;
            }
            let Some((client, broker)) = self.wait()? else { return Ok(()) };
            if client {
                self.read_client(&mut buffer)?;
            }
            if broker {
                self.read_broker(&mut buffer)?;
            }
        }
    }

    fn connect(&mut self) -> Result<(), Stop> {
        // A client that finds no broker behind a listener that exists is told in the only way there is.
        let refused = |error: io::Error| Stop::Reset(format!("the broker does not answer: {error}"));
        let socket = TcpStream::connect(self.options.to).map_err(refused)?;
        let mut side = Side::new(socket).map_err(refused)?;
        side.pending.append(&mut self.early);
        self.broker = Some(side);
        Ok(())
    }

    /// Sleeps until a socket can be read or written; `None` if nothing can come any more. Says which can be read.
    fn wait(&self) -> Result<Option<(bool, bool)>, Stop> {
        let to_broker = self.broker.as_ref().map_or(self.early.len(), Side::backlog);
        // Answers to the client's pings could fill its backlog too; the broker's bytes alone stay below this.
        let read_client = to_broker < LIMIT && self.client.backlog() < 4 * LIMIT;
        let read_broker = self.client.backlog() < LIMIT;

        let sides = [Some((&self.client, read_client)), self.broker.as_ref().map(|broker| (broker, read_broker))];
        // A socket whose two directions have ended is ready for ever: it must not be asked again.
        let sides = sides.map(|side| side.filter(|(side, _)| side.reading || side.writing));
        let mut fds: Vec<PollFd> =
            sides.iter().flatten().map(|(side, read)| PollFd::new(&side.socket, side.interest(*read))).collect();
        if fds.is_empty() || (self.broker.is_none() && !self.client.reading) {
            return Ok(None);
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Stop::Reset(error.to_string())),
        }
        let mut events = fds.iter().map(PollFd::revents);
        let ready = sides.map(|side| match side {
            None => Ok(false),
            Some((side, read)) => side.ready(events.next().unwrap_or(PollFlags::empty()), read),
        });
        let [client, broker] = ready;
        Ok(Some((client.map_err(by_client)?, broker.map_err(by_broker)?)))
    }

    fn read_client(&mut self, buffer: &mut [u8]) -> Result<(), Stop> {
        let Some(len) = self.client.read(buffer).map_err(by_client)? else { return Ok(()) };
        if len == 0 {
            if self.broker.is_none() {
                return Err(Stop::Failed("the client has closed the connection".into()));
            }
            self.report_end();
            self.end_broker();
            return Ok(());
        }
        let payload = match &mut self.broker {
            Some(broker) => &mut broker.pending,
            None => &mut self.early,
        };
        self.layers.receive(&buffer[..len], payload, &mut self.client.pending).map_err(Stop::Failed)?;
        if self.layers.client_ended() {
            self.end_broker();
        }
        if self.layers.end_is_complete() {
            self.report_end();
        }
        // RFC 6455: after the answer to a close frame the server ends the connection.
        if self.layers.client_closed() {
            self.end_client();
        }
        Ok(())
    }

    fn read_broker(&mut self, buffer: &mut [u8]) -> Result<(), Stop> {
        let Some(broker) = &mut self.broker else { return Ok(()) };
        match broker.read(buffer).map_err(by_broker)? {
            None => {}
            Some(0) => self.end_client(),
            // The client has closed its WebSocket: nobody takes these bytes any more.
            Some(_) if self.client.ending => {}
            Some(len) => self.layers.send(&buffer[..len], &mut self.client.pending),
        }
        Ok(())
    }

    /// Nothing more comes from the client.
    fn end_broker(&mut self) {
        if let Some(broker) = &mut self.broker {
            broker.ending = true;
        }
    }

    /// Nothing more comes from the broker, or may be sent to the client.
    fn end_client(&mut self) {
        if !self.client.ending {
            self.layers.finish(&mut self.client.pending);
            self.client.ending = true;
        }
    }

    fn report_end(&mut self) {
        if !self.end_reported {
            self.end_reported = true;
            self.report.line(self.layers.describe_end());
        }
    }

    fn reset(self) {
        self.client.reset();
        if let Some(broker) = self.broker {
            broker.reset();
        }
    }
}

fn by_client(error: io::Error) -> Stop {
    Stop::Reset(format!("the client's socket: {error}"))
}

fn by_broker(error: io::Error) -> Stop {
    Stop::Reset(format!("the broker's socket: {error}"))
}

/// One of the two sockets, and what it has still to be given.
struct Side {
    socket: TcpStream,
    pending: Vec<u8>,
    /// How much of `pending` is written.
    written: usize,
    /// FIN has not come.
    reading: bool,
    /// FIN has not been sent.
    writing: bool,
    /// FIN follows `pending`.
    ending: bool,
}

impl Side {
    fn new(socket: TcpStream) -> io::Result<Self> {
        relay::prepare(&socket)?;
        Ok(Side { socket, pending: Vec::new(), written: 0, reading: true, writing: true, ending: false })
    }

    fn backlog(&self) -> usize {
        self.pending.len() - self.written
    }

    /// Writes what the socket takes, in pieces, and then FIN if this is the end.
    fn flush(&mut self, piece: usize) -> io::Result<()> {
        while self.backlog() > 0 && self.writing {
            let rest = &self.pending[self.written..];
            match self.socket.write(&rest[..rest.len().min(piece)]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pending.drain(..self.written);
        self.written = 0;
        if self.ending && self.writing && self.pending.is_empty() {
            self.writing = false;
            self.socket.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// `None` if there is nothing to read yet, 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.read(buffer) {
            Ok(len) => {
                self.reading = len > 0;
                Ok(Some(len))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn interest(&self, read: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.reading && read);
        flags.set(PollFlags::OUT, self.writing && self.backlog() > 0);
        flags
    }

    /// Whether it can be read; a reset is noticed also while it is not to be read.
    fn ready(&self, events: PollFlags, read: bool) -> io::Result<bool> {
        if events.contains(PollFlags::ERR)
            && let Some(error) = self.socket.take_error()?
        {
            return Err(error);
        }
        Ok(self.reading && read && events.intersects(PollFlags::IN | PollFlags::HUP))
    }

    fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    /// Writes what is left, an alert or an answer, and waits until the client has closed: a socket closed with bytes
    /// that were not read would reset the connection, and take the alert with it.
    fn say_goodbye(mut self) {
        let deadline = Instant::now() + GOODBYE;
        let prepared = self.socket.set_nonblocking(false).is_ok()
            && self.socket.set_write_timeout(Some(GOODBYE)).is_ok()
            && self.socket.set_read_timeout(Some(GOODBYE)).is_ok();
        let rest = &self.pending[self.written..];
        if !prepared || self.socket.write_all(rest).is_err() || self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut buffer = [0; 4096];
        while Instant::now() < deadline && self.socket.read(&mut buffer).is_ok_and(|len| len > 0) {}
    }
}
