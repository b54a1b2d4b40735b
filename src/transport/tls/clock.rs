//! The time of day, which a device knows only after a while.

use core::fmt;
use core::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// When this library was built, in seconds since 1970: no clock that was set shows less.
pub(super) const BUILD_TIME: u64 = match u64::from_str_radix(env!("WM_MQTT_BUILD_TIME"), 10) {
    Ok(time) => time,
    Err(_) => panic!("build.rs gives a number"),
};

/// The system's clock, in seconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub(super) fn() -> u64);

impl Clock {
    pub(super) fn is_set(self) -> bool {
        (self.0)() >= BUILD_TIME
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}
