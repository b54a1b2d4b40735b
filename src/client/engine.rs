//! The MQTT task: sleeps until a socket, a deadline or a request needs it, then does all that can be done.

use alloc::vec::Vec;

use super::backlog::{Backlog, Notification};
use super::connection::{Connection, Context};
use super::outstanding::Outstanding;
use super::{DRAIN_TIMEOUT, Hub};
use crate::log;
use crate::port::{Net, Port, Task};
use crate::time::{Clock, Instant, Millis};

/// First and longest pause before an event is sent again that found the SDK's queue full of other modules' events.
const RETRY: (Millis, Millis) = (10, 100);

/// How long a delivery may fail to come before the registration with the SDK is renewed, and the longest pause until it is
/// renewed again.
const STALL: (Millis, Millis) = (500, 60_000);

/// The task's whole state.
pub(super) struct Engine<P: Port> {
    hub: &'static Hub<P>,
    context: Context<P>,
    connections: Vec<Connection<P>>,
    /// Last events of clients that were removed. There is a place reserved for those of each client that was not.
    last_events: Vec<Backlog<P::Buffer>>,
    /// When `last_events` are given up.
    last_events_until: Instant,
    /// The SDK reports deliveries to us.
    listening: bool,
    /// When to send the next event again, which found the SDK's queue full of other modules' events.
    retry: Timer,
    /// When to do something about events and input that wait for deliveries, if any do: the application may have begun
    /// the SDK's queue anew, and our registration is gone then, with events that will never be delivered.
    stall: Timer,
    /// Our registration was renewed, and a probe is to follow: it tells how many events before it left the queue untold.
    registered: bool,
    /// The connection whose event is next, by its index; the one behind the last: `last_events`.
    next_client: usize,
    /// How many last events were accepted beyond our share of the queue while a client has found no room in that.
    beyond: usize,
    deadline: Instant,
}

/// The next of several tries, with growing pauses.
struct Timer {
    at: Instant,
    pause: Millis,
}

impl<P: Port> Engine<P> {
    /// A task that has not begun, `outstanding` its account of events, and its waker; `None` when there is no memory.
    pub(super) fn new(hub: &'static Hub<P>, outstanding: Outstanding) -> Option<(Self, <P::Net as Net>::Waker)> {
        let net = P::Net::open()?;
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(P::limits().io_buffer).ok()?;
        buffer.resize(P::limits().io_buffer, 0);
        let (waker, now) = (net.waker(), P::now());
        let engine = Self {
            hub,
            context: Context { net, clock: Clock::new(now), last_token: 0, buffer, outstanding },
            connections: Vec::new(),
            last_events: Vec::new(),
            last_events_until: now,
            listening: false,
            retry: Timer { at: Instant::NEVER, pause: RETRY.0 },
            stall: Timer { at: Instant::NEVER, pause: STALL.0 },
            registered: false,
            next_client: 0,
            beyond: 0,
            deadline: now,
        };
        Some((engine, waker))
    }

    fn wait(&mut self) {
        let connections = &mut self.connections;
        let deadline = Some(self.deadline).filter(|deadline| *deadline != Instant::NEVER);
        self.context.net.wait(deadline, |token, readiness| {
            let mut readiness = Some(readiness);
            // No connection takes the readiness of a socket or lookup that was dropped meanwhile.
            let _ = connections.iter_mut().any(|connection| connection.ready(token, &mut readiness));
        });
    }

    fn take_arrivals(&mut self) {
        let Some(arrivals) = self.hub.take_arrivals() else { return };
        for client in arrivals {
            // Two first connects of one client at a time have added it to the arrivals twice.
            if self.connections.iter().any(|connection| connection.serves(&client)) {
                continue;
            }
            let places = self.connections.len() + 1;
            if self.connections.try_reserve_exact(1).and_then(|()| self.last_events.try_reserve(places)).is_ok() {
                self.connections.push(Connection::new(client));
            } else {
                client.give_up();
            }
        }
    }

    /// Events or input wait for deliveries: renews the registration with the SDK when these fail to come. Whether enough have come.
    // Not inlined: 196 bytes of flash less.
    #[inline(never)]
    fn check_deliveries(&mut self, now: Instant) -> bool {
        let outstanding = &mut self.context.outstanding;
        let (enough, changed) = (outstanding.are_enough(), outstanding.have_changed());
        let were_enough = outstanding.were_enough();
        if enough && !self.registered {
            self.stall.at = Instant::NEVER;
        } else if (were_enough || changed) && !self.registered {
            self.stall.at = Instant::NEVER;
            self.await_deliveries(now);
        } else if now >= self.stall.at {
            // Either the registration or the probe in one turn: the SDK's queue may have a single entry.
            let sent =
                if self.registered { self.hub.events().probe(outstanding.probe()) } else { self.hub.events().listen() };
            self.registered ^= sent;
            if sent && !self.registered {
                self.stall.next(now, 4, STALL.1);
            } else {
                self.stall.at = now + RETRY.1;
            }
        }
        were_enough
    }

    /// Events or input wait for deliveries from now on.
    fn await_deliveries(&mut self, now: Instant) {
        if self.context.outstanding.are_enough() {
            // The event task was faster.
            self.stall.at = now;
        } else if self.stall.at == Instant::NEVER || self.stall.at <= now {
            // For the first time, or once more in a turn that has found enough.
            (self.stall.pause, self.registered) = (STALL.0, false);
            self.stall.next(now, 4, STALL.1);
        }
    }

    /// Sends events, one of each client in turn, while the SDK's queue has room for us; the next time from the one on that found
    /// none. `last_events` may find some where the clients do not.
    fn dispatch(&mut self, now: Instant) {
        self.retry.at = Instant::NEVER;
        let sources = self.connections.len() + 1;
        // How many in a row had no event, and the client that has found no room.
        let (mut without, mut refused) = (0, None);
        let mut messages = 0;
        while without < sources {
            if self.next_client >= sources {
                self.next_client = 0;
            }
            let (backlog, last) = match self.connections.get_mut(self.next_client) {
                Some(connection) => (Some(connection.backlog()), false),
                None => (self.last_events.last_mut(), true),
            };
            let Some((client, event, size)) = backlog.and_then(Backlog::first) else {
                if refused.is_some() {
                    break;
                }
                without += 1;
                self.next_client += 1;
                continue;
            };
            self.listening = self.listening || self.hub.events().listen();
            if !self.listening {
                self.retry.next(now, 2, RETRY.1);
                break;
            }
            // So many, and then that client's turn has come: last events may come without an end.
            let may_exceed = last && self.beyond < P::limits().event_share;
            if !self.context.outstanding.enter(client, size, may_exceed) {
                self.await_deliveries(now);
                if last || refused.is_some() {
                    break;
                }
                refused = Some(self.next_client);
                self.next_client = sources - 1;
                continue;
            }
            let is_message = matches!(event, Some(Notification::Data { .. }));
            if !self.hub.events().send(event) {
                match self.context.outstanding.take_back() {
                    true => self.await_deliveries(now),
                    false => self.retry.next(now, 2, RETRY.1),
                }
                break;
            }
            messages += usize::from(is_message);
            self.beyond = if last && refused.is_some() { self.beyond + 1 } else { 0 };
            self.retry.pause = RETRY.0;
            match self.connections.get_mut(self.next_client) {
                Some(connection) => connection.accepted(size),
                None => drop(self.last_events.pop_if(|backlog| {
                    backlog.accepted(size);
                    backlog.pop();
                    backlog.is_empty()
                })),
            }
            // The only one with events goes on without the others: nothing comes to them meanwhile. So do last events where a
            // client has found no room.
            if refused.is_none() && without < sources - 1 {
                without = 0;
                self.next_client += 1;
            }
        }
        self.next_client = refused.unwrap_or(self.next_client);
        if refused.is_none() && messages > 1 {
            self.context.net.gather();
        }
    }

    /// Drops a connection whose client was removed; its last events stay.
    // Not inlined: its frame would lie under everything that TLS needs.
    #[cfg_attr(feature = "tls", inline(never))]
    fn remove_client(&mut self, at: usize, now: Instant) {
        let connection = self.connections.swap_remove(at);
        let backlog = connection.into_backlog().without_messages();
        // From the first ones: others come and go while the queue is full.
        if self.last_events.is_empty() {
            self.last_events_until = now + DRAIN_TIMEOUT;
        }
        if !backlog.is_empty() {
            self.last_events.push(backlog);
        }
    }
}

impl Timer {
    /// Sets the timer to `now` and a pause; the next pause is `times` as long, but not above `longest`.
    fn next(&mut self, now: Instant, times: Millis, longest: Millis) {
        self.at = now + self.pause;
        self.pause = (self.pause * times).min(longest);
    }
}

impl<P: Port> Task for Engine<P> {
    fn turn(&mut self) -> bool {
        self.wait();
        let now = P::now();
        self.context.clock.turn(now, self.deadline);
        self.hub.about_to_look();
        self.take_arrivals();
        let delivered = if self.stall.at == Instant::NEVER {
            // Nobody waits any more: what was enough for them is nothing to the next.
            self.context.outstanding.were_enough();
            false
        } else {
            self.check_deliveries(now)
        };
        let mut at = 0;
        while let Some(connection) = self.connections.get_mut(at) {
            if connection.advance(&mut self.context, delivered) && connection.is_over() {
                self.remove_client(at, now);
            } else {
                at += 1;
            }
        }
        self.dispatch(now);
        if !self.last_events.is_empty() && self.context.clock.is_over(self.last_events_until) {
            log::error(&[&"the event queue stayed full: last events of a client are lost"]);
            self.last_events.clear();
        }
        if self.connections.is_empty() {
            if !self.last_events.is_empty() {
                self.hub.end_is_delayed();
            } else {
                // Before the hub knows of the end: the next task registers anew, and that must come after this unlisten.
                if core::mem::take(&mut self.listening) {
                    self.hub.events().unlisten();
                }
                if self.hub.try_end(&self.context.outstanding) {
                    return false;
                }
            }
        }
        let mut awaits_deliveries = false;
        self.deadline = self.retry.at;
        if !self.last_events.is_empty() {
            self.deadline = self.deadline.min(self.context.clock.end_of(self.last_events_until));
        }
        for connection in &mut self.connections {
            awaits_deliveries |= connection.finish_turn(&mut self.context);
            self.deadline = self.deadline.min(connection.due());
        }
        if awaits_deliveries {
            self.await_deliveries(now);
        }
        self.deadline = self.deadline.min(self.stall.at).max(now);
        true
    }
}
