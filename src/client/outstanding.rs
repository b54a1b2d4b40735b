//! What the SDK's queue has accepted from us and not delivered.

use alloc::vec::Vec;

use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// What the event task tells of our events, without a lock for each.
pub(super) struct Deliveries {
    /// How many of our events have left the SDK's queue.
    count: AtomicU32,
    /// The MQTT task is to be woken when `count` gets there, if it is not behind that.
    wake_at: AtomicU32,
    /// The event task, once it has shown itself.
    event_task: AtomicUsize,
}

/// Our events in the SDK's queue, and whether some must leave it before the MQTT task goes on. They leave it in order. All
/// numbers of events are modulo 2^32.
pub(super) struct Outstanding {
    deliveries: &'static Deliveries,
    /// How many of the queue's entries are ours.
    share: usize,
    /// Whose they are, and their sizes; without those of an MQTT task that has ended.
    events: Vec<(usize, usize)>,
    /// How many there were before the first of `events`.
    first: u32,
    /// How many had left the queue when [`Self::look`] was called last.
    count: u32,
    /// The MQTT task waits until so many have left it.
    until: Option<u32>,
    /// As many have, since [`Self::were_enough`] was called last: another wait may have begun by then.
    reached: bool,
    /// `count` when the MQTT task last asked, or began to wait.
    asked: u32,
}

/// Numbers of probes are those of the SDK's events, which are not negative.
const NUMBERS: u32 = u32::MAX >> 1;

impl Deliveries {
    pub(super) const fn new() -> Self {
        Self { count: AtomicU32::new(0), wake_at: AtomicU32::new(0), event_task: AtomicUsize::new(0) }
    }

    /// `event_task` delivers an event, or a probe with this number: then all events before it have left the queue, whether we were
    /// told or not. Whether the MQTT task is to be woken.
    pub(super) fn delivered(&self, event_task: usize, probe: Option<u32>) -> bool {
        self.event_task.store(event_task, Ordering::SeqCst);
        let untold = probe.map_or(1, |probe| probe.wrapping_sub(self.count.load(Ordering::SeqCst)) & NUMBERS);
        // A probe older than the deliveries that were told since says nothing new.
        if untold > NUMBERS / 2 {
            return false;
        }
        let before = self.count.fetch_add(untold, Ordering::SeqCst);
        // Once for each `wake_at`: when the count goes past it.
        let missing = self.wake_at.load(Ordering::SeqCst).wrapping_sub(before);
        missing > 0 && missing <= untold
    }

    /// The event task; 0 while it is not known.
    pub(super) fn event_task(&self) -> usize {
        self.event_task.load(Ordering::SeqCst)
    }
}

impl Outstanding {
    /// The account of an MQTT task that begins, behind [`all`](Self::all) events of those that have ended, with places for twice our
    /// `share` of the queue. `None` when there is no memory.
    pub(super) fn new(deliveries: &'static Deliveries, first: u32, share: usize) -> Option<Self> {
        let mut events = Vec::new();
        events.try_reserve_exact(2 * share).ok()?;
        let count = deliveries.count.load(Ordering::SeqCst);
        Some(Self { deliveries, share, events, first, count, until: None, reached: false, asked: count })
    }

    /// How many there ever were.
    pub(super) fn all(&self) -> u32 {
        self.first.wrapping_add(self.events.len() as u32)
    }

    /// How many are in the queue, as far as is known.
    fn len(&self) -> usize {
        self.all().wrapping_sub(self.count) as usize
    }

    /// Takes note of what was delivered.
    fn look(&mut self) {
        self.count = self.deliveries.count.load(Ordering::SeqCst);
        let gone = self.count.wrapping_sub(self.first) as i32;
        if gone > 0 {
            // More have left it when the application sends events of our group, too.
            let gone = self.events.len().min(gone as usize);
            self.events.copy_within(gone.., 0);
            self.events.truncate(self.events.len() - gone);
            self.first = self.count;
        }
        if self.until.is_some_and(|until| until.wrapping_sub(self.count) as i32 <= 0) {
            (self.until, self.reached) = (None, true);
        }
    }

    /// Enters an event that is about to be sent, unless our share of the queue is used up, which is twice as large for one
    /// of the `last` ones: then a delivery is waited for.
    pub(super) fn enter(&mut self, client: usize, size: usize, last: bool) -> bool {
        // An eighth of our share is left for a new registration and a probe.
        let most = if last { 2 * self.share } else { self.share - self.share / 8 };
        // Also before the first one: the application may have sent events of our group while there was none.
        if self.events.is_empty() || self.len() >= most {
            self.look();
        }
        let may = self.len() < most;
        if may {
            self.events.push((client, size));
        } else {
            self.wait();
        }
        may
    }

    /// The event that was entered last was not accepted. Whether there are others, whose delivery is waited for.
    pub(super) fn take_back(&mut self) -> bool {
        self.events.pop();
        self.look();
        let others = self.len() > 0;
        if others {
            self.wait();
        }
        others
    }

    /// How many bytes of `client` are in it, without the first event if the application is being told of that. If `room`
    /// bytes or more are, a delivery is waited for.
    pub(super) fn bytes(&mut self, client: usize, room: usize, in_callback: bool) -> usize {
        self.look();
        let begin = usize::from(in_callback && self.first == self.count);
        let events = self.events.get(begin..).unwrap_or_default().iter();
        let bytes = events.filter(|(owner, _)| *owner == client).map(|(_, size)| size).sum();
        if bytes > 0 && bytes >= room {
            self.wait();
        }
        bytes
    }

    /// To be woken when half of them are delivered: that is enough to keep the event task busy. Whatever is entered meanwhile, which
    /// may be one for each that is delivered.
    fn wait(&mut self) {
        if self.until.is_none() {
            let until = self.all().wrapping_sub(self.len() as u32 / 2);
            (self.until, self.asked) = (Some(until), self.count);
            self.deliveries.wake_at.store(until, Ordering::SeqCst);
        }
    }

    /// The number of a probe that is sent now: how many events are before it.
    pub(super) fn probe(&self) -> u32 {
        self.all() & NUMBERS
    }

    /// Whether some were delivered since the last call, or the begin of a wait, as far as [`Self::are_enough`] has seen.
    pub(super) fn have_changed(&mut self) -> bool {
        core::mem::replace(&mut self.asked, self.count) != self.count
    }

    /// Whether enough were delivered for those who wait. The event task wakes nobody if it has delivered them before it could see
    /// that they are waited for.
    pub(super) fn are_enough(&mut self) -> bool {
        self.look();
        self.until.is_none()
    }

    /// Whether they were since the last call, as far as is known.
    pub(super) fn were_enough(&mut self) -> bool {
        core::mem::take(&mut self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_events(sizes: &[(usize, usize)]) -> (&'static Deliveries, Outstanding) {
        beginning_at(0, 7, sizes)
    }

    fn beginning_at(count: u32, share: usize, sizes: &[(usize, usize)]) -> (&'static Deliveries, Outstanding) {
        let deliveries = Box::leak(Box::new(Deliveries::new()));
        *deliveries.count.get_mut() = count;
        let mut outstanding = Outstanding::new(deliveries, count, share).unwrap();
        for (client, size) in sizes {
            assert!(outstanding.enter(*client, *size, true));
        }
        (deliveries, outstanding)
    }

    #[test]
    fn half_of_them_wake() {
        for (count, wakes_at) in [(1, 1), (2, 1), (3, 2), (7, 4)] {
            let (deliveries, mut outstanding) = beginning_at(u32::MAX - 1, count, &vec![(1, 10); count]);
            assert!(!outstanding.enter(1, 10, false), "more than its share");
            for n in 1..=count {
                assert_eq!(outstanding.are_enough(), n > wakes_at, "before {n} of {count}");
                assert_eq!(deliveries.delivered(5, None), n == wakes_at, "{n} of {count}");
            }
            assert!(outstanding.are_enough());
        }
    }

    #[test]
    fn the_share_and_what_is_beyond() {
        for (share, ours, last) in [(1, 1, 2), (3, 3, 6), (8, 7, 16), (16, 14, 32), (256, 224, 512)] {
            let (_, mut outstanding) = beginning_at(0, share, &[]);
            let entered =
                |outstanding: &mut Outstanding, last| (0..).take_while(|_| outstanding.enter(1, 1, last)).count();
            assert_eq!(entered(&mut outstanding, false), ours);
            assert_eq!(entered(&mut outstanding, true), last - ours);
            assert_eq!(outstanding.events.capacity(), 2 * share);
        }
    }

    #[test]
    fn what_was_delivered_makes_room_in_the_share() {
        let (deliveries, mut outstanding) = beginning_at(0, 3, &[(1, 10), (1, 10), (1, 10)]);
        deliveries.delivered(5, None);
        assert!(outstanding.enter(1, 10, false));
        assert!(!outstanding.enter(1, 10, false));
    }

    #[test]
    fn nobody_waits_nobody_is_woken() {
        let (deliveries, mut outstanding) = with_events(&[(1, 10), (1, 10)]);
        assert!(!deliveries.delivered(5, None));
        assert!(!deliveries.delivered(5, None));
        // a delivery of an event that was not ours
        assert!(!deliveries.delivered(5, None));
        assert_eq!((outstanding.bytes(1, 1, false), outstanding.probe()), (0, 3));
        assert!(!deliveries.delivered(5, None));
        assert!(outstanding.enter(1, 20, false));
        assert_eq!(outstanding.bytes(1, 21, false), 20);
    }

    /// As when the event task was faster: nobody wakes the MQTT task, which must see that itself.
    #[test]
    fn what_was_delivered_before_it_was_waited_for() {
        let (deliveries, mut outstanding) = with_events(&[(1, 10)]);
        outstanding.look();
        assert!(!deliveries.delivered(5, None));
        outstanding.wait();
        assert!(outstanding.are_enough());
    }

    #[test]
    fn what_was_refused_is_not_in_it() {
        let (deliveries, mut outstanding) = with_events(&[(1, 10), (2, 20)]);
        assert!(outstanding.take_back(), "the other one's delivery wakes");
        assert_eq!((outstanding.bytes(1, 100, false), outstanding.bytes(2, 100, false)), (10, 0));
        assert!(deliveries.delivered(5, None));
        let (_, mut outstanding) = with_events(&[(1, 10)]);
        assert!(!outstanding.take_back(), "nothing will wake");
        let (deliveries, mut outstanding) = with_events(&[(1, 10), (2, 20)]);
        deliveries.delivered(5, None);
        assert!(!outstanding.take_back(), "the other one is gone");
    }

    /// Of a client that has room, while another one waits.
    #[test]
    fn who_waits_is_woken_whatever_follows() {
        let (deliveries, mut outstanding) = with_events(&[(1, 10); 4]);
        assert_eq!(outstanding.bytes(1, 1, false), 40);
        assert!(outstanding.enter(2, 10, true));
        assert!(!deliveries.delivered(5, None), "it is half of four");
        // The queue is as full as it was.
        assert!(outstanding.enter(2, 10, true) && !outstanding.are_enough());
        assert!(outstanding.enter(2, 10, true));
        assert!(outstanding.take_back(), "one that was not accepted does not count");
        assert!(deliveries.delivered(5, None));
        assert!(outstanding.are_enough());
        assert_eq!(outstanding.bytes(1, 1, false), 20);
        assert!(!deliveries.delivered(5, None) && deliveries.delivered(5, None), "half of the four that are left");
    }

    #[test]
    fn events_of_a_task_that_has_ended_leave_first() {
        let (deliveries, mut ended) = with_events(&[(1, 10), (2, 10)]);
        let mut outstanding = Outstanding::new(deliveries, ended.all(), 3).unwrap();
        assert!(outstanding.enter(1, 5, false));
        assert!(!outstanding.enter(1, 5, false), "they take of the share");
        // The callback that runs is for one of those.
        assert_eq!(outstanding.bytes(1, 100, true), 5);
        assert!(!deliveries.delivered(5, None) && deliveries.delivered(5, None));
        assert_eq!((outstanding.bytes(1, 100, false), outstanding.bytes(1, 100, true)), (5, 0));
        assert_eq!((ended.bytes(1, 100, false), outstanding.probe()), (0, 3));
    }

    #[test]
    fn bytes_are_each_clients_own_and_leave_in_order() {
        let (deliveries, mut outstanding) = with_events(&[(1, 100), (2, 20), (1, 3)]);
        assert_eq!(outstanding.bytes(1, 104, false), 103);
        assert_eq!(outstanding.bytes(1, 104, true), 3);
        assert_eq!(outstanding.bytes(2, 21, true), 20);
        assert!(outstanding.are_enough(), "there was room");
        assert_eq!(outstanding.bytes(1, 103, false), 103);
        assert!(!outstanding.are_enough());
        assert!(!deliveries.delivered(5, None));
        assert_eq!(outstanding.bytes(1, 1, false), 3);
        assert!(deliveries.delivered(5, None));
        assert_eq!(outstanding.bytes(2, 0, false), 0);
        assert!(outstanding.are_enough(), "nothing of this client will be delivered");
    }

    #[test]
    fn whether_some_were_delivered_since_the_last_question() {
        let (deliveries, mut outstanding) = with_events(&[(1, 10); 4]);
        assert!(!outstanding.have_changed());
        outstanding.wait();
        deliveries.delivered(5, None);
        assert!(!outstanding.are_enough() && outstanding.have_changed() && !outstanding.have_changed());
        deliveries.delivered(5, None);
        assert!(outstanding.are_enough());
        outstanding.wait();
        assert!(!outstanding.have_changed(), "none since the wait began");
    }

    #[test]
    fn a_probe_tells_what_nobody_has_told() {
        for gone in [0, NUMBERS - 1, NUMBERS, u32::MAX - 1, u32::MAX] {
            let (deliveries, mut outstanding) = beginning_at(gone, 3, &[(1, 10), (1, 20)]);
            let probe = outstanding.probe();
            assert!(outstanding.enter(1, 40, false));
            assert!(!outstanding.enter(1, 40, false));
            assert!(deliveries.delivered(5, Some(probe)));
            assert!(outstanding.are_enough() && outstanding.have_changed());
            assert_eq!(outstanding.bytes(1, 100, false), 40);
            // once more, and one that was overtaken
            assert!(!deliveries.delivered(5, Some(probe)));
            assert!(!deliveries.delivered(5, Some(probe.wrapping_sub(1) & NUMBERS)));
            assert_eq!(outstanding.bytes(1, 100, false), 40);
        }
    }

    #[test]
    fn a_probe_behind_what_was_told_tells_nothing() {
        let (deliveries, outstanding) = with_events(&[(1, 10)]);
        let probe = outstanding.probe();
        deliveries.delivered(5, None);
        assert!(!deliveries.delivered(6, Some(probe)));
        assert_eq!(deliveries.event_task(), 6);
    }
}
