//! The API calls that wait, each with a signal of its own and room for its outcome.

use alloc::vec::Vec;

use super::Error;
use crate::port::{Port, Signal};
use crate::time::{Clock, Instant};

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONNACK, or the end of the attempt.
    Connect,
    /// SUBACK or UNSUBACK with this packet identifier.
    Acknowledgement(u16),
    /// Room for a message, or its limit: then it tries for the last time.
    Room,
    /// The end of a disconnect.
    Closed,
    /// Nobody else waiting any more (deinit).
    Quiet,
}

struct Call<P: Port> {
    ticket: u32,
    kind: Kind,
    /// The caller stands in the event task, so no event is delivered until it returns.
    blocks_events: bool,
    signal: P::Signal,
    /// When the MQTT task ends it, if it is to be ended for no other reason.
    limit: Option<Instant>,
    outcome: Option<Result<(), Error>>,
}

/// Names a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// The table of waiting calls of one client.
pub(super) struct Calls<P: Port> {
    entries: Vec<Call<P>>,
    next: u32,
}

impl<P: Port> Calls<P> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), next: 0 }
    }

    /// Room for one more; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.entries.try_reserve(1).is_ok()
    }

    /// Enters a call; room was reserved. The MQTT task ends it at `limit`.
    pub(super) fn add(&mut self, kind: Kind, signal: P::Signal, blocks_events: bool, limit: Option<Instant>) -> Ticket {
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        self.entries.push(Call { ticket, kind, blocks_events, signal, limit, outcome: None });
        Ticket(ticket)
    }

    /// The limits of the calls that wait.
    fn limits(&self) -> impl Iterator<Item = Instant> {
        self.entries.iter().filter(|call| call.outcome.is_none()).filter_map(|call| call.limit)
    }

    /// When the next of them must be ended.
    pub(super) fn deadline(&self, clock: &Clock) -> Option<Instant> {
        self.limits().map(|limit| clock.end_of(limit)).min()
    }

    /// Ends the calls whose limit is over; `forgotten` gets the identifiers of requests that nobody waits for any more.
    pub(super) fn expire(&mut self, clock: &Clock, mut forgotten: impl FnMut(u16)) {
        let waiting = self.entries.iter_mut().filter(|call| call.outcome.is_none());
        for call in waiting.filter(|call| call.limit.is_some_and(|limit| clock.is_over(limit))) {
            call.outcome = Some(match call.kind {
                Kind::Acknowledgement(id) => {
                    forgotten(id);
                    Err(Error::Failure)
                }
                _ => Ok(()),
            });
            call.signal.notify();
        }
    }

    /// A call is over; its outcome, `None` when none has come.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Result<(), Error>> {
        let at = self.entries.iter().position(|call| call.ticket == ticket.0)?;
        let outcome = self.entries.swap_remove(at).outcome;
        if self.is_quiet() {
            self.finish(Ok(()), &|kind| kind == Kind::Quiet);
        }
        outcome
    }

    /// Whether a call of these kinds waits.
    pub(super) fn any(&self, kinds: impl Fn(Kind) -> bool) -> bool {
        self.entries.iter().any(|call| kinds(call.kind))
    }

    /// Whether nobody waits but a deinit.
    pub(super) fn is_quiet(&self) -> bool {
        self.entries.iter().all(|call| call.kind == Kind::Quiet)
    }

    /// Gives `outcome` to the calls of these kinds that have none, and wakes them.
    pub(super) fn finish(&mut self, outcome: Result<(), Error>, kinds: &dyn Fn(Kind) -> bool) {
        for call in self.entries.iter_mut().filter(|call| call.outcome.is_none() && kinds(call.kind)) {
            call.outcome = Some(outcome);
            call.signal.notify();
        }
    }

    /// Whether the event task stands still until one of these calls returns.
    pub(super) fn block_events(&self) -> bool {
        self.entries.iter().any(|call| call.blocks_events && call.outcome.is_none())
    }

    /// Fails the calls that hold up the event task.
    pub(super) fn fail_blocking(&mut self, error: Error) {
        for call in self.entries.iter_mut().filter(|call| call.blocks_events && call.outcome.is_none()) {
            call.outcome = Some(Err(error));
            call.signal.notify();
        }
    }
}
