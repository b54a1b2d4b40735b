//! Outgoing QoS 1 and 2 messages from publish to the last acknowledgement, in the order of their publication
//! (sections 4.3, 4.4 and 4.6).

use alloc::vec::Vec;

use super::packet::{acknowledgement, first_byte};

/// Which acknowledgement of a message is awaited.
#[derive(Debug)]
pub(super) enum Awaited {
    /// Of QoS 1; the encoded packet is kept for a resend.
    Puback(Vec<u8>),
    /// Of QoS 2, the first; likewise.
    Pubrec(Vec<u8>),
    /// Of QoS 2, the second: the message itself must not be sent again `[MQTT-4.3.3-1]`.
    Pubcomp,
}

#[derive(Debug)]
struct Unacknowledged {
    id: u16,
    awaited: Awaited,
    /// Its packet must leave from here, before anything new.
    leaves: bool,
    /// Not for the first time.
    again: bool,
}

/// The window. A vector, since windows are short and acknowledgements come from the front.
#[derive(Debug)]
pub(super) struct InFlight {
    messages: Vec<Unacknowledged>,
    /// How many of them must leave from here.
    waiting: usize,
    /// The one that leaves just now, and how many bytes of it must still leave.
    leaving: Option<(u16, usize)>,
}

impl InFlight {
    pub(super) const fn new() -> Self {
        Self { messages: Vec::new(), waiting: 0, leaving: None }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// A session goes on: from now on all of them must leave again.
    pub(super) fn begin_resends(&mut self) {
        self.messages.iter_mut().for_each(|message| (message.leaves, message.again) = (true, true));
        self.waiting = self.messages.len();
    }

    /// None of them leaves from here, but for the rest of a packet that has begun to.
    pub(super) fn end_resends(&mut self) {
        let leaving = self.leaving.map(|(id, _)| id);
        self.messages.iter_mut().for_each(|message| message.leaves = Some(message.id) == leaving);
        self.waiting = usize::from(leaving.is_some());
    }

    /// The connection is gone, and with it what was leaving.
    pub(super) fn closed(&mut self) {
        self.leaving = None;
        self.end_resends();
    }

    /// Whether something must leave from here.
    pub(super) fn has_resends(&self) -> bool {
        self.waiting > 0
    }

    /// Whether the last [`take`](Self::take) has left the rest of a packet behind.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Moves bytes that must leave from here into `out`, at most one packet: PUBLISH, the second time with DUP
    /// `[MQTT-3.3.1-1]`, in the order of publication, and PUBREL `[MQTT-4.4.0-1]`. How many bytes, and of a packet that
    /// begins with them its first byte, identifier and length.
    pub(super) fn take(&mut self, out: &mut [u8]) -> (usize, Option<(u8, u16, usize)>) {
        let leaving = self.leaving;
        let is_it = |m: &&mut Unacknowledged| leaving.map_or(m.leaves, |(id, _)| m.id == id);
        let Some(message) = self.messages.iter_mut().find(is_it) else { return (0, None) };
        let pubrel = acknowledgement(first_byte::PUBREL, message.id);
        let packet = match &message.awaited {
            Awaited::Puback(packet) | Awaited::Pubrec(packet) => packet.as_slice(),
            Awaited::Pubcomp => &pubrel,
        };
        let left = leaving.map_or(packet.len(), |(_, rest)| rest);
        let rest = packet.get(packet.len().saturating_sub(left)..).unwrap_or_default();
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        let mut begun = None;
        if rest.len() == packet.len() && len > 0 {
            if message.again && !matches!(message.awaited, Awaited::Pubcomp) {
                out[0] |= first_byte::DUP;
            }
            begun = Some((out[0], message.id, packet.len()));
        }
        self.leaving = if len < rest.len() { Some((message.id, rest.len() - len)) } else { None };
        if self.leaving.is_none() {
            message.leaves = false;
            self.waiting -= 1;
        }
        (len, begun)
    }

    /// Whether the message at this place has never left as a whole, and must do so from here.
    pub(super) fn is_new(&self, at: usize) -> bool {
        let message = &self.messages[at];
        message.leaves && !message.again
    }

    /// Whether bytes of this message's packet must still leave for that to be whole.
    pub(super) fn is_cut(&self, id: u16) -> bool {
        self.leaving.is_some_and(|(leaving, _)| leaving == id)
    }

    /// Bytes that must still leave of the packet that has begun to.
    pub(super) fn rest(&self) -> usize {
        self.leaving.map_or(0, |(_, rest)| rest)
    }

    /// The place of message `id`.
    pub(super) fn find(&self, id: u16) -> Option<usize> {
        self.messages.iter().position(|m| m.id == id)
    }

    /// Makes room for one more; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.messages.try_reserve(1).is_ok()
    }

    /// Appends a message; room was reserved. Where older ones must leave from here, so must this one.
    pub(super) fn push(&mut self, id: u16, awaited: Awaited) {
        let leaves = self.has_resends();
        self.waiting += usize::from(leaves);
        self.messages.push(Unacknowledged { id, awaited, leaves, again: false });
    }

    /// The packet of a message that may have to be sent (again).
    pub(super) fn packet(&self, id: u16) -> Option<&[u8]> {
        match &self.messages[self.find(id)?].awaited {
            Awaited::Puback(packet) | Awaited::Pubrec(packet) => Some(packet.as_slice()),
            Awaited::Pubcomp => None,
        }
    }

    /// What the message at this place waits for.
    pub(super) fn awaited(&self, at: usize) -> &Awaited {
        &self.messages[at].awaited
    }

    /// PUBACK or PUBCOMP: the message at this place is done.
    pub(super) fn complete(&mut self, at: usize) {
        let message = self.messages.remove(at);
        self.waiting -= usize::from(message.leaves);
    }

    /// PUBREC: the server has the message at this place, from now on only PUBREL counts. Whether that may be sent now; else it
    /// leaves with what must leave from here, in the order of the PUBREC packets `[MQTT-4.6.0-4]`.
    pub(super) fn pubrec(&mut self, at: usize) -> bool {
        let is_released = |m: &Unacknowledged| matches!(m.awaited, Awaited::Pubcomp);
        // Not for one that has begun to leave: the queue waits for that anyway, and DISCONNECT may be in it.
        let leaves = self.messages.iter().any(|m| m.leaves && is_released(m) && !self.is_cut(m.id));
        let mut rest = self.messages[at..].iter_mut();
        let Some(mut message) = rest.next() else { return false };
        if is_released(message) {
            return !message.leaves;
        }
        self.waiting = self.waiting - usize::from(message.leaves) + usize::from(leaves);
        (message.awaited, message.leaves, message.again) = (Awaited::Pubcomp, leaves, true);
        // The released ones stand in the order of their PUBREC packets; nothing else is left of them.
        for next in rest.filter(|next| is_released(next)) {
            core::mem::swap(&mut message.id, &mut next.id);
            core::mem::swap(&mut message.leaves, &mut next.leaves);
            message = next;
        }
        !leaves
    }
}
