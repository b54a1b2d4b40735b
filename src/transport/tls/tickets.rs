//! What a handle remembers of the server, so that a reconnect resumes the session.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use spin::Mutex;

use super::clock::Clock;
use super::find_free;

/// A handle connects to one server only, so the names are not looked at. One session of each version is kept, the newest:
/// it holds a copy of the server's certificates. Each is used once, for TLS 1.2 too: rustls hands a session that was
/// resumed back, and one that the server no longer likes must not spoil every connect. The lock is never contended, since
/// one task at a time shakes hands for a handle.
pub(super) struct Tickets {
    clock: Clock,
    memory: Mutex<Memory>,
    /// How much of the heap the server's certificates take in each session: a handshake that resumes one copies them.
    pub(super) chain: AtomicUsize,
    /// No ticket of them is longer.
    pub(super) longest: AtomicUsize,
}

/// How many times its length a ticket takes of the heap while a ClientHello with it is made.
const TICKET: usize = 5;

#[derive(Default)]
struct Memory {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
    /// The clock was not set when the sessions were made.
    doubtful: bool,
}

impl Tickets {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, memory: Mutex::default(), chain: AtomicUsize::new(0), longest: AtomicUsize::new(0) }
    }

    fn keep(&self, keep: impl FnOnce(&mut Memory)) {
        let mut memory = self.memory.lock();
        memory.doubtful = !self.clock.is_set();
        keep(&mut memory);
    }

    fn is_affordable(&self) -> bool {
        find_free([TICKET * self.longest.load(Relaxed)])
    }

    /// Takes a session, unless the clock has been set since: the certificate may have expired long ago. Nor one that there is no
    /// memory to offer.
    fn take<T>(&self, take: impl FnOnce(&mut Memory) -> Option<T>) -> Option<T> {
        let affordable = self.is_affordable();
        let mut memory = self.memory.lock();
        let session = take(&mut memory);
        if memory.doubtful && self.clock.is_set() { None } else { session.filter(|_| affordable) }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are secrets in it.
        f.write_str("Tickets")
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.memory.lock().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.memory.lock().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.keep(|memory| memory.tls12 = Some(value));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.take(|memory| memory.tls12.take())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.memory.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.keep(|memory| memory.tls13 = Some(value));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.take(|memory| memory.tls13.take())
    }
}
