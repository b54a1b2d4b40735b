//! One client, as the application's tasks see it.

use core::sync::atomic::{AtomicBool, Ordering};

use super::calls::{Calls, Kind};
use super::{ACKNOWLEDGE_TIMEOUT, CONNECT_TIMEOUT, Config, DRAIN_TIMEOUT, Error, Hub, ROOM_TIMEOUT, TASK_TIMEOUT};
use crate::log;
use crate::port::{Lock, Net, Port, Shared, Signal, Waker};
use crate::protocol::topic::{check_filter, check_name};
use crate::protocol::{PublishError, QoS, Session};
use crate::time::{Clock, Instant, Millis};

/// A client. Every function may be called from any task, event callbacks included, and from several at a time.
pub struct Client<P: Port> {
    pub(super) hub: &'static Hub<P>,
    token: usize,
    config: Config,
    /// Something was left for the task in `state`.
    dirty: AtomicBool,
    state: P::Lock<State<P>>,
}

/// How long a connection that a reconnect has made is what another reconnect asks for.
const FRESH: Millis = 1000;

/// How far the backlog may grow beyond its bound while a call holds up the event task.
pub(super) const PATIENCE: usize = 4;

/// Where a client stands between two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No connection, none wanted.
    Idle,
    /// The task is to connect, or does.
    Connecting,
    /// CONNACK has come.
    Connected,
    /// To be disconnected once nothing is in flight, at the latest at this time.
    Draining(Instant),
}

/// What the application's tasks and the MQTT task share about a client.
pub(super) struct State<P: Port> {
    pub(super) session: Session<P::Buffer>,
    pub(super) phase: Phase,
    /// Counts connections that were asked for, so that the task recognises a new wish.
    pub(super) attempt: u32,
    pub(super) calls: Calls<P>,
    /// Something was acknowledged or sent since those who wait for room were told.
    pub(super) has_room: bool,
    /// When the MQTT task looks after publishers that wait for room, at the latest: none of them need wake it before.
    pub(super) room_limit: Option<Instant>,
    /// Until then the connection, which a reconnect has made, is what another reconnect asks for.
    pub(super) fresh_until: Instant,
    /// Deinit has begun.
    pub(super) closed: bool,
    waker: Option<<P::Net as Net>::Waker>,
}

impl<P: Port> Client<P> {
    pub(super) fn new(hub: &'static Hub<P>, token: usize, config: Config) -> Option<Self> {
        let debug = config.debug.then_some(token);
        let state = || State {
            session: Session::new(P::limits().session, debug),
            phase: Phase::Idle,
            attempt: 0,
            calls: Calls::new(),
            has_room: false,
            room_limit: None,
            fresh_until: Instant::from_millis(0),
            closed: false,
            waker: None,
        };
        Some(Self { hub, token, config, dirty: AtomicBool::new(false), state: P::Lock::new(state)? })
    }

    /// Identifies the client in its events; never 0.
    pub fn token(&self) -> usize {
        self.token
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn state(&self) -> &P::Lock<State<P>> {
        &self.state
    }

    /// Whether something was left for the task since the last call.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::SeqCst)
    }

    /// Connects, and waits for CONNACK: 30 s at most. While another call connects, waits for that; connected already:
    /// nothing to do.
    pub fn connect(this: &Shared<Self>) -> Result<(), Error> {
        this.config.check(P::parts())?;
        let deadline = P::now() + (CONNECT_TIMEOUT + DRAIN_TIMEOUT + TASK_TIMEOUT);
        let signal = P::Signal::new().ok_or(Error::Failure).map_err(Error::before_the_task)?;
        if this.state.lock().waker.is_none() {
            this.hub.attach(this).map_err(Error::before_the_task)?;
        }
        loop {
            let (ticket, waker, kind) = {
                let mut guard = this.state.lock();
                let state = &mut *guard;
                if state.closed {
                    return Err(Error::Disconnected);
                }
                if state.waker.is_none() {
                    // The task has given up meanwhile.
                    return Err(Error::Failure);
                }
                let kind = match state.phase {
                    Phase::Connected => return Ok(()),
                    Phase::Draining(_) => Kind::Closed,
                    Phase::Connecting | Phase::Idle => Kind::Connect,
                };
                if !state.calls.reserve() {
                    drop(guard);
                    return Err(Error::Failure.before_the_task());
                }
                if state.phase == Phase::Idle {
                    state.phase = Phase::Connecting;
                    state.attempt = state.attempt.wrapping_add(1);
                }
                let ticket = state.calls.add(kind, signal.clone(), this.hub.may_block_events(), None);
                (ticket, this.touch(state), kind)
            };
            wake(waker);
            signal.wait(deadline);
            let outcome = this.state.lock().calls.remove(ticket);
            match outcome {
                // The disconnect that was under way is over.
                Some(Ok(())) if kind == Kind::Closed => {}
                Some(outcome) => return outcome,
                // The task, which cannot run at all, must not connect for nobody later.
                None => {
                    this.withdraw_connect();
                    return Err(Error::Failure);
                }
            }
        }
    }

    /// A connect has given up: without another one that waits, nobody wants the connection.
    fn withdraw_connect(&self) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let unwanted = state.phase == Phase::Connecting && !state.calls.any(|kind| kind == Kind::Connect);
        if unwanted {
            state.phase = Phase::Idle;
        }
        let waker = if unwanted { self.touch(state) } else { None };
        drop(guard);
        wake(waker);
    }

    /// Disconnects: waits up to 10 s for what is in flight, and not at all when nothing is.
    pub fn disconnect(&self) -> Result<(), Error> {
        self.end_connection(P::now() + DRAIN_TIMEOUT);
        Ok(())
    }

    /// Ends the connection, if there is one, and connects. A persistent session sends what is in flight again, so it
    /// does not wait for that. A connection that stands, and that another reconnect has made less than 1 s ago, is left
    /// alone: applications reconnect at every DISCONNECTED, also at those that their own reconnects cause.
    pub fn reconnect(this: &Shared<Self>) -> Result<(), Error> {
        {
            let state = this.state.lock();
            if state.phase == Phase::Connected && P::now() < state.fresh_until {
                return Ok(());
            }
        }
        let drain = if this.config.clean_session { DRAIN_TIMEOUT } else { 0 };
        this.end_connection(P::now() + drain);
        Self::connect(this)?;
        let mut state = this.state.lock();
        state.fresh_until = P::now() + FRESH;
        Ok(())
    }

    /// Ends the client: its connection, and every call that waits on it.
    pub(super) fn close(&self, deadline: Instant) {
        {
            let mut state = self.state.lock();
            state.closed = true;
            state.calls.finish(Err(Error::Failure), &|kind| kind == Kind::Connect);
            state.calls.finish(Err(Error::Disconnected), &|kind| kind != Kind::Closed);
        }
        self.end_connection(deadline);
        let Some(signal) = P::Signal::new() else { return };
        let ticket = {
            let mut state = self.state.lock();
            if state.calls.is_quiet() || !state.calls.reserve() {
                return;
            }
            state.calls.add(Kind::Quiet, signal.clone(), false, None)
        };
        signal.wait(deadline);
        self.state.lock().calls.remove(ticket);
    }

    fn end_connection(&self, deadline: Instant) {
        // Without memory for it the connection ends all the same, only nobody waits for that.
        let signal = P::Signal::new();
        let (ticket, waker) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            match state.phase {
                Phase::Idle => {
                    // The task lets go of a client that was closed.
                    let waker = if state.closed { self.touch(state) } else { None };
                    drop(guard);
                    return wake(waker);
                }
                Phase::Connecting => {
                    state.phase = Phase::Idle;
                    state.calls.finish(Err(Error::Failure), &|kind| kind == Kind::Connect);
                    let waker = self.touch(state);
                    drop(guard);
                    return wake(waker);
                }
                Phase::Connected => state.phase = Phase::Draining(deadline),
                Phase::Draining(earlier) => state.phase = Phase::Draining(earlier.min(deadline)),
            }
            state.calls.finish(Err(Error::Disconnected), &|kind| matches!(kind, Kind::Room | Kind::Acknowledgement(_)));
            let signal = signal.filter(|_| state.calls.reserve());
            let ticket = signal.map(|signal| {
                let ticket = state.calls.add(Kind::Closed, signal.clone(), self.hub.may_block_events(), None);
                (ticket, signal)
            });
            (ticket, self.touch(state))
        };
        wake(waker);
        if let Some((ticket, signal)) = ticket {
            signal.wait(deadline + TASK_TIMEOUT);
            self.state.lock().calls.remove(ticket);
        }
    }

    /// Subscribes (with a QoS) or unsubscribes (without), and waits up to 10 s for the answer; the packet identifier.
    fn request(&self, filter: &[u8], qos: Option<u8>) -> Result<u16, Error> {
        let signal = P::Signal::new().ok_or(Error::Failure)?;
        let limit = P::now() + ACKNOWLEDGE_TIMEOUT;
        let (id, ticket, waker) = {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.check_connected()?;
            check_filter(filter)?;
            let qos = match qos {
                Some(level) => Some(QoS::from_level(level).ok_or(Error::BadQoS)?),
                None => None,
            };
            if !state.calls.reserve() {
                return Err(Error::Failure);
            }
            let id = state.session.subscribe(filter, qos)?;
            let (kind, blocks_events) = (Kind::Acknowledgement(id), self.hub.may_block_events());
            let ticket = state.calls.add(kind, signal.clone(), blocks_events, Some(limit));
            (id, ticket, self.touch(state))
        };
        wake(waker);
        signal.wait(limit + TASK_TIMEOUT);
        let mut state = self.state.lock();
        match state.calls.remove(ticket) {
            Some(outcome) => outcome.map(|()| id),
            None => {
                state.session.forget(id);
                Err(Error::Failure)
            }
        }
    }

    /// Subscribes to `filter`; the packet identifier, once the server has granted it.
    pub fn subscribe(&self, filter: &[u8], qos: u8) -> Result<u16, Error> {
        self.request(filter, Some(qos))
    }

    /// Unsubscribes from `filter`; the packet identifier, once the server has answered.
    pub fn unsubscribe(&self, filter: &[u8]) -> Result<u16, Error> {
        self.request(filter, None)
    }

    /// Takes a message for sending; the packet identifier, 0 for QoS 0. Waits up to 10 s for room.
    pub fn publish(&self, topic: &[u8], payload: &[u8], qos: u8, retain: bool) -> Result<u16, Error> {
        let mut room: Option<(P::Signal, Instant)> = None;
        loop {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.check_connected()?;
            check_name(topic)?;
            let level = QoS::from_level(qos).ok_or(Error::BadQoS)?;
            let refusal = match state.session.publish(topic, payload, level, retain) {
                Ok(id) => {
                    let waker = self.touch(state);
                    drop(guard);
                    wake(waker);
                    return Ok(id);
                }
                Err(refusal @ (PublishError::WindowFull | PublishError::Congested)) => refusal,
                Err(refusal) => return Err(refusal.into()),
            };
            let (signal, limit) = match &room {
                Some(room) => room,
                None => room.insert((P::Signal::new().ok_or(Error::Failure)?, P::now() + ROOM_TIMEOUT)),
            };
            if P::now() >= *limit {
                return Err(refusal.into());
            }
            if !state.calls.reserve() {
                return Err(Error::Failure);
            }
            let ticket = state.calls.add(Kind::Room, signal.clone(), self.hub.may_block_events(), Some(*limit));
            let waker = match state.room_limit {
                Some(_) => None,
                None => {
                    state.room_limit = Some(*limit);
                    self.touch(state)
                }
            };
            drop(guard);
            wake(waker);
            signal.wait(*limit + TASK_TIMEOUT);
            match self.state.lock().calls.remove(ticket) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(refusal.into()),
            }
        }
    }

    /// The task that this wakes is about to hear of the client.
    pub(super) fn attached(&self, waker: <P::Net as Net>::Waker) {
        self.state.lock().waker = Some(waker);
    }

    /// The task has no memory to serve this client: its connect fails, and the next one starts over.
    pub(super) fn give_up(&self) {
        log::error(&[&"no memory for a connection"]);
        let mut state = self.state.lock();
        (state.phase, state.waker) = (Phase::Idle, None);
        state.calls.finish(Err(Error::Failure), &|kind| kind == Kind::Connect);
    }

    /// Notes that something was left for the task; the waker to call without the lock, if it is this caller's turn.
    fn touch(&self, state: &State<P>) -> Option<<P::Net as Net>::Waker> {
        self.dirty.store(true, Ordering::SeqCst);
        if state.waker.is_some() && self.hub.must_wake() { state.waker.clone() } else { None }
    }
}

fn wake<W: Waker>(waker: Option<W>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<P: Port> State<P> {
    /// How many times its bound the backlog may hold.
    pub(super) fn patience(&self) -> usize {
        if self.calls.block_events() { PATIENCE } else { 1 }
    }

    /// A disconnect that was asked for sends DISCONNECT when nothing is in flight any more, or its time is up.
    pub(super) fn drain(&mut self, clock: &Clock) {
        if let Phase::Draining(deadline) = self.phase
            && (self.session.is_idle() || clock.is_over(deadline))
        {
            self.session.disconnect();
        }
    }

    /// When keep-alive has something to do. The server's time to answer a PINGREQ is a limit, the time to send one is not.
    pub(super) fn keep_alive(&self, clock: &Clock) -> Option<Instant> {
        let deadline = self.session.deadline()?;
        Some(if self.session.awaits_answer() { clock.end_of(deadline) } else { deadline })
    }

    fn check_connected(&self) -> Result<(), Error> {
        if self.phase == Phase::Connected && !self.closed { Ok(()) } else { Err(Error::Disconnected) }
    }
}
