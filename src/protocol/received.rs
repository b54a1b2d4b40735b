//! Inbound QoS 2 messages from PUBLISH to PUBREL (section 4.3.3): their identifiers, and what is owed for them.

use alloc::vec::Vec;

struct Unreleased {
    id: u16,
    /// How many PUBREC packets are sent when its event is accepted.
    owed: u8,
    /// Its event was accepted: PUBREC may be sent.
    accepted: bool,
    /// PUBREL has come already, which a server does only when it does not wait for PUBREC.
    released: bool,
    /// It has come on this connection: PUBCOMP is sent then, too.
    completes: bool,
    /// The connection whose receipt it has: another session may use the identifier again.
    told: u32,
}

pub(super) struct Received(Vec<Unreleased>);

impl Received {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The connection is gone, and with it what was owed.
    pub(super) fn closed(&mut self) {
        self.0.iter_mut().for_each(|message| (message.owed, message.completes) = (0, false));
    }

    fn unreleased(&self, id: u16) -> Option<usize> {
        self.0.iter().position(|m| m.id == id && !m.released)
    }

    /// A PUBLISH has come: `None` if its message is new, else whether it is answered by PUBREC now. Each is answered
    /// `[MQTT-4.3.3-2]`: those that come before the event is accepted are then, up to 255 of them.
    pub(super) fn repeated(&mut self, id: u16) -> Option<bool> {
        let at = self.unreleased(id)?;
        let message = &mut self.0[at];
        if !message.accepted {
            message.owed = message.owed.saturating_add(1);
        }
        Some(message.accepted)
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

    /// The event of the message was accepted whose receipt `told` has: how many PUBREC packets are to be sent, and whether
    /// PUBCOMP follows them.
    pub(super) fn accepted(&mut self, id: u16, told: u32) -> (u8, bool) {
        let is_it = |m: &Unreleased| m.id == id && m.told == told && !m.accepted;
        let Some(at) = self.0.iter().position(is_it) else { return (0, false) };
        let message = &mut self.0[at];
        message.accepted = true;
        let (owed, completes) = (message.owed, message.completes);
        if message.released {
            self.0.remove(at);
        }
        (owed, completes)
    }

    /// PUBREL has come: whether PUBCOMP may be sent now, and not only behind PUBREC. `None` for an unknown message.
    pub(super) fn release(&mut self, id: u16) -> Option<bool> {
        let at = self.unreleased(id)?;
        let message = &mut self.0[at];
        (message.released, message.completes) = (true, true);
        let accepted = message.accepted;
        if accepted {
            self.0.remove(at);
        }
        Some(accepted)
    }
}
