//! Events that wait for the SDK's queue, in order, for one handle.

use alloc::collections::VecDeque;

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

/// Below this many waiting events the bound in bytes does not count.
const MIN_EVENTS: usize = 64;

/// What an entry costs beside its topic and payload.
const OVERHEAD: usize = 64;

/// What waits: an event, an acknowledgement, or both.
pub(super) struct Entry<B> {
    /// To be sent; nothing for a message that was skipped.
    pub(super) event: Option<Notification<B>>,
    /// To be acknowledged once the event is accepted.
    pub(super) receipt: Option<Receipt>,
}

pub(super) struct Backlog<B> {
    entries: VecDeque<Entry<B>>,
    bytes: usize,
    /// Bound in bytes.
    limit: usize,
}

impl<B: Buffer> Backlog<B> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether more than `times` the bound waits.
    pub(super) fn is_full(&self, times: usize) -> bool {
        self.entries.len() >= MIN_EVENTS * times && self.bytes >= self.limit.saturating_mul(times)
    }

    /// Makes room for one more entry, and behind it one for the end of the connection; whether there was memory for it.
    pub(super) fn reserve(&mut self) -> bool {
        self.entries.try_reserve(2).is_ok()
    }

    /// Appends an entry; room was reserved.
    pub(super) fn push(&mut self, event: Option<Notification<B>>, receipt: Option<Receipt>) {
        let entry = Entry { event, receipt };
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    pub(super) fn pop(&mut self) -> Option<Entry<B>> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.size();
        Some(entry)
    }

    /// Puts back what [`Self::pop`] gave; its place is still there.
    pub(super) fn unpop(&mut self, entry: Entry<B>) {
        self.bytes += entry.size();
        self.entries.push_front(entry);
    }

    /// Gives the memory back that a burst has needed, but for the room that is reserved.
    pub(super) fn trim(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > MIN_EVENTS {
            let mut small = Self::new(self.limit);
            if small.reserve() {
                *self = small;
            }
        }
    }

    /// What is left of it when its client is gone: the application would not expect messages.
    pub(super) fn without_messages(mut self) -> Self {
        for _ in 0..self.entries.len() {
            if let Some(Entry { event, receipt: None }) = self.pop() {
                // Its place has just become free.
                self.push(event, None);
            }
        }
        self
    }
}

impl<B: Buffer> Entry<B> {
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
