//! The end of a connection: DISCONNECT is with the network, and the server is to receive all of it.

use super::LINGER_TIMEOUT;
use super::connection::{Context, READS};
use super::pipe::Pipe;
use super::state::Attempt;
use crate::port::{NetError, Port, Token};
use crate::time::{Clock, Instant, Millis};

/// First and longest pause before the network is asked again what the server has received: nothing reports that.
const ASK: (Millis, Millis) = (2, 64);

/// A stream that ends in order: what is left in the layers goes out, then FIN. What the server sends meanwhile is discarded:
/// unread, or coming later, it would make a reset of the end, and the server or a proxy before it would lose what it has
/// not read yet.
pub(super) struct Closing<P: Port> {
    pub(super) attempt: Attempt,
    pipe: Pipe<P>,
    /// FIN is out.
    is_shut: bool,
    /// The server has received everything.
    is_received: bool,
    /// When the server must have received everything.
    limit: Instant,
    /// Until then the server may close first, and the next connection waits for that: a server that meets that one before it
    /// has read DISCONNECT publishes the will.
    pause: Instant,
    /// When to ask the network again whether the server has received everything, and the pause after that.
    ask: Instant,
    next_pause: Millis,
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server has not received everything yet.
    Pending,
    /// The server has received everything, and may still close.
    Received,
    /// The server has closed, or is not waited for any longer.
    Closed,
    /// The server has not received everything in time.
    TimedOut,
}

impl<P: Port> Closing<P> {
    pub(super) fn new(attempt: Attempt, mut pipe: Pipe<P>, limit: Instant, now: Instant) -> Self {
        pipe.close();
        Self {
            attempt,
            pipe,
            is_shut: false,
            is_received: false,
            limit,
            pause: now + LINGER_TIMEOUT,
            ask: now,
            next_pause: ASK.0,
        }
    }

    /// Whether `token` is its socket; then that may be ready.
    pub(super) fn ready(&mut self, token: Token) -> bool {
        let is_ours = self.pipe.token() == token;
        if is_ours {
            self.pipe.ready();
        }
        is_ours
    }

    /// Whether the next connection need not wait any longer.
    pub(super) fn is_aside(&self, now: Instant) -> bool {
        now >= self.pause
    }

    /// Goes on as far as that goes, and no further than others can wait for. A server that has received everything may read
    /// it as slowly as it likes, unless the client `is_gone`.
    pub(super) fn poll(&mut self, context: &mut Context<P>, is_gone: bool) -> End {
        let mut is_closed = false;
        if !self.is_shut {
            match self.pipe.flush() {
                Ok(()) if self.pipe.is_flushed() => {
                    self.pipe.shutdown();
                    self.is_shut = true;
                }
                Ok(()) => {}
                Err(_) => is_closed = true,
            }
        }
        for _ in 0..READS {
            match self.pipe.discard(&mut context.buffer) {
                Ok(1..) => {}
                Err(NetError::WouldBlock) => break,
                Ok(0) | Err(_) => {
                    is_closed = true;
                    break;
                }
            }
        }
        let now = context.now();
        self.is_received = self.is_received || (self.is_shut && self.pipe.is_acknowledged());
        if now >= self.ask {
            self.ask = now + self.next_pause;
            self.next_pause = (self.next_pause * 2).min(ASK.1);
        }
        let is_over = context.clock.is_over(self.limit);
        match self.is_received {
            _ if is_closed => End::Closed,
            true if is_over || (is_gone && self.is_aside(now)) => End::Closed,
            true => End::Received,
            false if is_over => End::TimedOut,
            false => End::Pending,
        }
    }

    /// When to call [`Self::poll`] again if the network says nothing.
    pub(super) fn deadline(&self, clock: &Clock) -> Instant {
        let (now, limit) = (clock.now(), clock.end_of(self.limit));
        if self.pipe.readable {
            return now;
        }
        let next = if self.is_shut && !self.is_received { self.ask.min(limit) } else { limit };
        if self.is_aside(now) { next } else { next.min(self.pause) }
    }
}
