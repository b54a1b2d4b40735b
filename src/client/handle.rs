//! One client, as the application's tasks see it.

use core::num::NonZeroU32;
use core::ops::DerefMut;

use super::calls::{Calls, Cause, Kind, Ticket};
use super::{
    ACKNOWLEDGE_TIMEOUT, CONNECT_TIMEOUT, Config, DRAIN_TIMEOUT, END_TIMEOUT, Error, Hub, ROOM_TIMEOUT, SILENCE,
    TASK_TIMEOUTS,
};
use crate::port::{Lock, Net, Port, Shared, Signal, Waker};
use crate::protocol::topic::{check_filter, check_name};
use crate::protocol::{PublishError, QoS, Session};
use crate::sync::{AtomicBool, Ordering};
use crate::time::{Clock, Instant, Millis};

/// A client. Every function may be called from any task, event callbacks included, and from several at a time.
pub struct Client<P: Port> {
    pub(super) hub: &'static Hub<P>,
    token: usize,
    config: Config,
    /// The application's tasks have left something for the MQTT task in `state`.
    left_work: AtomicBool,
    state: P::Lock<ClientState<P>>,
}

/// A connection that a reconnect has made less than this ago satisfies the next reconnect too.
const FRESH: Millis = 1000;

/// A connection that calls ask for, from the first of them to its end. Another one has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt(NonZeroU32);

/// How a connection ends that is not wanted any more.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// When DISCONNECT is sent at the latest: until then messages in flight may still be acknowledged.
    pub(super) drain: Instant,
    /// When the connection ends at the latest: until then the server may receive what was sent.
    pub(super) limit: Instant,
    /// Another connection is wanted: if the server is silent then, this one ends before its limit, whatever has not left.
    /// [`Instant::NEVER`]: none is.
    pub(super) hurried: Instant,
}

/// What the application's tasks and the MQTT task share about a client.
///
/// `wanted` is what the application wants. Calls set it, and the MQTT task follows; a connection or an attempt that ends
/// by itself takes its own with it. `connected` is set by the MQTT task alone.
pub(super) struct ClientState<P: Port> {
    pub(super) session: Session<P::Buffer>,
    /// The connection that is wanted.
    pub(super) wanted: Option<Attempt>,
    /// The connection that stands: from CONNACK until DISCONNECT is with the network, or it is lost.
    pub(super) connected: Option<Attempt>,
    /// How `connected` ends once it is not `wanted` any more.
    pub(super) ending: Ending,
    next_attempt: Attempt,
    pub(super) calls: Calls<P>,
    /// What was acknowledged or sent since a waiting publisher was last woken.
    pub(super) room: Room,
    /// When the MQTT task looks after publishers that wait for room, if any do: none of them need wake it before.
    pub(super) room_limit: Instant,
    /// The `wanted` attempt was asked for by a reconnect.
    by_reconnect: bool,
    /// Until then a reconnect leaves the connection alone, see [`FRESH`].
    fresh_until: Instant,
    /// deinit has begun: no call may begin any more.
    pub(super) closed: bool,
    /// Whoever holds the lock has left something for the MQTT task; [`Client::release`] tells it.
    has_work: bool,
    waker: Option<<P::Net as Net>::Waker>,
}

/// The room that publishers wait for, since one was last woken.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// There is not more than before.
    #[default]
    Same,
    /// There may be more.
    More,
    /// And for so long that they are woken for whatever there is.
    Overdue,
}

/// How long acknowledgements are gathered before they wake a publisher, unless they free half of the window. One task switch for
/// each acknowledgement takes more time than all that is done for the message.
const GATHER: Millis = 2;

/// How long a woken publisher, whose task may not be run, keeps those behind it waiting.
const TURN: Millis = 20;

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
        let origin = Instant::from_millis(0);
        let state = || ClientState {
            session: Session::new(P::limits().session, debug),
            wanted: None,
            connected: None,
            ending: Ending { drain: origin, limit: origin, hurried: Instant::NEVER },
            next_attempt: Attempt(NonZeroU32::MIN),
            calls: Calls::new(),
            room: Room::Same,
            room_limit: Instant::NEVER,
            by_reconnect: false,
            fresh_until: origin,
            closed: false,
            has_work: false,
            waker: None,
        };
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

    pub(super) fn state(&self) -> &P::Lock<ClientState<P>> {
        &self.state
    }

    /// Called by the MQTT task: whether calls have left something for it since it last asked.
    pub(super) fn take_work(&self) -> bool {
        self.left_work.load(Ordering::SeqCst) && self.left_work.swap(false, Ordering::SeqCst)
    }

    /// Does `work` under the lock, and then wakes the MQTT task if that is this caller's turn.
    fn change<R>(&self, work: impl FnOnce(&mut ClientState<P>) -> R) -> R {
        let mut state = self.state.lock();
        let result = work(&mut state);
        self.release(state);
        result
    }

    /// The MQTT task is to look after this client.
    #[cfg(feature = "tls")]
    pub(super) fn leave_work(&self) {
        self.change(|state| state.has_work = true);
    }

    fn release(&self, mut state: impl DerefMut<Target = ClientState<P>>) {
        let mut waker = None;
        if core::mem::take(&mut state.has_work) {
            self.left_work.store(true, Ordering::SeqCst);
            waker = state.waker.clone().filter(|_| self.hub.must_wake());
        }
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Connects, and waits for CONNACK: 30 s at most. While another call connects, waits for that; connected already:
    /// nothing to do.
    pub fn connect(this: &Shared<Self>) -> Result<(), Error> {
        Self::want_connection(this, false)
    }

    /// Ends the connection, if there is one, and connects. A persistent session sends what is in flight again, so it
    /// does not wait for that. A connection that stands, and that another reconnect has made less than 1 s ago, is left
    /// alone: applications reconnect at every DISCONNECTED, also at those that their own reconnects cause.
    pub fn reconnect(this: &Shared<Self>) -> Result<(), Error> {
        Self::want_connection(this, true)
    }

    fn want_connection(this: &Shared<Self>, another: bool) -> Result<(), Error> {
        this.config.check(P::parts())?;
        let now = P::now();
        let signal = P::Signal::new().ok_or(Error::Failure).map_err(Error::before_the_task)?;
        if this.state.lock().waker.is_none() {
            this.hub.attach(this).map_err(Error::before_the_task)?;
        }
        let entered = this.change(|state| {
            if state.closed {
                return Err(Error::Disconnected);
            }
            if state.is_connected() && !(another && now >= state.fresh_until) {
                return Ok(None);
            }
            // No waker: the MQTT task has had no memory for this client, see `give_up`.
            if state.waker.is_none() || !state.calls.reserve() {
                return Err(Error::Failure);
            }
            if another {
                let drain = if this.config.clean_session { DRAIN_TIMEOUT - END_TIMEOUT } else { 0 };
                state.end(Ending { drain: now + drain, limit: now + DRAIN_TIMEOUT, hurried: now + SILENCE });
            }
            let attempt = state.want(another);
            let ticket =
                state.calls.add(Kind::Connect(attempt), signal.clone(), this.hub.may_block_events(), Instant::NEVER);
            Ok(Some((attempt, ticket)))
        });
        let Some((attempt, ticket)) = entered.map_err(Error::before_the_task)? else { return Ok(()) };
        wait_behind::<P>(&signal, now + (DRAIN_TIMEOUT + CONNECT_TIMEOUT));
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
            self.change(|state| state.calls.remove(ticket));
        }
    }

    fn end(&self, for_good: bool) -> Result<(), Error> {
        // Without memory for a signal the connection ends all the same, and this call does not wait for that.
        let signal = P::Signal::new();
        let now = P::now();
        let ticket = self.change(|state| {
            state.closed |= for_good;
            let drain = now + (DRAIN_TIMEOUT - END_TIMEOUT);
            state.end(Ending { drain, limit: now + DRAIN_TIMEOUT, hurried: Instant::NEVER });
            // Another disconnect may wait for the end of a connection that is not connected any more.
            let kind = Kind::Closed(state.connected.or_else(|| state.calls.closing())?);
            let signal = signal.as_ref().filter(|_| state.calls.reserve())?;
            Some((signal, state.calls.add(kind, signal.clone(), self.hub.may_block_events(), Instant::NEVER)))
        });
        let Some((signal, ticket)) = ticket else { return Ok(()) };
        wait_behind::<P>(signal, now + DRAIN_TIMEOUT);
        self.change(|state| state.calls.remove(ticket)).unwrap_or(Err(Error::Failure))
    }

    /// Subscribes (with a QoS) or unsubscribes (without), and waits up to 10 s for the answer; the packet identifier.
    fn request(&self, filter: &[u8], qos: Option<u8>) -> Result<u16, Error> {
        let signal = P::Signal::new().ok_or(Error::Failure)?;
        let limit = P::now() + ACKNOWLEDGE_TIMEOUT;
        let (id, ticket) = self.change(|state| {
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
            let (kind, blocks_events) = (Kind::Acknowledgement(id), self.hub.may_block_events());
            Ok((id, state.calls.add(kind, signal.clone(), blocks_events, limit)))
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
                    state.serve_publisher(P::now(), true);
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
        self.state.lock().waker = Some(waker);
    }

    /// The MQTT task has no memory to serve this client: its connect fails, and the next one starts over.
    pub(super) fn give_up(&self) {
        let error = Error::Failure.before_the_task();
        let mut state = self.state.lock();
        state.waker = None;
        if let Some(attempt) = state.wanted {
            state.failed(attempt, error);
        }
    }
}

/// Waits for a signal that the MQTT task gives at `limit` at the latest, and somewhat longer: only for a task that cannot run
/// at all. If the whole system stood still until now (light sleep, SIGSTOP), the task has a turn before the caller judges, and
/// the second of [`Clock`] behind it.
fn wait_behind<P: Port>(signal: &P::Signal, limit: Instant) {
    let (in_time, after_a_stop) = TASK_TIMEOUTS;
    if !signal.wait(limit + in_time) {
        signal.wait(P::now() + after_a_stop);
    }
}

impl<P: Port> ClientState<P> {
    /// Whether the wanted connection has had its CONNACK and is not lost.
    pub(super) fn is_connected(&self) -> bool {
        self.wanted.is_some() && self.wanted == self.connected
    }

    /// The MQTT task lets go of the client if deinit has begun; whether it has. Calls that are behind do not wake it any more: its
    /// successor must not look as if they had woken that.
    pub(super) fn leave(&mut self) -> bool {
        if self.closed {
            self.waker = None;
        }
        self.closed
    }

    fn check_connected(&self) -> Result<(), Error> {
        if self.is_connected() { Ok(()) } else { Err(Error::Disconnected) }
    }

    /// Whether a message must wait behind others. A full window is not in the way of QoS 0.
    fn must_queue(&self, qos: QoS) -> bool {
        let other_way =
            || qos == QoS::AtMostOnce && self.session.room(QoS::AtLeastOnce) == Err(PublishError::WindowFull);
        self.calls.any(|kind| match kind {
            Kind::Room(first) => first == QoS::AtMostOnce || !other_way(),
            _ => false,
        })
    }

    /// Lets the next publisher try if there is more room, and enough of it.
    pub(super) fn offer_room(&mut self, now: Instant) {
        let room = core::mem::take(&mut self.room);
        if room > Room::Same {
            self.serve_publisher(now, room == Room::Overdue || self.session.has_half_of_window());
        }
    }

    /// Lets the next publisher try that there is room for; if there is not `enough` of it, only one that no acknowledgements
    /// are gathered for.
    fn serve_publisher(&mut self, now: Instant, enough: bool) {
        let session = &self.session;
        let serves = |qos| (enough || qos == QoS::AtMostOnce) && session.room(qos).is_ok();
        if let Some(served) = self.calls.serve_publisher(serves)
            && (served || !enough)
        {
            self.look_after_publishers(now + if served { TURN } else { GATHER });
        }
    }

    /// Makes the MQTT task wake the next publisher then, in case that the woken one's task is not run.
    fn look_after_publishers(&mut self, limit: Instant) {
        if limit < self.room_limit {
            (self.room_limit, self.has_work) = (limit, true);
        }
    }

    /// A connection is wanted: the one that is already, or a new one.
    fn want(&mut self, by_reconnect: bool) -> Attempt {
        // Also for one that is: if this call is made in a callback, it may have to fail (see `Receiver::may_read`).
        self.has_work = true;
        if let Some(attempt) = self.wanted {
            return attempt;
        }
        let attempt = self.next_attempt;
        self.next_attempt = Attempt(attempt.0.checked_add(1).unwrap_or(NonZeroU32::MIN));
        (self.wanted, self.by_reconnect) = (Some(attempt), by_reconnect);
        attempt
    }

    /// CONNACK has accepted `attempt`.
    pub(super) fn connected(&mut self, attempt: Attempt, now: Instant) {
        self.connected = Some(attempt);
        self.fresh_until = if self.by_reconnect { now + FRESH } else { now };
        self.calls.finish(Cause::Connected);
    }

    /// Connects may have given up: an attempt that no call waits for any more must not succeed later.
    pub(super) fn withdraw(&mut self) {
        if self.wanted != self.connected && !self.calls.is_connecting() {
            (self.wanted, self.has_work) = (None, true);
        }
    }

    /// No connection is wanted: what stands ends, an attempt at once, and calls that wait for either fail.
    fn end(&mut self, ending: Ending) {
        let Ending { drain, limit, hurried } = ending;
        self.ending = if self.is_connected() {
            ending
        } else {
            // A connection that ends already keeps its earlier limits, if they are earlier.
            let first = self.ending;
            Ending { drain: first.drain.min(drain), limit: first.limit.min(limit), hurried: first.hurried.min(hurried) }
        };
        (self.wanted, self.has_work) = (None, true);
        self.session.forget_all();
        self.calls.finish(Cause::Unwanted);
    }

    /// An attempt has failed, or its connection is lost.
    pub(super) fn failed(&mut self, attempt: Attempt, error: Error) {
        if self.wanted == Some(attempt) {
            self.wanted = None;
        }
        self.calls.finish(Cause::Failed(attempt, error));
    }

    /// Sends DISCONNECT on a connection that is not wanted any more, when nothing is in flight or there is no more time.
    pub(super) fn drain(&mut self, clock: &Clock) {
        if self.connected.is_some()
            && self.connected != self.wanted
            && (self.session.is_idle() || clock.is_over(self.ending.drain))
        {
            self.session.disconnect();
        }
    }

    /// When keep-alive has something to do. The server's time to answer a PINGREQ is a limit, the time to send one is not.
    pub(super) fn keep_alive(&self, clock: &Clock) -> Instant {
        let deadline = self.session.deadline();
        if self.session.awaits_answer() { clock.end_of(deadline) } else { deadline }
    }
}
