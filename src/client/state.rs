//! What the application's tasks and the MQTT task share about one client.

use core::num::NonZeroU32;
use core::ops::{Deref, DerefMut};

use super::calls::{Calls, Cause, Kind, Served};
use super::{Client, Error};
use crate::port::{Net, Port, Signal, Waker};
use crate::protocol::{Limits, PublishError, QoS, Session};
use crate::time::{Clock, Instant, Millis};

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
    /// The one that closes behind DISCONNECT, until the server has received everything.
    pub(super) closing: Option<Attempt>,
    /// How `connected` ends once it is not `wanted` any more.
    pub(super) ending: Ending,
    next_attempt: Attempt,
    pub(super) calls: Calls<P>,
    /// What was acknowledged or sent since a waiting publisher was last woken.
    pub(super) room: Room,
    /// When the MQTT task looks after publishers that wait for room, if any do: none of them need wake it before.
    pub(super) room_limit: Instant,
    /// The `wanted` attempt was asked for by a reconnect.
    pub(super) by_reconnect: bool,
    /// Until then a reconnect leaves the connection alone, see [`FRESH`].
    pub(super) fresh_until: Instant,
    /// deinit has begun: no call may begin any more.
    pub(super) closed: bool,
    /// Whoever holds the lock has left something for the MQTT task; [`Locked`] tells it.
    pub(super) has_work: bool,
    pub(super) waker: Option<<P::Net as Net>::Waker>,
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

/// The state, locked. Who lets go of it wakes, when the lock is free, a call that has ended meanwhile, and the MQTT task where something
/// is left for it: a task that is woken before may run at once, only to wait for the lock. Of several calls that is so for
/// one: [`Calls::take_ended`] wakes the others under the lock.
pub(super) struct Locked<'a, P: Port, G: DerefMut<Target = ClientState<P>>> {
    client: &'a Client<P>,
    state: G,
    // Dropped behind `state`.
    to_wake: ToWake<P>,
}

/// Whom dropping this wakes.
struct ToWake<P: Port> {
    call: Option<P::Signal>,
    task: Option<<P::Net as Net>::Waker>,
}

/// How long acknowledgements are gathered before they wake a publisher, unless they free half of the window. One task switch for
/// each acknowledgement takes more time than all that is done for the message.
const GATHER: Millis = 2;

/// How long a woken publisher, whose task may not be run, keeps those behind it waiting.
pub(super) const TURN: Millis = 20;

impl<'a, P: Port, G: DerefMut<Target = ClientState<P>>> Locked<'a, P, G> {
    pub(super) fn new(client: &'a Client<P>, state: G) -> Self {
        Self { client, state, to_wake: ToWake { call: None, task: None } }
    }
}

impl<P: Port, G: DerefMut<Target = ClientState<P>>> Deref for Locked<'_, P, G> {
    type Target = ClientState<P>;

    fn deref(&self) -> &ClientState<P> {
        &self.state
    }
}

impl<P: Port, G: DerefMut<Target = ClientState<P>>> DerefMut for Locked<'_, P, G> {
    fn deref_mut(&mut self) -> &mut ClientState<P> {
        &mut self.state
    }
}

impl<P: Port, G: DerefMut<Target = ClientState<P>>> Drop for Locked<'_, P, G> {
    fn drop(&mut self) {
        if !self.state.calls.is_empty() {
            self.to_wake.call = self.state.calls.take_ended();
        }
        if core::mem::take(&mut self.state.has_work) {
            self.to_wake.task = self.client.leave_work(&self.state.waker);
        }
    }
}

impl<P: Port> Drop for ToWake<P> {
    fn drop(&mut self) {
        if let Some(signal) = &self.call {
            signal.notify();
        }
        if let Some(waker) = &self.task {
            waker.wake();
        }
    }
}

impl<P: Port> ClientState<P> {
    // Inlined as `Client::new` is: it is made in its heap block.
    #[inline(always)]
    pub(super) fn new(limits: Limits, debug: Option<usize>) -> Self {
        let origin = Instant::from_millis(0);
        Self {
            session: Session::new(limits, debug),
            wanted: None,
            connected: None,
            closing: None,
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
        }
    }

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

    pub(super) fn check_connected(&self) -> Result<(), Error> {
        if self.is_connected() { Ok(()) } else { Err(Error::Disconnected) }
    }

    /// Whether a message must wait behind others. A full window is not in the way of QoS 0.
    pub(super) fn must_queue(&self, qos: QoS) -> bool {
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
        if room > Room::Same && !self.calls.is_empty() {
            let overdue = room == Room::Overdue;
            self.serve_publisher(now, overdue, overdue || self.session.has_half_of_window());
            // The MQTT task need not wake itself for `room_limit`.
            self.has_work = false;
        }
    }

    /// Lets the next publisher try that there is room for, unless another has its turn that is not `overdue`; if there is not `enough`
    /// room, only one that no acknowledgements are gathered for.
    pub(super) fn serve_publisher(&mut self, now: Instant, overdue: bool, enough: bool) {
        let session = &self.session;
        let serves = |qos| (enough || qos == QoS::AtMostOnce) && session.room(qos).is_ok();
        match self.calls.serve_publisher(overdue, serves) {
            Served::Now => {
                self.look_after_publishers(now + TURN);
                self.room_limit = now + TURN;
            }
            Served::Before => self.look_after_publishers(now + TURN),
            Served::NoRoom if !enough => self.look_after_publishers(now + GATHER),
            Served::NoRoom | Served::Nobody => {}
        }
    }

    /// Makes the MQTT task wake the next publisher then, in case that the woken one's task is not run.
    pub(super) fn look_after_publishers(&mut self, limit: Instant) {
        if limit < self.room_limit {
            (self.room_limit, self.has_work) = (limit, true);
        }
    }

    /// A connection is wanted: the one that is already, or a new one.
    pub(super) fn want(&mut self, by_reconnect: bool) -> Attempt {
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
    pub(super) fn end(&mut self, ending: Ending) {
        let Ending { drain, limit, hurried } = ending;
        self.ending = if self.is_connected() {
            ending
        } else {
            // A connection that ends already keeps its earlier limits, if they are earlier. Whether another is wanted is the last
            // call's.
            let first = self.ending;
            Ending { drain: first.drain.min(drain), limit: first.limit.min(limit), hurried }
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
