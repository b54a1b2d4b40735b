//! From the server's bytes to events that wait for the SDK's queue, and to calls that wait for an answer.

use alloc::vec::Vec;

use super::backlog::{Backlog, Notification};
use super::calls::Cause;
use super::handle::{Attempt, State};
use super::trouble::Trouble;
use super::{Client, Error};
use crate::log;
use crate::port::{Lock, Port, Shared};
use crate::protocol::{Event, Session};
use crate::time::{Instant, Millis};

/// Where a client's input goes.
pub(super) struct Intake<P: Port> {
    client: Shared<Client<P>>,
    pub(super) backlog: Backlog<P::Buffer>,
    /// Input that was read but could not be taken, because the backlog was full, or there was no memory.
    leftover: Vec<u8>,
    /// Until then messages wait for memory, and the connection does not end for want of it: an application that connects
    /// again at once would soon have used up all tries.
    patience: Instant,
    /// Since then the connection ends as soon as it can, since a message was missed.
    missed: Instant,
}

/// How long a message waits for memory, and nothing is read meanwhile. Then there is no such wait for as long.
const PATIENCE: Millis = 2000;
/// How often it looks.
const LOOK: Millis = 50;
/// How long a connection goes on that must end since a message was missed.
const RESPITE: Millis = 10_000;
const ORIGIN: Instant = Instant::from_millis(0);

impl<P: Port> Intake<P> {
    pub(super) fn new(client: Shared<Client<P>>) -> Self {
        let backlog = Backlog::new(client.token(), P::limits().backlog);
        Self { client, backlog, leftover: Vec::new(), patience: ORIGIN, missed: Instant::NEVER }
    }

    /// Whether there is input that was left.
    pub(super) fn has_leftover(&self) -> bool {
        !self.leftover.is_empty()
    }

    /// The connection that the input came from is gone.
    pub(super) fn drop_leftover(&mut self) {
        self.leftover = Vec::new();
        (self.patience, self.missed) = (ORIGIN, Instant::NEVER);
    }

    /// When to look again for memory.
    pub(super) fn next_look(&self, now: Instant) -> Instant {
        if now < self.patience { now + LOOK } else { Instant::NEVER }
    }

    fn is_ending(&self) -> bool {
        self.missed < Instant::NEVER
    }

    /// When the connection must end for want of memory: it has nothing under way for which it should go on, or its time is
    /// up. More `input` is there.
    pub(super) fn end(&self, session: &Session<P::Buffer>, input: bool) -> Instant {
        let is_idle = !input && self.backlog.is_empty() && session.is_idle();
        if is_idle { self.missed.max(self.patience) } else { self.missed + RESPITE }
    }

    /// Whether there is room for what the next read may bring. Calls that hold up the event task wait for something
    /// behind the messages in the backlog, so for their sake it may grow further; then they fail.
    pub(super) fn may_read(&mut self, now: Instant) -> bool {
        let hub = self.client.hub;
        let mut state = self.client.state().lock();
        let len = state.session.announced();
        let patient = state.calls.block_events();
        let mut has_room = self.backlog.has_room(len, patient, hub);
        if patient && !has_room {
            log::error(&[&"a call in an event callback waits behind too many messages"]);
            let State { calls, session, .. } = &mut *state;
            calls.fail_blocking(|id| session.forget(id));
        }
        // What waits must leave before there is memory for more.
        has_room &= self.backlog.reserve() || self.backlog.is_empty();
        has_room &= state.session.has_memory() || now >= self.patience;
        state.session.set_reading(now, has_room);
        has_room && !state.session.is_congested()
    }

    /// Takes what was left.
    pub(super) fn consume_leftover(&mut self, now: Instant, attempt: Attempt) -> Result<(), Trouble> {
        let leftover = core::mem::take(&mut self.leftover);
        self.consume(now, attempt, &leftover, true)
    }

    /// Takes input; what there is no room for is left over, and what there is no memory for, unless it comes out of a layer,
    /// piece by piece: where it `is_plain`, it is all that was read. `attempt` is whose input it is.
    pub(super) fn consume(
        &mut self,
        now: Instant,
        attempt: Attempt,
        mut input: &[u8],
        is_plain: bool,
    ) -> Result<(), Trouble> {
        let client = self.client.clone();
        let mut guard = client.state().lock();
        let state = &mut *guard;
        let mut room = 0;
        // What is left over comes first.
        while self.leftover.is_empty() {
            // Before anything is taken that could not be told.
            if !self.backlog.reserve() {
                if self.backlog.is_empty() {
                    return Err(Trouble::NoMemory);
                }
                break;
            }
            state.session.set_room(room);
            if let Some(event) = state.session.handle_input(now, &mut input).map_err(Trouble::Violation)? {
                self.handle_event(state, now, attempt, event)?;
                room = 0;
                continue;
            }
            // What is left begins a message. Where it cannot be kept it is taken all the same: it is at most what was read.
            room = state.session.announced();
            if input.is_empty() {
                break;
            }
            let is_short = room == 0;
            if is_short && !self.is_ending() && (self.patience == ORIGIN || now >= self.patience + PATIENCE) {
                self.patience = now + PATIENCE;
            }
            let waits = match is_short {
                true => is_plain && now < self.patience,
                false => !self.backlog.has_room(room, state.calls.block_events(), client.hub),
            };
            if waits && self.leftover.try_reserve_exact(input.len()).is_ok() {
                break;
            }
            if is_short {
                state.session.skip();
            }
        }
        self.leftover.try_reserve_exact(input.len()).map_err(|_| Trouble::NoMemory)?;
        self.leftover.extend_from_slice(input);
        Ok(())
    }

    fn handle_event(
        &mut self,
        state: &mut State<P>,
        now: Instant,
        attempt: Attempt,
        event: Event,
    ) -> Result<(), Trouble> {
        match event {
            Event::Connected { session_present } => {
                if state.wanted != Some(attempt) {
                    // Nor what stands behind CONNACK.
                    return Err(Trouble::Unwanted);
                }
                log::debug(&[&"connected, session present: ", &session_present]);
                state.connected(attempt, now);
                self.backlog.push(Some(Notification::Connected), None);
            }
            Event::Refused(code) => return Err(Trouble::Refused(code)),
            Event::Message(receipt) => {
                let client = self.client.token();
                let event = state.session.take_message().map(|message| Notification::Data { client, message });
                self.backlog.push(event, Some(receipt));
                if !self.is_ending() {
                    self.patience = ORIGIN;
                }
            }
            Event::Missed => self.missed = self.missed.min(now),
            Event::Skipped(receipt) => self.backlog.push(None, Some(receipt)),
            Event::Published(id) => {
                self.backlog.push(Some(Notification::Published { id }), None);
                state.has_room = true;
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
