//! The port to the simulated world.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use wm_mqtt_client::port::{Join, Limits, Lock, Parts, Port, Signal, Task};
use wm_mqtt_client::protocol::Buffer;
use wm_mqtt_client::time::Instant;
#[cfg(feature = "tls")]
use wm_mqtt_client::transport::tls::{Held, Need};

use super::memory;
use super::net::SimNet;
use super::world::{self, DEEP_TASK, MQTT_TASK, with, with_if_any};

/// The simulated system.
#[derive(Debug)]
pub(crate) enum Sim {}

impl Port for Sim {
    type Lock<T: Send> = SimLock<T>;
    type Signal = SimSignal;
    type Net = SimNet;
    type Buffer = SimBuffer;
    type Join = SimJoin;
    #[cfg(feature = "tls")]
    type DeepJoin = DeepJoin;

    fn now() -> Instant {
        world::stall_point();
        Instant::from_millis(with(|w| w.now))
    }

    fn spawn<T: Task>(task: T) -> Option<SimJoin> {
        if memory::is_out() {
            return None;
        }
        let _world = memory::world();
        Some(SimJoin(world::start(Box::new(task))))
    }

    #[cfg(feature = "tls")]
    fn spawn_deep<T: Task>(task: T) -> Option<DeepJoin> {
        if memory::is_out() || with(|w| w.has_no_reserve()) {
            return None;
        }
        let _world = memory::world();
        Some(DeepJoin(world::start_deep(Box::new(task))))
    }

    #[cfg(feature = "tls")]
    fn reserve(need: Need) -> Option<Held> {
        // A step of a handshake begins.
        world::compute();
        if memory::is_out_for(need.bytes, false) || with(|w| w.has_no_reserve()) {
            return None;
        }
        assert!(!memory::hold(true), "two reserves of one task");
        Some(Held::new(|| assert!(memory::hold(false), "no reserve")))
    }

    #[cfg(feature = "tls")]
    fn reserve_more(_: Need) -> bool {
        let held = memory::hold(false);
        // However much it is: for a ticket that depends on all connections of the program, and a seed's would depend on other seeds.
        let is_out = memory::is_out();
        memory::hold(held);
        !is_out && !with(|w| w.has_no_reserve())
    }

    fn current_task() -> usize {
        with(|w| w.running.last().copied().expect("nobody runs"))
    }

    fn unique_id() -> [u8; 3] {
        [0xab, 0xcd, 0xef]
    }

    fn unix_time() -> u64 {
        0
    }

    fn random(bytes: &mut [u8]) -> bool {
        with(|w| bytes.fill_with(|| w.rng.next() as u8));
        true
    }

    fn limits() -> Limits {
        with(|w| w.limits)
    }

    fn parts() -> Parts {
        with(|w| w.parts)
    }
}

/// A lock that nobody ever waits for: whoever finds it taken has been let in by its holder's own wait.
#[derive(Debug)]
pub(crate) struct SimLock<T>(Mutex<T>);

impl<T: Send> Lock<T> for SimLock<T> {
    fn new(value: impl FnOnce() -> T) -> Option<Self> {
        if memory::is_out() {
            return None;
        }
        let value = value();
        with(|w| w.promises.locks += 1);
        Some(Self(Mutex::new(value)))
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        world::preemption_point();
        world::stall_point();
        match self.0.try_lock() {
            Ok(guard) => {
                with(|w| w.locks_held += 1);
                Guard(guard)
            }
            Err(TryLockError::WouldBlock) => panic!("locked twice"),
            Err(TryLockError::Poisoned(_)) => panic!("a test failed with this lock in hand"),
        }
    }
}

impl<T> Drop for SimLock<T> {
    fn drop(&mut self) {
        with_if_any(|w| w.promises.locks -= 1);
    }
}

struct Guard<'a, T>(MutexGuard<'a, T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        with_if_any(|w| w.locks_held -= 1);
    }
}

/// A signal whose wait runs the world.
#[derive(Debug)]
pub(crate) struct SimSignal(Arc<Notice>);

#[derive(Debug, Default)]
struct Notice {
    given: AtomicBool,
    at: AtomicU64,
}

impl Clone for SimSignal {
    fn clone(&self) -> Self {
        with(|w| w.signals += 1);
        Self(self.0.clone())
    }
}

impl Drop for SimSignal {
    fn drop(&mut self) {
        with_if_any(|w| w.signals -= 1);
    }
}

impl Signal for SimSignal {
    fn new() -> Option<Self> {
        if memory::is_out() {
            return None;
        }
        let _world = memory::world();
        with(|w| w.signals += 1);
        Some(Self(Arc::default()))
    }

    fn notify(&self) {
        with(|w| w.woken_under_lock += usize::from(w.locks_held > 0));
        if !self.0.given.swap(true, Ordering::SeqCst) {
            self.0.at.store(with(|w| w.now), Ordering::SeqCst);
        }
    }

    fn wait(&self, deadline: Instant) -> bool {
        if with(|w| w.running.last() == Some(&DEEP_TASK)) {
            with(|w| w.unlocked("waiting"));
            // Behind that comes its next turn.
            let notice = self.0.clone();
            world::sleep_deep(move || notice.given.swap(false, Ordering::SeqCst));
            return true;
        }
        let _world = memory::world();
        let deadline = deadline.as_millis();
        with(|w| {
            w.unlocked("waiting");
            assert!(!w.is_running(MQTT_TASK), "somebody waits while the MQTT task runs under it");
        });
        // Who was interrupted for long has not waited for all of its time.
        let (start, in_time) = with(|w| (w.now, w.frames.last().is_some_and(|frame| frame.lag < 400)));
        loop {
            if self.0.given.swap(false, Ordering::SeqCst) {
                let at = self.0.at.load(Ordering::SeqCst).min(deadline).max(start);
                with(|w| w.lag(w.now - at));
                return true;
            }
            let now = with(|w| w.now);
            if now >= deadline {
                with(|w| {
                    w.lag(now - deadline.max(start));
                    if start < deadline && in_time {
                        w.waited_in_vain();
                    }
                });
                return false;
            }
            world::step(deadline);
        }
    }
}

impl super::world::World {
    fn lag(&mut self, ms: u64) {
        if let Some(frame) = self.frames.last_mut() {
            frame.lag += ms;
        }
    }
}

/// A task that was started.
#[derive(Debug)]
pub(crate) struct SimJoin(usize);

impl Join for SimJoin {
    fn join(self) {
        with(|w| {
            w.unlocked("joining");
            assert!(w.tasks[self.0].ended, "joined a task that has not ended");
            w.tasks[self.0].is_joined = true;
        });
    }

    fn detach(self) -> Option<Self> {
        with(|w| w.must_join).then_some(self)
    }
}

impl Drop for SimJoin {
    fn drop(&mut self) {
        // Joined, or left to the system.
        with_if_any(|w| w.tasks[self.0].is_released = true);
    }
}

/// A task of handshakes that was started.
#[cfg(feature = "tls")]
#[derive(Debug)]
pub(crate) struct DeepJoin(usize);

#[cfg(feature = "tls")]
impl Join for DeepJoin {
    fn join(self) {
        with(|w| {
            w.unlocked("joining");
            w.deep[self.0].joined = true;
        });
    }
}

#[cfg(feature = "tls")]
impl Drop for DeepJoin {
    fn drop(&mut self) {
        // As on the device: the task sees before its end whether somebody will join it.
        with_if_any(|w| {
            let task = &mut w.deep[self.0];
            task.is_lost = task.ended && !task.joined;
        });
    }
}

/// Memory for a topic or payload, counted.
#[derive(Debug)]
pub(crate) struct SimBuffer {
    bytes: Vec<u8>,
    room: usize,
    len: usize,
}

impl Buffer for SimBuffer {
    fn allocate(len: usize) -> Option<Self> {
        if memory::is_out_for(len + 1, true) {
            return None;
        }
        let _world = memory::world();
        with(|w| {
            w.buffers += 1;
            w.buffers_peak = w.buffers_peak.max(w.buffers);
            w.promises.messages += len;
        });
        Some(Self { bytes: Vec::with_capacity(len), room: len, len })
    }

    fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room, "more appended than allocated");
        self.room -= bytes.len();
        self.bytes.extend(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SimBuffer {
    fn drop(&mut self) {
        let len = self.len;
        with_if_any(|w| {
            w.buffers -= 1;
            w.promises.messages -= len;
        });
    }
}
