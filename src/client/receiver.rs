//! From the server's bytes to events that wait for the SDK's queue, and to calls that wait for an answer.

use alloc::vec::Vec;

use super::backlog::{Backlog, Notification};
use super::calls::Cause;
use super::connection::Context;
use super::connection_error::ConnectionError;
use super::outstanding::Outstanding;
use super::state::{Attempt, ClientState, Room};
use super::{Client, Error};
use crate::log;
use crate::port::Port;
use crate::protocol::{Event, Receipt, Session, Violation};
use crate::time::{Instant, Millis};
use crate::transport::HAS_LAYERS;

/// Where a client's input goes.
pub(super) struct Receiver<P: Port> {
    pub(super) backlog: Backlog<P::Buffer>,
    /// Input that was read but could not be taken, because the backlog was full, or there was no memory.
    leftover: Vec<u8>,
    /// How much of it was taken since.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    taken: usize,
    /// Until this instant messages wait for memory, and the connection does not end for want of it: an application that
    /// connects again at once would soon have used up all tries.
    memory_wait_until: Instant,
    /// When a message was missed: since then the connection ends as soon as nothing is in flight on it.
    missed_since: Instant,
    /// There was no memory for something that the stream cannot do without: nothing is read or sent any more.
    is_cut: bool,
    /// There is no memory for the TLS record that comes next, until `memory_wait_until` at most.
    layers_wait: bool,
}

/// How long a message waits for memory, and nothing is read meanwhile. Behind such a wait there is none for as long.
const MEMORY_WAIT: Millis = 2000;
/// How often memory is tried again during [`MEMORY_WAIT`].
const MEMORY_RETRY: Millis = 50;
/// How much of what was left over is taken at a time: a layer may have brought one long piece.
#[cfg(any(feature = "tls", feature = "websocket"))]
const PIECE: usize = 4096;
/// How long a connection goes on that must end since a message was missed.
const MISSED_TIMEOUT: Millis = 10_000;
const ORIGIN: Instant = Instant::from_millis(0);

impl<P: Port> Receiver<P> {
    pub(super) fn new(client: &Client<P>) -> Self {
        let backlog = Backlog::new(client.token(), P::limits().backlog);
        Self {
            backlog,
            leftover: Vec::new(),
            #[cfg(any(feature = "tls", feature = "websocket"))]
            taken: 0,
            memory_wait_until: ORIGIN,
            missed_since: Instant::NEVER,
            is_cut: false,
            layers_wait: false,
        }
    }

    /// Whether there is input that was left.
    pub(super) fn has_leftover(&self) -> bool {
        !self.leftover.is_empty()
    }

    /// The connection that the input came from is gone.
    pub(super) fn drop_leftover(&mut self) {
        self.leftover = Vec::new();
        #[cfg(any(feature = "tls", feature = "websocket"))]
        {
            self.taken = 0;
        }
        (self.memory_wait_until, self.missed_since) = (ORIGIN, Instant::NEVER);
        (self.is_cut, self.layers_wait) = (false, false);
    }

    /// There is no memory for an acknowledgement or the like, so the connection must end: as behind any message without memory,
    /// at `memory_wait_until`. `false`: that is over.
    pub(super) fn cut(&mut self, now: Instant) -> bool {
        self.begin_end(now);
        self.is_cut = now < self.memory_wait_until;
        self.is_cut
    }

    /// A TLS record waits for memory, or not any more.
    fn wait_for_layers(&mut self, now: Instant, waits: bool) {
        if !HAS_LAYERS {
            return;
        }
        if waits {
            self.begin_end(now);
        } else if self.layers_wait && !self.is_cut && !self.is_ending() {
            self.memory_wait_until = ORIGIN;
        }
        self.layers_wait = waits;
    }

    /// The connection ends at `memory_wait_until` now. The wait of a message that was lost is not that one.
    fn begin_end(&mut self, now: Instant) {
        if self.memory_wait_until == ORIGIN || !(self.is_cut | self.layers_wait() | self.is_ending()) {
            self.memory_wait_until = now + MEMORY_WAIT;
        }
    }

    /// Whether nothing may be read or sent any more.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// When to try again whether there is memory.
    pub(super) fn next_memory_retry(&self, now: Instant) -> Instant {
        if now < self.memory_wait_until { now + MEMORY_RETRY } else { Instant::NEVER }
    }

    fn layers_wait(&self) -> bool {
        HAS_LAYERS && self.layers_wait
    }

    fn is_ending(&self) -> bool {
        self.missed_since != Instant::NEVER
    }

    /// When the connection must end for want of memory: it has nothing under way for which it should go on, or its time is
    /// up. More `input` is there.
    pub(super) fn end(&self, session: &Session<P::Buffer>, input: bool) -> Instant {
        if self.is_cut || self.layers_wait() {
            return self.memory_wait_until;
        }
        let is_idle = !input && self.backlog.is_empty() && session.is_idle();
        if is_idle { self.missed_since.max(self.memory_wait_until) } else { self.missed_since + MISSED_TIMEOUT }
    }

    /// Whether there is room for what the next read may bring; `has_memory` says whether the layers have. Calls that hold up
    /// the event task wait for something behind the messages in the backlog, so for their sake it may grow further; then they
    /// fail.
    pub(super) fn may_read(&mut self, client: &Client<P>, context: &mut Context<P>, has_memory: bool) -> bool {
        let now = context.now();
        self.wait_for_layers(now, !has_memory);
        let mut state = client.state();
        let len = state.session.announced();
        let in_callback = state.calls.block_events();
        // CONNACK, too, is read for a call that waits, and no message of its connection is before it, unless the server lies.
        let reads_more = in_callback || (state.connected.is_none() && len == 0);
        let mut has_room = self.backlog.has_room(len, reads_more, &mut context.outstanding);
        if in_callback && !has_room {
            log::error(&[&"a call in an event callback waits behind too many messages"]);
            let ClientState { calls, session, room, .. } = &mut *state;
            calls.fail_blocking(|id| session.forget(id));
            *room = (*room).max(Room::More);
            state.withdraw();
        }
        // Without memory for another entry, entries must leave the backlog first.
        has_room &= self.backlog.reserve() || self.backlog.is_empty();
        has_room &= has_memory && !self.is_cut;
        has_room &= state.session.has_memory() || now >= self.memory_wait_until;
        state.session.set_reading(now, has_room);
        has_room && !state.session.is_congested()
    }

    /// As [`Self::consume`], for the input that was left over.
    pub(super) fn consume_leftover(
        &mut self,
        client: &Client<P>,
        outstanding: &mut Outstanding,
        now: Instant,
        attempt: Attempt,
    ) -> Result<(), ConnectionError> {
        let leftover = core::mem::take(&mut self.leftover);
        #[cfg(not(any(feature = "tls", feature = "websocket")))]
        return self.consume(client, outstanding, now, attempt, &leftover, true);
        #[cfg(any(feature = "tls", feature = "websocket"))]
        {
            // It stays where it is; only the rest of a piece is copied, to tell how long that is.
            let begin = core::mem::take(&mut self.taken);
            let end = leftover.len().min(begin + PIECE);
            self.consume(client, outstanding, now, attempt, &leftover[begin..end], true)?;
            let taken = end - core::mem::take(&mut self.leftover).len();
            if taken < leftover.len() {
                (self.leftover, self.taken) = (leftover, taken);
            }
            Ok(())
        }
    }

    /// Takes input; what there is no room for is left over, and what there is no memory for, unless it comes out of a layer,
    /// piece by piece: where it `is_plain`, it is all that was read. `attempt` is whose input it is.
    pub(super) fn consume(
        &mut self,
        client: &Client<P>,
        outstanding: &mut Outstanding,
        now: Instant,
        attempt: Attempt,
        mut input: &[u8],
        is_plain: bool,
    ) -> Result<(), ConnectionError> {
        let mut guard = client.state();
        let state = &mut *guard;
        let mut room = self.backlog.sure_room();
        // Input behind what was left over must wait for it.
        while self.leftover.is_empty() {
            // An entry for the event is reserved before the session takes the bytes that bring it.
            if !self.backlog.reserve() {
                if self.backlog.is_empty() {
                    return Err(ConnectionError::NoMemory);
                }
                break;
            }
            state.session.set_room(room);
            if let Some(event) = state.session.handle_input(now, &mut input)? {
                self.handle_event(client, state, now, attempt, event)?;
                room = self.backlog.sure_room();
                continue;
            }
            // The rest of `input` begins a message for which there is no room or no memory. If it cannot be left over, the
            // message is taken all the same: it has at most the bytes of one read.
            room = state.session.announced();
            if input.is_empty() {
                break;
            }
            let is_short = room == 0;
            if is_short
                && !self.is_ending()
                && (self.memory_wait_until == ORIGIN || now >= self.memory_wait_until + MEMORY_WAIT)
            {
                self.memory_wait_until = now + MEMORY_WAIT;
            }
            let waits = match is_short {
                true => is_plain && now < self.memory_wait_until,
                false => !self.backlog.has_room(room, state.calls.block_events(), outstanding),
            };
            if waits && self.leftover.try_reserve_exact(input.len()).is_ok() {
                break;
            }
            if is_short {
                state.session.skip();
            }
        }
        self.leftover.try_reserve_exact(input.len()).map_err(|_| ConnectionError::NoMemory)?;
        self.leftover.extend_from_slice(input);
        Ok(())
    }

    /// There is no connection any more: tells the application, if there was one, and everybody who waits on it.
    pub(super) fn lose(&mut self, client: &Client<P>, state: &mut ClientState<P>) {
        if let Some(attempt) = state.connected.take() {
            let was_wanted = state.wanted == Some(attempt);
            let client = was_wanted.then(|| client.token());
            // `Backlog::reserve` has kept an entry for it since CONNACK.
            self.backlog.push(Some(Notification::Disconnected { client }), None);
        }
        self.drop_leftover();
        state.room_limit = Instant::NEVER;
        state.session.closed();
        state.calls.finish(Cause::Lost);
    }

    /// Acknowledges, in their order, the messages at the front of the backlog whose events were accepted or that have none. Without
    /// the client's `state` it locks that where something is owed, which for events of QoS 0 and others saves a lock each.
    pub(super) fn acknowledge(
        &mut self,
        client: &Client<P>,
        mut state: Option<&mut ClientState<P>>,
    ) -> Result<(), Violation> {
        let mut result = Ok(());
        // All of them also where there is no memory for one: an entry without an event would be sent.
        while let Some(receipt) = self.backlog.pop() {
            let Some(receipt) = receipt.filter(Receipt::is_owed) else { continue };
            let accepted = match &mut state {
                Some(state) => state.session.accepted(receipt),
                None => client.state().session.accepted(receipt),
            };
            result = result.and(accepted);
        }
        result
    }

    fn handle_event(
        &mut self,
        client: &Client<P>,
        state: &mut ClientState<P>,
        now: Instant,
        attempt: Attempt,
        event: Event,
    ) -> Result<(), ConnectionError> {
        match event {
            Event::Connected { session_present } => {
                if state.wanted != Some(attempt) {
                    // The application has withdrawn the connect: neither CONNACK nor what comes behind it is for anybody.
                    return Err(ConnectionError::Cancelled);
                }
                log::debug(&[&"connected, session present: ", &session_present]);
                state.connected(attempt, now);
                self.backlog.push(Some(Notification::Connected), None);
            }
            Event::Refused(code) => return Err(ConnectionError::Refused(code)),
            Event::Message(receipt) => {
                let client = client.token();
                let event = state.session.take_message().map(|message| Notification::Data { client, message });
                self.backlog.push(event, Some(receipt));
                if !self.is_ending() {
                    self.memory_wait_until = ORIGIN;
                }
            }
            Event::Missed => self.missed_since = self.missed_since.min(now),
            Event::Skipped(receipt) => {
                self.backlog.push(None, Some(receipt));
                self.acknowledge(client, Some(state))?;
            }
            Event::Published(id) => {
                self.backlog.push(Some(Notification::Published { id }), None);
                state.room = state.room.max(Room::More);
            }
            Event::Subscribed { id, granted } => {
                let outcome = if granted.is_some() { Ok(()) } else { Err(Error::SubscribeRefused) };
                state.calls.finish(Cause::Answered(id, outcome));
            }
            Event::Unsubscribed(id) => state.calls.finish(Cause::Answered(id, Ok(()))),
        }
        Ok(())
    }
}
