//! What the C half of the device port provides. All of it may be called from any task unless it says otherwise; nothing
//! of it may be called from an interrupt.

use core::ffi::{c_char, c_int, c_void};

/// A socket operation could not be done now.
pub(super) const WOULD_BLOCK: c_int = -1;
/// The time-out that means for ever.
pub(super) const FOREVER: u32 = u32::MAX;
/// Addresses of a name that are tried.
pub(super) const MAX_ADDRESSES: usize = 4;

/// What woke the MQTT task.
#[repr(C)]
pub(super) struct PortEvent {
    /// The socket or lookup it concerns.
    pub(super) token: usize,
    /// Whether a lookup has ended; else a socket has become ready.
    pub(super) resolved: bool,
    /// Its addresses.
    pub(super) count: u8,
    pub(super) addresses: [PortAddress; MAX_ADDRESSES],
}

/// An IP address in network order: four bytes of it or sixteen.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PortAddress {
    pub(super) bytes: [u8; 16],
    pub(super) is_v6: bool,
}

unsafe extern "C" {
    /// Milliseconds since the start; the 32-bit tick extended to 64 bits.
    pub(super) fn wm_mqtt_port_now() -> u64;
    /// The station's MAC address, six bytes.
    pub(super) fn wm_mqtt_port_mac(mac: *mut u8);
    /// The time of day in seconds since 1970, near 0 while nobody has set it.
    pub(super) fn wm_mqtt_port_unix_time() -> u64;
    /// Random bytes from the hardware's generator; `false` when it cannot be used.
    pub(super) fn wm_mqtt_port_random(bytes: *mut u8, len: usize) -> bool;
    /// A line for `wm_log_printf`; level 1 (error) to 5 (verbose).
    pub(super) fn wm_mqtt_port_log(level: c_int, line: *const c_char, len: usize);
    /// Stops the system: memory is out where it must not be, or a bug.
    pub(super) fn wm_mqtt_port_abort() -> !;

    /// A mutex with priority inheritance, or NULL.
    pub(super) fn wm_mqtt_port_mutex_new() -> *mut c_void;
    pub(super) fn wm_mqtt_port_mutex_lock(mutex: *mut c_void);
    pub(super) fn wm_mqtt_port_mutex_unlock(mutex: *mut c_void);
    pub(super) fn wm_mqtt_port_mutex_free(mutex: *mut c_void);

    /// A binary semaphore, or NULL.
    pub(super) fn wm_mqtt_port_semaphore_new() -> *mut c_void;
    pub(super) fn wm_mqtt_port_semaphore_give(semaphore: *mut c_void);
    /// Whether it was given within `timeout` milliseconds.
    pub(super) fn wm_mqtt_port_semaphore_take(semaphore: *mut c_void, timeout: u32) -> bool;
    pub(super) fn wm_mqtt_port_semaphore_free(semaphore: *mut c_void);

    /// Starts the MQTT task; it deletes itself when `run` returns.
    pub(super) fn wm_mqtt_port_task_start(run: extern "C" fn(*mut c_void), argument: *mut c_void) -> bool;
    /// The running task's handle.
    pub(super) fn wm_mqtt_port_task_current() -> usize;

    /// What the MQTT task sleeps on, or NULL.
    pub(super) fn wm_mqtt_port_net_open() -> *mut c_void;
    /// One more user of it, who will close it too.
    pub(super) fn wm_mqtt_port_net_share(net: *mut c_void);
    pub(super) fn wm_mqtt_port_net_close(net: *mut c_void);
    pub(super) fn wm_mqtt_port_net_wake(net: *mut c_void);
    /// Sleeps for at most `timeout` milliseconds ([`FOREVER`]: no limit) until there is an event or a wake-up; whether
    /// `event` was filled.
    pub(super) fn wm_mqtt_port_net_wait(net: *mut c_void, timeout: u32, event: *mut PortEvent) -> bool;
    /// Begins a name lookup.
    pub(super) fn wm_mqtt_port_net_resolve(net: *mut c_void, token: usize, host: *const c_char, len: usize) -> bool;

    /// Begins a TCP connection with `TCP_NODELAY` and a send time-out; NULL and `error` when that fails.
    pub(super) fn wm_mqtt_port_connect(
        net: *mut c_void,
        token: usize,
        address: *const PortAddress,
        port: u16,
        error: *mut c_int,
    ) -> *mut c_void;
    /// 0, [`WOULD_BLOCK`] or another negative number.
    pub(super) fn wm_mqtt_port_established(socket: *mut c_void) -> c_int;
    /// Bytes read (0 at the end), [`WOULD_BLOCK`] or another negative number.
    pub(super) fn wm_mqtt_port_read(socket: *mut c_void, buffer: *mut u8, len: usize) -> c_int;
    /// Bytes written, [`WOULD_BLOCK`] or another negative number.
    pub(super) fn wm_mqtt_port_write(socket: *mut c_void, bytes: *const u8, len: usize) -> c_int;
    pub(super) fn wm_mqtt_port_shutdown(socket: *mut c_void);
    pub(super) fn wm_mqtt_port_close(socket: *mut c_void);
}
