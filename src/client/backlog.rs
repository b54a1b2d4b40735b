//! Events that wait for the SDK's queue, in order, for one handle.

use alloc::collections::VecDeque;

use super::outstanding::Outstanding;
use crate::protocol::{Buffer, Message, Receipt};

/// An event for the application (contract section 2).
#[derive(Debug)]
pub enum Notification<B> {
    /// The connection stands.
    Connected,
    /// The connection is gone: lost, with the client's token, or ended as asked, without.
    Disconnected {
        /// Token of the client that lost its connection.
        client: Option<usize>,
    },
    /// An application message.
    Data {
        /// Token of the client that received it.
        client: usize,
        /// Topic and payload become the application's.
        message: Message<B>,
    },
    /// A QoS 1 or 2 message was acknowledged.
    Published {
        /// Its packet identifier.
        id: u16,
    },
}

/// What an event costs beside its topic and payload, here or in the SDK's queue.
const OVERHEAD: usize = 64;

/// How many times its bound it may hold while a call holds up the event task.
const CALLBACK_FACTOR: usize = 4;

/// How many entries keep their memory when none waits.
const KEPT_CAPACITY: usize = 16;

/// What waits: an event, an acknowledgement, or both.
struct Entry<B> {
    /// To be sent; nothing for a message that was skipped.
    event: Option<Notification<B>>,
    /// To be acknowledged once the event is accepted.
    receipt: Option<Receipt>,
}

pub(super) struct Backlog<B> {
    /// Token of the client.
    client: usize,
    entries: VecDeque<Entry<B>>,
    /// What they cost.
    bytes: usize,
    /// What those cost that the SDK's queue has accepted and not delivered: at most so much, since deliveries are not
    /// told here.
    accepted: usize,
    /// Bound of both.
    limit: usize,
    /// The same while a call holds up the event task.
    limit_in_callback: usize,
    /// It was found full, so there may be input that waits for deliveries.
    pub(super) was_full: bool,
}

impl<B: Buffer> Backlog<B> {
    pub(super) const fn new(client: usize, limit: usize) -> Self {
        Self {
            client,
            entries: VecDeque::new(),
            bytes: 0,
            accepted: 0,
            limit,
            limit_in_callback: limit.saturating_mul(CALLBACK_FACTOR),
            was_full: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is room for a message of this length, here and in the SDK's queue; always when both are empty. A delivery
    /// will wake the task if that makes room. While a call waits in a callback, more is taken for its sake, and the event of
    /// that callback does not count.
    pub(super) fn has_room(&mut self, len: usize, in_callback: bool, outstanding: &mut Outstanding) -> bool {
        let bound = if in_callback { self.limit_in_callback } else { self.limit };
        let others = self.bytes + OVERHEAD + len;
        let mut accepted = self.accepted;
        if others + accepted > bound {
            accepted = outstanding.bytes(self.client, (bound + 1).saturating_sub(others), in_callback);
            // Without the callback's event it is too little for what comes next.
            if !in_callback {
                self.accepted = accepted;
            }
        }
        let has_room = others + accepted <= bound || self.bytes + accepted == 0;
        // Entries of this backlog alone leave it without a delivery.
        self.was_full |= !has_room && accepted > 0;
        has_room
    }

    /// A message that is not longer has room for sure: it need not be asked for.
    pub(super) fn sure_room(&self) -> usize {
        self.limit.saturating_sub(self.bytes + self.accepted + OVERHEAD)
    }

    /// Makes room for one more entry, and behind it one for the end of the connection; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        reserve(&mut self.entries)
    }

    /// Appends an entry; room was reserved.
    pub(super) fn push(&mut self, event: Option<Notification<B>>, receipt: Option<Receipt>) {
        let entry = Entry { event, receipt };
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// The client's token, the first entry's event, and what the entry costs.
    pub(super) fn first(&mut self) -> Option<(usize, &mut Option<Notification<B>>, usize)> {
        let entry = self.entries.front_mut()?;
        let size = entry.size();
        Some((self.client, &mut entry.event, size))
    }

    /// The first entry's event was accepted, which has left it; this is what the entry has cost.
    pub(super) fn accepted(&mut self, size: usize) {
        self.bytes -= size - OVERHEAD;
        self.accepted += size;
    }

    /// Takes the first entry away, if it has no event any more, or never had one. What is to be acknowledged now.
    pub(super) fn pop(&mut self) -> Option<Option<Receipt>> {
        if self.entries.front()?.event.is_some() {
            return None;
        }
        self.bytes -= OVERHEAD;
        self.entries.pop_front().map(|entry| entry.receipt)
    }

    /// Gives the memory back that a burst has needed, but for the room that is reserved.
    pub(super) fn trim(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            let mut small = VecDeque::new();
            if reserve(&mut small) {
                self.entries = small;
            }
        }
    }

    /// What is left of it when its client is gone: the application would not expect messages.
    pub(super) fn without_messages(mut self) -> Self {
        for _ in 0..self.entries.len() {
            if let Some(entry) = self.entries.pop_front()
                && entry.receipt.is_none()
            {
                // pop_front has just freed a place.
                self.entries.push_back(entry);
            }
        }
        self
    }
}

fn reserve<B>(entries: &mut VecDeque<Entry<B>>) -> bool {
    entries.try_reserve(2).is_ok()
}

impl<B: Buffer> Entry<B> {
    /// What it costs.
    fn size(&self) -> usize {
        let data = match &self.event {
            Some(Notification::Data { message, .. }) => {
                message.topic.as_slice().len() + message.payload.as_ref().map_or(0, |p| p.as_slice().len())
            }
            _ => 0,
        };
        OVERHEAD + data
    }
}
