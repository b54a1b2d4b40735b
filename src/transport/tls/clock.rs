//! The time of day, which a device knows only after a while.

/// When this library was built, in seconds since 1970: no clock that was set shows less.
pub(super) const BUILD_TIME: u64 = match u64::from_str_radix(env!("WM_MQTT_BUILD_TIME"), 10) {
    Ok(time) => time,
    Err(_) => panic!("build.rs gives a number"),
};

/// The system's clock, in seconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Clock(pub(super) fn() -> u64);

impl Clock {
    pub(super) fn now(self) -> u64 {
        (self.0)()
    }

    pub(super) fn is_set(self) -> bool {
        is_set(self.now())
    }
}

/// Whether a clock that shows this was set.
pub(super) fn is_set(now: u64) -> bool {
    now >= BUILD_TIME
}
