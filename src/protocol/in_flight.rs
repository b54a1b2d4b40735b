//! Outgoing QoS 1 and 2 messages from publish to the last acknowledgement, in the order of their publication
//! (sections 4.3, 4.4 and 4.6).

use alloc::vec::Vec;

/// How far a message has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// QoS 1, waits for PUBACK; the encoded packet is kept for a resend.
    AtLeastOnce(Vec<u8>),
    /// QoS 2, waits for PUBREC; likewise.
    ExactlyOnce(Vec<u8>),
    /// QoS 2, waits for PUBCOMP: the message itself must not be sent again `[MQTT-4.3.3-1]`.
    Released,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) id: u16,
    pub(super) stage: Stage,
}

/// The window. A vector, since windows are short and acknowledgements come from the front.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    messages: Vec<Unacknowledged>,
}

impl InFlight {
    pub(super) const fn new() -> Self {
        Self { messages: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.messages = Vec::new();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unacknowledged> {
        self.messages.iter()
    }

    pub(super) fn contains(&self, id: u16) -> bool {
        self.messages.iter().any(|m| m.id == id)
    }

    /// Makes room for one more; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.messages.try_reserve(1).is_ok()
    }

    /// Appends a message; room was reserved.
    pub(super) fn push(&mut self, message: Unacknowledged) {
        self.messages.push(message);
    }

    /// The packet of a message that may have to be sent (again).
    pub(super) fn packet(&self, id: u16) -> Option<&[u8]> {
        self.messages.iter().find(|m| m.id == id).and_then(|m| match &m.stage {
            Stage::AtLeastOnce(packet) | Stage::ExactlyOnce(packet) => Some(packet.as_slice()),
            Stage::Released => None,
        })
    }

    /// Whether message `id` is at such a stage.
    pub(super) fn waits(&self, id: u16, at: fn(&Stage) -> bool) -> bool {
        self.messages.iter().any(|m| m.id == id && at(&m.stage))
    }

    /// PUBACK or PUBCOMP: the message is done.
    pub(super) fn complete(&mut self, id: u16) {
        self.messages.retain(|m| m.id != id);
    }

    /// PUBREC: the server has the message, from now on only PUBREL counts.
    pub(super) fn received(&mut self, id: u16) {
        if let Some(message) = self.messages.iter_mut().find(|m| m.id == id) {
            message.stage = Stage::Released;
        }
    }
}
