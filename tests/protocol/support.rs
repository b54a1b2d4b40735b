//! A session with a test's hands on both ends.

use std::cell::Cell;

use wm_mqtt_client::protocol::{Buffer, Connect, Event, Limits, Message, QoS, Receipt, Session, Violation};
use wm_mqtt_client::time::{Instant, Millis};

#[path = "../shared/logged.rs"]
mod logged;

use crate::wire::{self, FromClient, FromServer, Publish};
pub(crate) use logged::logged;

thread_local! {
    /// Which allocation of a [`Bytes`] fails, counted down; 0: none.
    static FAIL: Cell<u32> = const { Cell::new(0) };
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// From now on the `n`th allocation for a topic or payload fails.
pub(crate) fn fail_allocation(n: u32) {
    FAIL.set(n);
}

/// How many buffers exist.
pub(crate) fn live_buffers() -> usize {
    LIVE.get()
}

/// Memory for a topic or payload that knows its bounds.
#[derive(Debug)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    room: usize,
}

impl Buffer for Bytes {
    fn allocate(len: usize) -> Option<Self> {
        let countdown = FAIL.get();
        FAIL.set(countdown.saturating_sub(1));
        if countdown == 1 {
            return None;
        }
        LIVE.set(LIVE.get() + 1);
        Some(Self { bytes: Vec::new(), room: len })
    }

    fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room, "more appended than allocated");
        self.room -= bytes.len();
        self.bytes.extend(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

/// An event in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected { session_present: bool },
    Refused(u8),
    Message(Publish),
    Published(u16),
    Subscribed { id: u16, granted: Option<u8> },
    Unsubscribed(u16),
    Skipped,
    Missed,
}

impl Seen {
    fn new(event: Event, session: &mut Session<Bytes>) -> Self {
        match event {
            Event::Connected { session_present } => Seen::Connected { session_present },
            Event::Refused(code) => Seen::Refused(code.code()),
            Event::Message(_) => Seen::Message(publish_of(&session.take_message().unwrap())),
            Event::Published(id) => Seen::Published(id),
            Event::Subscribed { id, granted } => Seen::Subscribed { id, granted: granted.map(QoS::level) },
            Event::Unsubscribed(id) => Seen::Unsubscribed(id),
            Event::Skipped(_) => Seen::Skipped,
            Event::Missed => Seen::Missed,
        }
    }
}

fn publish_of(message: &Message<Bytes>) -> Publish {
    assert!(message.payload.as_ref().is_none_or(|p| !p.as_slice().is_empty()), "an empty payload is None");
    Publish {
        topic: message.topic.as_slice().to_vec(),
        payload: message.payload.as_ref().map(|p| p.as_slice().to_vec()).unwrap_or_default(),
        qos: message.qos.level(),
        retain: message.retain,
        dup: message.dup,
        id: message.id,
    }
}

pub(crate) const LIMITS: Limits = Limits { window: 20, outgoing: 64 * 1024, payload: u16::MAX };

/// A persistent session's CONNECT without anything optional.
pub(crate) const PERSISTENT: Connect<'static> =
    Connect { client_id: b"c", clean_session: false, keep_alive: 60, will: None, username: None, password: None };

/// A clean session's.
pub(crate) const CLEAN: Connect<'static> = Connect { clean_session: true, ..PERSISTENT };

pub(crate) fn qos(level: u8) -> QoS {
    QoS::from_level(level).unwrap()
}

pub(crate) fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// PUBLISH as it stands in `FromClient` and `FromServer`.
pub(crate) fn publish(id: u16, level: u8, topic: &str, payload: &[u8]) -> Publish {
    Publish { topic: topic.into(), payload: payload.to_vec(), qos: level, retain: false, dup: false, id }
}

pub(crate) fn dup(publish: Publish) -> Publish {
    Publish { dup: true, ..publish }
}

/// A session, its clock, and the receipts of messages whose event nobody has accepted yet.
pub(crate) struct Bench {
    pub(crate) session: Session<Bytes>,
    pub(crate) now: Instant,
    pub(crate) receipts: Vec<Receipt>,
}

impl Bench {
    /// Never connected.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { session: Session::new(limits, None), now: at(1_000_000), receipts: Vec::new() }
    }

    /// Connected in a persistent session, nothing to send.
    pub(crate) fn connected() -> Self {
        Self::connected_with(LIMITS, &PERSISTENT)
    }

    pub(crate) fn connected_with(limits: Limits, connect: &Connect<'_>) -> Self {
        let mut bench = Self::new(limits);
        assert_eq!(bench.reconnect(connect, false), [Seen::Connected { session_present: false }]);
        assert_eq!(bench.sent(), []);
        bench
    }

    /// A new transport up to CONNACK; what that brings.
    pub(crate) fn reconnect(&mut self, connect: &Connect<'_>, present: bool) -> Vec<Seen> {
        self.session.closed();
        self.session.connect(self.now, connect).unwrap();
        assert!(matches!(self.sent()[..], [FromClient::Connect { .. }]), "CONNECT comes first and alone");
        self.receive(&[FromServer::ConnAck { present, code: 0 }])
    }

    pub(crate) fn advance(&mut self, ms: Millis) {
        self.now = self.now + ms;
    }

    /// Feeds bytes in one piece; a message that finds no memory is skipped at once.
    pub(crate) fn feed(&mut self, mut input: &[u8]) -> Result<Vec<Seen>, (Vec<Seen>, Violation)> {
        let mut seen = Vec::new();
        loop {
            match self.session.handle_input(self.now, &mut input) {
                Ok(Some(event)) => {
                    seen.push(Seen::new(event, &mut self.session));
                    if let Event::Message(receipt) | Event::Skipped(receipt) = event {
                        self.receipts.push(receipt);
                    }
                }
                Ok(None) if input.is_empty() => return Ok(seen),
                Ok(None) => {
                    assert_eq!(self.session.announced(), 0, "no event, and yet input is left");
                    self.session.skip();
                }
                Err(violation) => return Err((seen, violation)),
            }
        }
    }

    /// Feeds whole packets; their events.
    pub(crate) fn receive(&mut self, packets: &[FromServer]) -> Vec<Seen> {
        let bytes: Vec<u8> = packets.iter().flat_map(FromServer::encode).collect();
        self.feed(&bytes).unwrap()
    }

    /// Feeds whole packets, the last of which is one too many.
    pub(crate) fn violates(&mut self, packets: &[FromServer]) -> Violation {
        let bytes: Vec<u8> = packets.iter().flat_map(FromServer::encode).collect();
        self.feed(&bytes).unwrap_err().1
    }

    /// Accepts the oldest message's event, or passes a message that was skipped.
    pub(crate) fn accept(&mut self) {
        let receipt = self.receipts.remove(0);
        self.session.accepted(receipt).unwrap();
    }

    /// Bytes that the session gives the transport, at most `limit`, in pieces of `piece`.
    pub(crate) fn transmit(&mut self, limit: usize, piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut buffer = vec![0; piece];
        while out.len() < limit {
            let room = piece.min(limit - out.len());
            let len = self.session.transmit(&mut buffer[..room]);
            if len == 0 {
                break;
            }
            out.extend(&buffer[..len]);
            self.session.transmitted(self.now, len);
        }
        out
    }

    /// All that the session wants to send, as packets.
    pub(crate) fn sent(&mut self) -> Vec<FromClient> {
        let bytes = self.transmit(usize::MAX, 4096);
        assert!(!self.session.wants_write());
        wire::decode_all(&bytes)
    }

    /// Publishes; the packet identifier.
    pub(crate) fn publish(&mut self, level: u8, topic: &str, payload: &[u8]) -> u16 {
        self.session.publish(topic.as_bytes(), payload, qos(level), false).unwrap()
    }
}
