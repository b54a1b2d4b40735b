//! One client, as the MQTT task sees it: its way from a host name to a connection and back.

use alloc::vec::Vec;

use super::backlog::Backlog;
use super::calls::Cause;
use super::closing::{Closing, End};
use super::connection_error::ConnectionError;
use super::dial::{Dial, Preference};
use super::handshake::{Handshake, TlsConfig};
use super::outstanding::Outstanding;
use super::pipe::{LinkSocket, Pipe};
use super::receiver::Receiver;
use super::state::{Attempt, ClientState, Room};
use super::{CONNECT_TIMEOUT, Client, Error, SILENCE};
use crate::log;
use crate::port::{Port, Readiness, Shared, Token};
use crate::time::{Clock, Instant};
use crate::transport::HAS_LAYERS;

mod transmit;

/// One client, as the MQTT task serves it.
// In this order for the device's short instructions, like `Session`.
#[repr(C)]
pub(super) struct Connection<P: Port> {
    /// [`Self::advance`] was called in this turn of the task, or an event was accepted: there may be something to send.
    served: bool,
    client: Shared<Client<P>>,
    /// The attempt that `stage` belongs to, or belonged to before it went down.
    attempt: Option<Attempt>,
    /// When the attempt must have led to CONNACK.
    limit: Instant,
    /// When the MQTT task is to call [`Self::advance`] next.
    due: Instant,
    receiver: Receiver<P>,
    stage: Stage<P>,
    /// The end of the connection before.
    closing: Option<Closing<P>>,
    /// What TLS shares from one connection to the next: certificates, key, the last session.
    tls: Option<TlsConfig>,
    /// TLS's handshake on the socket.
    handshake: Option<Handshake<P>>,
    preference: Preference,
}

/// How far an attempt has come.
enum Stage<P: Port> {
    /// There is no attempt and no connection.
    Down,
    /// Name lookup and TCP.
    Dialing(Dial<P::Net>),
    /// TCP stands: TLS shakes hands, then WebSocket. A build without layers passes through it in one go.
    Securing(Pipe<P>),
    /// MQTT has begun.
    Up(Pipe<P>),
}

/// What belongs to the MQTT task, lent to the connection that it serves.
pub(super) struct Context<P: Port> {
    pub(super) net: P::Net,
    /// The time of this turn: limits are judged with it after what has arrived was read.
    pub(super) clock: Clock,
    pub(super) last_token: Token,
    /// For the bytes of one read or write at a time.
    pub(super) buffer: Vec<u8>,
    /// Our events in the SDK's queue.
    pub(super) outstanding: Outstanding,
}

/// Reads of one socket before the others get their turn.
pub(super) const READS: usize = 4;

/// For `due`: in the next turn.
const AT_ONCE: Instant = Instant::from_millis(0);

impl<P: Port> Connection<P> {
    pub(super) fn new(client: Shared<Client<P>>) -> Self {
        Self {
            attempt: None,
            limit: Instant::from_millis(0),
            stage: Stage::Down,
            closing: None,
            receiver: Receiver::new(&client),
            tls: None,
            handshake: None,
            preference: Preference::NONE,
            due: AT_ONCE,
            served: false,
            client,
        }
    }

    /// Whether this is the connection of `client`.
    pub(super) fn serves(&self, client: &Shared<Client<P>>) -> bool {
        Shared::same(&self.client, client)
    }

    /// Events that wait for the SDK's queue.
    pub(super) fn backlog(&mut self) -> &mut Backlog<P::Buffer> {
        &mut self.receiver.backlog
    }

    /// The backlog of a connection that is dropped.
    pub(super) fn into_backlog(self) -> Backlog<P::Buffer> {
        self.receiver.backlog
    }

    /// Whether `token` names a lookup or a socket of this connection; takes what the network says of it if so.
    pub(super) fn ready(&mut self, token: Token, readiness: &mut Option<Readiness>) -> bool {
        let is_ours = match &mut self.stage {
            Stage::Dialing(dial) if dial.token() == token => {
                if let Some(Readiness::Resolved(addresses)) = readiness.take() {
                    dial.resolved(addresses, &self.preference);
                }
                true
            }
            Stage::Securing(pipe) | Stage::Up(pipe) if pipe.token() == token => {
                pipe.ready();
                if let Some(Readiness::Ended) = readiness {
                    pipe.ended();
                }
                true
            }
            _ => false,
        };
        let is_ours = is_ours || self.closing.as_mut().is_some_and(|closing| closing.ready(token));
        if is_ours {
            self.due = AT_ONCE;
        }
        is_ours
    }

    /// Whether the client was removed and its connection is closed.
    pub(super) fn is_over(&self) -> bool {
        let is_down = matches!(self.stage, Stage::Down) && self.closing.is_none();
        is_down && self.client.state().leave()
    }

    /// Reads, judges limits and goes on with the attempt, as far as that goes now. `false`: nothing has happened that asks for it. A
    /// delivered event makes room in the backlog, and so for input.
    pub(super) fn advance(&mut self, context: &mut Context<P>, delivered: bool) -> bool {
        let (left, is_due) = (self.client.take_work(), self.due <= context.now());
        if !(left || is_due || (delivered && self.stopped_reading())) {
            return false;
        }
        self.due = Instant::NEVER;
        self.served = true;
        self.advance_closing(context);
        if !matches!(self.stage, Stage::Up(_)) {
            self.follow(context);
        }
        if let Err(error) = self.progress(context, is_due) {
            self.end(context.now(), error);
        }
        true
    }

    /// Sends what this turn has added. Whether input waits for deliveries.
    pub(super) fn finish_turn(&mut self, context: &mut Context<P>) -> bool {
        if !core::mem::take(&mut self.served) {
            return false;
        }
        // Whose lock is held then, while this connection is changed.
        let client = self.client.clone();
        match self.transmit(context, &client) {
            Ok(None) => {}
            Ok(Some(end)) => self.end_unwanted(context, end),
            Err(error) => {
                self.end(context.now(), error);
                self.due = AT_ONCE;
            }
        }
        self.receiver.backlog.trim();
        if self.stopped_reading() && self.may_read(context) {
            self.due = AT_ONCE;
        }
        core::mem::take(&mut self.receiver.backlog.was_full)
    }

    /// When [`Self::advance`] is due next; in the past: in the next turn.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The first event of the backlog was accepted, whose entry has cost this.
    pub(super) fn accepted(&mut self, size: usize) {
        self.served = true;
        self.receiver.backlog.accepted(size);
        if let Err(violation) = self.receiver.acknowledge(&self.client, None) {
            self.end(P::now(), violation.into());
        }
    }

    /// Whether input waits in the socket or was left over.
    fn stopped_reading(&self) -> bool {
        match &self.stage {
            Stage::Up(pipe) => pipe.readable || self.receiver.has_leftover(),
            _ => false,
        }
    }

    /// Whether there is room for what the next read may bring.
    fn may_read(&mut self, context: &mut Context<P>) -> bool {
        let (is_congested, has_memory) = match &mut self.stage {
            Stage::Up(pipe) => (pipe.is_congested(), pipe.has_memory()),
            _ => (false, true),
        };
        !is_congested && self.receiver.may_read(&self.client, context, has_memory)
    }

    /// Begins or drops an attempt as the application's tasks want it. Once its stream is open, `judge_end` does that.
    // Not inlined: 40 bytes of flash less.
    #[inline(never)]
    fn follow(&mut self, context: &mut Context<P>) {
        let wanted = self.client.state().wanted;
        if wanted != self.attempt && !matches!(self.stage, Stage::Down) {
            if let Stage::Dialing(dial) = &self.stage {
                dial.give_up(&mut context.net);
            }
            self.hang_up();
        }
        if matches!(self.stage, Stage::Down) && wanted.is_some() && !self.waits_for_closing(context.now()) {
            self.attempt = wanted;
            self.begin(context);
        }
    }

    fn waits_for_closing(&self, now: Instant) -> bool {
        self.closing.as_ref().is_some_and(|closing| !closing.is_aside(now))
    }

    fn begin(&mut self, context: &mut Context<P>) {
        self.limit = context.now() + CONNECT_TIMEOUT;
        self.stage = Stage::Dialing(Dial::new(context.new_token(), context.now(), self.limit));
        if let Ok(broker) = self.client.config().broker() {
            log::debug(&[&"connecting to ", &broker.host, &":", &broker.port]);
        }
    }

    /// Moves the attempt on from stage to stage as far as it goes.
    // Not inlined: 44 bytes of flash less.
    #[inline(never)]
    fn progress(&mut self, context: &mut Context<P>, is_due: bool) -> Result<(), ConnectionError> {
        loop {
            match &mut self.stage {
                Stage::Down => return Ok(()),
                Stage::Dialing(dial) => {
                    let token = dial.token();
                    let (net, config) = (&mut context.net, self.client.config());
                    let polled = dial.poll(net, &context.clock, config, &mut self.preference);
                    match polled.inspect_err(|_| dial.give_up(net))? {
                        Some(socket) => self.secure(token, socket)?,
                        None => return Ok(()),
                    }
                }
                Stage::Securing(pipe) => {
                    if HAS_LAYERS && context.clock.is_over(self.limit) {
                        pipe.ready();
                    }
                    if let Some(handshake) = &self.handshake {
                        let advanced = handshake.advance(pipe, &mut context.buffer, &mut self.tls);
                        if !advanced.map_err(ConnectionError::in_handshake)? {
                            return self.check_limit(context).map_err(ConnectionError::in_handshake);
                        }
                        self.handshake = None;
                        pipe.upgrade(&self.client.config().broker().map_err(|_| ConnectionError::BadUri)?)?;
                    }
                    let mut early = false;
                    for _ in 0..READS {
                        if !pipe.is_open() && pipe.readable {
                            pipe.read(&mut context.buffer, &mut |_| early = true)
                                .map_err(ConnectionError::in_handshake)?;
                        }
                    }
                    if early {
                        return Err(ConnectionError::DataBeforeConnect);
                    }
                    if !pipe.is_open() {
                        if pipe.readable {
                            self.due = AT_ONCE;
                        }
                        return self.check_limit(context).map_err(ConnectionError::in_handshake);
                    }
                    self.begin_session(context)?;
                }
                Stage::Up(pipe) => {
                    // Before anything ends for silence, the socket is read.
                    if !is_due {
                        return self.receive(context);
                    }
                    pipe.readable = true;
                    self.receive(context)?;
                    return self.judge(context);
                }
            }
        }
    }

    fn check_limit(&self, context: &Context<P>) -> Result<(), ConnectionError> {
        if context.clock.is_over(self.limit) { Err(ConnectionError::TimedOut) } else { Ok(()) }
    }

    /// TCP stands: the layers on it begin.
    // Not inlined, like `begin_session` and `end_unwanted`: in one function their frames would lie under everything that TLS
    // needs.
    #[cfg_attr(feature = "tls", inline(never))]
    fn secure(&mut self, token: Token, socket: LinkSocket<P>) -> Result<(), ConnectionError> {
        let mut pipe = Pipe::new(token, socket);
        if HAS_LAYERS {
            let broker = self.client.config().broker().map_err(|_| ConnectionError::BadUri)?;
            self.handshake = Handshake::begin(&self.client, &broker, self.tls.as_ref())?;
            if self.handshake.is_none() {
                pipe.upgrade(&broker)?;
            }
        }
        self.stage = Stage::Securing(pipe);
        Ok(())
    }

    /// The stream to the server is open: MQTT begins.
    #[cfg_attr(feature = "tls", inline(never))]
    fn begin_session(&mut self, context: &mut Context<P>) -> Result<(), ConnectionError> {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Down) {
            Stage::Securing(pipe) => {
                if let Some((version, kind)) = pipe.description() {
                    log::debug(&[&version, &", ", &kind]);
                }
                Stage::Up(pipe)
            }
            stage => stage,
        };
        let connect = self.client.config().connect().map_err(|_| ConnectionError::NoMemory)?;
        let result = self.client.state().session.connect(context.now(), &connect);
        result.map_err(|_| ConnectionError::NoMemory)
    }

    /// Ends what has waited too long, now that what has arrived was read: the attempt, calls.
    fn judge(&mut self, context: &mut Context<P>) -> Result<(), ConnectionError> {
        let clock = &context.clock;
        let mut guard = self.client.state();
        let state = &mut *guard;
        let is_attempt = state.connected.is_none();
        if (is_attempt || state.is_connected() || self.receiver.is_cut()) && clock.is_over(self.limit(state)) {
            return Err(if is_attempt { ConnectionError::TimedOut } else { ConnectionError::NoMemory });
        }
        let (session, room) = (&mut state.session, &mut state.room);
        state.calls.expire(clock, |id| {
            session.forget(id);
            *room = Room::More;
            log::error(&[&"no answer to request ", &id, &" within 10 s"]);
        });
        if state.room_limit <= clock.now() {
            (state.room_limit, state.room) = (Instant::NEVER, Room::Overdue);
        }
        Ok(())
    }

    /// Reads and takes input until there is no more, or no room for what it brings.
    fn receive(&mut self, context: &mut Context<P>) -> Result<(), ConnectionError> {
        let now = context.now();
        for _ in 0..READS {
            if !self.stopped_reading() || !self.may_read(context) {
                return Ok(());
            }
            let (Stage::Up(pipe), Some(attempt)) = (&mut self.stage, self.attempt) else { return Ok(()) };
            if self.receiver.has_leftover() {
                self.receiver.consume_leftover(&self.client, &mut context.outstanding, now, attempt)?;
                continue;
            }
            let (mut taken, is_plain) = (Ok(()), pipe.is_plain());
            let Context { buffer, outstanding, .. } = &mut *context;
            let read = pipe.read(buffer, &mut |input| {
                if taken.is_ok() {
                    taken = self.receiver.consume(&self.client, outstanding, now, attempt, input, is_plain);
                }
            });
            // What layers have read may be no packet before more comes, or none at all.
            #[cfg(any(feature = "tls", feature = "websocket"))]
            if matches!(read, Ok(true)) && !is_plain {
                self.client.state().session.heard(now);
            }
            // A packet before the end of the stream may say why the stream ended.
            taken.and(read)?;
        }
        Ok(())
    }

    /// Goes on with `closing`, the end of the connection before this one.
    // Not inlined: 36 bytes of flash less.
    #[inline(never)]
    fn advance_closing(&mut self, context: &mut Context<P>) {
        let Some(closing) = &mut self.closing else { return };
        let is_gone = self.client.state().closed;
        let end = closing.poll(context, is_gone);
        let outcome = match end {
            End::Pending => return,
            End::Received | End::Closed => Ok(()),
            End::TimedOut => Err(Error::Failure),
        };
        let mut state = self.client.state();
        state.closing = None;
        state.calls.finish(Cause::Closed(closing.attempt, outcome));
        drop(state);
        if end != End::Received {
            self.closing = None;
        }
    }

    /// The connection or the attempt ends with an error: at once, or where a connection stands that there is no memory for, as
    /// [`Receiver`] says.
    fn end(&mut self, now: Instant, error: ConnectionError) {
        let may_wait = matches!(error, ConnectionError::NoMemory) && self.client.state().is_connected();
        if !may_wait || !self.receiver.cut(now) {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: ConnectionError) {
        self.hang_up();
        let Some(attempt) = self.attempt else { return };
        let client = &self.client;
        let mut state = client.state();
        if state.connected.is_some() {
            self.preference.served();
            log::warn(&[&"connection lost: ", &error]);
        } else if state.wanted == Some(attempt) {
            let (host, port) = client.config().broker().map_or(("", 0), |broker| (broker.host, broker.port));
            log::error(&[&"connect to ", &host, &":", &port, &" failed: ", &error]);
        }
        self.receiver.lose(client, &mut state);
        state.failed(
            attempt,
            if let ConnectionError::Refused(code) = error { Error::Refused(code) } else { Error::Failure },
        );
        // A disconnect that waits for the end of this connection has it.
        state.calls.finish(Cause::Closed(attempt, Ok(())));
    }

    /// Drops the stream. What the layers still have for the server (an alert, a close frame) goes out as far as the socket
    /// takes it at once.
    fn hang_up(&mut self) {
        if let Stage::Securing(pipe) | Stage::Up(pipe) = core::mem::replace(&mut self.stage, Stage::Down) {
            pipe.give_up();
        }
        self.handshake = None;
        self.receiver.drop_leftover();
        // A connect that waits for the end of this connection, or a deinit, goes on in the next turn.
        self.due = AT_ONCE;
    }

    /// When the connection ends, or what it does at its end is due. An attempt must have led to CONNACK by then.
    fn limit(&self, state: &ClientState<P>) -> Instant {
        match state.connected {
            None => self.limit,
            connected if connected == state.wanted || self.receiver.is_cut() => {
                self.receiver.end(&state.session, self.stopped_reading())
            }
            Some(_) if state.session.is_connected() => state.ending.drain,
            Some(_) => state.ending.limit.min(state.ending.hurried.max(state.session.last_received() + SILENCE)),
        }
    }

    /// When something is due but for keep-alive, which [`Self::transmit`] looks after.
    fn next_deadline(&self, state: &ClientState<P>, clock: &Clock) -> Instant {
        let attempt = match &self.stage {
            Stage::Securing(_) if HAS_LAYERS => clock.end_of(self.limit),
            Stage::Down | Stage::Securing(_) => Instant::NEVER,
            Stage::Dialing(dial) => dial.deadline(clock),
            Stage::Up(_) => {
                let limit = self.limit(state);
                let calls = state.calls.deadline(clock).min(state.room_limit);
                let memory = self.receiver.next_memory_retry(clock.now());
                clock.end_of(limit).min(calls).min(memory)
            }
        };
        match &self.closing {
            Some(closing) => attempt.min(closing.deadline(clock)),
            None => attempt,
        }
    }
}

impl<P: Port> Context<P> {
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) fn new_token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }
}
