//! The port to the device: FreeRTOS through freertos-rust, lwIP and the SDK through the functions of [`shim`], which are the
//! port's C half (`wm_mqtt_port.c`, `wm_mqtt_lwip.c`), since most of what they wrap is macros and structures of the SDK.

use alloc::alloc::{Layout, alloc};
use core::ffi::c_void;
use core::ops::DerefMut;
use core::ptr::{self, NonNull};

use freertos_rust::{
    DurationTicks, FreeRtosTaskHandle, MutexInnerImpl, MutexNormal, freertos_rs_delete_task,
    freertos_rs_get_current_task, freertos_rs_spawn_task,
};
#[cfg(feature = "tls")]
use rustls::pki_types::TrustAnchor;

use super::{CBuffer, Join, Limits, Lock, Parts, Port, Shared, Signal, Task};
use crate::protocol;
use crate::time::Instant;
#[cfg(feature = "tls")]
use crate::transport::tls::{Held, Need};

#[cfg(feature = "tls")]
mod deep;
mod net;
#[cfg(feature = "tls")]
mod reserve;
mod runtime;
mod shim;

#[cfg(feature = "tls")]
pub use deep::DeepTask;
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
    #[cfg(feature = "tls")]
    type DeepJoin = DeepTask;

    fn now() -> Instant {
        // SAFETY: takes no arguments.
        Instant::from_millis(unsafe { shim::wm_mqtt_port_now() })
    }

    fn spawn<T: Task>(task: T) -> Option<Detached> {
        extern "C" fn run<T: Task>(task: *mut c_void) -> *mut c_void {
            let task = task.cast::<T>();
            // SAFETY: `spawn` has given the task away to this function alone, which gives its memory back.
            unsafe {
                while (*task).turn() {}
                task.drop_in_place();
                alloc::alloc::dealloc(task.cast(), Layout::new::<T>());
                shim::wm_mqtt_port_net_task_ends();
                freertos_rs_delete_task(ptr::null());
            }
            ptr::null_mut()
        }
        // SAFETY: a task is not of size zero, it holds its state.
        let place = NonNull::new(unsafe { alloc(Layout::new::<T>()) })?.cast::<T>();
        // SAFETY: freshly allocated; the new task gets it, or it is given back.
        unsafe {
            place.write(task);
            if start(b"mqtt", config().task_stack, run::<T>, place.as_ptr().cast()).is_some() {
                return Some(Detached);
            }
            place.drop_in_place();
            alloc::alloc::dealloc(place.as_ptr().cast(), Layout::new::<T>());
        }
        None
    }

    #[cfg(feature = "tls")]
    fn spawn_deep<T: Task>(task: T) -> Option<DeepTask> {
        DeepTask::spawn(task)
    }

    #[cfg(feature = "tls")]
    fn reserve(need: Need) -> Option<Held> {
        reserve::begin(need)
    }

    #[cfg(feature = "tls")]
    fn reserve_more(need: Need) -> bool {
        reserve::more(need)
    }

    fn current_task() -> usize {
        // SAFETY: takes no arguments.
        unsafe { freertos_rs_get_current_task() }.addr()
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
        let config = config();
        Limits {
            io_buffer: config.io_buffer,
            #[cfg(feature = "tls")]
            record: config.record,
            #[cfg(feature = "tls")]
            chain: config.chain,
            #[cfg(feature = "tls")]
            names: config.names.into(),
            session: protocol::Limits { window: config.window, outgoing: config.outgoing, payload: config.payload },
            backlog: config.backlog,
            event_share: config.event_share,
        }
    }

    fn parts() -> Parts {
        let (built, config) = (Parts::BUILT, config());
        Parts { tls: built.tls && config.tls, tls12: built.tls12 && config.tls12 }
    }

    #[cfg(feature = "tls")]
    fn authorities() -> &'static [TrustAnchor<'static>] {
        let authorities: *const Authorities = config().authorities.cast();
        // SAFETY: NULL or `wm_mqtt_authorities`, a constant.
        unsafe { authorities.as_ref() }.map_or(&[], |authorities| authorities.0)
    }
}

/// The public authorities as the C half knows them: by name only.
#[cfg(feature = "tls")]
#[repr(transparent)]
struct Authorities(&'static [TrustAnchor<'static>]);

/// Nothing in Rust refers to it, so it is there only if the C half does.
#[cfg(feature = "webpki-roots")]
#[unsafe(export_name = "wm_mqtt_authorities")]
static AUTHORITIES: Authorities = Authorities(webpki_roots::TLS_SERVER_ROOTS);

fn config() -> &'static shim::PortConfig {
    // SAFETY: a constant.
    unsafe { &shim::wm_mqtt_port_config }
}

/// Starts a task; its handle, or `None` when there is no memory for it. Not `freertos_rust::Task`: that allocates what
/// it starts without asking whether there is memory.
fn start(
    name: &[u8],
    words: u16,
    run: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> Option<FreeRtosTaskHandle> {
    let mut handle = ptr::null();
    let (name, len) = (name.as_ptr(), name.len() as u8);
    let priority = config().task_priority;
    // SAFETY: name and handle outlive the call; that the argument outlives the task is its owner's business.
    let failed = unsafe { freertos_rs_spawn_task(run, argument, name, len, words, priority, &mut handle) };
    (failed == 0).then_some(handle)
}

/// A task that nobody joins: FreeRTOS has no such notion.
pub struct Detached;

impl Join for Detached {
    /// The idle task frees the stack of a task that has ended. A tick lets it run, before the next MQTT task needs memory.
    fn join(self) {
        freertos_rust::CurrentTask::delay(Ticks(2));
    }

    fn detach(self) -> Option<Self> {
        Some(self)
    }
}

/// A FreeRTOS mutex, with priority inheritance, around a value.
pub struct Mutex<T>(freertos_rust::Mutex<T>);

impl<T: Send> Lock<T> for Mutex<T> {
    fn new(value: impl FnOnce() -> T) -> Option<Self> {
        // Not `Mutex::new`, which has the value on the stack, and copies of it, before it has the mutex.
        let mutex = MutexNormal::create().ok()?;
        Some(Self(freertos_rust::Mutex::from_parts(mutex, value())))
    }

    fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        loop {
            if let Ok(guard) = self.0.lock(FOREVER) {
                return guard;
            }
        }
    }
}

/// A FreeRTOS binary semaphore. Not a task notification: those belong to the application's tasks.
#[derive(Clone)]
pub struct Semaphore(Shared<freertos_rust::Semaphore>);

impl Signal for Semaphore {
    fn new() -> Option<Self> {
        Shared::try_new(freertos_rust::Semaphore::new_binary().ok()?).map(Self)
    }

    fn notify(&self) {
        self.0.give();
    }

    fn wait(&self, deadline: Instant) -> bool {
        // SAFETY: takes a number.
        let ticks = unsafe { shim::wm_mqtt_port_ticks(deadline.millis_from(FreeRtos::now())) };
        self.0.take(Ticks(ticks)).is_ok()
    }
}

/// A time-out. freertos-rust's own has the length of a tick in whole milliseconds, which not every tick rate has.
#[derive(Clone, Copy)]
struct Ticks(u32);

const FOREVER: Ticks = Ticks(u32::MAX);

impl DurationTicks for Ticks {
    fn to_ticks(&self) -> u32 {
        self.0
    }
}
