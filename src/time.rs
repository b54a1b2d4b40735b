//! Time as the core sees it: milliseconds of a monotonic clock, passed in as an argument.

use core::ops::Add;

/// A length of time in milliseconds.
pub type Millis = u64;

/// A point on the port's monotonic clock. It never goes back and does not wrap in any device's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The instant `ms` milliseconds after the clock's origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from now until this instant, 0 when it has passed.
    pub const fn millis_from(self, now: Instant) -> Millis {
        self.0.saturating_sub(now.0)
    }
}

impl Add<Millis> for Instant {
    type Output = Instant;

    fn add(self, ms: Millis) -> Instant {
        Instant(self.0.saturating_add(ms))
    }
}

/// The earlier of two optional deadlines; `None` means never.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
