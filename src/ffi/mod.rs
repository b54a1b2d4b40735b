//! The C ABI of the WM IoT SDK's `mqtt` component: types, checks of what comes from C, error codes, events.
//!
//! `include/wm_mqtt_client.h` is generated from here. What C hands over is untrusted: pointers may be NULL, handles
//! may be stale, enums and bools may hold any number.

mod api;
#[cfg(feature = "tls")]
mod built_in;
#[cfg(feature = "checks")]
mod checks;
mod config;
mod error;
mod event;
mod handle;
mod types;

pub use api::*;
#[cfg(feature = "checks")]
pub use checks::{wm_mqtt_check, wm_mqtt_check_product};
pub use event::WM_MQTT_EV;
pub use types::*;
