//! What leaves on a connection, and the end of one that nobody wants any more.

use zeroize::Zeroize;

use super::{AT_ONCE, Connection, Context, Stage};
use crate::client::calls::Cause;
use crate::client::closing::Closing;
use crate::client::connection_error::ConnectionError;
use crate::client::state::{Attempt, ClientState, Room};
use crate::client::{Client, Error, SILENCE};
use crate::port::Port;
use crate::time::Instant;

/// Writes to one socket before the others get their turn.
const WRITES: usize = 4;

/// What nobody wants any more, and is to end.
pub(super) enum Unwanted {
    /// The attempt, before CONNACK.
    Attempt,
    /// The connection of this attempt.
    Connection {
        attempt: Attempt,
        /// Until then the server may receive what was sent.
        limit: Instant,
        /// DISCONNECT is with the network.
        has_left: bool,
        is_silent: bool,
    },
}

impl<P: Port> Connection<P> {
    /// Hands the pipe what the session has, as far as the socket takes it, and no more than others can wait for. Whether the
    /// connection is to end, judged with nothing left for the socket, under the lock that said so.
    pub(super) fn transmit(
        &mut self,
        context: &mut Context<P>,
        client: &Client<P>,
    ) -> Result<Option<Unwanted>, ConnectionError> {
        match &mut self.stage {
            Stage::Securing(pipe) => {
                pipe.flush()?;
                pipe.acknowledge();
            }
            Stage::Up(pipe) if !self.receiver.is_cut() => {
                for turn in 0.. {
                    // TLS and WebSocket may have answers of their own (tickets, pongs).
                    pipe.flush()?;
                    let mut guard = client.state();
                    let state = &mut *guard;
                    let left = pipe.take_left();
                    state.session.transmitted(context.now(), left);
                    #[cfg(any(feature = "tls", feature = "websocket"))]
                    if pipe.take_moved() {
                        state.session.moved(context.now());
                    }
                    if left > 0 {
                        state.room = state.room.max(Room::More);
                    }
                    state.drain(&context.clock);
                    let connecting = state.connected.is_none();
                    let may_write = pipe.may_write() && turn < WRITES;
                    let len = if may_write { state.session.transmit(&mut context.buffer) } else { 0 };
                    if len == 0 {
                        // Once, when the session has nothing left for the socket: all of its room is free for publishers.
                        state.offer_room(context.now());
                        // And no PINGREQ waits for this task, whose silence would count as the server's.
                        let keep_alive = state.keep_alive(&context.clock);
                        if keep_alive <= context.now() {
                            state.session.handle_timeout(context.now())?;
                            // The network may have failed to say that the socket has room.
                            pipe.writable = true;
                            continue;
                        }
                        if turn >= WRITES {
                            self.due = AT_ONCE;
                        }
                        if !connecting {
                            return Ok(self.judge_end(context, state, keep_alive));
                        }
                        break;
                    }
                    drop(guard);
                    let written = pipe.write(&context.buffer[..len]);
                    // The bytes are CONNECT, with the password in it.
                    if connecting {
                        context.buffer[..len].zeroize();
                    }
                    written?;
                }
                pipe.acknowledge();
            }
            Stage::Down | Stage::Dialing(_) | Stage::Up(_) => {}
        }
        Ok(self.judge_end(context, &mut client.state(), Instant::NEVER))
    }

    /// Whether a connection that is not wanted any more has ended: when DISCONNECT is with the network, or the time for that is up.
    /// One that goes on gets its next deadline, `keep_alive` at the latest.
    fn judge_end(&mut self, context: &Context<P>, state: &mut ClientState<P>, keep_alive: Instant) -> Option<Unwanted> {
        let now = context.now();
        let (ending, session) = (state.ending, &state.session);
        let has_left = !session.is_connected() && !session.wants_write();
        // The time may be up before this task has tried to send: what the socket takes goes out first.
        let is_over = || has_left || (self.due != AT_ONCE && context.clock.is_over(self.limit(state)));
        let Some(attempt) = state.connected.filter(|_| state.connected != state.wanted && is_over()) else {
            if state.connected.is_none() && state.wanted != self.attempt && matches!(self.stage, Stage::Up(_)) {
                state.session.closed();
                return Some(Unwanted::Attempt);
            }
            self.due = self.due.min(keep_alive).min(self.next_deadline(state, &context.clock));
            return None;
        };
        // Whom the client does not read is not silent: bytes unread would make a reset of the end.
        let is_silent =
            ending.hurried != Instant::NEVER && !self.stopped_reading() && now >= session.last_received() + SILENCE;
        self.receiver.lose(&self.client, state);
        state.closing = Some(attempt);
        Some(Unwanted::Connection { attempt, limit: ending.limit, has_left, is_silent })
    }

    /// Ends the stream. The server may still receive what the network has.
    #[cfg_attr(feature = "tls", inline(never))]
    pub(super) fn end_unwanted(&mut self, context: &mut Context<P>, end: Unwanted) {
        let Unwanted::Connection { attempt, limit, has_left, is_silent } = end else { return self.hang_up() };
        self.preference.served();
        let mut over = Some(attempt);
        if let Stage::Up(mut pipe) = core::mem::replace(&mut self.stage, Stage::Down)
            && has_left
            && (!is_silent || pipe.has_input(&mut context.buffer))
        {
            // A client has one `closing`: an older one is dropped, its pause was over when this connection began.
            let older = self.closing.replace(Closing::new(attempt, pipe, limit, context.now()));
            over = older.map(|older| older.attempt);
        }
        if let Some(over) = over {
            let mut state = self.client.state();
            state.closing = state.closing.filter(|closing| *closing != over);
            state.calls.finish(Cause::Closed(over, Err(Error::Failure)));
        }
        self.due = AT_ONCE;
    }
}
