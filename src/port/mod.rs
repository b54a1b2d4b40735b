//! What the core needs from the system under it: locks, signals, tasks, a clock, a network, memory for events.
//!
//! A port is a type that implements [`Port`]. There is one for hosts, one for the device (half of it in C, for the SDK's
//! compiler), and a simulated one in the tests. Nothing else in this crate names a socket, a thread or a lock.

use core::fmt;
use core::net::SocketAddr;
use core::ops::DerefMut;

use alloc::vec::Vec;

#[cfg(feature = "tls")]
use rustls::pki_types::TrustAnchor;

use crate::protocol::Buffer;
use crate::time::Instant;
#[cfg(feature = "tls")]
use crate::transport::tls::{Held, Need};

#[cfg(feature = "freertos")]
pub mod freertos;
mod heap;
#[cfg(feature = "host")]
pub mod host;
#[cfg(all(test, feature = "host", feature = "tls"))]
mod reserve_test;
mod shared;
mod text;

pub use heap::CBuffer;
pub use shared::Shared;
pub(crate) use text::text;

/// The port that the C ABI runs on.
#[cfg(feature = "freertos")]
pub use freertos::{FreeRtos as Platform, init_log};
#[cfg(feature = "host")]
pub use host::{Host as Platform, init_log};

#[cfg(all(feature = "freertos", feature = "host"))]
compile_error!("the features `freertos` and `host` are two ports: choose one");

/// The system under the core. All functions may be called from any task unless they say otherwise.
pub trait Port: Sized + Send + Sync + 'static {
    /// A mutual exclusion lock around a value.
    type Lock<T: Send>: Lock<T>;
    /// What a task sleeps on until another wakes it.
    type Signal: Signal;
    /// The network, as the MQTT task sees it.
    type Net: Net;
    /// Memory that the application frees.
    type Buffer: Buffer + Send + fmt::Debug;
    /// What is left of a started task.
    type Join: Join;
    /// The same of a task with a deep stack: joining gives that back at once. Dropped before the task has ended, the system
    /// gives it back some time later.
    #[cfg(feature = "tls")]
    type DeepJoin: Join;

    /// The monotonic clock.
    fn now() -> Instant;

    /// Starts the MQTT task: calls `task.turn()` until it says that it is done. `None` when there is no memory for it.
    fn spawn<T: Task>(task: T) -> Option<Self::Join>;

    /// As [`spawn`](Self::spawn), for a task with stack enough for the public-key cryptography of a TLS handshake.
    #[cfg(feature = "tls")]
    fn spawn_deep<T: Task>(task: T) -> Option<Self::DeepJoin>;

    /// Puts so much heap in reserve for the calling task, which is the MQTT task or one that [`spawn_deep`](Self::spawn_deep) has
    /// started, and has none yet: rustls does not ask whether there is memory. `None` when there is not so much.
    #[cfg(feature = "tls")]
    fn reserve(need: Need) -> Option<Held>;

    /// Adds to the calling task's reserve; nothing if it has none. `false`: there is not so much.
    #[cfg(feature = "tls")]
    fn reserve_more(need: Need) -> bool;

    /// Which task is running, never 0.
    fn current_task() -> usize;

    /// The three bytes that make a default client identifier this device's own.
    fn unique_id() -> [u8; 3];

    /// The time of day in seconds since 1970, near 0 while nobody has set it.
    fn unix_time() -> u64;

    /// Fills `bytes` with random numbers that nobody can guess; `false` when there are none.
    fn random(bytes: &mut [u8]) -> bool;

    /// Bounds of memory and time on this system.
    fn limits() -> Limits;

    /// What may be used of this build.
    fn parts() -> Parts {
        Parts::BUILT
    }

    /// The public certificate authorities, if they were not left out.
    #[cfg(feature = "tls")]
    fn authorities() -> &'static [TrustAnchor<'static>] {
        #[cfg(feature = "webpki-roots")]
        return webpki_roots::TLS_SERVER_ROOTS;
        #[cfg(not(feature = "webpki-roots"))]
        &[]
    }
}

/// Parts of the library that Kconfig can switch off when they are there.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// TLS.
    pub tls: bool,
    /// TLS 1.2 beside 1.3.
    pub tls12: bool,
}

impl Parts {
    /// Those of this build.
    pub const BUILT: Self = Self { tls: cfg!(feature = "tls"), tls12: cfg!(feature = "tls12") };
}

/// Sizes that differ between a device and a host.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read from or written to a socket at a time.
    pub io_buffer: usize,
    /// Bounds of each session.
    pub session: crate::protocol::Limits,
    /// Largest plaintext of a TLS record that is sent.
    #[cfg(feature = "tls")]
    pub record: usize,
    /// Largest message with certificates, or with names of authorities, that a TLS server may send, in bytes.
    #[cfg(feature = "tls")]
    pub chain: usize,
    /// How many names of authorities it may send when it asks for a certificate.
    #[cfg(feature = "tls")]
    pub names: usize,
    /// Bytes of events in the SDK's queue and waiting for it, for each handle.
    pub backlog: usize,
    /// Our events that may be in the SDK's queue at a time: half of its entries, since it serves everybody.
    pub event_share: usize,
}

/// The MQTT task's body.
pub trait Task: Send + 'static {
    /// Waits until there is something to do and does it; `false` when the task is over.
    fn turn(&mut self) -> bool;
}

/// A started task.
pub trait Join: Send + Sized {
    /// Waits for its end where the system has that notion. Not to be called from the task itself.
    fn join(self);

    /// For a task that nobody waits for: what is to be joined before the next one starts all the same. Nothing where the system
    /// gives back what a task has once this is dropped.
    fn detach(self) -> Option<Self> {
        None
    }
}

/// A lock; never held across I/O, a callback or a [`Signal::wait`].
pub trait Lock<T>: Send + Sync + Sized {
    /// Creates it with what `value` returns; `None` when the system is out of memory.
    fn new(value: impl FnOnce() -> T) -> Option<Self>;
    /// Waits for the lock and holds it until the guard drops.
    fn lock(&self) -> impl DerefMut<Target = T> + '_;
}

/// A binary semaphore that one task waits on; clones are the same semaphore.
pub trait Signal: Clone + Send + Sync + Sized {
    /// Creates it; `None` when the system is out of memory.
    fn new() -> Option<Self>;
    /// Wakes the waiting task, or the next one to wait.
    fn notify(&self);
    /// Waits until notified (`true`) or until `deadline` has passed.
    fn wait(&self, deadline: Instant) -> bool;
}

/// What ends a wait of the MQTT task.
#[derive(Debug)]
pub enum Readiness {
    /// A socket may have become readable, writable, connected or broken: try.
    Socket,
    /// The same of a socket whose peer has ended the stream, or that is broken: [`Socket::is_drained`] does not know of that.
    Ended,
    /// The addresses of a name; empty when there are none.
    Resolved(Vec<SocketAddr>),
}

/// Names an attempt to connect, with all of its lookups and sockets; never reused, so that late news of an old one is
/// recognised.
pub type Token = usize;

/// The network. Owned and used by the MQTT task alone, except for its [`Waker`](Self::Waker).
pub trait Net: Send + 'static {
    /// A TCP connection.
    type Socket: Socket;
    /// Ends a [`wait`](Self::wait) from any task.
    type Waker: Waker;

    /// Opens the network.
    fn open() -> Option<Self>
    where
        Self: Sized;

    /// A waker for this network.
    fn waker(&self) -> Self::Waker;

    /// Looks `host` up without blocking the caller; the answer comes as [`Readiness::Resolved`], maybe also if it is
    /// [unwanted](Self::forget) by then. `false` when there was no memory to begin.
    fn resolve(&mut self, token: Token, host: &str, port: u16) -> bool;

    /// Looks up the host's addresses of the other family than `than`, where [`resolve`](Self::resolve) gives those of one
    /// family only. `false` when it could not begin, or there is no such thing: the host is an address, the network has
    /// one family, or all addresses are given at once.
    fn resolve_other(&mut self, token: Token, host: &str, port: u16, than: SocketAddr) -> bool {
        let _ = (token, host, port, than);
        false
    }

    /// Whether an answer without addresses, which has just come, only means that the system had nothing to ask with.
    fn lookup_failed(&self, _token: Token) -> bool {
        false
    }

    /// Nobody waits for the lookup of `token` any more.
    fn forget(&mut self, _token: Token) {}

    /// How many connections of one attempt may be under way beside each other: 1, or 2.
    fn races() -> usize {
        1
    }

    /// Begins a connection. Its readiness is reported under `token`, once for each change.
    fn connect(&mut self, token: Token, address: SocketAddr) -> Result<Self::Socket, NetError>;

    /// Sleeps until something is ready, somebody calls the waker, or `deadline` has passed (`None`: no deadline), and
    /// reports what is ready. A wake-up before the call ends it at once.
    fn wait(&mut self, deadline: Option<Instant>, ready: impl FnMut(Token, Readiness));

    /// Several messages have come at a time, and have left: more are likely to follow at once, and the next [`wait`](Self::wait) may let
    /// some come before it ends. The device's does not: its clock's tick is far too long.
    fn gather(&mut self) {}
}

/// Ends the MQTT task's sleep; clones wake the same task.
pub trait Waker: Clone + Send + Sync {
    /// Ends the current or the next [`Net::wait`].
    fn wake(&self);
}

/// Why a socket did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetError {
    /// Not now: wait for readiness.
    WouldBlock,
    /// Never.
    Failed(NetFailure),
}

/// Why a socket will not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetFailure {
    /// The system has no socket or no memory for it.
    Exhausted,
    /// The connection is broken, or could not be made; the system's error number.
    Broken(i32),
}

impl NetError {
    /// The system has no socket or no memory for it.
    pub const EXHAUSTED: Self = Self::Failed(NetFailure::Exhausted);

    /// A connection that is broken, or could not be made, with the system's error number.
    pub const fn broken(error: i32) -> Self {
        Self::Failed(NetFailure::Broken(error))
    }
}

/// A non-blocking TCP connection with `TCP_NODELAY`, which closes when it is dropped.
pub trait Socket: Send {
    /// Whether the connection stands yet.
    fn established(&mut self) -> Result<(), NetError>;
    /// Reads what is there; 0 at the end of the stream.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError>;
    /// Whether the last read has taken all that there was, so that the next one is of use only when readiness is reported
    /// again, or was reported as [`Readiness::Ended`].
    fn is_drained(&self) -> bool {
        false
    }
    /// Writes what fits.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError>;
    /// Acknowledges at once what has arrived, rather than with the next bytes that are written or a while later.
    fn acknowledge(&mut self);
    /// Ends the outgoing half of the stream.
    fn shutdown(&mut self);
    /// Whether the peer has acknowledged everything that was written, the end of the stream included if it was sent;
    /// also when the connection is gone and can acknowledge nothing any more. No readiness is reported for it.
    fn is_acknowledged(&mut self) -> bool;
}
