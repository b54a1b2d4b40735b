//! The port to the device: FreeRTOS, lwIP and the SDK. This is its Rust half; the functions of [`shim`] are its C half,
//! since most of what they wrap is macros and structures of the SDK.

use alloc::alloc::{Layout, alloc};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::{CBuffer, Join, Limits, Lock, Port, Shared, Signal, Task};
use crate::protocol;
use crate::time::{Instant, Millis};

mod net;
mod runtime;
mod shim;

pub use net::{LwipNet, LwipSocket, LwipWaker};
pub use runtime::init_log;
pub(crate) use runtime::log;

/// The device.
pub enum FreeRtos {}

impl Port for FreeRtos {
    type Lock<T: Send> = Mutex<T>;
    type Signal = Semaphore;
    type Net = LwipNet;
    type Buffer = CBuffer;
    type Join = Detached;

    fn now() -> Instant {
        // SAFETY: takes no arguments.
        Instant::from_millis(unsafe { shim::wm_mqtt_port_now() })
    }

    fn spawn<T: Task>(task: T) -> Option<Detached> {
        extern "C" fn run<T: Task>(task: *mut c_void) {
            let task = task.cast::<T>();
            // SAFETY: `spawn` has given the task away to this function alone, which gives its memory back.
            unsafe {
                while (*task).turn() {}
                task.drop_in_place();
                alloc::alloc::dealloc(task.cast(), Layout::new::<T>());
            }
        }
        // SAFETY: a task is not of size zero, it holds its state.
        let place = NonNull::new(unsafe { alloc(Layout::new::<T>()) })?.cast::<T>();
        // SAFETY: freshly allocated; the new task gets it, or it is given back.
        unsafe {
            place.write(task);
            if shim::wm_mqtt_port_task_start(run::<T>, place.as_ptr().cast()) {
                return Some(Detached);
            }
            place.drop_in_place();
            alloc::alloc::dealloc(place.as_ptr().cast(), Layout::new::<T>());
        }
        None
    }

    fn current_task() -> usize {
        // SAFETY: takes no arguments.
        unsafe { shim::wm_mqtt_port_task_current() }
    }

    fn unique_id() -> [u8; 3] {
        let mut mac = [0; 6];
        // SAFETY: writes six bytes.
        unsafe { shim::wm_mqtt_port_mac(mac.as_mut_ptr()) };
        [mac[3], mac[4], mac[5]]
    }

    fn unix_time() -> u64 {
        // SAFETY: takes no arguments.
        unsafe { shim::wm_mqtt_port_unix_time() }
    }

    fn random(bytes: &mut [u8]) -> bool {
        // SAFETY: writes at most the length given.
        unsafe { shim::wm_mqtt_port_random(bytes.as_mut_ptr(), bytes.len()) }
    }

    fn limits() -> Limits {
        Limits {
            io_buffer: 1024,
            record: 1024,
            session: protocol::Limits { window: 20, outgoing: 2048 },
            backlog: 16 * 1024,
            event_share: 16,
        }
    }
}

/// A task that nobody joins: FreeRTOS has no such notion.
pub struct Detached;

impl Join for Detached {
    fn join(self) {}
}

/// A FreeRTOS mutex, with priority inheritance, around a value.
pub struct Mutex<T> {
    mutex: NonNull<c_void>,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex lets one task at a time see the value, so it may be shared if the value may be sent.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T: Send> Lock<T> for Mutex<T> {
    fn new(value: T) -> Option<Self> {
        // SAFETY: takes no arguments; NULL is handled.
        let mutex = NonNull::new(unsafe { shim::wm_mqtt_port_mutex_new() })?;
        Some(Self { mutex, value: UnsafeCell::new(value) })
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        // SAFETY: the mutex lives as long as `self`.
        unsafe { shim::wm_mqtt_port_mutex_lock(self.mutex.as_ptr()) };
        MutexGuard(self)
    }
}

impl<T> Drop for Mutex<T> {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more.
        unsafe { shim::wm_mqtt_port_mutex_free(self.mutex.as_ptr()) };
    }
}

struct MutexGuard<'a, T>(&'a Mutex<T>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mutex is held.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is held, and by this guard alone.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held since the guard was made.
        unsafe { shim::wm_mqtt_port_mutex_unlock(self.0.mutex.as_ptr()) };
    }
}

/// A FreeRTOS binary semaphore. Not a task notification: those belong to the application's tasks.
#[derive(Clone)]
pub struct Semaphore(Shared<RawSemaphore>);

struct RawSemaphore(NonNull<c_void>);

// SAFETY: FreeRTOS semaphores are made to be used from any task.
unsafe impl Send for RawSemaphore {}
// SAFETY: as above.
unsafe impl Sync for RawSemaphore {}

impl Drop for RawSemaphore {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more.
        unsafe { shim::wm_mqtt_port_semaphore_free(self.0.as_ptr()) };
    }
}

impl Signal for Semaphore {
    fn new() -> Option<Self> {
        // SAFETY: takes no arguments; NULL is handled.
        let raw = RawSemaphore(NonNull::new(unsafe { shim::wm_mqtt_port_semaphore_new() })?);
        Shared::try_new(raw).map(Self)
    }

    fn notify(&self) {
        // SAFETY: the semaphore lives as long as `self`.
        unsafe { shim::wm_mqtt_port_semaphore_give(self.0.0.as_ptr()) };
    }

    fn wait(&self, deadline: Instant) -> bool {
        let timeout = milliseconds(deadline.millis_from(FreeRtos::now()));
        // SAFETY: the semaphore lives as long as `self`.
        unsafe { shim::wm_mqtt_port_semaphore_take(self.0.0.as_ptr(), timeout) }
    }
}

/// A time-out as the C half takes it; waits are shorter than the 49 days that fit.
fn milliseconds(time: Millis) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}
