//! What the SDK's queue has accepted from us and not delivered.

use alloc::vec::Vec;

/// Our events in the SDK's queue, and who waits for them to leave it. They leave it in order.
pub(super) struct Outstanding {
    /// Whose they are, and their sizes.
    events: Vec<(usize, usize)>,
    /// How many have left it, modulo 2^32.
    delivered_count: u32,
    /// The MQTT task is to be woken when so few are left.
    wake_at: Option<usize>,
    /// None has left it since the MQTT task asked, or began to wait.
    is_unchanged: bool,
    /// The event task, once it has shown itself.
    event_task: usize,
}

/// Numbers of probes are those of the SDK's events, which are not negative.
const NUMBERS: u32 = u32::MAX >> 1;

impl Outstanding {
    pub(super) const fn new() -> Self {
        Self { events: Vec::new(), delivered_count: 0, wake_at: None, is_unchanged: false, event_task: 0 }
    }

    /// Enters an event that is about to be sent, unless our share of the queue is used up, which is twice as large for one
    /// of the `last` ones: then a delivery is waited for. The first time there may be no memory; then it is waited for in
    /// vain, and tried again.
    pub(super) fn enter(&mut self, client: usize, size: usize, share: usize, last: bool) -> bool {
        // An eighth of our share is left for a new registration and a probe.
        let most = if last { 2 * share } else { share - share / 8 };
        let len = self.events.len();
        let may = len < most && self.events.try_reserve_exact(2 * share - len).is_ok();
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
        let others = !self.events.is_empty();
        if others {
            self.wait();
        }
        others
    }

    /// How many bytes of `client` are in it, without the first event if the application is being told of that. If `room`
    /// bytes or more are, a delivery is waited for.
    pub(super) fn bytes(&mut self, client: usize, room: usize, in_callback: bool) -> usize {
        let events = self.events.iter().skip(usize::from(in_callback));
        let bytes = events.filter(|(owner, _)| *owner == client).map(|(_, size)| size).sum();
        if bytes > 0 && bytes >= room {
            self.wait();
        }
        bytes
    }

    /// To be woken when half of them are delivered: that is enough to keep the event task busy.
    fn wait(&mut self) {
        if self.wake_at.is_none() {
            self.wake_at = Some(self.events.len() / 2);
            self.is_unchanged = true;
        }
    }

    /// `event_task` delivers one of them. Whether the MQTT task is to be woken.
    pub(super) fn delivered(&mut self, event_task: usize) -> bool {
        self.event_task = event_task;
        self.leave(1)
    }

    /// The first `count` of them have left the queue.
    fn leave(&mut self, count: usize) -> bool {
        let count = count.min(self.events.len());
        self.events.copy_within(count.., 0);
        self.events.truncate(self.events.len() - count);
        self.delivered_count = self.delivered_count.wrapping_add(count as u32);
        self.is_unchanged = false;
        let wakes = self.wake_at.is_some_and(|few| self.events.len() <= few);
        if wakes {
            self.wake_at = None;
        }
        wakes
    }

    /// The number of a probe that is sent now: how many events are before it, of all that there ever were.
    pub(super) fn probe(&self) -> u32 {
        self.delivered_count.wrapping_add(self.events.len() as u32) & NUMBERS
    }

    /// A probe has arrived, so all events before it have left the queue, whether we were told or not. Whether the MQTT
    /// task is to be woken.
    pub(super) fn arrived(&mut self, event_task: usize, probe: u32) -> bool {
        self.event_task = event_task;
        let untold = (probe.wrapping_sub(self.delivered_count) & NUMBERS) as usize;
        // A probe older than the deliveries that were told since says nothing new.
        untold <= self.events.len() && self.leave(untold)
    }

    /// Whether some were delivered since the last call, and whether that was enough for those who waited.
    pub(super) fn deliveries(&mut self) -> (bool, bool) {
        (!core::mem::replace(&mut self.is_unchanged, true), self.wake_at.is_none())
    }

    /// The event task; 0 while it is not known.
    pub(super) fn event_task(&self) -> usize {
        self.event_task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_events(sizes: &[(usize, usize)]) -> Outstanding {
        let mut outstanding = Outstanding::new();
        for (client, size) in sizes {
            assert!(outstanding.enter(*client, *size, 7, true));
        }
        outstanding
    }

    #[test]
    fn half_of_them_wake() {
        for (count, wakes_at) in [(1, 1), (2, 1), (3, 2), (7, 4)] {
            let mut outstanding = with_events(&vec![(1, 10); count]);
            assert!(!outstanding.enter(1, 10, count, false), "more than its share");
            for n in 1..=count {
                assert_eq!(outstanding.delivered(5), n == wakes_at, "{n} of {count}");
            }
            assert!(outstanding.deliveries().1);
        }
    }

    #[test]
    fn the_share_and_what_is_beyond() {
        for (share, ours, last) in [(1, 1, 2), (3, 3, 6), (8, 7, 16), (16, 14, 32), (256, 224, 512)] {
            let mut outstanding = Outstanding::new();
            let entered = |outstanding: &mut Outstanding, last| {
                (0..).take_while(|_| outstanding.enter(1, 1, share, last)).count()
            };
            assert_eq!(entered(&mut outstanding, false), ours);
            assert_eq!(entered(&mut outstanding, true), last - ours);
            assert_eq!(outstanding.events.capacity(), 2 * share);
        }
    }

    #[test]
    fn nobody_waits_nobody_is_woken() {
        let mut outstanding = with_events(&[(1, 10), (1, 10)]);
        assert!(!outstanding.delivered(5));
        assert!(!outstanding.delivered(5));
        // a delivery of an event that was not ours
        assert!(!outstanding.delivered(5));
        assert_eq!(outstanding.probe(), 2);
    }

    #[test]
    fn what_was_refused_is_not_in_it() {
        let mut outstanding = with_events(&[(1, 10), (2, 20)]);
        assert!(outstanding.take_back(), "the other one's delivery wakes");
        assert_eq!((outstanding.bytes(1, 100, false), outstanding.bytes(2, 100, false)), (10, 0));
        assert!(outstanding.delivered(5));
        let mut outstanding = with_events(&[(1, 10)]);
        assert!(!outstanding.take_back(), "nothing will wake");
    }

    #[test]
    fn bytes_are_each_clients_own_and_leave_in_order() {
        let mut outstanding = with_events(&[(1, 100), (2, 20), (1, 3)]);
        assert_eq!(outstanding.bytes(1, 104, false), 103);
        assert_eq!(outstanding.bytes(1, 104, true), 3);
        assert_eq!(outstanding.bytes(2, 21, true), 20);
        assert!(outstanding.deliveries().1, "there was room");
        assert_eq!(outstanding.bytes(1, 103, false), 103);
        assert!(!outstanding.deliveries().1);
        assert!(!outstanding.delivered(5));
        assert_eq!(outstanding.bytes(1, 1, false), 3);
        assert!(outstanding.delivered(5));
        assert_eq!(outstanding.bytes(2, 0, false), 0);
        assert!(outstanding.deliveries().1, "nothing of this client will be delivered");
    }

    #[test]
    fn a_probe_tells_what_nobody_has_told() {
        for gone in [0, NUMBERS - 1, NUMBERS, u32::MAX - 1, u32::MAX] {
            let mut outstanding = with_events(&[(1, 10), (1, 20)]);
            outstanding.delivered_count = gone;
            let probe = outstanding.probe();
            assert!(outstanding.enter(1, 40, 3, false));
            assert!(!outstanding.enter(1, 40, 3, false));
            assert!(outstanding.arrived(5, probe));
            assert_eq!(outstanding.deliveries(), (true, true));
            assert_eq!(outstanding.bytes(1, 100, false), 40);
            // once more, and one that was overtaken
            assert!(!outstanding.arrived(5, probe));
            assert!(!outstanding.arrived(5, probe.wrapping_sub(1) & NUMBERS));
            assert_eq!(outstanding.bytes(1, 100, false), 40);
        }
    }

    #[test]
    fn a_probe_behind_what_was_told_tells_nothing() {
        let mut outstanding = with_events(&[(1, 10)]);
        let probe = outstanding.probe();
        outstanding.delivered(5);
        assert!(!outstanding.arrived(6, probe));
        assert_eq!(outstanding.event_task(), 6);
    }
}
