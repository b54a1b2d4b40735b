//! One client, as the application's tasks see it.

use core::ops::DerefMut;

use super::calls::{Kind, Ticket};
use super::state::{ClientState, Ending, Locked, Room, TURN};
use super::{
    ACKNOWLEDGE_TIMEOUT, CONNECT_TIMEOUT, Config, DRAIN_TIMEOUT, END_TIMEOUT, Error, Hub, ROOM_TIMEOUT, SILENCE,
    TASK_TIMEOUTS,
};
use crate::port::{Lock, Net, Port, Shared, Signal};
use crate::protocol::topic::{check_filter, check_name};
use crate::protocol::{PublishError, QoS};
use crate::sync::{AtomicBool, Ordering};
use crate::time::Instant;

/// A client. Every function may be called from any task, event callbacks included, and from several at a time.
pub struct Client<P: Port> {
    pub(super) hub: &'static Hub<P>,
    token: usize,
    config: Config,
    /// The application's tasks have left something for the MQTT task in `state`.
    left_work: AtomicBool,
    state: P::Lock<ClientState<P>>,
}

/// A message that waits for room.
struct Waiting<P: Port> {
    ticket: Ticket,
    signal: P::Signal,
    limit: Instant,
    refusal: PublishError,
}

impl<P: Port> Client<P> {
    // Inlined, so that the client is made in its heap block, and not on the stack of the task that calls init.
    #[inline(always)]
    pub(super) fn new(hub: &'static Hub<P>, token: usize, config: Config) -> Option<Self> {
        let debug = config.debug.then_some(token);
        let state = || ClientState::new(P::limits().session, debug);
        Some(Self { hub, token, config, left_work: AtomicBool::new(false), state: P::Lock::new(state)? })
    }

    /// Identifies the client in its events; never 0.
    pub fn token(&self) -> usize {
        self.token
    }

    /// The configuration that init was called with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Waits for the lock of the state.
    pub(super) fn state(&self) -> Locked<'_, P, impl DerefMut<Target = ClientState<P>> + '_> {
        Locked::new(self, self.state.lock())
    }

    /// Called by the MQTT task: whether calls have left something for it since it last asked.
    pub(super) fn take_work(&self) -> bool {
        self.left_work.load(Ordering::SeqCst) && self.left_work.swap(false, Ordering::SeqCst)
    }

    /// Does `work` under the lock.
    fn change<R>(&self, work: impl FnOnce(&mut ClientState<P>) -> R) -> R {
        work(&mut self.state())
    }

    /// Something is left for the MQTT task: whom the caller is to wake for that.
    pub(super) fn leave_work(&self, waker: &Option<<P::Net as Net>::Waker>) -> Option<<P::Net as Net>::Waker> {
        self.left_work.store(true, Ordering::SeqCst);
        waker.as_ref().filter(|_| self.hub.must_wake()).cloned()
    }

    /// Connects, and waits for CONNACK: 30 s at most. While another call connects, waits for that; connected already:
    /// nothing to do.
    pub fn connect(this: &Shared<Self>) -> Result<(), Error> {
        Self::want_connection(this, false)
    }

    /// Ends the connection, if there is one, and connects. A persistent session sends what is in flight again, so it
    /// does not wait for that. A connection that another reconnect makes, or has made less than 1 s ago, is left alone:
    /// applications reconnect at every DISCONNECTED, also at those that their own reconnects cause, and from several tasks.
    pub fn reconnect(this: &Shared<Self>) -> Result<(), Error> {
        Self::want_connection(this, true)
    }

    fn want_connection(this: &Shared<Self>, another: bool) -> Result<(), Error> {
        this.config.check(P::parts())?;
        let begin = || {
            let signal = P::Signal::new().ok_or(Error::Failure)?;
            if this.state().waker.is_none() {
                this.hub.attach(this)?;
            }
            this.change(|state| {
                if state.closed {
                    return Err(Error::Disconnected);
                }
                // Under the lock, as in each call: its task may not have been run for long before.
                let now = P::now();
                if state.is_connected() && !(another && now >= state.fresh_until) {
                    return Ok(None);
                }
                // No waker: the MQTT task has had no memory for this client, see `give_up`.
                if state.waker.is_none() || !state.calls.reserve() {
                    return Err(Error::Failure);
                }
                // The attempt of another reconnect, under way, is what this one asks for.
                let joins = state.by_reconnect && state.wanted.is_some() && !state.is_connected();
                if another && !joins {
                    let drain = if this.config.clean_session { DRAIN_TIMEOUT - END_TIMEOUT } else { 0 };
                    state.end(Ending { drain: now + drain, limit: now + DRAIN_TIMEOUT, hurried: now + SILENCE });
                }
                let attempt = state.want(another);
                let (kind, blocks_events) = (Kind::Connect(attempt), this.hub.may_block_events());
                let ticket = state.calls.add(kind, signal.clone(), blocks_events, Instant::NEVER);
                Ok(Some((signal, attempt, ticket)))
            })
        };
        let Some((signal, attempt, ticket)) = begin().map_err(Error::before_the_task)? else { return Ok(()) };
        wait_behind::<P>(&signal, P::now() + (DRAIN_TIMEOUT + CONNECT_TIMEOUT));
        // Under one lock: CONNACK comes before that or never.
        this.change(|state| match state.calls.remove(ticket) {
            _ if state.connected == Some(attempt) && state.is_connected() => Ok(()),
            outcome => {
                state.withdraw();
                outcome.unwrap_or(Err(Error::Failure))
            }
        })
    }

    /// Disconnects: waits up to 10 s for what is in flight, and for the server to receive everything. Fails when it has
    /// not done so by then.
    pub fn disconnect(&self) -> Result<(), Error> {
        self.end(false)
    }

    /// Ends the client: its connection, and every call that waits on it.
    pub(super) fn close(&self, limit: Instant) {
        // deinit has no return code for bytes that the server has not received.
        let _ = self.end(true);
        let Some(signal) = P::Signal::new() else { return };
        let ticket = self.change(|state| {
            let waits = !state.calls.is_quiet() && state.calls.reserve();
            waits.then(|| state.calls.add(Kind::Quiet, signal.clone(), false, Instant::NEVER))
        });
        if let Some(ticket) = ticket {
            signal.wait(limit);
            self.state().calls.remove(ticket);
        }
    }

    fn end(&self, for_good: bool) -> Result<(), Error> {
        // Without memory for a signal the connection ends all the same, and this call does not wait for that.
        let signal = P::Signal::new();
        let ticket = self.change(|state| {
            let now = P::now();
            state.closed |= for_good;
            let drain = now + (DRAIN_TIMEOUT - END_TIMEOUT);
            state.end(Ending { drain, limit: now + DRAIN_TIMEOUT, hurried: Instant::NEVER });
            let kind = Kind::Closed(state.connected.or(state.closing)?);
            let signal = signal.as_ref().filter(|_| state.calls.reserve())?;
            Some((signal, state.calls.add(kind, signal.clone(), self.hub.may_block_events(), Instant::NEVER)))
        });
        let Some((signal, ticket)) = ticket else { return Ok(()) };
        wait_behind::<P>(signal, P::now() + DRAIN_TIMEOUT);
        self.state().calls.remove(ticket).unwrap_or(Err(Error::Failure))
    }

    /// Subscribes (with a QoS) or unsubscribes (without), and waits up to 10 s for the answer; the packet identifier.
    fn request(&self, filter: &[u8], qos: Option<u8>) -> Result<u16, Error> {
        let signal = P::Signal::new().ok_or(Error::Failure)?;
        let (id, ticket, limit) = self.change(|state| {
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
            state.has_work = true;
            let limit = P::now() + ACKNOWLEDGE_TIMEOUT;
            let (kind, blocks_events) = (Kind::Acknowledgement(id), self.hub.may_block_events());
            Ok((id, state.calls.add(kind, signal.clone(), blocks_events, limit), limit))
        })?;
        wait_behind::<P>(&signal, limit);
        self.change(|state| match state.calls.remove(ticket) {
            Some(outcome) => outcome.map(|()| id),
            // Under the same lock as `remove`: on the next connection the identifier may be that of another request.
            None => {
                state.session.forget(id);
                (state.room, state.has_work) = (state.room.max(Room::More), true);
                Err(Error::Failure)
            }
        })
    }

    /// Subscribes to `filter`; the packet identifier, once the server has granted it.
    pub fn subscribe(&self, filter: &[u8], qos: u8) -> Result<u16, Error> {
        self.request(filter, Some(qos))
    }

    /// Unsubscribes from `filter`; the packet identifier, once the server has answered.
    pub fn unsubscribe(&self, filter: &[u8]) -> Result<u16, Error> {
        self.request(filter, None)
    }

    /// Takes a message for sending; the packet identifier, 0 for QoS 0. Waits up to 10 s for room, and those who wait are
    /// served in the order in which they came.
    pub fn publish(&self, topic: &[u8], payload: &[u8], qos: u8, retain: bool) -> Result<u16, Error> {
        let mut waiting: Option<Waiting<P>> = None;
        loop {
            let result = self.change(|state| {
                let has_waited = waiting.is_some();
                let result = self.try_publish(state, topic, payload, qos, retain, &mut waiting).transpose();
                if let Some(Waiting { ticket, .. }) = waiting.as_ref().filter(|_| has_waited) {
                    if result.is_some() {
                        state.calls.remove(*ticket);
                    }
                    // The next publisher in the queue may try.
                    state.serve_publisher(P::now(), false, true);
                }
                result
            });
            match (result, &waiting) {
                (Some(result), _) => return result,
                (None, Some(waiting)) => wait_behind::<P>(&waiting.signal, waiting.limit),
                (None, None) => {}
            }
        }
    }

    /// Takes a message, unless there is no room or others wait for that: `None`, and it waits with them.
    fn try_publish(
        &self,
        state: &mut ClientState<P>,
        topic: &[u8],
        payload: &[u8],
        qos: u8,
        retain: bool,
        waiting: &mut Option<Waiting<P>>,
    ) -> Result<Option<u16>, Error> {
        if let Some(waiting) = waiting {
            state.calls.take_outcome(waiting.ticket).unwrap_or(Err(waiting.refusal.into()))?;
        }
        state.check_connected()?;
        check_name(topic)?;
        let qos = QoS::from_level(qos).ok_or(Error::BadQoS)?;
        let taken = if waiting.is_none() && state.must_queue(qos) {
            Err(state.session.room(qos).err().unwrap_or(PublishError::Congested))
        } else {
            state.session.publish(topic, payload, qos, retain)
        };
        let refusal = match taken {
            Ok(id) => {
                state.has_work = true;
                return Ok(Some(id));
            }
            Err(refusal @ (PublishError::WindowFull | PublishError::Congested)) => refusal,
            Err(refusal) => return Err(refusal.into()),
        };
        let now = P::now();
        match waiting {
            Some(waiting) if now >= waiting.limit => return Err(refusal.into()),
            // Since the MQTT task has let it try, that does not know its limit any more.
            Some(waiting) => (waiting.refusal, state.has_work) = (refusal, true),
            None => {
                let (signal, limit) = (P::Signal::new().ok_or(Error::Failure)?, now + ROOM_TIMEOUT);
                if !state.calls.reserve() {
                    return Err(Error::Failure);
                }
                state.look_after_publishers(now + TURN);
                let blocks_events = self.hub.may_block_events();
                let ticket = state.calls.add(Kind::Room(qos), signal.clone(), blocks_events, limit);
                *waiting = Some(Waiting { ticket, signal, limit, refusal });
            }
        }
        Ok(None)
    }

    /// The MQTT task, which this wakes, is about to hear of the client.
    pub(super) fn attached(&self, waker: <P::Net as Net>::Waker) {
        self.state().waker = Some(waker);
    }

    /// The MQTT task has no memory to serve this client: its connect fails, and the next one starts over.
    pub(super) fn give_up(&self) {
        let error = Error::Failure.before_the_task();
        let mut state = self.state();
        state.waker = None;
        if let Some(attempt) = state.wanted {
            state.failed(attempt, error);
        }
    }
}

/// Waits for a signal that the MQTT task gives at `limit` at the latest, and somewhat longer: only for a task that cannot run
/// at all. If the whole system stood still until now (light sleep, SIGSTOP), the task has a turn before the caller judges, and
/// the second of [`Clock`](crate::time::Clock) behind it.
fn wait_behind<P: Port>(signal: &P::Signal, limit: Instant) {
    let (in_time, after_a_stop) = TASK_TIMEOUTS;
    if !signal.wait(limit + in_time) {
        signal.wait(P::now() + after_a_stop);
    }
}
