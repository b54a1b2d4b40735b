//! Time as the core sees it: milliseconds of a monotonic clock, passed in as an argument.

use core::cmp::Ordering;
use core::ops::Add;

/// A length of time in milliseconds; at most 49 days.
pub type Millis = u32;

/// A point on the port's monotonic clock. It never goes back and does not wrap in any device's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub fn millis_from(self, now: Instant) -> Millis {
        Millis::try_from(self.0.saturating_sub(now.0)).unwrap_or(Millis::MAX)
    }

    /// Not inlined, nor is [`add`](Self::add): a 32-bit processor takes a dozen instructions for each.
    #[inline(never)]
    fn is_before(self, other: Instant) -> bool {
        self.0 < other.0
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }

    fn min(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }
}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn lt(&self, other: &Self) -> bool {
        self.is_before(*other)
    }

    fn ge(&self, other: &Self) -> bool {
        !self.is_before(*other)
    }

    fn gt(&self, other: &Self) -> bool {
        other.is_before(*self)
    }

    fn le(&self, other: &Self) -> bool {
        !other.is_before(*self)
    }
}

impl Add<Millis> for Instant {
    type Output = Instant;

    #[inline(never)]
    fn add(self, ms: Millis) -> Instant {
        Instant(self.0.saturating_add(ms.into()))
    }
}

/// The earlier of two optional deadlines; `None` means never.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
