//! The library's port to the model.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use shuttle::sync::{Mutex, MutexGuard};

use crate::boundary::{CBuffer, Join, Limits, Lock, Port, Signal, Task};
use crate::net::ModelNet;
use crate::protocol;
use crate::time::Instant;
use crate::world::{self, Place, point, sleep, wake, with};

/// The system under the library.
pub(crate) enum Model {}

/// Where every name leads.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1883);

impl Port for Model {
    type Lock<T: Send> = ModelLock<T>;
    type Signal = ModelSignal;
    type Net = ModelNet;
    type Buffer = CBuffer;
    type Join = ModelJoin;

    fn now() -> Instant {
        world::stall_point();
        Instant::from_millis(with(|w| w.now))
    }

    fn spawn<T: Task>(mut task: T) -> Option<ModelJoin> {
        with(|w| w.mqtt_tasks += 1);
        Some(ModelJoin(world::spawn("mqtt", move || {
            while task.turn() {}
            drop(task);
            with(|w| w.mqtt_tasks -= 1);
            wake(Place::MqttTask);
        })))
    }

    fn current_task() -> usize {
        usize::from(shuttle::current::me()) + 1
    }

    fn unique_id() -> [u8; 3] {
        [0xab, 0xcd, 0xef]
    }

    fn unix_time() -> u64 {
        0
    }

    fn random(bytes: &mut [u8]) -> bool {
        bytes.fill(7);
        true
    }

    fn limits() -> Limits {
        Limits {
            io_buffer: 256,
            // Small, so that publishers wait for room, and input for deliveries.
            session: protocol::Limits { window: 2, outgoing: 256, payload: u16::MAX },
            backlog: with(|w| w.backlog),
            event_share: with(|w| w.queue.size) / 2,
        }
    }
}

/// A lock that may not be held across a wait.
pub(crate) struct ModelLock<T>(Mutex<T>);

impl<T: Send> Lock<T> for ModelLock<T> {
    fn new(value: impl FnOnce() -> T) -> Option<Self> {
        Some(Self(Mutex::new(value())))
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        world::stall_point();
        let guard = self.0.lock().expect("nobody panics");
        with(|w| w.count_lock(true));
        Guard(guard)
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
        with(|w| w.count_lock(false));
    }
}

/// A binary semaphore.
pub(crate) struct ModelSignal {
    number: usize,
    given: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Clone for ModelSignal {
    fn clone(&self) -> Self {
        with(|w| w.signals += 1);
        Self { number: self.number, given: self.given.clone() }
    }
}

impl Drop for ModelSignal {
    fn drop(&mut self) {
        with(|w| w.signals -= 1);
    }
}

impl Signal for ModelSignal {
    fn new() -> Option<Self> {
        let number = with(|w| {
            w.signals += 1;
            w.last_signal += 1;
            w.last_signal
        });
        Some(Self { number, given: Default::default() })
    }

    fn notify(&self) {
        point();
        self.given.store(true, std::sync::atomic::Ordering::SeqCst);
        wake(Place::Signal(self.number));
    }

    fn wait(&self, deadline: Instant) -> bool {
        let until = (deadline < Instant::NEVER).then(|| deadline.as_millis());
        let given = sleep(Place::Signal(self.number), until, |_| {
            self.given.swap(false, std::sync::atomic::Ordering::SeqCst).then_some(())
        });
        // Limits are the MQTT task's business: a wait that ends by itself has missed its wake-up, or the task did not run.
        let may_end = with(|w| w.stalls > 0 || w.net.late > 0);
        assert!(given.is_some() || may_end, "a wait that nobody has ended");
        given.is_some()
    }
}

/// A task of the library.
pub(crate) struct ModelJoin(world::Task);

impl Join for ModelJoin {
    fn join(self) {
        with(|w| w.unlocked("a join"));
        self.0.join();
    }
}

/// The library's log goes nowhere.
pub(crate) fn init_log() {}
