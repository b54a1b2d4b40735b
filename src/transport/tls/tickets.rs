//! What a handle remembers of the server, so that a reconnect resumes the session.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use spin::Mutex;

use super::clock::{Clock, is_set};
use super::need::{self, Need};

/// A handle connects to one server only, so the names are not looked at. One session of each version is kept, the newest:
/// it holds a copy of the server's certificates. Each is used once, for TLS 1.2 too: rustls hands a session that was
/// resumed back, and one that the server no longer likes must not spoil every connect.
///
/// Nobody waits for the lock: who finds it taken goes without, and a session is not kept.
#[derive(Default)]
pub(super) struct Tickets {
    memory: Mutex<Memory>,
    /// Bytes of the ticket that rustls hands over next, if it does, at most. rustls does not tell, so whoever gives it the server's
    /// records has put that here before: one task at a time, since a handle has one connection, and handshakes have one task.
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Memory {
    group: Option<NamedGroup>,
    tls12: Option<Kept<Tls12ClientSessionValue>>,
    tls13: Option<Kept<Tls13ClientSessionValue>>,
}

struct Kept<T> {
    session: T,
    /// Of its ticket, at most.
    bytes: usize,
    doubtful: bool,
}

/// A message with a ticket of no bytes, in TLS 1.2: how long it lives, and its length.
const EMPTY: usize = 6;

/// What rustls knows of clock and sessions, for one connection, or for several that have all had a clock.
pub(super) struct View {
    clock: Clock,
    tickets: Arc<Tickets>,
    /// The clock was once not set, or the session that was resumed was doubtful: the server's certificate may have been
    /// verified for a wrong day. So it is with all sessions that the server gives, whenever they arrive.
    doubtful: AtomicBool,
}

impl View {
    pub(super) fn new(clock: Clock, tickets: Arc<Tickets>) -> Self {
        Self { clock, tickets, doubtful: AtomicBool::new(false) }
    }

    /// The same for another connection.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.clock, self.tickets.clone())
    }

    /// Whether connections that begin now may share it.
    pub(super) fn is_sure(&self) -> bool {
        self.clock.is_set() && !self.doubtful.load(Ordering::Relaxed)
    }

    /// The server's last ticket has so many bytes, at most. Behind one that is empty, or none, rustls may hand back the one that was
    /// offered.
    pub(super) fn expect(&self, bytes: usize) {
        if bytes > EMPTY {
            self.tickets.bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes of the ticket that a handshake has offered, as long as the server has sent none.
    pub(super) fn offered(&self) -> usize {
        self.tickets.bytes.load(Ordering::Relaxed)
    }

    fn keep<T>(&self, session: T, place: impl FnOnce(&mut Memory) -> &mut Option<Kept<T>>) {
        let doubtful = self.doubtful.load(Ordering::Relaxed);
        let bytes = self.tickets.bytes.load(Ordering::Relaxed);
        if let Some(mut memory) = self.tickets.memory.try_lock() {
            *place(&mut memory) = Some(Kept { session, bytes, doubtful });
        }
    }

    /// Takes a session, unless it is doubtful and there is a clock now, since the certificate may have expired long ago, or
    /// there is no memory to offer it.
    fn take<T>(&self, place: impl FnOnce(&mut Memory) -> &mut Option<Kept<T>>) -> Option<T> {
        self.tickets.bytes.store(0, Ordering::Relaxed);
        let Kept { session, bytes, doubtful } = place(&mut *self.tickets.memory.try_lock()?).take()?;
        if doubtful {
            if self.clock.is_set() {
                return None;
            }
            self.doubtful.store(true, Ordering::Relaxed);
        }
        let may = need::add(Need::whole(need::TICKET_BYTE * bytes));
        self.tickets.bytes.store(if may { bytes } else { 0 }, Ordering::Relaxed);
        may.then_some(session)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are secrets in it.
        f.write_str("View")
    }
}

impl TimeProvider for View {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.clock.now();
        if !is_set(now) {
            self.doubtful.store(true, Ordering::Relaxed);
        }
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
    }
}

impl ClientSessionStore for View {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        if let Some(mut memory) = self.tickets.memory.try_lock() {
            memory.group = Some(group);
        }
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.tickets.memory.try_lock()?.group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.keep(value, |memory| &mut memory.tls12);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.take(|memory| &mut memory.tls12)
    }

    /// Nothing is left to remove: [`tls12_session`](Self::tls12_session) has taken it out.
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.keep(value, |memory| &mut memory.tls13);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.take(|memory| &mut memory.tls13)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_the_lock() {
        let view = View::new(Clock(|| 0), Arc::default());
        let name = ServerName::try_from("broker.example").unwrap();
        view.set_kx_hint(name.clone(), NamedGroup::X25519);
        let taken = view.tickets.memory.lock();
        assert_eq!(view.kx_hint(&name), None);
        assert!(view.tls12_session(&name).is_none() && view.take_tls13_ticket(&name).is_none());
        view.set_kx_hint(name.clone(), NamedGroup::secp256r1);
        view.keep((), |_| unreachable!("somebody else is at it"));
        drop(taken);
        assert_eq!(view.kx_hint(&name), Some(NamedGroup::X25519));
    }

    #[test]
    fn connections_share_what_was_never_in_doubt() {
        let view = View::new(Clock(|| u64::MAX), Arc::default());
        assert!(view.is_sure());
        view.doubtful.store(true, Ordering::Relaxed);
        assert!(!view.is_sure() && view.anew().is_sure());
        assert!(!View::new(Clock(|| 0), Arc::default()).is_sure());
    }
}
