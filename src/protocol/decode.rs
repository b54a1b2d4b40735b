//! Decodes what a server sends, from a stream cut anywhere, without a packet buffer.
//!
//! Everything but PUBLISH is at most five bytes long and collects in a scratch pad. A PUBLISH streams: its topic and
//! then its payload go straight into the memory that the application will own.

use bytes::Buf;

use super::packet::{QoS, first_byte};
use super::topic;

/// Memory that a topic or payload is streamed into; the port says which (the SDK's heap, for the application to free).
pub trait Buffer: Sized {
    /// Room for `len` bytes and a terminating NUL; `None` when memory is out.
    fn allocate(len: usize) -> Option<Self>;
    /// Appends `bytes`; never more in all than were allocated.
    fn append(&mut self, bytes: &[u8]);
    /// What has been appended so far.
    fn as_slice(&self) -> &[u8];
}

/// What the session needs to acknowledge a message once its event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) id: u16,
    pub(super) qos: QoS,
    pub(super) connection: u32,
}

impl Receipt {
    /// Whether the message is acknowledged.
    pub fn is_owed(&self) -> bool {
        self.qos != QoS::AtMostOnce
    }
}

/// An application message from the server.
#[derive(Debug)]
pub struct Message<B> {
    /// Topic name, valid UTF-8 without NUL or wildcards.
    pub topic: B,
    /// Payload, `None` when empty.
    pub payload: Option<B>,
    /// QoS it was delivered with.
    pub qos: QoS,
    /// DUP flag (section 3.3.1.1).
    pub dup: bool,
    /// RETAIN flag (section 3.3.1.3).
    pub retain: bool,
    /// Packet identifier, 0 at QoS 0.
    pub id: u16,
}

/// How a server broke the rules; the connection must be closed `[MQTT-4.8.0-1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)] // whole words are moved in less flash than bytes beside others
pub enum Malformed {
    /// Reserved type, or one that only clients send (section 2.2.1).
    PacketType,
    /// Reserved flag bits set otherwise than demanded `[MQTT-2.2.2-2]`.
    Flags,
    /// Remaining length over four bytes, or not that of its packet.
    Length,
    /// PUBLISH with both QoS bits set `[MQTT-3.3.1-4]`.
    QoS,
    /// Packet identifier 0 `[MQTT-2.3.1-1]`.
    PacketId,
    /// Topic name empty, not UTF-8, or with NUL or wildcards `[MQTT-3.3.2-1]` `[MQTT-3.3.2-2]`.
    Topic,
    /// CONNACK with a return code that is reserved (section 3.2.2.3), or SUBACK with one that is reserved and neither grants
    /// nor refuses `[MQTT-3.9.3-2]`.
    ReturnCode,
}

/// A whole packet from the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// Which packet: the upper half of its first byte.
    pub(super) kind: u8,
    /// The return code of CONNACK and SUBACK.
    pub(super) code: u8,
    /// The acknowledge flags of CONNACK, the first byte of PUBLISH.
    pub(super) flags: u8,
    /// Packet identifier, 0 without.
    pub(super) id: u16,
    /// Length of what it carries: of a PUBLISH its payload, of which the [decoder](Decoder::arrived) knows.
    pub(super) len: u32,
}

/// The packets of a server (section 2.2.1).
pub(super) mod kind {
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGRESP: u8 = 13;
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is there: [`Decoder::take_message`].
    Taken,
    /// Larger than what is taken: skipped.
    Oversized,
    /// Its owner did not want to wait for memory any longer: skipped.
    NoMemory,
}

/// A PUBLISH on its way in.
#[repr(C)] // as `Session`
struct Partial<B> {
    first: u8,
    arrival: Arrival,
    id: u16,
    /// Bytes of the packet that are still to come.
    left: u32,
    /// Length of the payload.
    len: u32,
    /// A hash of its length, and of topic and payload as far as they were not kept.
    mark: u32,
    topic: Option<B>,
    payload: Option<B>,
}

impl<B: Buffer> Partial<B> {
    const fn new(first: u8, left: u32) -> Self {
        Self { first, left, mark: left, topic: None, id: 0, payload: None, len: 0, arrival: Arrival::Taken }
    }

    fn qos(&self) -> QoS {
        // the header check has refused level 3
        QoS::from_level(self.first >> 1 & 3).unwrap_or(QoS::AtMostOnce)
    }

    /// Length of its packet identifier.
    fn id_len(&self) -> u8 {
        if self.qos() == QoS::AtMostOnce { 0 } else { 2 }
    }

    fn add_to_mark(&mut self, bytes: &[u8]) {
        // FNV-1a
        self.mark = bytes.iter().fold(self.mark, |mark, byte| (mark ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    }
}

/// What the next bytes are.
#[derive(Clone, Copy)]
enum Part {
    /// First byte and remaining length.
    FixedHeader,
    /// The bytes after the fixed header of anything but PUBLISH.
    Body,
    TopicLength,
    /// Room for the message, whose topic name has so many bytes.
    Room(u16),
    /// So many bytes of a topic name.
    Topic(u16),
    PacketId,
    Payload,
}

/// The decoder's whole state.
#[repr(C)] // as `Session`
pub(super) struct Decoder<B> {
    scratch: [u8; 5],
    /// The PUBLISH that the part belongs to, if it is about one.
    publish: Partial<B>,
    part: Part,
    filled: usize,
    /// Length of the body that the scratch pad waits for.
    body: usize,
}

/// The length of the body that each packet from a server must have, by type, and the flags; `None`: no such packet.
/// A SUBACK answers our one filter, so it has one return code `[MQTT-3.8.4-5]`.
const SHAPES: [Option<(u8, u8)>; 16] = {
    let mut shapes = [None; 16];
    shapes[kind::CONNACK as usize] = Some((0, 2));
    shapes[kind::PUBACK as usize] = Some((0, 2));
    shapes[kind::PUBREC as usize] = Some((0, 2));
    shapes[kind::PUBREL as usize] = Some((2, 2));
    shapes[kind::PUBCOMP as usize] = Some((0, 2));
    shapes[kind::SUBACK as usize] = Some((0, 3));
    shapes[kind::UNSUBACK as usize] = Some((0, 2));
    shapes[kind::PINGRESP as usize] = Some((0, 0));
    shapes
};

impl<B: Buffer> Decoder<B> {
    pub(super) const fn new() -> Self {
        Self { part: Part::FixedHeader, publish: Partial::new(0, 0), scratch: [0; 5], filled: 0, body: 0 }
    }

    /// Takes bytes off `input` until a packet is complete, the input is used up, a message comes that is longer than
    /// `room`, or there is no [memory](Self::has_memory). A payload longer than `largest` is skipped.
    pub(super) fn decode(
        &mut self,
        room: usize,
        largest: u32,
        input: &mut &[u8],
    ) -> Result<Option<Incoming>, Malformed> {
        loop {
            match self.part {
                Part::FixedHeader => {
                    let Ok(byte) = input.try_get_u8() else { return Ok(None) };
                    self.fixed_header(byte)?;
                }
                Part::Body => {
                    if !self.collect(self.body, input) {
                        return Ok(None);
                    }
                    self.part = Part::FixedHeader;
                    return self.control_packet().map(Some);
                }
                Part::TopicLength => {
                    if !self.collect(2, input) {
                        return Ok(None);
                    }
                    self.topic_length()?;
                }
                Part::Room(topic) => {
                    if self.announced(largest) > room {
                        return Ok(None);
                    }
                    self.part = Part::Topic(topic);
                }
                Part::Topic(left) => {
                    if !self.has_memory() {
                        return Ok(None);
                    }
                    let part = take(input, left.into());
                    let publish = &mut self.publish;
                    match &mut publish.topic {
                        Some(topic) => topic.append(part),
                        None => publish.add_to_mark(part),
                    }
                    publish.left -= part.len() as u32;
                    let left = left - part.len() as u16;
                    if left > 0 {
                        self.part = Part::Topic(left);
                        return Ok(None);
                    }
                    if publish.topic.as_ref().is_some_and(|t| topic::check_name(t.as_slice()).is_err()) {
                        return Err(Malformed::Topic);
                    }
                    self.part = Part::PacketId;
                }
                Part::PacketId => {
                    let len = self.publish.id_len();
                    if !self.collect(len.into(), input) {
                        return Ok(None);
                    }
                    if len > 0 {
                        self.publish.id = self.packet_id()?;
                    }
                    let publish = &mut self.publish;
                    publish.left -= u32::from(len);
                    publish.len = publish.left;
                    if publish.len > largest {
                        (publish.arrival, publish.topic) = (Arrival::Oversized, None);
                    }
                    self.part = Part::Payload;
                }
                Part::Payload => {
                    if !self.has_memory() {
                        return Ok(None);
                    }
                    let publish = &mut self.publish;
                    let part = take(input, publish.left);
                    match &mut publish.payload {
                        Some(payload) => payload.append(part),
                        None => publish.add_to_mark(part),
                    }
                    publish.left -= part.len() as u32;
                    if publish.left > 0 {
                        return Ok(None);
                    }
                    self.part = Part::FixedHeader;
                    let (flags, id, len) = (publish.first, publish.id, publish.len);
                    return Ok(Some(Incoming { kind: kind::PUBLISH, code: 0, flags, id, len }));
                }
            }
        }
    }

    /// Whether there is memory for what comes next of a message that is to be kept; looks for it.
    pub(super) fn has_memory(&mut self) -> bool {
        let publish = &mut self.publish;
        let (place, len) = match self.part {
            Part::Topic(len) => (&mut publish.topic, len.into()),
            Part::Payload => (&mut publish.payload, publish.left as usize),
            _ => return true,
        };
        if publish.arrival == Arrival::Taken && len > 0 && place.is_none() {
            *place = B::allocate(len);
            return place.is_some();
        }
        true
    }

    /// The length of the message that comes next, if it waits for room; else 0. A payload that will be skipped takes none.
    pub(super) fn announced(&self, largest: u32) -> usize {
        let Part::Room(topic) = self.part else { return 0 };
        let others = u32::from(topic) + u32::from(self.publish.id_len());
        let len = if self.publish.left > others + largest { others } else { self.publish.left };
        len as usize
    }

    /// QoS of the message that has arrived, and what has become of it.
    pub(super) fn arrived(&self) -> (QoS, Arrival) {
        (self.publish.qos(), self.publish.arrival)
    }

    /// The message that has [arrived](Self::arrived), once. It goes when the next one comes.
    pub(super) fn take_message(&mut self) -> Option<Message<B>> {
        let publish = &mut self.publish;
        Some(Message {
            topic: publish.topic.take()?,
            payload: publish.payload.take(),
            qos: publish.qos(),
            // [MQTT-3.3.1-2]: not at QoS 0
            dup: publish.first & 0x0e > first_byte::DUP,
            retain: publish.first & 0x01 != 0,
            id: publish.id,
        })
    }

    /// The message that is coming, or has just arrived, is not kept.
    pub(super) fn discard(&mut self) {
        let publish = &mut self.publish;
        (publish.arrival, publish.payload) = (Arrival::NoMemory, None);
        if let Some(topic) = publish.topic.take() {
            publish.add_to_mark(topic.as_slice());
        }
    }

    /// What the message is recognised by that was discarded, and has arrived, when it comes again.
    pub(super) fn mark(&self) -> u32 {
        self.publish.mark
    }

    /// Fills the scratch pad up to `len` bytes; whether it is full, and then the next bytes fill it anew.
    fn collect(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let part = take(input, (len - self.filled) as u32);
        self.scratch[self.filled..self.filled + part.len()].copy_from_slice(part);
        self.filled += part.len();
        let full = self.filled == len;
        if full {
            self.filled = 0;
        }
        full
    }

    /// One more byte of the fixed header.
    fn fixed_header(&mut self, byte: u8) -> Result<(), Malformed> {
        let at = self.filled;
        self.scratch[at] = byte;
        self.filled += 1;
        if at == 0 {
            return check_first_byte(byte);
        }
        if byte & 0x80 != 0 {
            // a fifth length byte is malformed (section 2.2.3)
            return if at == 4 { Err(Malformed::Length) } else { Ok(()) };
        }
        let remaining = self.scratch[1..=at].iter().rev().fold(0u32, |sum, b| sum << 7 | u32::from(b & 0x7f));
        let first = self.scratch[0];
        self.filled = 0;
        if first >> 4 == kind::PUBLISH {
            self.publish = Partial::new(first, remaining);
            self.part = Part::TopicLength;
            // at least the length of the topic name, one character of it, and the packet identifier
            let shortest = 3 + u32::from(self.publish.id_len());
            return if remaining < shortest { Err(Malformed::Length) } else { Ok(()) };
        }
        match SHAPES[usize::from(first >> 4)] {
            Some((_, body)) if u32::from(body) == remaining => {
                self.body = body.into();
                // The type is needed again when the body is complete; it waits behind it.
                self.scratch[4] = first;
                self.part = Part::Body;
                Ok(())
            }
            _ => Err(Malformed::Length),
        }
    }

    fn topic_length(&mut self) -> Result<(), Malformed> {
        let len = self.number()?;
        let publish = &mut self.publish;
        publish.left -= 2;
        if publish.left < u32::from(len) + u32::from(publish.id_len()) {
            return Err(Malformed::Length);
        }
        if len == 0 {
            // [MQTT-4.7.3-1]
            return Err(Malformed::Topic);
        }
        self.part = Part::Room(len);
        Ok(())
    }

    /// The two bytes that the scratch pad begins with.
    fn number(&self) -> Result<u16, Malformed> {
        (&self.scratch[..]).try_get_u16().map_err(|_| Malformed::Length)
    }

    fn packet_id(&self) -> Result<u16, Malformed> {
        match self.number()? {
            0 => Err(Malformed::PacketId),
            id => Ok(id),
        }
    }

    /// The packet that the scratch pad holds. Its type is one of `SHAPES`.
    fn control_packet(&self) -> Result<Incoming, Malformed> {
        let [first, second, third, _, header] = self.scratch;
        let mut packet = Incoming { kind: header >> 4, code: third, flags: first, id: 0, len: self.body as u32 };
        match packet.kind {
            kind::PINGRESP => {}
            kind::CONNACK => packet.code = second,
            kind => {
                packet.id = self.packet_id()?;
                // [MQTT-3.9.3-2]: none of these codes grants or refuses; whatever has the high bit refuses
                if kind == kind::SUBACK && matches!(third, 3..=0x7f) {
                    return Err(Malformed::ReturnCode);
                }
            }
        }
        Ok(packet)
    }
}

/// Packet type and flags, before anything behind them is looked at.
fn check_first_byte(byte: u8) -> Result<(), Malformed> {
    if byte >> 4 == kind::PUBLISH {
        // [MQTT-3.3.1-4]
        return if byte & 0x06 == 0x06 { Err(Malformed::QoS) } else { Ok(()) };
    }
    match SHAPES[usize::from(byte >> 4)] {
        None => Err(Malformed::PacketType),
        Some((flags, _)) if flags == byte & 0x0f => Ok(()),
        Some(_) => Err(Malformed::Flags),
    }
}

/// Up to `len` bytes off the front of `input`.
fn take<'a>(input: &mut &'a [u8], len: u32) -> &'a [u8] {
    let (part, rest) = input.split_at((len as usize).min(input.len()));
    *input = rest;
    part
}
