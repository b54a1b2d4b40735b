//! What the C half of the device port provides, as `wm_mqtt_port.h` declares and explains it.

use core::ffi::{c_char, c_int, c_void};

/// A socket operation could not be done now.
pub(super) const WOULD_BLOCK: c_int = c_int::MIN;
/// lwIP's `ERR_MEM`: no memory, or no netconn left.
pub(super) const NO_MEMORY: c_int = -1;
/// The time-out of `wm_mqtt_port_net_wait` that means no time-out.
pub(super) const FOREVER: u32 = u32::MAX;

/// Sizes, times and priorities.
#[repr(C)]
pub(super) struct PortConfig {
    pub(super) io_buffer: usize,
    pub(super) record: usize,
    pub(super) chain: usize,
    pub(super) outgoing: usize,
    pub(super) backlog: usize,
    pub(super) event_share: usize,
    pub(super) names: u16,
    pub(super) window: u16,
    pub(super) payload: u16,
    pub(super) task_stack: u16,
    pub(super) handshake_stack: u16,
    pub(super) task_priority: u32,
    pub(super) tls: bool,
    pub(super) tls12: bool,
    pub(super) authorities: *const c_void,
}

/// An IP address in network order: four bytes, or sixteen of IPv6.
#[repr(C)]
pub(super) struct PortAddress {
    pub(super) bytes: [u8; 16],
    pub(super) is_v6: bool,
}

/// What woke the MQTT task.
#[repr(C)]
pub(super) struct PortEvent {
    pub(super) token: usize,
    pub(super) resolved: bool,
    pub(super) found: bool,
    pub(super) port: u16,
    pub(super) address: PortAddress,
}

unsafe extern "C" {
    pub(super) static wm_mqtt_port_config: PortConfig;

    // FreeRTOS' own. Calls of both may be nested.
    #[cfg(feature = "tls")]
    pub(super) fn vTaskSuspendAll();
    #[cfg(feature = "tls")]
    pub(super) fn xTaskResumeAll() -> c_int;

    pub(super) fn wm_mqtt_port_now() -> u64;
    pub(super) fn wm_mqtt_port_ticks(milliseconds: u32) -> u32;
    pub(super) fn wm_mqtt_port_mac(mac: *mut u8);
    pub(super) fn wm_mqtt_port_unix_time() -> u64;
    pub(super) fn wm_mqtt_port_random(bytes: *mut u8, len: usize) -> bool;
    pub(super) fn wm_mqtt_port_log(level: c_int, line: *const c_char, len: usize);

    pub(super) fn wm_mqtt_port_net_open() -> *mut c_void;
    pub(super) fn wm_mqtt_port_net_share(net: *mut c_void);
    pub(super) fn wm_mqtt_port_net_close(net: *mut c_void);
    pub(super) fn wm_mqtt_port_net_wake(net: *mut c_void);
    pub(super) fn wm_mqtt_port_net_wait(net: *mut c_void, timeout: u32, event: *mut PortEvent) -> bool;
    pub(super) fn wm_mqtt_port_net_resolve(
        net: *mut c_void,
        token: usize,
        host: *const c_char,
        len: usize,
        port: u16,
        family: u8,
    ) -> bool;
    pub(super) fn wm_mqtt_port_net_forget(net: *mut c_void, token: usize);
    pub(super) fn wm_mqtt_port_net_task_ends();

    pub(super) fn wm_mqtt_port_connect(
        net: *mut c_void,
        token: usize,
        address: *const PortAddress,
        port: u16,
        error: *mut c_int,
    ) -> *mut c_void;
    pub(super) fn wm_mqtt_port_established(socket: *mut c_void) -> c_int;
    pub(super) fn wm_mqtt_port_read(socket: *mut c_void, buffer: *mut u8, len: usize) -> c_int;
    pub(super) fn wm_mqtt_port_write(socket: *mut c_void, bytes: *const u8, len: usize) -> c_int;
    pub(super) fn wm_mqtt_port_acknowledge(socket: *mut c_void);
    pub(super) fn wm_mqtt_port_shutdown(socket: *mut c_void);
    pub(super) fn wm_mqtt_port_is_acknowledged(socket: *mut c_void) -> bool;
    pub(super) fn wm_mqtt_port_close(socket: *mut c_void);
}
