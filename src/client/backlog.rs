//! Events that wait for the SDK's queue, in order, for one handle.

use alloc::collections::VecDeque;

use crate::protocol::{Buffer, Message};

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

pub(super) struct Backlog<B> {
    events: VecDeque<Notification<B>>,
    bytes: usize,
    /// Bound in bytes.
    limit: usize,
}

impl<B: Buffer> Backlog<B> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether more than `times` the bound waits.
    pub(super) fn is_full(&self, times: usize) -> bool {
        self.events.len() >= MIN_EVENTS * times && self.bytes >= self.limit.saturating_mul(times)
    }

    /// Appends an event; `false`, and a line in the log, when there is no memory for it.
    pub(super) fn push(&mut self, event: Notification<B>) -> bool {
        if self.events.try_reserve(1).is_err() {
            log::error!(target: "mqtt", "no memory for an event: it is lost");
            return false;
        }
        self.bytes += size(&event);
        self.events.push_back(event);
        true
    }

    pub(super) fn pop(&mut self) -> Option<Notification<B>> {
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        Some(event)
    }

    /// Puts back what [`Self::pop`] gave; its place is still there.
    pub(super) fn unpop(&mut self, event: Notification<B>) {
        self.bytes += size(&event);
        self.events.push_front(event);
    }

    /// Gives the memory back that a burst has needed.
    pub(super) fn trim(&mut self) {
        if self.events.is_empty() && self.events.capacity() > MIN_EVENTS {
            self.events = VecDeque::new();
        }
    }

    /// Appends all of `other`.
    pub(super) fn append(&mut self, mut other: Self) {
        while let Some(event) = other.pop() {
            self.push(event);
        }
    }

    /// Drops the messages, which the application of a handle that is gone would not expect.
    pub(super) fn drop_messages(&mut self) {
        self.events.retain(|event| !matches!(event, Notification::Data { .. }));
        self.bytes = self.events.iter().map(size).sum();
    }
}

fn size<B: Buffer>(event: &Notification<B>) -> usize {
    OVERHEAD
        + match event {
            Notification::Data { message, .. } => {
                message.topic.as_slice().len() + message.payload.as_ref().map_or(0, |p| p.as_slice().len())
            }
            _ => 0,
        }
}
