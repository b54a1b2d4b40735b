//! The API calls that wait, each with a signal of its own and room for its outcome.

use alloc::vec::Vec;

use super::{Attempt, Error};
use crate::port::{Port, Signal};
use crate::protocol::QoS;
use crate::time::{Clock, Instant};

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// connect, reconnect: CONNACK of this attempt, or the attempt's end.
    Connect(Attempt),
    /// subscribe, unsubscribe: SUBACK or UNSUBACK with this packet identifier.
    Acknowledgement(u16),
    /// publish: room for a message with this QoS, or the call's limit, at which it tries for the last time.
    Room(QoS),
    /// disconnect: the end of the connection that this attempt has made.
    Closed(Attempt),
    /// deinit: the return of all other calls on the handle.
    Quiet,
}

/// What has happened that calls wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// CONNACK has accepted the attempt that is wanted, which is that of every connect that waits.
    Connected,
    /// The attempt has failed.
    Failed(Attempt, Error),
    /// A disconnect, a reconnect or a deinit has begun.
    Unwanted,
    /// The connection is lost, or has ended.
    Lost,
    /// The connection of this attempt is closed. Ok: the server has received everything before that.
    Closed(Attempt, Result<(), Error>),
    /// SUBACK or UNSUBACK with this packet identifier has come.
    Answered(u16, Result<(), Error>),
    /// All calls but deinit have returned.
    Quiet,
}

struct Call<P: Port> {
    ticket: u32,
    kind: Kind,
    /// The call was made in an event callback: no event is delivered until it returns.
    blocks_events: bool,
    signal: P::Signal,
    /// When the MQTT task ends the call, if no cause has ended it before.
    limit: Instant,
    outcome: Option<Result<(), Error>>,
    /// The caller was woken for `outcome`.
    woken: bool,
    /// A publisher that was let try and has had its turn, but has not tried yet.
    passed: bool,
}

/// Which publisher may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// None waits.
    Nobody,
    /// None: there is no room for those that wait.
    NoRoom,
    /// One that was let before, and has its turn.
    Before,
    /// One that was not let before.
    Now,
}

/// Names a waiting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// The table of waiting calls of one client, in the order in which they came.
pub(super) struct Calls<P: Port> {
    entries: Vec<Call<P>>,
    next: u32,
}

impl<P: Port> Calls<P> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), next: 0 }
    }

    /// Reserves a place for one more call; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.entries.try_reserve(1).is_ok()
    }

    /// Enters a call in the place that was reserved. The MQTT task ends it at `limit`.
    pub(super) fn add(&mut self, kind: Kind, signal: P::Signal, blocks_events: bool, limit: Instant) -> Ticket {
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        self.entries.push(Call {
            ticket,
            kind,
            blocks_events,
            signal,
            limit,
            outcome: None,
            woken: false,
            passed: false,
        });
        Ticket(ticket)
    }

    /// Removes a call that returns now; its outcome, `None` when none has come.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Result<(), Error>> {
        let at = self.entries.iter().position(|call| call.ticket == ticket.0)?;
        let outcome = self.entries.remove(at).outcome;
        if self.is_quiet() {
            self.finish(Cause::Quiet);
        }
        outcome
    }

    /// Takes the outcome of a call, which keeps its place in the order and waits again.
    pub(super) fn take_outcome(&mut self, ticket: Ticket) -> Option<Result<(), Error>> {
        let call = self.entries.iter_mut().find(|call| call.ticket == ticket.0)?;
        (call.woken, call.passed) = (false, false);
        call.outcome.take()
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a call waits whose kind `kinds` accepts.
    pub(super) fn any(&self, kinds: impl Fn(Kind) -> bool) -> bool {
        self.entries.iter().any(|call| kinds(call.kind))
    }

    /// Whether a connect still waits, which is for the attempt that is wanted.
    pub(super) fn is_connecting(&mut self) -> bool {
        self.waiting().any(|call| matches!(call.kind, Kind::Connect(_)))
    }

    /// Whether no call waits but deinit.
    pub(super) fn is_quiet(&self) -> bool {
        !self.any(|kind| kind != Kind::Quiet)
    }

    fn waiting(&mut self) -> impl Iterator<Item = &mut Call<P>> {
        self.entries.iter_mut().filter(|call| call.outcome.is_none())
    }

    /// Ends the calls that wait for `cause`. A publisher that was let try, and has not yet, still waits.
    pub(super) fn finish(&mut self, cause: Cause) {
        let waits = |call: &&mut Call<P>| call.outcome.is_none() || matches!(call.kind, Kind::Room(_));
        for call in self.entries.iter_mut().filter(waits) {
            let outcome = match (call.kind, cause) {
                (Kind::Connect(_), Cause::Connected) => Ok(()),
                (Kind::Connect(of), Cause::Failed(attempt, error)) if of == attempt => Err(error),
                (Kind::Connect(_), Cause::Unwanted) => Err(Error::Failure),
                (Kind::Acknowledgement(_) | Kind::Room(_), Cause::Unwanted | Cause::Lost) => Err(Error::Disconnected),
                (Kind::Acknowledgement(of), Cause::Answered(id, outcome)) if of == id => outcome,
                (Kind::Closed(of), Cause::Closed(attempt, outcome)) if of == attempt => outcome,
                (Kind::Quiet, Cause::Quiet) => Ok(()),
                (
                    Kind::Connect(_) | Kind::Acknowledgement(_) | Kind::Room(_) | Kind::Closed(_) | Kind::Quiet,
                    Cause::Connected
                    | Cause::Failed(..)
                    | Cause::Unwanted
                    | Cause::Lost
                    | Cause::Closed(..)
                    | Cause::Answered(..)
                    | Cause::Quiet,
                ) => continue,
            };
            call.outcome = Some(outcome);
        }
    }

    /// Lets the first publisher try that there is room for; publishers are served in order, and each that has tried calls this for the
    /// next one: one that was let and has not tried yet keeps its turn, until that is `overdue` and it is passed over. Nobody is served
    /// before one with QoS 0: what keeps that waiting, others would add to.
    pub(super) fn serve_publisher(&mut self, overdue: bool, has_room: impl Fn(QoS) -> bool) -> Served {
        let mut served = Served::Nobody;
        for call in &mut self.entries {
            let Kind::Room(qos) = call.kind else { continue };
            match call.outcome {
                Some(_) if overdue || call.passed => {
                    call.passed = true;
                    continue;
                }
                Some(_) => return Served::Before,
                None => {}
            }
            if has_room(qos) {
                call.outcome = Some(Ok(()));
                return Served::Now;
            }
            served = Served::NoRoom;
            if qos == QoS::AtMostOnce {
                break;
            }
        }
        served
    }

    /// The earliest limit of the waiting calls.
    pub(super) fn deadline(&self, clock: &Clock) -> Instant {
        let waiting = self.entries.iter().filter(|call| call.outcome.is_none());
        waiting.fold(Instant::NEVER, |first, call| first.min(clock.end_of(call.limit)))
    }

    /// Ends the calls whose limit is over; `forgotten` gets the identifiers of requests that nobody waits for any more.
    pub(super) fn expire(&mut self, clock: &Clock, mut forgotten: impl FnMut(u16)) {
        for call in self.waiting().filter(|call| clock.is_over(call.limit)) {
            call.outcome = Some(match call.kind {
                Kind::Acknowledgement(id) => {
                    forgotten(id);
                    Err(Error::Failure)
                }
                Kind::Connect(_) | Kind::Room(_) | Kind::Closed(_) | Kind::Quiet => Ok(()),
            });
        }
    }

    /// Whether a waiting call was made in an event callback: the event task stands still until it returns.
    pub(super) fn block_events(&self) -> bool {
        self.entries.iter().any(|call| call.blocks_events && call.outcome.is_none())
    }

    /// Fails the calls that hold up the event task; `forgotten` as with [`expire`](Self::expire).
    pub(super) fn fail_blocking(&mut self, mut forgotten: impl FnMut(u16)) {
        for call in self.waiting().filter(|call| call.blocks_events) {
            if let Kind::Acknowledgement(id) = call.kind {
                forgotten(id);
            }
            call.outcome = Some(Err(Error::Failure));
        }
    }

    /// Whom to wake of the calls that have ended and were not woken yet: the last one, and the others are woken here.
    pub(super) fn take_ended(&mut self) -> Option<P::Signal> {
        let mut last: Option<P::Signal> = None;
        for call in self.entries.iter_mut().filter(|call| call.outcome.is_some() && !call.woken) {
            call.woken = true;
            if let Some(signal) = last.replace(call.signal.clone()) {
                signal.notify();
            }
        }
        last
    }
}
