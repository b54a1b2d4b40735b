//! What a session has promised, kept beside it: which packets must leave and in which order, which events must come, and what is done.
//! Written from the standard and the documentation of [`Session`](wm_mqtt_client::protocol::Session), not from its code.

use std::collections::VecDeque;

use wm_mqtt_client::protocol::{Malformed, Violation};

use super::trace;
use crate::server::{Packet, Publish};
use crate::wire::FromClient;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Connecting,
    Connected,
    /// DISCONNECT was asked for.
    Leaving,
}

/// A message from its acceptance to its end.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Counts all of them: the order of publication.
    pub(super) serial: u32,
    /// The connection on which it was accepted.
    pub(super) born: u32,
    pub(super) id: u16,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) topic: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// PUBREC has come.
    pub(super) released: bool,
    /// All of its PUBLISH has left on this connection.
    sent: bool,
    /// A PUBREL has left on this connection, and how many more may.
    pubrel_sent: bool,
    pubrels: u32,
}

impl Message {
    pub(super) fn new(id: u16, qos: u8, retain: bool, topic: &[u8], payload: Vec<u8>) -> Self {
        let topic = topic.to_vec();
        Self {
            serial: 0,
            born: 0,
            id,
            qos,
            retain,
            topic,
            payload,
            released: false,
            sent: false,
            pubrel_sent: false,
            pubrels: 0,
        }
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u16,
    pub(super) filter: Vec<u8>,
    pub(super) qos: Option<u8>,
    /// It waits for its answer.
    pub(super) pending: bool,
    sent: bool,
    /// Taken back, but it may have begun to leave.
    may_stay: bool,
}

/// PUBREL packets for what is no message, or no longer one.
#[derive(Debug)]
struct Late {
    id: u16,
    left: u32,
    /// They must leave. Otherwise PUBCOMP has come before them.
    must: bool,
}

/// A message with QoS 2 from the server, from PUBLISH to PUBREL.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) id: u16,
    serial: u32,
    accepted: bool,
    released: bool,
}

/// What must come of a packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Nothing,
    Connected {
        present: bool,
    },
    Refused(u8),
    Message(Publish<'a>, u32),
    /// Larger than what is taken.
    TooLarge(Publish<'a>, u32),
    /// There was no memory for it.
    NoMemory(Publish<'a>, u32),
    Published(u16),
    Subscribed {
        id: u16,
        granted: Option<u8>,
    },
    Unsubscribed(u16),
    Violation(Violation),
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) phase: Phase,
    pub(super) clean: bool,
    /// Counts connections that a CONNACK has opened.
    pub(super) connection: u32,
    largest: usize,
    serial: u32,
    /// Accepted with QoS 1 and 2, not done, in the order of publication.
    pub(super) messages: Vec<Message>,
    /// Identifiers of those that are released, in the order of their PUBREC packets.
    released: Vec<u16>,
    pub(super) received: Vec<Received>,
    /// What is owed for them on this connection, in the order in which it leaves: each when its message was accepted.
    owed: Vec<(u32, FromClient)>,
    /// Of this connection:
    connect: Option<FromClient>,
    pub(super) requests: Vec<Request>,
    /// Messages with QoS 0 that have not left.
    unacknowledged: VecDeque<Message>,
    /// Messages that a server acknowledged before they had left: they may.
    early: Vec<Message>,
    late_pubrels: Vec<Late>,
    /// Acknowledgements that must leave, in their order.
    acknowledgements: VecDeque<FromClient>,
    /// A PINGREQ must leave, or may.
    pings: bool,
    may_ping: bool,
    /// One may not have reached the network.
    ping_waits: bool,
    disconnected: bool,
    last_serial: u32,
    /// Sent, not a whole packet yet.
    partial: Vec<u8>,
}

impl Model {
    pub(super) fn new(largest: u16) -> Self {
        Self {
            phase: Phase::Closed,
            clean: true,
            connection: 0,
            largest: largest.into(),
            serial: 0,
            messages: Vec::new(),
            released: Vec::new(),
            received: Vec::new(),
            owed: Vec::new(),
            connect: None,
            requests: Vec::new(),
            unacknowledged: VecDeque::new(),
            early: Vec::new(),
            late_pubrels: Vec::new(),
            acknowledgements: VecDeque::new(),
            pings: false,
            may_ping: false,
            ping_waits: false,
            disconnected: false,
            last_serial: 0,
            partial: Vec::new(),
        }
    }

    pub(super) fn closed(&mut self) {
        self.phase = Phase::Closed;
        self.connect = None;
        self.requests.clear();
        self.unacknowledged.clear();
        self.early.clear();
        self.late_pubrels.clear();
        self.acknowledgements.clear();
        (self.pings, self.may_ping, self.ping_waits) = (false, false, false);
        (self.disconnected, self.last_serial) = (false, 0);
        self.partial.clear();
        self.owed.clear();
        self.received.retain(|received| !(received.accepted && received.released));
    }

    pub(super) fn connect(&mut self, packet: FromClient, clean: bool) {
        self.closed();
        self.clean = clean;
        if clean {
            self.messages.clear();
            self.released.clear();
            self.received.clear();
        }
        self.connect = Some(packet);
        self.phase = Phase::Connecting;
    }

    pub(super) fn disconnect(&mut self) {
        if self.phase == Phase::Connected {
            self.phase = Phase::Leaving;
        }
    }

    /// A packet identifier that the session has chosen.
    fn check_id(&self, id: u16) {
        assert_ne!(id, 0);
        assert!(!self.messages.iter().any(|m| m.id == id), "identifier {id} of a message in flight");
        assert!(!self.requests.iter().any(|r| r.pending && r.id == id), "identifier {id} of a request");
    }

    pub(super) fn published(&mut self, mut message: Message) {
        self.serial += 1;
        (message.serial, message.born) = (self.serial, self.connection);
        if message.qos == 0 {
            assert_eq!(message.id, 0);
            self.unacknowledged.push_back(message);
        } else {
            self.check_id(message.id);
            self.messages.push(message);
        }
    }

    pub(super) fn requested(&mut self, id: u16, filter: &[u8], qos: Option<u8>) {
        self.check_id(id);
        self.requests.push(Request { id, filter: filter.to_vec(), qos, pending: true, sent: false, may_stay: false });
    }

    /// A request that waits for its answer is taken back; without an identifier all are.
    pub(super) fn forgotten(&mut self, id: Option<u16>) {
        let has_begun = !self.partial.is_empty();
        self.requests.retain_mut(|request| {
            if !request.pending || id.is_some_and(|id| request.id != id) {
                return true;
            }
            (request.pending, request.may_stay) = (false, has_begun);
            request.sent || request.may_stay
        });
    }

    /// The application has taken the message with this receipt.
    pub(super) fn accepted(&mut self, Receipt { id, qos, serial, connection }: Receipt) {
        match qos {
            1 if connection == self.connection => self.acknowledge(FromClient::PubAck(id)),
            2 => {
                let Some(received) = self.received.iter_mut().find(|r| r.serial == serial) else { return };
                assert!(!received.accepted);
                received.accepted = true;
                self.answer_received();
            }
            _ => {}
        }
    }

    /// Something is owed for a message: behind what is owed for it already, or last.
    fn owe(&mut self, serial: u32, packet: FromClient) {
        let before = self.owed.iter().rposition(|(other, _)| *other == serial);
        self.owed.insert(before.map_or(self.owed.len(), |at| at + 1), (serial, packet));
        self.answer_received();
    }

    /// What is owed leaves as far as messages were accepted, and those that are done with are forgotten.
    fn answer_received(&mut self) {
        let accepted = |serial| self.received.iter().any(|r| r.serial == serial && r.accepted);
        let due = self.owed.iter().take_while(|(serial, _)| accepted(*serial)).count();
        for (_, packet) in self.owed.drain(..due).collect::<Vec<_>>() {
            self.acknowledge(packet);
        }
        let owed = |serial| self.owed.iter().any(|(other, _)| *other == serial);
        self.received.retain(|r| !(r.accepted && r.released) || owed(r.serial));
    }

    fn acknowledge(&mut self, packet: FromClient) {
        if self.phase == Phase::Connected {
            self.acknowledgements.push_back(packet);
        }
    }

    /// A PINGREQ is due. One that waits for the network is enough, and may do so while the session `is_busy`.
    pub(super) fn pinged(&mut self, is_busy: bool) {
        self.ping_waits &= is_busy;
        self.may_ping |= self.ping_waits && !self.pings;
        self.pings |= !self.ping_waits;
        self.ping_waits = true;
    }

    /// What must come of a packet from the server. `is_refused`: there was no memory for it. `early`: the session calls it an
    /// acknowledgement of what has not left. `is_told`: it says that a message is acknowledged.
    pub(super) fn receive<'a>(
        &mut self,
        packet: Packet<'a>,
        is_refused: bool,
        early: bool,
        is_told: bool,
    ) -> Outcome<'a> {
        let is_connack = matches!(packet, Packet::ConnAck { .. });
        if self.phase == Phase::Closed || is_connack != (self.phase == Phase::Connecting) {
            return Outcome::Violation(Violation::Unexpected);
        }
        match packet {
            Packet::ConnAck { code: 0, flags } => self.connected(flags & 1 != 0),
            Packet::ConnAck { code: code @ 1..=5, .. } => {
                self.phase = Phase::Closed;
                Outcome::Refused(code)
            }
            Packet::ConnAck { .. } => Outcome::Violation(Malformed::ReturnCode.into()),
            Packet::Publish(publish) => self.message(publish, is_refused),
            Packet::PubRel(id) => {
                match self.received.iter_mut().find(|r| r.id == id && !r.released) {
                    Some(received) => {
                        received.released = true;
                        let serial = received.serial;
                        let is_last = received.accepted && self.owed.iter().all(|(other, _)| *other != serial);
                        if is_last {
                            // PUBCOMP need not wait for what others are owed.
                            self.received.retain(|r| r.serial != serial);
                            self.acknowledge(FromClient::PubComp(id));
                        } else {
                            self.owe(serial, FromClient::PubComp(id));
                        }
                    }
                    // [MQTT-4.3.3-2]
                    None => self.acknowledge(FromClient::PubComp(id)),
                }
                Outcome::Nothing
            }
            Packet::SubAck { id, code } if self.answered(id, true) => {
                Outcome::Subscribed { id, granted: (code < 3).then_some(code) }
            }
            Packet::UnsubAck(id) if self.answered(id, false) => Outcome::Unsubscribed(id),
            Packet::PubAck(id) => self.completed(id, early, is_told, |m| m.qos == 1),
            Packet::PubComp(id) => self.completed(id, early, is_told, |m| m.released),
            Packet::PubRec(id) => self.pubrec(id, early),
            Packet::SubAck { .. } | Packet::UnsubAck(_) | Packet::PingResp => Outcome::Nothing,
        }
    }

    fn connected<'a>(&mut self, present: bool) -> Outcome<'a> {
        // [MQTT-3.2.2-1]
        let present = present && !self.clean;
        self.phase = Phase::Connected;
        self.connection += 1;
        if !present {
            self.received.clear();
        }
        for message in &mut self.messages {
            (message.sent, message.pubrel_sent, message.pubrels) = (false, false, message.released.into());
        }
        Outcome::Connected { present }
    }

    fn message<'a>(&mut self, publish: Publish<'a>, is_refused: bool) -> Outcome<'a> {
        let Publish { id, qos, payload, .. } = publish;
        if qos == 2
            && let Some(known) = self.received.iter().find(|r| r.id == id && !r.released)
        {
            // [MQTT-4.3.3-2] [MQTT-4.6.0-3]
            let serial = known.serial;
            if self.owed.iter().filter(|(other, _)| *other == serial).count() < 255 {
                self.owe(serial, FromClient::PubRec(id));
            }
            return Outcome::Nothing;
        }
        self.serial += 1;
        let serial = self.serial;
        if qos == 2 {
            self.received.push(Received { id, serial, accepted: false, released: false });
            self.owe(serial, FromClient::PubRec(id));
        }
        match payload.len() > self.largest {
            true => Outcome::TooLarge(publish, serial),
            false if is_refused => Outcome::NoMemory(publish, serial),
            false => Outcome::Message(publish, serial),
        }
    }

    /// The message is not acknowledged: the server sends it again.
    pub(super) fn missed(&mut self, serial: u32) {
        self.received.retain(|r| r.serial != serial);
        self.owed.retain(|(other, _)| *other != serial);
        self.answer_received();
    }

    fn answered(&mut self, id: u16, is_subscription: bool) -> bool {
        let is_it = |r: &&mut Request| r.pending && r.id == id && r.qos.is_some() == is_subscription;
        self.requests.iter_mut().find(is_it).map(|request| request.pending = false).is_some()
    }

    /// Whether the session may call an acknowledgement of this message early.
    fn check_early<'a>(message: &Message, connection: u32) -> Outcome<'a> {
        let is_new = message.born == connection && !message.sent && !message.released;
        assert!(is_new, "{message:?} has left, maybe before, and its acknowledgement is refused");
        Outcome::Violation(Violation::EarlyAcknowledgement)
    }

    /// Whether the PUBLISH of this message is leaving again: an answer from before is ignored then, and comes again.
    fn is_leaving_again(&self, id: u16) -> bool {
        let is_repetition = self.partial.first().is_some_and(|first| first & 0xf8 == 0x38);
        is_repetition && self.messages.iter().find(|m| !m.sent && !m.released).is_some_and(|m| m.id == id)
    }

    /// `is_told`: the session says so.
    fn completed<'a>(
        &mut self,
        id: u16,
        early: bool,
        is_told: bool,
        answers: impl Fn(&Message) -> bool,
    ) -> Outcome<'a> {
        let Some(at) = self.messages.iter().position(|m| m.id == id && answers(m)) else { return Outcome::Nothing };
        let message = &self.messages[at];
        if early {
            return Self::check_early(message, self.connection);
        }
        // Of a PUBREL only its first bytes are known, which is not enough to say whose it is.
        let is_pubrel_leaving = message.released && !message.pubrel_sent && self.partial.first() == Some(&0x62);
        if self.is_leaving_again(id) || is_pubrel_leaving && !is_told {
            return Outcome::Nothing;
        }
        let message = self.messages.remove(at);
        self.released.retain(|released| *released != id);
        if message.pubrels > 0 {
            self.late_pubrels.push(Late { id, left: message.pubrels, must: false });
        }
        if !message.sent && !message.released {
            self.early.push(message);
        }
        Outcome::Published(id)
    }

    fn pubrec<'a>(&mut self, id: u16, early: bool) -> Outcome<'a> {
        let is_leaving_again = self.is_leaving_again(id);
        let Some(message) = self.messages.iter_mut().find(|m| m.id == id) else {
            // [MQTT-4.3.3-1]
            if self.phase == Phase::Connected {
                self.late_pubrels.push(Late { id, left: 1, must: true });
            }
            return Outcome::Nothing;
        };
        if message.qos == 1 {
            return Outcome::Nothing;
        }
        if early {
            return Self::check_early(message, self.connection);
        }
        if is_leaving_again {
            return Outcome::Nothing;
        }
        if self.phase == Phase::Connected {
            message.pubrels += 1;
        }
        if !message.released {
            if !message.sent {
                self.early.push(message.clone());
            }
            message.released = true;
            self.released.push(id);
        }
        Outcome::Nothing
    }

    /// Bytes have left.
    pub(super) fn sent(&mut self, bytes: &[u8]) -> Vec<FromClient> {
        assert!(self.phase != Phase::Closed || bytes.is_empty(), "bytes for a connection that is gone");
        self.partial.extend(bytes);
        let mut packets = Vec::new();
        while let Some((packet, len)) = crate::wire::decode(&self.partial).unwrap_or_else(|error| panic!("{error}")) {
            self.partial.drain(..len);
            trace!("  sent {packet:?}");
            self.check_sent(&packet);
            packets.push(packet);
        }
        packets
    }

    fn check_sent(&mut self, packet: &FromClient) {
        assert!(!self.disconnected, "{packet:?} behind DISCONNECT");
        if let Some(connect) = self.connect.take() {
            assert_eq!(*packet, connect); // [MQTT-3.1.0-1]
            return;
        }
        match packet {
            FromClient::Connect { .. } => panic!("a second CONNECT"), // [MQTT-3.1.0-2]
            FromClient::Publish(publish) => self.check_publish(publish),
            FromClient::PubAck(_) | FromClient::PubRec(_) | FromClient::PubComp(_) => {
                assert_eq!(self.acknowledgements.pop_front().as_ref(), Some(packet));
            }
            FromClient::PubRel(id) => self.check_pubrel(*id),
            FromClient::Subscribe { id, filters } => {
                let [(filter, qos)] = &filters[..] else { panic!("{packet:?}") };
                self.check_request(*id, filter, Some(*qos));
            }
            FromClient::Unsubscribe { id, filters } => {
                let [filter] = &filters[..] else { panic!("{packet:?}") };
                self.check_request(*id, filter, None);
            }
            FromClient::PingReq => {
                let is_due = if self.pings { &mut self.pings } else { &mut self.may_ping };
                assert!(std::mem::take(is_due), "PINGREQ without need");
            }
            FromClient::Disconnect => {
                assert_eq!(self.phase, Phase::Leaving);
                self.disconnected = true;
            }
        }
    }

    fn check_publish(&mut self, publish: &crate::wire::Publish) {
        let is_it = |m: &&mut Message| m.id == publish.id && !m.sent && !m.released;
        let message = match publish.qos {
            0 => self.unacknowledged.pop_front().expect("PUBLISH that nobody has asked for, or twice"),
            _ => match self.messages.iter_mut().find(is_it) {
                Some(message) => {
                    message.sent = true;
                    message.clone()
                }
                None => {
                    let at = self.early.iter().position(|m| m.id == publish.id);
                    self.early
                        .remove(at.expect("PUBLISH that nobody has asked for, or twice, or behind its acknowledgement"))
                }
            },
        };
        let Message { qos, retain, topic, payload, .. } = message.clone();
        // [MQTT-3.3.1-1] [MQTT-3.3.1-2]
        let dup = qos > 0 && message.born != self.connection;
        assert_eq!(*publish, crate::wire::Publish { topic, payload, qos, retain, dup, id: message.id });
        // [MQTT-4.6.0-1]
        assert!(message.serial > self.last_serial, "{message:?} behind one that was published later");
        self.last_serial = message.serial;
    }

    fn check_pubrel(&mut self, id: u16) {
        // They were owed before there was such a message.
        if let Some(late) =
            self.late_pubrels.iter_mut().filter(|late| late.id == id && late.left > 0).max_by_key(|late| late.must)
        {
            late.left -= 1;
            return;
        }
        let message = self.messages.iter_mut().find(|m| m.id == id && m.released).expect("PUBREL without PUBREC");
        message.pubrels = message.pubrels.checked_sub(1).expect("PUBREL without PUBREC");
        if !message.pubrel_sent {
            message.pubrel_sent = true;
            // [MQTT-4.6.0-4]
            for before in self.released.iter().take_while(|released| **released != id) {
                let is_sent = self.messages.iter().any(|m| m.id == *before && m.pubrel_sent);
                assert!(is_sent, "PUBREL {id} before {before}, whose PUBREC came first");
            }
        }
    }

    fn check_request(&mut self, id: u16, filter: &[u8], qos: Option<u8>) {
        let next = self.requests.iter_mut().filter(|r| !r.sent).find(|r| !r.may_stay || r.id == id);
        let request = next.expect("a request that nobody has made, or that was taken back");
        assert_eq!((request.id, &request.filter[..], request.qos), (id, filter, qos));
        request.sent = true;
    }

    /// Nothing wants to leave: all that must has.
    pub(super) fn check_drained(&self) {
        assert!(self.partial.is_empty(), "a part of a packet");
        assert!(self.connect.is_none(), "no CONNECT");
        match self.phase {
            Phase::Connected => {
                assert!(self.late_pubrels.iter().all(|late| !late.must || late.left == 0), "{:?}", self.late_pubrels);
                for message in &self.messages {
                    let is_sent = if message.released { message.pubrel_sent } else { message.sent };
                    assert!(is_sent, "{message:?} has not left");
                }
            }
            Phase::Leaving => assert!(self.disconnected, "no DISCONNECT"),
            Phase::Closed | Phase::Connecting => {}
        }
        assert!(self.unacknowledged.is_empty(), "{:?} has not left", self.unacknowledged);
        assert!(self.acknowledgements.is_empty(), "{:?} has not left", self.acknowledgements);
        assert!(self.requests.iter().all(|r| r.sent || r.may_stay), "{:?} has not left", self.requests);
        assert!(!self.pings, "no PINGREQ");
    }

    /// Whether nothing waits for an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.messages.is_empty() && self.requests.iter().all(|r| !r.pending)
    }
}

/// What belongs to the session's own receipt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) id: u16,
    pub(super) qos: u8,
    pub(super) serial: u32,
    pub(super) connection: u32,
}
