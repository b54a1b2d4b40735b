//! Inbound QoS 2 messages from PUBLISH to PUBREL (section 4.3.3): their identifiers, and what is owed for them.

use alloc::vec::Vec;

use super::packet::first_byte;

#[derive(Clone, Copy)]
struct Unreleased {
    id: u16,
    /// How many PUBREC packets are to be sent: each PUBLISH of this connection is answered `[MQTT-4.3.3-2]`, up to 255 that come
    /// before.
    owed: u8,
    /// Its event was accepted: PUBREC may be sent.
    accepted: bool,
    /// PUBREL has come already, which a server does only when it does not wait for PUBREC.
    released: bool,
    /// It has come on this connection: PUBCOMP is owed, too.
    completes: bool,
    /// The connection whose receipt it has: another session may use the identifier again.
    told: u32,
}

/// Those that PUBREC is owed for are in the order of their PUBLISH packets: they get it in that order `[MQTT-4.6.0-3]`.
pub(super) struct Received(Vec<Unreleased>);

impl Received {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The connection is gone, and with it what was owed.
    pub(super) fn closed(&mut self) {
        self.0.retain_mut(|message| {
            (message.owed, message.completes) = (0, false);
            !(message.accepted && message.released)
        });
    }

    /// In 36 bytes of flash less than with `Vec::remove`.
    fn remove(&mut self, at: usize) {
        self.0.copy_within(at + 1.., at);
        self.0.truncate(self.0.len() - 1);
    }

    fn unreleased(&self, id: u16) -> Option<usize> {
        self.0.iter().position(|m| m.id == id && !m.released)
    }

    /// The message, behind all that something is owed for if nothing is for this one yet.
    fn last_in_turn(&mut self, mut at: usize) -> &mut Unreleased {
        if self.0[at].owed == 0 {
            while at + 1 < self.0.len() {
                self.0.swap(at, at + 1);
                at += 1;
            }
        }
        &mut self.0[at]
    }

    /// A PUBLISH has come: whether its message is known, and PUBREC alone is owed for it.
    pub(super) fn repeated(&mut self, id: u16) -> bool {
        let Some(at) = self.unreleased(id) else { return false };
        let message = self.last_in_turn(at);
        message.owed = message.owed.saturating_add(1);
        true
    }

    /// Enters a new message; whether there was memory for it.
    pub(super) fn remember(&mut self, id: u16, connection: u32) -> bool {
        let may = self.0.try_reserve(1).is_ok();
        if may {
            self.0.push(Unreleased {
                id,
                owed: 1,
                accepted: false,
                released: false,
                completes: false,
                told: connection,
            });
        }
        may
    }

    /// The event of the message was accepted whose receipt `told` has.
    pub(super) fn accepted(&mut self, id: u16, told: u32) {
        let is_it = |m: &Unreleased| m.id == id && m.told == told && !m.accepted;
        let Some(at) = self.0.iter().position(is_it) else { return };
        let message = &mut self.0[at];
        message.accepted = true;
        if message.released && !message.completes {
            self.remove(at);
        }
    }

    /// The next packet that is due, its first byte and identifier. Nothing is before what was owed earlier.
    pub(super) fn next_due(&mut self) -> Option<(u8, u16)> {
        let at = self.0.iter().position(|m| m.owed > 0 || m.completes)?;
        let message = &mut self.0[at];
        if !message.accepted {
            return None;
        }
        let id = message.id;
        if message.owed > 0 {
            message.owed -= 1;
            return Some((first_byte::PUBREC, id));
        }
        self.remove(at);
        Some((first_byte::PUBCOMP, id))
    }

    /// PUBREL has come: whether PUBCOMP may be sent now, and not only behind PUBREC. `None` for an unknown message.
    pub(super) fn release(&mut self, id: u16) -> Option<bool> {
        let at = self.unreleased(id)?;
        let message = &self.0[at];
        if message.accepted && message.owed == 0 {
            self.remove(at);
            return Some(true);
        }
        let message = self.last_in_turn(at);
        (message.released, message.completes) = (true, true);
        Some(false)
    }
}
