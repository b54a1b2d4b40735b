//! Keep-alive from both sides (section 3.1.2.10): a PINGREQ when nothing was sent, or nothing received, for the
//! configured time; the connection is dead when another such time brings no byte.

use crate::time::{Instant, Millis};

/// How much earlier than asked for a PINGREQ leaves: the time between two packets must not exceed keep-alive
/// `[MQTT-3.1.2-23]`, and a task may be run a little late.
const EARLY: Millis = 100;

/// What a deadline that has passed asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Dead,
}

#[derive(Debug)]
pub(super) struct KeepAlive {
    /// 0: off.
    interval: Millis,
    last_sent: Instant,
    last_received: Instant,
    /// When the PINGREQ left, or last came nearer to that, which nothing has answered yet.
    ping: Option<Instant>,
    /// Whether the client reads: while it does not, silence proves nothing.
    is_reading: bool,
}

impl KeepAlive {
    pub(super) const fn off() -> Self {
        let origin = Instant::from_millis(0);
        Self { interval: 0, last_sent: origin, last_received: origin, ping: None, is_reading: true }
    }

    pub(super) fn start(now: Instant, seconds: u16) -> Self {
        Self {
            interval: Millis::from(seconds) * 1000,
            last_sent: now,
            last_received: now,
            ping: None,
            is_reading: true,
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// The PINGREQ is on its way through what was queued before it, or has just left: the peer's time to answer begins.
    pub(super) fn ping_moved(&mut self, now: Instant) {
        if self.ping.is_some() {
            self.ping = Some(now);
        }
    }

    pub(super) fn bytes_received(&mut self, now: Instant) {
        self.last_received = now;
        self.ping = None;
    }

    pub(super) fn set_reading(&mut self, now: Instant, is_reading: bool) {
        if is_reading && !self.is_reading {
            self.bytes_received(now);
        }
        self.is_reading = is_reading;
    }

    pub(super) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Whether the deadline is the server's.
    pub(super) fn awaits_answer(&self) -> bool {
        self.ping.is_some() && self.is_reading
    }

    /// Never, where it is off.
    pub(super) fn deadline(&self) -> Instant {
        if self.interval == 0 {
            return Instant::NEVER;
        }
        match self.ping {
            Some(ping) if self.is_reading => ping + self.interval,
            Some(ping) => self.last_sent.max(ping) + (self.interval - EARLY),
            None if !self.is_reading => self.last_sent + (self.interval - EARLY),
            None => self.last_sent.min(self.last_received) + (self.interval - EARLY),
        }
    }

    /// What is due now; a due PINGREQ counts as queued.
    pub(super) fn poll(&mut self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        if self.awaits_answer() {
            return Due::Dead;
        }
        self.ping = Some(now);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn silence_is_probed_and_then_fatal() {
        let mut keep_alive = KeepAlive::start(at(0), 2);
        assert_eq!(keep_alive.poll(at(1899)), Due::Nothing);
        assert_eq!(keep_alive.poll(at(1900)), Due::Ping);
        keep_alive.sent(at(1900));
        assert_eq!(keep_alive.poll(at(3899)), Due::Nothing);
        assert_eq!(keep_alive.poll(at(3900)), Due::Dead);
    }

    #[test]
    fn sending_alone_does_not_prove_the_peer_alive() {
        let mut keep_alive = KeepAlive::start(at(0), 2);
        keep_alive.sent(at(1800));
        assert_eq!(keep_alive.poll(at(1900)), Due::Ping);
        keep_alive.bytes_received(at(2000));
        assert_eq!(keep_alive.deadline(), at(3700));
    }

    #[test]
    fn silence_proves_nothing_while_the_client_does_not_read() {
        let mut keep_alive = KeepAlive::start(at(0), 2);
        keep_alive.set_reading(at(0), false);
        for ping in 1..10 {
            assert_eq!(keep_alive.poll(at(2000 * ping)), Due::Ping);
            keep_alive.sent(at(2000 * ping));
        }
        keep_alive.set_reading(at(18_000), true);
        assert_eq!(keep_alive.deadline(), at(19_900));
        // Nor is it of use then to send because the server does not.
        keep_alive.set_reading(at(18_100), false);
        keep_alive.sent(at(18_500));
        assert_eq!(keep_alive.deadline(), at(20_400));
    }

    #[test]
    fn only_who_begins_to_read_starts_anew() {
        let mut keep_alive = KeepAlive::start(at(0), 2);
        keep_alive.set_reading(at(1000), true);
        keep_alive.set_reading(at(1000), false);
        keep_alive.set_reading(at(1500), false);
        assert_eq!(keep_alive.last_received(), at(0));
    }

    #[test]
    fn zero_turns_it_off() {
        assert_eq!(KeepAlive::start(at(0), 0).poll(at(u64::MAX - 1)), Due::Nothing);
    }
}
