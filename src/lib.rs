//! MQTT 3.1.1 client behind the C ABI of the WM IoT SDK's `mqtt` component.
//!
//! Data walks one way: C call → `ffi` → [`client`] → [`protocol`] → [`transport`] → [`port`], and back as events.
#![cfg_attr(not(any(feature = "host", test)), no_std)]

extern crate alloc;

#[cfg(feature = "checks")]
pub mod checks;
pub mod client;
#[cfg(any(feature = "freertos", feature = "host"))]
pub mod ffi;
mod log;
pub mod memory;
pub mod port;
pub mod protocol;
mod sync;
pub mod time;
pub mod transport;
