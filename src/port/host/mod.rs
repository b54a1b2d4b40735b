//! The port to std: threads, sockets, a readiness poller. For the C test harness, benchmarks and simulation on Linux.

use std::cell::Cell;
use std::fs::{File, metadata};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Read;
use std::ops::DerefMut;
use std::os::unix::fs::MetadataExt;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CBuffer, Join, Limits, Lock, Port, Shared, Signal, Task};
#[cfg(feature = "tls")]
use crate::memory::look_for;
use crate::protocol;
use crate::time::Instant;
#[cfg(feature = "tls")]
use crate::transport::tls::{Held, Need};

mod log;
mod lookups;
mod net;

pub use log::init as init_log;
pub use net::{HostNet, HostSocket, HostWaker};

/// The host.
#[derive(Debug)]
pub enum Host {}

impl Port for Host {
    type Lock<T: Send> = Mutex<T>;
    type Signal = HostSignal;
    type Net = HostNet;
    type Buffer = CBuffer;
    type Join = HostJoin;
    #[cfg(feature = "tls")]
    type DeepJoin = HostJoin;

    fn now() -> Instant {
        static ORIGIN: OnceLock<u64> = OnceLock::new();
        // Not std's `Instant`: whole milliseconds take half of the instructions, and each turn of the MQTT task asks twice.
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes `time`, and knows this clock.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        let now = time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000;
        Instant::from_millis(now.saturating_sub(*ORIGIN.get_or_init(|| now)))
    }

    fn spawn<T: Task>(task: T) -> Option<HostJoin> {
        spawn("mqtt_client", task)
    }

    #[cfg(feature = "tls")]
    fn spawn_deep<T: Task>(task: T) -> Option<HostJoin> {
        // Each thread has 2 MiB.
        spawn("mqtt_client_tls", task)
    }

    #[cfg(feature = "tls")]
    fn reserve(need: Need) -> Option<Held> {
        Self::reserve_more(need).then(|| Held::new(|| {}))
    }

    #[cfg(feature = "tls")]
    fn reserve_more(need: Need) -> bool {
        // Not held: on Linux the allocator is the program's, which cannot be made to fall back on a reserve.
        look_for([need.bytes]).is_ok()
    }

    fn current_task() -> usize {
        thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });
        HERE.with(|here| core::ptr::from_ref(here).addr())
    }

    fn unique_id() -> [u8; 3] {
        /// `PROC_PID_INIT_INO` of Linux, on every machine.
        const FIRST_NAMESPACE: u64 = 0xefff_fffc;
        // The same for each start of the same program on the same machine in the same process slot, and not the same for
        // two programs that run at a time. Containers may share all of this: they are told apart by their PID namespaces,
        // and those of other machines by the kernel's start.
        let read = |path| {
            // Hashed without allocating: init may have no memory.
            let mut bytes = [0; 64];
            let _ = File::open(path).and_then(|mut file| file.read(&mut bytes));
            bytes
        };
        let machine = (read("/etc/machine-id"), read("/proc/sys/kernel/hostname"), std::process::id());
        let namespace = metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
        let container = (namespace != FIRST_NAMESPACE).then(|| (namespace, read("/proc/sys/kernel/random/boot_id")));
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((machine, container));
        let [a, b, c, ..] = hash.to_le_bytes();
        [a, b, c]
    }

    fn unix_time() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    fn random(bytes: &mut [u8]) -> bool {
        getrandom::getrandom(bytes).is_ok()
    }

    fn limits() -> Limits {
        Limits {
            io_buffer: 64 * 1024,
            #[cfg(feature = "tls")]
            record: 16 * 1024,
            #[cfg(feature = "tls")]
            chain: 65_535,
            #[cfg(feature = "tls")]
            names: 1000,
            // Twice what leaves at a time: callers fill one half while the other leaves. Of 4,096 bytes a third more messages a second.
            session: protocol::Limits { window: 20, outgoing: 128 * 1024, payload: u16::MAX },
            backlog: 1024 * 1024,
            event_share: 16,
        }
    }
}

fn spawn<T: Task>(name: &str, mut task: T) -> Option<HostJoin> {
    let thread = Builder::new().name(name.into()).spawn(move || while task.turn() {});
    thread.map(HostJoin).ok()
}

impl<T: Send> Lock<T> for Mutex<T> {
    fn new(value: impl FnOnce() -> T) -> Option<Self> {
        Some(Mutex::new(value()))
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition variable with a memory.
#[derive(Clone)]
pub struct HostSignal(Shared<(Mutex<bool>, Condvar)>);

impl Signal for HostSignal {
    fn new() -> Option<Self> {
        Shared::try_new((Mutex::new(false), Condvar::new())).map(Self)
    }

    fn notify(&self) {
        let (notified, condition) = &*self.0;
        *notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_one();
    }

    fn wait(&self, deadline: Instant) -> bool {
        let (notified, condition) = &*self.0;
        let timeout = Duration::from_millis(deadline.millis_from(Host::now()).into());
        let notified = notified.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut notified, _) = condition
            .wait_timeout_while(notified, timeout, |notified| !*notified)
            .unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut *notified)
    }
}

/// A running thread.
#[derive(Debug)]
pub struct HostJoin(JoinHandle<()>);

impl Join for HostJoin {
    fn join(self) {
        // An Err is a panic of the thread; it has been reported by then.
        let _ = self.0.join();
    }
}
