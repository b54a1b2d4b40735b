//! lwIP's netconn API behind [`Net`]: its callbacks notify the MQTT task, so nothing polls.

use alloc::vec::Vec;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::net::{IpAddr, SocketAddr};
use core::ptr::NonNull;

use super::{FreeRtos, shim};
use crate::port::{Net, NetError, Port, Readiness, Socket, Token, Waker};
use crate::time::Instant;

/// The network of the device: what the MQTT task sleeps on in the C half of the port.
pub struct LwipNet {
    waker: LwipWaker,
}

/// Wakes the MQTT task.
pub struct LwipWaker(NonNull<c_void>);

// SAFETY: the C half counts its users and serves every task.
unsafe impl Send for LwipWaker {}
// SAFETY: as above.
unsafe impl Sync for LwipWaker {}

impl Clone for LwipWaker {
    fn clone(&self) -> Self {
        // SAFETY: open while `self` uses it.
        unsafe { shim::wm_mqtt_port_net_share(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for LwipWaker {
    fn drop(&mut self) {
        // SAFETY: each user closes it once.
        unsafe { shim::wm_mqtt_port_net_close(self.0.as_ptr()) };
    }
}

impl Waker for LwipWaker {
    fn wake(&self) {
        // SAFETY: open while `self` uses it.
        unsafe { shim::wm_mqtt_port_net_wake(self.0.as_ptr()) };
    }
}

impl Net for LwipNet {
    type Socket = LwipSocket;
    type Waker = LwipWaker;

    fn open() -> Option<Self> {
        // SAFETY: takes no arguments; NULL is handled.
        let net = NonNull::new(unsafe { shim::wm_mqtt_port_net_open() })?;
        Some(Self { waker: LwipWaker(net) })
    }

    fn waker(&self) -> LwipWaker {
        self.waker.clone()
    }

    fn resolve(&mut self, token: Token, host: &str, port: u16) -> bool {
        self.look_up(token, host, port, 0)
    }

    fn resolve_other(&mut self, token: Token, host: &str, port: u16, than: SocketAddr) -> bool {
        self.look_up(token, host, port, if than.is_ipv6() { 4 } else { 6 })
    }

    fn forget(&mut self, token: Token) {
        // SAFETY: open while `self` lives.
        unsafe { shim::wm_mqtt_port_net_forget(self.waker.0.as_ptr(), token) };
    }

    fn connect(&mut self, token: Token, address: SocketAddr) -> Result<LwipSocket, NetError> {
        let mut bytes = [0; 16];
        match address.ip() {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        let place = shim::PortAddress { bytes, is_v6: address.is_ipv6() };
        let mut error = 0;
        // SAFETY: the address and the error outlive the call; NULL is handled.
        let socket =
            unsafe { shim::wm_mqtt_port_connect(self.waker.0.as_ptr(), token, &place, address.port(), &mut error) };
        NonNull::new(socket).map(LwipSocket).ok_or(match error {
            shim::NO_MEMORY => NetError::EXHAUSTED,
            error => NetError::broken(error),
        })
    }

    fn wait(&mut self, deadline: Option<Instant>, mut ready: impl FnMut(Token, Readiness)) {
        let mut timeout = deadline.map_or(shim::FOREVER, |deadline| deadline.millis_from(FreeRtos::now()));
        let mut event = MaybeUninit::uninit();
        // SAFETY: `event` is filled when the call says so.
        while unsafe { shim::wm_mqtt_port_net_wait(self.waker.0.as_ptr(), timeout, event.as_mut_ptr()) } {
            // SAFETY: it said so.
            let event: &shim::PortEvent = unsafe { event.assume_init_ref() };
            let readiness = match event.resolved {
                true => Readiness::Resolved(addresses(event)),
                false => Readiness::Socket,
            };
            ready(event.token, readiness);
            // All that is ready, but without waiting for more.
            timeout = 0;
        }
    }
}

impl LwipNet {
    fn look_up(&mut self, token: Token, host: &str, port: u16, family: u8) -> bool {
        let (host, len) = (host.as_ptr().cast(), host.len());
        // SAFETY: the host's bytes are only read during the call.
        unsafe { shim::wm_mqtt_port_net_resolve(self.waker.0.as_ptr(), token, host, len, port, family) }
    }
}

/// The answer to a lookup. Without memory for it the name has no addresses.
fn addresses(event: &shim::PortEvent) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    if event.found && addresses.try_reserve_exact(1).is_ok() {
        let shim::PortAddress { bytes, is_v6 } = event.address;
        let [a, b, c, d, ..] = bytes;
        let ip = if is_v6 { IpAddr::from(bytes) } else { IpAddr::from([a, b, c, d]) };
        addresses.push(SocketAddr::new(ip, event.port));
    }
    addresses
}

/// A TCP connection: a netconn of lwIP.
pub struct LwipSocket(NonNull<c_void>);

// SAFETY: the MQTT task alone uses it, whichever task that is.
unsafe impl Send for LwipSocket {}

impl Drop for LwipSocket {
    fn drop(&mut self) {
        // SAFETY: closed once.
        unsafe { shim::wm_mqtt_port_close(self.0.as_ptr()) };
    }
}

impl Socket for LwipSocket {
    fn established(&mut self) -> Result<(), NetError> {
        // SAFETY: open while `self` lives.
        count(unsafe { shim::wm_mqtt_port_established(self.0.as_ptr()) }).map(|_| ())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NetError> {
        // SAFETY: writes at most the buffer's length.
        count(unsafe { shim::wm_mqtt_port_read(self.0.as_ptr(), buffer.as_mut_ptr(), buffer.len()) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        // SAFETY: reads at most the length given.
        count(unsafe { shim::wm_mqtt_port_write(self.0.as_ptr(), bytes.as_ptr(), bytes.len()) })
    }

    fn acknowledge(&mut self) {
        // SAFETY: open while `self` lives.
        unsafe { shim::wm_mqtt_port_acknowledge(self.0.as_ptr()) };
    }

    fn shutdown(&mut self) {
        // SAFETY: open while `self` lives.
        unsafe { shim::wm_mqtt_port_shutdown(self.0.as_ptr()) };
    }

    fn is_acknowledged(&mut self) -> bool {
        // SAFETY: open while `self` lives.
        unsafe { shim::wm_mqtt_port_is_acknowledged(self.0.as_ptr()) }
    }
}

fn count(result: c_int) -> Result<usize, NetError> {
    match usize::try_from(result) {
        Ok(count) => Ok(count),
        Err(_) if result == shim::WOULD_BLOCK => Err(NetError::WouldBlock),
        Err(_) => Err(NetError::broken(result)),
    }
}
