//! Time as the core sees it: milliseconds of a monotonic clock, passed in as an argument.

use core::cmp::Ordering;
use core::ops::Add;

/// A length of time in milliseconds; at most 49 days.
pub type Millis = u32;

/// A point on the port's monotonic clock. It never goes back and does not wrap in any device's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(u64);

impl Instant {
    /// Later than everything: the deadline of who wants nothing.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `ms` milliseconds after the clock's origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds from now until this instant, 0 when it has passed.
    // Not inlined: 20 bytes of flash less.
    #[inline(never)]
    pub fn millis_from(self, now: Instant) -> Millis {
        Millis::try_from(self.0.saturating_sub(now.0)).unwrap_or(Millis::MAX)
    }

    /// In halves: C-SKY's compiler makes 14 instructions of `u64`'s own comparison, and 6 of this. All comparisons are written in
    /// terms of this one, which is not inlined: 384 bytes of flash less; [`add`](Self::add) not inlined: 528.
    #[cfg_attr(feature = "freertos", inline(never))]
    fn is_before(self, other: Instant) -> bool {
        let (high, other_high) = ((self.0 >> 32) as u32, (other.0 >> 32) as u32);
        let (a, b) = if high == other_high { (self.0 as u32, other.0 as u32) } else { (high, other_high) };
        a < b
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

    #[cfg_attr(feature = "freertos", inline(never))]
    fn add(self, ms: Millis) -> Instant {
        Instant(self.0.saturating_add(ms.into()))
    }
}

/// How late a turn must be for limits to be put off, and by how much they are.
const GRACE: Millis = 1000;

/// The time of one turn of a task, taken once, and which time limits are over by it.
///
/// A limit counts the peer's silence. When the task itself was not run in time (a starved task, a long computation, light
/// sleep, a debugger), the answer may still be in the network: a limit that passed meanwhile is over one second after
/// that late turn instead. Once: a limit is not put off again by the next late turn.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Instant,
    /// The last late turn, and the one before.
    late: Instant,
    late_before: Instant,
}

impl Clock {
    /// A clock whose first turn is at `now`.
    pub const fn new(now: Instant) -> Self {
        let origin = Instant::from_millis(0);
        Self { now, late: origin, late_before: origin }
    }

    /// A turn begins at `now`; the task had asked for it at `asked`.
    pub fn turn(&mut self, now: Instant, asked: Instant) {
        if now > asked + GRACE {
            (self.late_before, self.late) = (self.late, now);
        }
        self.now = now;
    }

    /// The time of this turn.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// When `limit` is over.
    pub fn end_of(&self, limit: Instant) -> Instant {
        if limit <= self.late && limit > self.late_before { self.late + GRACE } else { limit }
    }

    /// Whether `limit` is over.
    pub fn is_over(&self, limit: Instant) -> bool {
        self.now >= self.end_of(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Each of the comparisons is written by hand.
    #[test]
    fn instants_compare_as_their_milliseconds() {
        let far = 1 << 32;
        for (a, b) in
            [(1, 2), (2, 2), (2, 1), (far, 2), (1, far), (far + 1, far), (far + 1, 2 * far), (3 * far, 2 * far + 1)]
        {
            let (x, y) = (at(a), at(b));
            assert_eq!((x < y, x <= y, x > y, x >= y), (a < b, a <= b, a > b, a >= b));
            assert_eq!((x.partial_cmp(&y), x.min(y), x.max(y)), (a.partial_cmp(&b), at(a.min(b)), at(a.max(b))));
            assert_eq!((x.as_millis(), x.millis_from(y)), (a, a.saturating_sub(b).min(u32::MAX.into()) as Millis));
        }
    }

    #[test]
    fn a_turn_in_time_judges_at_once() {
        let mut clock = Clock::new(at(0));
        clock.turn(at(6_000), at(5_000));
        assert!(clock.is_over(at(6_000)) && !clock.is_over(at(6_001)));
        // A turn that was asked for at NEVER cannot be late.
        clock.turn(at(60_000), Instant::NEVER);
        assert!(clock.is_over(at(60_000)));
    }

    #[test]
    fn a_late_turn_puts_limits_off_once() {
        let mut clock = Clock::new(at(0));
        clock.turn(at(6_001), at(5_000));
        assert!(!clock.is_over(at(5_000)) && !clock.is_over(at(6_001)));
        assert_eq!(clock.end_of(at(5_000)), at(7_001));
        assert_eq!(clock.end_of(at(6_002)), at(6_002));
        // Late again: those that passed since are put off, the others have had their second.
        clock.turn(at(9_000), at(7_001));
        assert!(clock.is_over(at(5_000)) && clock.is_over(at(6_001)) && !clock.is_over(at(6_002)));
        clock.turn(at(10_000), at(10_000));
        assert!(clock.is_over(at(6_002)) && clock.is_over(at(9_000)));
    }
}
