//! One client, as the MQTT task sees it: its way from a host name to a connection and back.

use alloc::vec::{self, Vec};
use core::net::SocketAddr;

use super::backlog::{Backlog, Notification};
use super::calls::Kind;
use super::handle::{PATIENCE, Phase, State};
use super::trouble::Trouble;
use super::{CONNECT_TIMEOUT, Client, Error, LINGER_TIMEOUT};
use crate::port::{Lock, Net, NetError, Port, Readiness, Shared, Socket, Token};
use crate::protocol::{Event, Receipt};
use crate::time::{Instant, earliest};

/// A client in the task's care.
pub(super) struct Connection<P: Port> {
    client: Shared<Client<P>>,
    link: Option<Link<P>>,
    pub(super) backlog: Backlog<P::Buffer>,
    /// Input that was read but could not be taken, because the backlog was full.
    leftover: Vec<u8>,
    /// When to come back without being called.
    pub(super) deadline: Option<Instant>,
    /// There is more to do at once.
    more: bool,
    /// Something was done in this turn, so there may be something to send.
    touched: bool,
}

/// A TCP connection from name lookup to close.
struct Link<P: Port> {
    token: Token,
    /// Which of the client's wishes it fulfils.
    attempt: u32,
    /// When the attempt must have led to CONNACK.
    deadline: Instant,
    stage: Stage<P>,
}

type LinkSocket<P> = <<P as Port>::Net as Net>::Socket;

enum Stage<P: Port> {
    Resolving,
    /// The name's addresses are there.
    Resolved(Vec<SocketAddr>),
    /// TCP connects to one address; on failure or after its share of the time the next one is tried.
    Opening {
        socket: LinkSocket<P>,
        rest: vec::IntoIter<SocketAddr>,
        give_up: Instant,
    },
    Up {
        socket: LinkSocket<P>,
        readable: bool,
        writable: bool,
    },
    /// DISCONNECT and FIN are out. Closing before the server does could turn them into a reset, and the will would be
    /// published.
    Lingering {
        socket: LinkSocket<P>,
        until: Instant,
    },
}

/// What the task lends to the connection that it serves.
pub(super) struct Means<P: Port> {
    pub(super) net: P::Net,
    pub(super) now: Instant,
    pub(super) last_token: Token,
    /// For reading and writing, one at a time.
    pub(super) buffer: Vec<u8>,
}

/// Reads of one socket before the others get their turn.
const READS: usize = 4;

impl<P: Port> Connection<P> {
    pub(super) fn new(client: Shared<Client<P>>) -> Self {
        let backlog = Backlog::new(P::limits().backlog);
        Self { client, link: None, backlog, leftover: Vec::new(), deadline: None, more: true, touched: false }
    }

    /// Whether this is the connection of `client`.
    pub(super) fn serves(&self, client: &Shared<Client<P>>) -> bool {
        Shared::same(&self.client, client)
    }

    /// Whether this is where news of `token` belongs; takes them if so.
    pub(super) fn ready(&mut self, token: Token, readiness: &mut Option<Readiness>) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.token == token) else { return false };
        match (&mut link.stage, readiness.take()) {
            (stage @ Stage::Resolving, Some(Readiness::Resolved(addresses))) => *stage = Stage::Resolved(addresses),
            (Stage::Up { readable, writable, .. }, _) => (*readable, *writable) = (true, true),
            _ => {}
        }
        self.more = true;
        true
    }

    /// Whether anything has happened that [`Self::advance`] must see.
    pub(super) fn needs_attention(&mut self, now: Instant) -> bool {
        let dirty = self.client.take_dirty();
        dirty || self.more || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Whether the client was removed and its connection is closed.
    pub(super) fn is_over(&self) -> bool {
        self.touched && self.link.is_none() && {
            let state = self.client.state().lock();
            state.closed && state.phase == Phase::Idle
        }
    }

    /// Does what can be done now.
    pub(super) fn advance(&mut self, means: &mut Means<P>) {
        (self.more, self.touched) = (false, true);
        self.follow_wish(means);
        if let Err(trouble) = self.progress(means) {
            self.fail(means, trouble);
        }
    }

    /// Sends what this turn has added; when to come back.
    pub(super) fn finish_turn(&mut self, means: &mut Means<P>) -> Option<Instant> {
        if self.touched {
            self.touched = false;
            if let Err(trouble) = self.transmit(means) {
                self.fail(means, trouble);
            }
            self.finish_drain(means);
            self.backlog.trim();
            self.deadline = self.next_deadline();
            self.more |= self.stopped_reading() && self.may_read(means.now);
        }
        if self.more { Some(means.now) } else { self.deadline }
    }

    /// An event of the backlog was accepted; with the receipt of its message, if it was one.
    pub(super) fn accepted(&mut self, means: &mut Means<P>, receipt: Option<Receipt>) {
        self.touched = true;
        let Some(receipt) = receipt else { return };
        let result = self.client.state().lock().session.accepted(receipt);
        if let Err(violation) = result {
            self.fail(means, Trouble::Violation(violation));
        }
    }

    /// Whether there is input that was left where it is.
    fn stopped_reading(&self) -> bool {
        match &self.link {
            Some(Link { stage: Stage::Up { readable, .. }, .. }) => *readable || !self.leftover.is_empty(),
            _ => false,
        }
    }

    /// Starts or drops the link as the application's tasks want it.
    fn follow_wish(&mut self, means: &mut Means<P>) {
        let (phase, attempt) = {
            let state = self.client.state().lock();
            (state.phase, state.attempt)
        };
        let lingering = matches!(&self.link, Some(Link { stage: Stage::Lingering { .. }, .. }));
        let unwanted = match phase {
            Phase::Idle => true,
            Phase::Connecting => self.link.as_ref().is_some_and(|link| link.attempt != attempt),
            _ => false,
        };
        if unwanted && !lingering {
            self.drop_link(means);
            self.client.state().lock().session.closed();
        }
        if phase == Phase::Connecting && self.link.is_none() {
            self.begin(means, attempt);
        }
    }

    fn begin(&mut self, means: &mut Means<P>, attempt: u32) {
        let token = means.new_token();
        let client = self.client.clone();
        let began = client.config().broker().is_ok_and(|broker| {
            log::debug!(target: "mqtt", "connecting to {}:{}", broker.host, broker.port);
            means.net.resolve(token, broker.host, broker.port)
        });
        let deadline = means.now + CONNECT_TIMEOUT;
        self.link = Some(Link { token, attempt, deadline, stage: Stage::Resolving });
        if !began {
            self.fail(means, Trouble::NoMemory);
        }
    }

    /// Moves the link on from stage to stage as far as it goes.
    fn progress(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        loop {
            let Some(link) = &mut self.link else { return Ok(()) };
            match &mut link.stage {
                Stage::Resolving => return link.check_deadline(means.now),
                Stage::Resolved(addresses) => {
                    if addresses.is_empty() {
                        return Err(Trouble::NotFound);
                    }
                    let addresses = core::mem::take(addresses).into_iter();
                    self.open(means, addresses)?;
                }
                Stage::Opening { socket, rest, give_up } => match socket.established() {
                    Ok(()) => self.begin_session(means)?,
                    Err(NetError::WouldBlock) if means.now < *give_up => return link.check_deadline(means.now),
                    Err(_) => {
                        let rest = core::mem::take(rest);
                        self.open(means, rest)?;
                    }
                },
                Stage::Up { .. } => {
                    {
                        let mut state = self.client.state().lock();
                        if state.phase == Phase::Connecting {
                            link.check_deadline(means.now)?;
                        }
                        state.session.handle_timeout(means.now).map_err(|_| Trouble::NoPingResponse)?;
                    }
                    return self.receive(means);
                }
                Stage::Lingering { socket, until } => {
                    let open = loop {
                        match socket.read(&mut means.buffer) {
                            Ok(0) => break false,
                            Ok(_) => {}
                            Err(NetError::WouldBlock) => break means.now < *until,
                            Err(_) => break false,
                        }
                    };
                    if !open {
                        self.drop_link(means);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Begins a TCP connection to the first address that lets us.
    fn open(&mut self, means: &mut Means<P>, mut rest: vec::IntoIter<SocketAddr>) -> Result<(), Trouble> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.check_deadline(means.now)?;
        if let Stage::Opening { socket, .. } = core::mem::replace(&mut link.stage, Stage::Resolving) {
            means.net.close(socket);
        }
        while let Some(address) = rest.next() {
            link.token = means.new_token();
            if let Ok(socket) = means.net.connect(link.token, address) {
                let share = link.deadline.millis_from(means.now) / (rest.len() as u64 + 1);
                link.stage = Stage::Opening { socket, rest, give_up: means.now + share };
                return Ok(());
            }
        }
        Err(Trouble::Unreachable)
    }

    /// TCP stands: MQTT begins.
    fn begin_session(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let Stage::Opening { socket, .. } = core::mem::replace(&mut link.stage, Stage::Resolving) else {
            return Ok(());
        };
        link.stage = Stage::Up { socket, readable: true, writable: true };
        let client = self.client.clone();
        let connect = client.config().connect().map_err(|_| Trouble::NoMemory)?;
        let result = client.state().lock().session.connect(means.now, &connect);
        result.map_err(|_| Trouble::NoMemory)
    }

    /// Reads and takes input until there is no more, or no room for what it brings.
    fn receive(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        for _ in 0..READS {
            if !self.stopped_reading() || !self.may_read(means.now) {
                return Ok(());
            }
            let leftover = core::mem::take(&mut self.leftover);
            if !leftover.is_empty() {
                self.consume(means.now, &leftover)?;
                continue;
            }
            let Some(Link { stage: Stage::Up { socket, readable, .. }, .. }) = &mut self.link else { return Ok(()) };
            match socket.read(&mut means.buffer) {
                Ok(0) => return Err(Trouble::ClosedByServer),
                Ok(len) => self.consume(means.now, &means.buffer[..len])?,
                Err(NetError::WouldBlock) => *readable = false,
                Err(error) => return Err(Trouble::Broken(error)),
            }
        }
        Ok(())
    }

    /// Whether there is room for what the next read may bring. Calls that hold up the event task wait for something
    /// behind the messages in the backlog, so for their sake it may grow further; then they fail.
    fn may_read(&mut self, now: Instant) -> bool {
        let mut state = self.client.state().lock();
        if state.calls.block_events() && self.backlog.is_full(PATIENCE) {
            log::error!(target: "mqtt", "a call in an event callback waits behind too many messages");
            state.calls.fail_blocking(Error::Failure);
        }
        let full = self.backlog.is_full(state.patience());
        state.session.set_reading(now, !full);
        !full && !state.session.is_congested()
    }

    /// Takes input; what there is no room for is left over.
    fn consume(&mut self, now: Instant, mut input: &[u8]) -> Result<(), Trouble> {
        let client = self.client.clone();
        let mut guard = client.state().lock();
        let state = &mut *guard;
        while let Some(event) = state.session.handle_input(now, &mut input).map_err(Trouble::Violation)? {
            self.handle_event(state, event)?;
            if self.backlog.is_full(state.patience()) {
                break;
            }
        }
        self.leftover.try_reserve_exact(input.len()).map_err(|_| Trouble::NoMemory)?;
        self.leftover.extend_from_slice(input);
        Ok(())
    }

    fn handle_event(&mut self, state: &mut State<P>, event: Event<P::Buffer>) -> Result<(), Trouble> {
        match event {
            Event::Connected { session_present } => {
                let current = self.link.as_ref().is_some_and(|link| link.attempt == state.attempt);
                if state.phase != Phase::Connecting || !current {
                    // Nor what stands behind CONNACK.
                    return Err(Trouble::Unwanted);
                }
                log::debug!(target: "mqtt", "connected, session present: {session_present}");
                state.phase = Phase::Connected;
                state.calls.finish(Ok(()), |kind| kind == Kind::Connect);
                self.backlog.push(Some(Notification::Connected), None);
            }
            Event::Refused(code) => return Err(Trouble::Refused(code)),
            Event::Message(message) => {
                let receipt = message.receipt;
                let event = Notification::Data { client: self.client.token(), message };
                if !self.backlog.push(Some(event), Some(receipt)) {
                    state.session.dropped(receipt);
                }
            }
            Event::Skipped(receipt) => {
                if !self.backlog.push(None, Some(receipt)) {
                    state.session.dropped(receipt);
                }
            }
            Event::Published(id) => {
                self.backlog.push(Some(Notification::Published { id }), None);
                state.has_room = true;
            }
            Event::Subscribed { id, granted } => {
                let outcome = if granted.is_some() { Ok(()) } else { Err(Error::SubscribeRefused) };
                state.calls.finish(outcome, |kind| kind == Kind::Acknowledgement(id));
            }
            Event::Unsubscribed(id) => state.calls.finish(Ok(()), |kind| kind == Kind::Acknowledgement(id)),
        }
        Ok(())
    }

    /// Sends what the session has, as far as the socket takes it.
    fn transmit(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        let Some(Link { stage: Stage::Up { socket, writable, .. }, .. }) = &mut self.link else { return Ok(()) };
        let mut sent = 0;
        loop {
            let len = {
                let mut guard = self.client.state().lock();
                let state = &mut *guard;
                state.session.transmitted(means.now, sent);
                state.has_room |= sent > 0;
                state.drain(means.now);
                let len = if *writable { state.session.transmit(&mut means.buffer) } else { 0 };
                if len == 0 {
                    // Only now, so that who was waiting finds the lock free and all of the room.
                    if core::mem::take(&mut state.has_room) {
                        state.calls.finish(Ok(()), |kind| kind == Kind::Room);
                    }
                    return Ok(());
                }
                len
            };
            sent = match socket.write(&means.buffer[..len]) {
                Ok(sent) => sent,
                Err(NetError::WouldBlock) => {
                    *writable = false;
                    0
                }
                Err(error) => return Err(Trouble::Broken(error)),
            };
        }
    }

    /// A disconnect that was asked for is done when DISCONNECT is with the transport, or its time is up.
    fn finish_drain(&mut self, means: &mut Means<P>) {
        let client = self.client.clone();
        let flushed = {
            let mut guard = client.state().lock();
            let state = &mut *guard;
            let Phase::Draining(deadline) = state.phase else { return };
            let flushed = !state.session.is_connected() && !state.session.wants_write();
            if !flushed && means.now < deadline {
                return;
            }
            self.end(state, Error::Failure);
            flushed
        };
        match self.link.as_mut().map(|link| (core::mem::replace(&mut link.stage, Stage::Resolving), link)) {
            Some((Stage::Up { mut socket, .. }, link)) if flushed => {
                socket.shutdown();
                link.stage = Stage::Lingering { socket, until: means.now + LINGER_TIMEOUT };
                // The server may have closed already, and that is reported only once.
                self.more = true;
            }
            Some((stage, link)) => {
                link.stage = stage;
                self.drop_link(means);
            }
            None => {}
        }
    }

    /// The connection or the attempt ends with an error.
    fn fail(&mut self, means: &mut Means<P>, trouble: Trouble) {
        let attempt = self.link.as_ref().map(|link| link.attempt);
        self.drop_link(means);
        let client = self.client.clone();
        let mut state = client.state().lock();
        match state.phase {
            Phase::Connecting if attempt != Some(state.attempt) => {
                // An old wish failed; the new one has not begun.
                self.more = true;
                return;
            }
            Phase::Connecting => {
                let (host, port) = client.config().broker().map_or(("", 0), |broker| (broker.host, broker.port));
                log::error!(target: "mqtt", "connect to {host}:{port} failed: {trouble}");
            }
            Phase::Connected | Phase::Draining(_) => log::warn!(target: "mqtt", "connection lost: {trouble}"),
            Phase::Idle => {}
        }
        self.end(&mut state, if let Trouble::Refused(code) = trouble { Error::Refused(code) } else { Error::Failure });
    }

    /// Everybody who waits learns that there is no connection any more.
    fn end(&mut self, state: &mut State<P>, connect_error: Error) {
        let client = match state.phase {
            Phase::Connected => Some(Some(self.client.token())),
            Phase::Draining(_) => Some(None),
            Phase::Idle | Phase::Connecting => None,
        };
        if let Some(client) = client {
            self.backlog.push(Some(Notification::Disconnected { client }), None);
        }
        state.phase = Phase::Idle;
        state.session.closed();
        state.calls.finish(Ok(()), |kind| kind == Kind::Closed);
        state.calls.finish(Err(connect_error), |kind| kind == Kind::Connect);
        state.calls.finish(Err(Error::Disconnected), |kind| kind != Kind::Quiet);
    }

    fn drop_link(&mut self, means: &mut Means<P>) {
        let Some(link) = self.link.take() else { return };
        self.leftover = Vec::new();
        // A connect may have been waiting for this, or a deinit.
        self.more = true;
        match link.stage {
            Stage::Opening { socket, .. } | Stage::Up { socket, .. } | Stage::Lingering { socket, .. } => {
                means.net.close(socket);
            }
            Stage::Resolving | Stage::Resolved(_) => {}
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        match &link.stage {
            Stage::Resolving | Stage::Resolved(_) => Some(link.deadline),
            Stage::Opening { give_up, .. } => Some(link.deadline.min(*give_up)),
            Stage::Lingering { until, .. } => Some(*until),
            Stage::Up { .. } => {
                let state = self.client.state().lock();
                let phase = match state.phase {
                    Phase::Connecting => Some(link.deadline),
                    Phase::Draining(deadline) => Some(deadline),
                    _ => None,
                };
                earliest(phase, state.session.deadline())
            }
        }
    }
}

impl<P: Port> Means<P> {
    fn new_token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }
}

impl<P: Port> Link<P> {
    fn check_deadline(&self, now: Instant) -> Result<(), Trouble> {
        if now < self.deadline { Ok(()) } else { Err(Trouble::TimedOut) }
    }
}
