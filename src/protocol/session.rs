//! One client's MQTT state and the rules that move it.

use alloc::vec::Vec;

use super::decode::{Arrival, Buffer, Decoder, Incoming, Malformed, Message, Receipt, kind};
use super::event::{Event, PublishError, SubscribeError, TimeoutError, Violation};
use super::in_flight::{Awaited, InFlight};
use super::keep_alive::{Due, KeepAlive};
use super::missed::Missed;
use super::outbox::Outbox;
use super::packet::{
    Connect, ConnectReturnCode, Filter, MAX_PACKET, Packet, Publish, QoS, acknowledgement, first_byte, packet_name,
};
use super::received::Received;
use super::warnings::Warnings;
use crate::log;
use crate::memory::OutOfMemory;
use crate::time::Instant;

/// Bounds of a session's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// QoS 1 and 2 messages that may be unacknowledged at a time.
    pub window: u16,
    /// Bytes that may wait for the transport before publish is refused.
    pub outgoing: usize,
    /// The largest payload that is taken, at most 65,535: more no event can describe.
    pub payload: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionState {
    Closed,
    /// CONNECT sent, no CONNACK yet.
    Connecting,
    Connected,
    /// DISCONNECT queued: nothing may follow it `[MQTT-3.14.4-2]`.
    Disconnecting,
}

/// Session state as section 4.1 defines it, and that of the current connection.
///
/// Feed it: [`connect`](Self::connect) when the transport is up, [`handle_input`](Self::handle_input) with what was
/// read, [`handle_timeout`](Self::handle_timeout) at [`deadline`](Self::deadline), [`closed`](Self::closed) when the
/// transport is gone. Drain it after each: [`transmit`](Self::transmit) hands bytes to the transport, until nothing is
/// left; [`transmitted`](Self::transmitted) says how many of those are with the network.
// In this order, because the device's short instructions reach the first 31 bytes, 62 for two at a time, 124 for four.
#[repr(C)]
pub struct Session<B> {
    state: ConnectionState,
    clean: bool,
    last_id: u16,
    decoder: Decoder<B>,
    /// Counts connections, so that an old receipt does not acknowledge on a new one.
    connection: u32,
    /// Bytes that were handed over and are not with the network yet.
    held: usize,
    /// Bytes of acknowledgements among what has not reached the network; more, if that was never nothing since.
    acknowledgements: usize,
    /// Bytes that must reach the network until the last PINGREQ has.
    ahead_of_ping: usize,
    outbox: Outbox,
    received: Received,
    /// SUBSCRIBE and UNSUBSCRIBE packets without an answer yet: packet identifier, and which answer it is.
    requests: Vec<(u16, u8)>,
    in_flight: InFlight,
    keep_alive: KeepAlive,
    limits: Limits,
    /// The longest message that is taken.
    room: usize,
    /// Counts messages that are lost: too large, or no memory for them.
    skipped: u32,
    /// Those that may come again.
    missed: Missed,
    /// Log each packet, under this name.
    trace: Option<usize>,
    /// What was told of the server.
    warnings: Warnings,
}

impl<B: Buffer> Session<B> {
    /// A session that has never been connected. With `trace` each packet is logged under that number: its type, packet
    /// identifier and length, never its contents.
    pub const fn new(limits: Limits, trace: Option<usize>) -> Self {
        Self {
            limits,
            state: ConnectionState::Closed,
            clean: true,
            // Before the first one.
            connection: 1,
            last_id: 0,
            decoder: Decoder::new(),
            outbox: Outbox::new(),
            in_flight: InFlight::new(),
            received: Received::new(),
            warnings: Warnings::new(),
            requests: Vec::new(),
            keep_alive: KeepAlive::off(),
            held: 0,
            acknowledgements: 0,
            ahead_of_ping: 0,
            room: usize::MAX,
            skipped: 0,
            missed: Missed::new(),
            trace,
        }
    }

    /// Begins a connection: queues CONNECT `[MQTT-3.1.0-1]`. A clean session forgets all state `[MQTT-3.1.2-6]`.
    pub fn connect(&mut self, now: Instant, connect: &Connect<'_>) -> Result<(), OutOfMemory> {
        self.closed();
        self.clean = connect.clean_session;
        if self.clean {
            self.in_flight.clear();
            self.received = Received::new();
            self.last_id = 0;
        }
        connect.encode(self.outbox.room(connect.encoded_len())?);
        self.trace("->", first_byte::CONNECT, 0, connect.encoded_len());
        self.keep_alive = KeepAlive::start(now, connect.keep_alive);
        self.state = ConnectionState::Connecting;
        Ok(())
    }

    /// The transport is gone. What a persistent session must remember stays `[MQTT-3.1.2-5]`.
    pub fn closed(&mut self) {
        self.state = ConnectionState::Closed;
        self.decoder = Decoder::new();
        self.outbox.clear();
        self.in_flight.closed();
        self.received.closed();
        self.requests = Vec::new();
        self.keep_alive = KeepAlive::off();
        self.warnings = Warnings::new();
        (self.held, self.acknowledgements, self.ahead_of_ping) = (0, 0, 0);
    }

    /// Whether CONNACK has come and DISCONNECT has not been asked for.
    pub fn is_connected(&self) -> bool {
        self.state == ConnectionState::Connected
    }

    /// Queues DISCONNECT (section 3.14); nothing can be sent after it.
    pub fn disconnect(&mut self) {
        if self.state == ConnectionState::Connected {
            self.state = ConnectionState::Disconnecting;
            self.in_flight.end_resends();
            // Without memory for two bytes the transport just closes.
            let _ = self.outbox.push_bytes(&[first_byte::DISCONNECT, 0]);
            self.trace("->", first_byte::DISCONNECT, 0, 2);
        }
    }

    /// Whether every message is acknowledged, every request answered, and every byte with the network.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.requests.is_empty() && self.unsent() == 0
    }

    /// Whether bytes wait for the network, handed over or not.
    pub fn wants_write(&self) -> bool {
        self.unsent() > 0 || self.in_flight.has_resends()
    }

    /// Whether so many acknowledgements wait for the network that reading more would only add to them. Nothing else
    /// counts: a server may not read while it cannot write, and then both would wait for ever.
    pub fn is_congested(&self) -> bool {
        let waiting = self.acknowledgements.min(self.outbox.small() + self.held);
        waiting > self.limits.outgoing.saturating_mul(4)
    }

    fn unsent(&self) -> usize {
        self.outbox.queued() + self.held
    }

    /// Whether there is room for a message with this QoS: else [`PublishError::WindowFull`] or [`PublishError::Congested`].
    pub fn room(&self, qos: QoS) -> Result<(), PublishError> {
        if qos != QoS::AtMostOnce && self.in_flight.len() >= self.limits.window.into() {
            return Err(PublishError::WindowFull);
        }
        // A message with QoS 0 must not overtake those that leave again; the others leave behind them.
        if self.unsent() >= self.limits.outgoing || (qos == QoS::AtMostOnce && self.in_flight.has_resends()) {
            return Err(PublishError::Congested);
        }
        Ok(())
    }

    /// Whether half of the window is free.
    pub fn has_half_of_window(&self) -> bool {
        self.in_flight.len() <= usize::from(self.limits.window / 2)
    }

    /// Takes a message for sending; the packet identifier, or 0 for QoS 0.
    ///
    /// `topic` has passed [`topic::check_name`](super::topic).
    pub fn publish(&mut self, topic: &[u8], payload: &[u8], qos: QoS, retain: bool) -> Result<u16, PublishError> {
        if self.state != ConnectionState::Connected {
            return Err(PublishError::NotConnected);
        }
        self.room(qos)?;
        let resending = self.in_flight.has_resends();
        let id = if qos == QoS::AtMostOnce { None } else { Some(self.unused_id()) };
        let publish = Publish { topic, payload, id, qos, retain };
        let len = publish.encoded_len();
        if len > MAX_PACKET {
            return Err(PublishError::TooLarge);
        }
        let Some(id) = id else {
            if !Outbox::is_large(len) {
                publish.encode(self.outbox.room(len)?);
            } else {
                self.outbox.push_owned(0, encode_alone(&publish)?)?;
            }
            self.trace("->", first_byte::PUBLISH, 0, len);
            return Ok(0);
        };
        // The message must be sent and kept, or neither.
        let packet = encode_alone(&publish)?;
        if !self.in_flight.reserve() {
            return Err(PublishError::NoMemory);
        }
        if !resending {
            self.outbox.push_stored(id, &packet)?;
        }
        let awaited = if qos == QoS::AtLeastOnce { Awaited::Puback(packet) } else { Awaited::Pubrec(packet) };
        self.in_flight.push(id, awaited);
        self.last_id = id;
        // Else it is traced when it leaves.
        if !resending {
            self.trace("->", first_byte::PUBLISH, id, len);
        }
        Ok(id)
    }

    /// Queues SUBSCRIBE (with a QoS) or UNSUBSCRIBE (without) for one filter that has passed
    /// [`topic::check_filter`](super::topic); its packet identifier.
    pub fn subscribe(&mut self, filter: &[u8], qos: Option<QoS>) -> Result<u16, SubscribeError> {
        if self.state != ConnectionState::Connected {
            return Err(SubscribeError::NotConnected);
        }
        let packet = Filter { id: self.unused_id(), filter, qos };
        self.requests.try_reserve(1).map_err(|_| SubscribeError::NoMemory)?;
        // Alone, so that it can be taken back.
        self.outbox.push_owned(packet.id, encode_alone(&packet)?)?;
        let answer = if qos.is_some() { kind::SUBACK } else { kind::UNSUBACK };
        self.requests.push((packet.id, answer));
        self.last_id = packet.id;
        self.trace("->", packet.first_byte(), packet.id, packet.encoded_len());
        Ok(packet.id)
    }

    /// Nobody waits for this SUBACK or UNSUBACK any more: the request is taken back if it has not begun to leave, and else a
    /// late answer is ignored.
    pub fn forget(&mut self, id: u16) {
        self.requests.retain(|(request, _)| *request != id);
        self.outbox.withdraw(id);
        self.ahead_of_ping = self.ahead_of_ping.min(self.unsent() + self.in_flight.rest());
    }

    /// The same for every request.
    pub fn forget_all(&mut self) {
        while let Some((id, _)) = self.requests.pop() {
            self.outbox.withdraw(id);
        }
    }

    /// The event of a message was accepted: now, and in the order of the events, it is acknowledged
    /// `[MQTT-4.6.0-2]` `[MQTT-4.6.0-3]`. On a connection that is gone the server will deliver it again.
    pub fn accepted(&mut self, receipt: Receipt) -> Result<(), Violation> {
        match receipt.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce if receipt.connection == self.connection => {
                self.acknowledge(first_byte::PUBACK, receipt.id)
            }
            QoS::AtLeastOnce => Ok(()),
            QoS::ExactlyOnce => {
                self.received.accepted(receipt.id, receipt.connection);
                self.answer_received()
            }
        }
    }

    /// A message longer than this is not taken: input that begins one stays, and [`announced`](Self::announced) says how long
    /// it is. At first there is room for every message.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The length of the message that comes next, without a payload that will be skipped, when that is known and nothing of topic and
    /// payload has been taken; else 0.
    pub fn announced(&self) -> usize {
        self.decoder.announced(self.limits.payload.into())
    }

    /// Whether there is memory for what comes next of a message; looks for it. Without it input stays, and
    /// [`announced`](Self::announced) is 0.
    pub fn has_memory(&mut self) -> bool {
        self.decoder.has_memory()
    }

    /// The owner waits no longer for [memory](Self::has_memory): the message is skipped.
    pub fn skip(&mut self) {
        self.decoder.discard();
    }

    /// Takes bytes off `input` until there is an event, no more input, no [room](Self::set_room) or no
    /// [memory](Self::has_memory).
    pub fn handle_input(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        if !input.is_empty() {
            self.keep_alive.bytes_received(now);
        }
        // An owner that goes on after an error meets a decoder that begins anew.
        let largest = self.limits.payload.into();
        while let Some(packet) =
            self.decoder.decode(self.room, largest, input).inspect_err(|_| self.decoder = Decoder::new())?
        {
            if let Some(event) = self.handle_packet(packet)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Bytes have come that are none of MQTT's, or not yet: the server is not silent.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub fn heard(&mut self, now: Instant) {
        self.keep_alive.bytes_received(now);
    }

    // Not inlined on the device: its many packets and events take less flash in memory than in registers.
    #[cfg_attr(feature = "freertos", inline(never))]
    fn handle_packet(&mut self, packet: Incoming) -> Result<Option<Event>, Violation> {
        let Incoming { kind, code, flags, id, len } = packet;
        // [MQTT-3.2.0-1]: the first packet is CONNACK, and there is only one
        if self.state == ConnectionState::Closed
            || (kind == kind::CONNACK) != (self.state == ConnectionState::Connecting)
        {
            return Err(Violation::Unexpected);
        }
        self.trace("<-", kind << 4, id, len as usize);
        let is_known = match kind {
            kind::CONNACK => return self.connack(flags, code).map(Some),
            kind::PUBLISH => {
                if flags & 0x0e == first_byte::DUP {
                    // [MQTT-3.3.1-2]
                    self.warnings.tell(kind, (flags & 0x0f).into());
                }
                return self.message(id, len);
            }
            kind::PINGRESP => true,
            kind::PUBREL => {
                let may_complete = self.received.release(id);
                // [MQTT-4.3.3-2]: answered whether known or not, but not before PUBREC
                if may_complete != Some(false) {
                    self.acknowledge(first_byte::PUBCOMP, id)?;
                }
                may_complete == Some(true)
            }
            kind::SUBACK | kind::UNSUBACK => {
                let at = self.requests.iter().position(|known| *known == (id, kind));
                if let Some(at) = at {
                    self.requests.swap_remove(at);
                    let granted = QoS::from_level(code);
                    if kind != kind::SUBACK {
                        return Ok(Some(Event::Unsubscribed(id)));
                    }
                    if code > 0x80 {
                        // [MQTT-3.9.3-2]
                        self.warnings.tell(first_byte::SUBSCRIBE >> 4, code.into());
                    }
                    return Ok(Some(Event::Subscribed { id, granted }));
                }
                false
            }
            _ => {
                let message = self.in_flight.find(id);
                let expected = message.filter(|at| match self.in_flight.awaited(*at) {
                    Awaited::Puback(_) => kind == kind::PUBACK,
                    Awaited::Pubrec(_) => kind == kind::PUBREC,
                    Awaited::Pubcomp => matches!(kind, kind::PUBREC | kind::PUBCOMP),
                });
                let mut may_release = message.is_none();
                if let Some(at) = expected {
                    // Then the server has all of it.
                    if self.outbox.holds(id) || self.in_flight.is_new(at) {
                        return Err(Violation::EarlyAcknowledgement);
                    }
                    // It has that from before, but must get the rest of the repetition, which it answers again.
                    if self.in_flight.is_cut(id) {
                        return Ok(None);
                    }
                    if kind != kind::PUBREC {
                        self.in_flight.complete(at);
                        return Ok(Some(Event::Published(id)));
                    }
                    may_release = self.in_flight.pubrec(at);
                }
                // [MQTT-4.3.3-1]: also where no message has this identifier
                if kind == kind::PUBREC && may_release {
                    self.acknowledge(first_byte::PUBREL, id)?;
                }
                expected.is_some()
            }
        };
        if !is_known {
            self.warnings.tell(kind, id);
        }
        Ok(None)
    }

    fn connack(&mut self, flags: u8, code: u8) -> Result<Event, Violation> {
        // [MQTT-3.2.2-1] [MQTT-3.2.2-4]: there is a session only if one was asked for, and none with a refusal. The other flags
        // are reserved.
        let may_be_present = !self.clean && code == 0;
        if flags > may_be_present.into() {
            self.warnings.tell(kind::CONNACK, flags.into());
        }
        let session_present = may_be_present && flags & 1 != 0;
        if code != 0 {
            self.state = ConnectionState::Closed;
            let code = ConnectReturnCode::from_code(code).ok_or(Malformed::ReturnCode)?;
            return Ok(Event::Refused(code));
        }
        self.state = ConnectionState::Connected;
        self.connection = self.connection.wrapping_add(1);
        // CONNECT, with its password, has left.
        self.outbox.shrink();
        if !session_present {
            // The server remembers none of the identifiers it used; ours it must still get.
            self.received = Received::new();
            self.missed.forget_ids();
        }
        self.in_flight.begin_resends();
        Ok(Event::Connected { session_present })
    }

    fn message(&mut self, id: u16, len: u32) -> Result<Option<Event>, Violation> {
        let (qos, arrival) = self.decoder.arrived();
        let receipt = Receipt { id, qos, connection: self.connection };
        if qos == QoS::ExactlyOnce && self.received.repeated(id) {
            // Until PUBREL it is the same message and must not be told again (section 4.3.3).
            self.decoder.discard();
            return self.answer_received().map(|()| None);
        }
        if arrival == Arrival::Taken && self.remember(receipt) {
            self.missed.kept(id);
            return Ok(Some(Event::Message(receipt)));
        }
        self.decoder.discard();
        let is_oversized = arrival == Arrival::Oversized;
        // A server that will not send it again must not wait for an acknowledgement either.
        let mut event = Event::Missed;
        let will_not_come = qos == QoS::AtMostOnce || self.clean || is_oversized;
        let mark = self.decoder.mark();
        if (will_not_come || self.missed.is_hopeless(mark, id, self.connection)) && self.remember(receipt) {
            self.skipped = self.skipped.wrapping_add(1);
            event = Event::Skipped(receipt);
        }
        let reason = match event {
            Event::Missed => "no memory, not acknowledged",
            _ if is_oversized => "too large, lost",
            _ => "no memory, lost",
        };
        let count = self.skipped;
        log::error(&[&"message of ", &len, &" bytes: ", &reason, &" (", &count, &" lost so far)"]);
        Ok(Some(event))
    }

    /// The message of the last [`Event::Message`], once; the next packet drops it.
    pub fn take_message(&mut self) -> Option<Message<B>> {
        self.decoder.take_message()
    }

    /// Remembers a message that is taken, if that is necessary; whether there was memory for it.
    fn remember(&mut self, Receipt { id, qos, connection }: Receipt) -> bool {
        qos != QoS::ExactlyOnce || self.received.remember(id, connection)
    }

    /// Sends what is due for QoS 2 messages.
    fn answer_received(&mut self) -> Result<(), Violation> {
        while let Some((first, id)) = self.received.next_due() {
            self.acknowledge(first, id)?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, first: u8, id: u16) -> Result<(), Violation> {
        if self.state == ConnectionState::Connected {
            self.outbox.push_bytes(&acknowledgement(first, id))?;
            self.acknowledgements = self.acknowledgements.saturating_add(4);
            self.trace("->", first, id, 4);
        }
        Ok(())
    }

    /// Logs a packet, if this client's are to be logged.
    fn trace(&self, direction: &str, first: u8, id: u16, len: usize) {
        if let Some(client) = self.trace {
            let name = packet_name(first);
            log::debug(&[&"client ", &client, &" ", &direction, &" ", &name, &", id ", &id, &", ", &len, &" bytes"]);
        }
    }

    /// Hands bytes over: moves them into `out`, and says how many.
    ///
    /// From now on the transport owns them, and for the session they are sent: the server may answer them at any moment,
    /// however slowly they leave. A transport that cannot deliver them ends the connection. What it still holds counts as
    /// unsent only for [`publish`](Self::publish)'s room, for [`is_idle`](Self::is_idle) and
    /// [`wants_write`](Self::wants_write), and for the time that a PINGREQ waits for its answer.
    ///
    /// What a resumed session must send again comes after what is queued, and leaves from where it is stored, so it needs
    /// no memory.
    pub fn transmit(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        loop {
            if !self.in_flight.is_leaving() {
                filled += self.outbox.take(&self.in_flight, &mut out[filled..]);
            }
            if filled == out.len() || !self.in_flight.has_resends() {
                break;
            }
            let (len, begun) = self.in_flight.take(&mut out[filled..]);
            if let Some((first, id, whole)) = begun {
                self.trace("->", first, id, whole);
            }
            filled += len;
        }
        self.held += filled;
        filled
    }

    /// The network has taken `count` of the bytes that [`Self::transmit`] gave.
    pub fn transmitted(&mut self, now: Instant, count: usize) {
        if count > 0 {
            self.keep_alive.sent(now);
            // What moves before a PINGREQ, or before the answer to one can be read, is no silence.
            if self.ahead_of_ping > 0 || self.is_congested() {
                self.keep_alive.ping_moved(now);
            }
            self.held = self.held.saturating_sub(count);
            self.ahead_of_ping = self.ahead_of_ping.saturating_sub(count);
            if self.unsent() == 0 {
                (self.acknowledgements, self.ahead_of_ping) = (0, 0);
            }
        }
    }

    /// The network has taken bytes that are none of MQTT's: a PINGREQ may wait behind them.
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub fn moved(&mut self, now: Instant) {
        if self.ahead_of_ping > 0 {
            self.keep_alive.ping_moved(now);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called, [`Instant::NEVER`] without keep-alive or a connection.
    pub fn deadline(&self) -> Instant {
        if self.state == ConnectionState::Connected { self.keep_alive.deadline() } else { Instant::NEVER }
    }

    /// When the server last sent something; since when it is silent.
    pub fn last_received(&self) -> Instant {
        self.keep_alive.last_received()
    }

    /// Whether the server must answer a PINGREQ by then. Else the deadline is that of the next PINGREQ.
    pub fn awaits_answer(&self) -> bool {
        self.keep_alive.awaits_answer()
    }

    /// Time has passed: queues a PINGREQ, or says that the connection is dead (section 3.1.2.10).
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), TimeoutError> {
        if self.state != ConnectionState::Connected {
            return Ok(());
        }
        match self.keep_alive.poll(now) {
            // A PINGREQ that waits for the network is enough: a server that sends and does not read makes one due at each byte.
            Due::Ping if self.ahead_of_ping == 0 => {
                self.outbox.shrink();
                self.trace("->", first_byte::PINGREQ, 0, 2);
                self.outbox.push_bytes(&[first_byte::PINGREQ, 0]).map_err(|OutOfMemory| TimeoutError::NoMemory)?;
                self.ahead_of_ping = self.unsent() + self.in_flight.rest();
                Ok(())
            }
            Due::Nothing | Due::Ping => Ok(()),
            Due::Dead => Err(TimeoutError::ServerSilent),
        }
    }

    /// The owner stops (or resumes) reading: meanwhile the server's silence does not count against it.
    pub fn set_reading(&mut self, now: Instant, reading: bool) {
        self.keep_alive.set_reading(now, reading);
    }

    /// The next packet identifier that nothing waits for, never 0 `[MQTT-2.3.1-1]` `[MQTT-2.3.1-2]`.
    fn unused_id(&self) -> u16 {
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if self.in_flight.find(id).is_none() && !self.requests.iter().any(|(request, _)| *request == id) {
                return id;
            }
        }
    }
}

/// A packet in memory of its own.
fn encode_alone(packet: &impl Packet) -> Result<Vec<u8>, OutOfMemory> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(packet.encoded_len()).map_err(|_| OutOfMemory)?;
    packet.encode(&mut bytes);
    Ok(bytes)
}
