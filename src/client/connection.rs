//! One client, as the MQTT task sees it: its way from a host name to a connection and back.

use alloc::vec::Vec;

use zeroize::Zeroize;

use super::backlog::{Backlog, Notification};
use super::calls::Kind;
use super::dial::{Dial, Preference};
use super::handle::{Phase, State};
use super::intake::Intake;
use super::pipe::{LinkSocket, Pipe};
use super::security::Security;
use super::trouble::Trouble;
use super::{CONNECT_TIMEOUT, Client, Error, LINGER_TIMEOUT};
use crate::log;
use crate::port::{Lock, Net, NetError, Port, Readiness, Shared, Socket, Token};
use crate::protocol::Receipt;
use crate::time::{Clock, Instant, earliest};

/// A client in the task's care.
pub(super) struct Connection<P: Port> {
    client: Shared<Client<P>>,
    link: Option<Link<P>>,
    intake: Intake<P>,
    security: Security<P>,
    preference: Preference,
    /// When to come back without being called.
    pub(super) deadline: Option<Instant>,
    /// There is more to do at once.
    more: bool,
    /// Something was done in this turn, so there may be something to send.
    touched: bool,
}

/// A connection from name lookup to close.
struct Link<P: Port> {
    token: Token,
    /// Which of the client's wishes it fulfils.
    attempt: u32,
    /// When the attempt must have led to CONNACK.
    deadline: Instant,
    stage: Stage<P>,
}

enum Stage<P: Port> {
    /// Name lookup and TCP.
    Dialing(Dial<P::Net>),
    /// TCP stands: TLS and WebSocket shake hands.
    Securing(Pipe<P>),
    /// MQTT has begun.
    Up(Pipe<P>),
    /// DISCONNECT and FIN are out. Closing before the server does could turn them into a reset, and the will would be
    /// published.
    Lingering { socket: LinkSocket<P>, until: Instant },
}

/// What the task lends to the connection that it serves.
pub(super) struct Means<P: Port> {
    pub(super) net: P::Net,
    /// The time of this turn: limits are judged with it after what has arrived was read.
    pub(super) clock: Clock,
    pub(super) last_token: Token,
    /// For reading and writing, one at a time.
    pub(super) buffer: Vec<u8>,
}

/// Reads and writes of one socket before the others get their turn.
const READS: usize = 4;
const WRITES: usize = 4;

impl<P: Port> Connection<P> {
    pub(super) fn new(client: Shared<Client<P>>) -> Self {
        let intake = Intake::new(client.clone());
        let security = Security::new();
        let preference = Preference::NONE;
        Self { client, link: None, intake, security, preference, deadline: None, more: true, touched: false }
    }

    /// Whether this is the connection of `client`.
    pub(super) fn serves(&self, client: &Shared<Client<P>>) -> bool {
        Shared::same(&self.client, client)
    }

    /// Events that wait for the SDK's queue.
    pub(super) fn backlog(&mut self) -> &mut Backlog<P::Buffer> {
        &mut self.intake.backlog
    }

    /// The same, of a connection that is over.
    pub(super) fn into_backlog(self) -> Backlog<P::Buffer> {
        self.intake.backlog
    }

    /// Whether this is where news of `token` belongs; takes them if so.
    pub(super) fn ready(&mut self, token: Token, readiness: &mut Option<Readiness>) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| link.token == token) else { return false };
        match (&mut link.stage, readiness.take()) {
            (Stage::Dialing(dial), Some(Readiness::Resolved(addresses))) => dial.resolved(addresses, &self.preference),
            (Stage::Securing(pipe) | Stage::Up(pipe), _) => pipe.ready(),
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
            self.intake.backlog.trim();
            self.deadline = self.next_deadline(&means.clock);
            self.more |= self.stopped_reading() && self.may_read(means.now());
        }
        if self.more { Some(means.now()) } else { self.deadline }
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
            Some(Link { stage: Stage::Up(pipe), .. }) => pipe.readable || self.intake.has_leftover(),
            _ => false,
        }
    }

    /// Whether there is room for what the next read may bring.
    fn may_read(&mut self, now: Instant) -> bool {
        let congested = matches!(&self.link, Some(Link { stage: Stage::Up(pipe), .. }) if pipe.is_congested());
        !congested && self.intake.may_read(now)
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
        let deadline = means.now() + CONNECT_TIMEOUT;
        let stage = Stage::Dialing(Dial::new(token, means.now(), deadline));
        self.link = Some(Link { token, attempt, deadline, stage });
        // What it was made with was checked before anybody could wish for a connection.
        let Ok(broker) = client.config().broker() else { return self.fail(means, Trouble::NotFound) };
        if let Err(trouble) = self.security.prepare(client.config(), &broker) {
            return self.fail(means, trouble);
        }
        log::debug(&[&"connecting to ", &broker.host, &":", &broker.port]);
    }

    /// Moves the link on from stage to stage as far as it goes.
    fn progress(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        loop {
            let Some(link) = &mut self.link else { return Ok(()) };
            match &mut link.stage {
                Stage::Dialing(dial) => {
                    let (net, config) = (&mut means.net, self.client.config());
                    match dial.poll(net, &means.clock, config, &mut self.preference)? {
                        Some(socket) => self.secure(means, socket)?,
                        None => return Ok(()),
                    }
                }
                Stage::Securing(pipe) => {
                    let mut early = false;
                    if means.clock.is_over(link.deadline) {
                        pipe.ready();
                    }
                    for _ in 0..READS {
                        if !pipe.is_open() && pipe.readable {
                            pipe.read(&mut means.buffer, &mut |_| early = true).map_err(Trouble::in_handshake)?;
                        }
                    }
                    if early {
                        return Err(Trouble::Early);
                    }
                    if !pipe.is_open() {
                        self.more |= pipe.readable;
                        return link.check_deadline(means).map_err(Trouble::in_handshake);
                    }
                    self.begin_session(means)?;
                }
                Stage::Up(pipe) => {
                    // Whatever is judged now, the socket is asked before.
                    if self.deadline.is_some_and(|deadline| deadline <= means.now()) {
                        pipe.ready();
                    }
                    self.receive(means)?;
                    return self.judge(means);
                }
                Stage::Lingering { socket, until } => {
                    // Whoever sends on and on gains no time by it, and takes none from the other handles.
                    let mut open = means.now() < *until;
                    for left in (0..READS).rev() {
                        match socket.read(&mut means.buffer) {
                            Ok(1..) => self.more |= left == 0,
                            Err(NetError::WouldBlock) => break,
                            Ok(0) | Err(_) => {
                                open = false;
                                break;
                            }
                        }
                    }
                    if !open {
                        self.drop_link(means);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// TCP stands: the layers on it begin.
    // Not inlined, like the others below: in one function their frames would lie under everything that TLS needs.
    #[cfg_attr(feature = "tls", inline(never))]
    fn secure(&mut self, means: &mut Means<P>, socket: LinkSocket<P>) -> Result<(), Trouble> {
        let mut output = Vec::new();
        let broker = self.client.config().broker().map_err(|_| Trouble::NotFound);
        let layers = broker.and_then(|broker| self.security.begin(&broker, &mut output));
        match (layers, &mut self.link) {
            (Ok(layers), Some(link)) => link.stage = Stage::Securing(Pipe::new(socket, layers, output)),
            (layers, _) => {
                means.net.close(socket);
                layers?;
            }
        }
        Ok(())
    }

    /// The stream to the server is open: MQTT begins.
    #[cfg_attr(feature = "tls", inline(never))]
    fn begin_session(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        let Some(Link { token, attempt, deadline, stage: Stage::Securing(pipe) }) = self.link.take() else {
            return Ok(());
        };
        if let Some((version, kind)) = pipe.description() {
            log::debug(&[&version, &", ", &kind]);
        }
        self.link = Some(Link { token, attempt, deadline, stage: Stage::Up(pipe) });
        let client = self.client.clone();
        let connect = client.config().connect().map_err(|_| Trouble::NoMemory)?;
        let result = client.state().lock().session.connect(means.now(), &connect);
        result.map_err(|_| Trouble::NoMemory)
    }

    /// Ends what has waited too long, now that what has arrived was read: the attempt, calls, a server that is silent.
    fn judge(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        let (Some(link), clock) = (&self.link, &means.clock) else { return Ok(()) };
        let mut guard = self.client.state().lock();
        let state = &mut *guard;
        if state.phase == Phase::Connecting {
            link.check_deadline(means)?;
        }
        state.room_limit = state.room_limit.filter(|limit| *limit > clock.now());
        let session = &mut state.session;
        state.calls.expire(clock, |id| {
            session.forget(id);
            log::error(&[&"no answer to request ", &id, &" within 10 s"]);
        });
        if state.keep_alive(clock).is_some_and(|deadline| deadline <= clock.now()) {
            state.session.handle_timeout(clock.now()).map_err(Trouble::KeepAlive)?;
        }
        Ok(())
    }

    /// Reads and takes input until there is no more, or no room for what it brings.
    fn receive(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        for _ in 0..READS {
            if !self.stopped_reading() || !self.may_read(means.now()) {
                return Ok(());
            }
            let Some(Link { stage: Stage::Up(pipe), attempt, .. }) = &mut self.link else { return Ok(()) };
            let (now, attempt) = (means.now(), *attempt);
            if self.intake.has_leftover() {
                self.intake.consume_leftover(now, attempt)?;
                continue;
            }
            let mut taken = Ok(());
            let read = pipe.read(&mut means.buffer, &mut |input| {
                if taken.is_ok() {
                    taken = self.intake.consume(now, attempt, input);
                }
            });
            // What came before the end of the stream may be the reason of it.
            taken.and(read)?;
        }
        Ok(())
    }

    /// Hands the pipe what the session has, as far as the socket takes it, and no more than others can wait for.
    fn transmit(&mut self, means: &mut Means<P>) -> Result<(), Trouble> {
        let pipe = match self.link.as_mut().map(|link| &mut link.stage) {
            Some(Stage::Securing(pipe)) => return pipe.flush().map(|()| pipe.acknowledge()),
            Some(Stage::Up(pipe)) => pipe,
            _ => return Ok(()),
        };
        if !pipe.may_write() {
            pipe.flush()?;
        }
        let mut connecting = false;
        for turn in 0.. {
            let len = {
                let mut guard = self.client.state().lock();
                let state = &mut *guard;
                let left = pipe.take_left();
                state.session.transmitted(means.now(), left);
                state.has_room |= left > 0;
                state.drain(&means.clock);
                self.more |= turn == WRITES;
                let len = if pipe.may_write() && turn < WRITES { state.session.transmit(&mut means.buffer) } else { 0 };
                // The publishers that wait are woken when nothing is left to hand over: they find all of the room.
                if len == 0 && core::mem::take(&mut state.has_room) {
                    state.calls.finish(Ok(()), &|kind| kind == Kind::Room);
                }
                connecting = state.phase == Phase::Connecting;
                len
            };
            if len == 0 {
                break;
            }
            let written = pipe.write(&means.buffer[..len]);
            // CONNECT has the password in it.
            if connecting {
                means.buffer[..len].zeroize();
            }
            written?;
        }
        // Answers of the layers.
        pipe.flush()?;
        if connecting {
            pipe.acknowledge();
        }
        Ok(())
    }

    /// A disconnect that was asked for is done when DISCONNECT is with the transport, or its time is up.
    #[cfg_attr(feature = "tls", inline(never))]
    fn finish_drain(&mut self, means: &mut Means<P>) {
        let client = self.client.clone();
        let flushed = {
            let mut guard = client.state().lock();
            let state = &mut *guard;
            let Phase::Draining(deadline) = state.phase else { return };
            let flushed = !state.session.is_connected() && !state.session.wants_write();
            if !flushed && !means.clock.is_over(deadline) {
                return;
            }
            self.end(state, Error::Failure);
            flushed
        };
        match self.link.take() {
            Some(Link { token, attempt, deadline, stage: Stage::Up(pipe) }) if flushed => {
                let stage = Stage::Lingering { socket: pipe.finish(), until: means.now() + LINGER_TIMEOUT };
                self.link = Some(Link { token, attempt, deadline, stage });
                // The server may have closed already, and that is reported only once.
                self.more = true;
            }
            link => {
                self.link = link;
                self.drop_link(means);
            }
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
                log::error(&[&"connect to ", &host, &":", &port, &" failed: ", &trouble]);
            }
            Phase::Connected | Phase::Draining(_) => log::warn(&[&"connection lost: ", &trouble]),
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
            self.preference.served();
            // Room for it has been there since CONNACK.
            self.intake.backlog.push(Some(Notification::Disconnected { client }), None);
        }
        (state.phase, state.room_limit, state.fresh_until) = (Phase::Idle, None, Instant::from_millis(0));
        state.session.closed();
        state.calls.finish(Ok(()), &|kind| kind == Kind::Closed);
        state.calls.finish(Err(connect_error), &|kind| kind == Kind::Connect);
        state.calls.finish(Err(Error::Disconnected), &|kind| kind != Kind::Quiet);
    }

    fn drop_link(&mut self, means: &mut Means<P>) {
        let Some(link) = self.link.take() else { return };
        self.intake.drop_leftover();
        // A connect may have been waiting for this, or a deinit.
        self.more = true;
        match link.stage {
            Stage::Dialing(mut dial) => dial.close(&mut means.net),
            Stage::Lingering { socket, .. } => means.net.close(socket),
            Stage::Securing(pipe) | Stage::Up(pipe) => means.net.close(pipe.give_up()),
        }
    }

    fn next_deadline(&self, clock: &Clock) -> Option<Instant> {
        let link = self.link.as_ref()?;
        match &link.stage {
            Stage::Dialing(dial) => Some(dial.deadline(clock)),
            Stage::Securing(_) => Some(clock.end_of(link.deadline)),
            Stage::Lingering { until, .. } => Some(*until),
            Stage::Up(_) => {
                let state = self.client.state().lock();
                let phase = match state.phase {
                    Phase::Connecting => Some(clock.end_of(link.deadline)),
                    Phase::Draining(deadline) => Some(clock.end_of(deadline)),
                    _ => None,
                };
                let calls = earliest(state.calls.deadline(clock), state.room_limit);
                earliest(earliest(phase, state.keep_alive(clock)), calls)
            }
        }
    }
}

impl<P: Port> Means<P> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn new_token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }
}

impl<P: Port> Link<P> {
    fn check_deadline(&self, means: &Means<P>) -> Result<(), Trouble> {
        if means.clock.is_over(self.deadline) { Err(Trouble::TimedOut) } else { Ok(()) }
    }
}
