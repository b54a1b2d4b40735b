//! The packets a client sends, encoded straight into the outgoing buffer (chapter 3).

use alloc::vec::Vec;

use super::topic::{MAX_STRING, is_utf8_string};

/// Quality of service (section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// QoS 0
    AtMostOnce,
    /// QoS 1
    AtLeastOnce,
    /// QoS 2
    ExactlyOnce,
}

impl QoS {
    /// 0, 1 or 2; `None` for anything else `[MQTT-3.3.1-4]`.
    pub const fn from_level(level: u8) -> Option<QoS> {
        match level {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    pub const fn level(self) -> u8 {
        self as u8
    }
}

/// Why a server refused the connection (section 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReturnCode {
    /// 1: the server does not speak MQTT 3.1.1
    UnacceptableProtocolVersion,
    /// 2: not an acceptable client identifier
    IdentifierRejected,
    /// 3: the MQTT service is not available
    ServerUnavailable,
    /// 4: malformed user name or password
    BadUserNameOrPassword,
    /// 5: not authorized
    NotAuthorized,
}

impl ConnectReturnCode {
    pub(super) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The number on the wire, 1 to 5.
    pub const fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// First byte of each packet that a client sends, flags included (section 2.2).
pub(super) mod first_byte {
    pub(crate) const CONNECT: u8 = 0x10;
    pub(crate) const PUBLISH: u8 = 0x30;
    pub(crate) const PUBACK: u8 = 0x40;
    pub(crate) const PUBREC: u8 = 0x50;
    /// [MQTT-3.6.1-1]
    pub(crate) const PUBREL: u8 = 0x62;
    pub(crate) const PUBCOMP: u8 = 0x70;
    /// [MQTT-3.8.1-1]
    pub(crate) const SUBSCRIBE: u8 = 0x82;
    /// [MQTT-3.10.1-1]
    pub(crate) const UNSUBSCRIBE: u8 = 0xa2;
    pub(crate) const PINGREQ: u8 = 0xc0;
    pub(crate) const DISCONNECT: u8 = 0xe0;
    /// The DUP flag of a PUBLISH (section 3.3.1.1).
    pub(crate) const DUP: u8 = 0x08;
}

/// The name of a packet's type (section 2.2.1).
pub(super) fn packet_name(first: u8) -> &'static str {
    const NAMES: [&str; 16] = [
        "reserved",
        "CONNECT",
        "CONNACK",
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBSCRIBE",
        "SUBACK",
        "UNSUBSCRIBE",
        "UNSUBACK",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "reserved",
    ];
    NAMES[usize::from(first >> 4)]
}

/// A packet with a remaining length of its own (section 2.2.3).
pub(super) trait Packet {
    /// Type and flags.
    fn first_byte(&self) -> u8;

    /// Length of what is behind the fixed header.
    fn remaining_len(&self) -> usize;

    /// Appends what is behind the fixed header.
    fn encode_remaining(&self, out: &mut Vec<u8>);

    /// Length of the packet.
    fn encoded_len(&self) -> usize {
        fixed_header_len(self.remaining_len()) + self.remaining_len()
    }

    /// Appends the packet. Room for `encoded_len` is there: nothing is allocated.
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed_header(self.first_byte(), self.remaining_len(), out);
        self.encode_remaining(out);
    }
}

/// Writes the fixed header: first byte and remaining length, seven bits a byte (section 2.2.3).
fn put_fixed_header(first: u8, remaining: usize, out: &mut Vec<u8>) {
    out.push(first);
    let mut rest = remaining;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Longest packet: the remaining length has four bytes of seven bits (section 2.2.3).
pub(super) const MAX_PACKET: usize = 5 + 268_435_455;

const fn fixed_header_len(remaining: usize) -> usize {
    match remaining {
        0..=127 => 2,
        128..=16_383 => 3,
        16_384..=2_097_151 => 4,
        _ => 5,
    }
}

/// A string or binary field with its two-byte length; callers have checked it against [`MAX_STRING`].
fn put_field(field: &[u8], out: &mut Vec<u8>) {
    debug_assert!(field.len() <= MAX_STRING);
    out.push((field.len() >> 8) as u8);
    out.push(field.len() as u8);
    out.extend_from_slice(field);
}

/// The will message of a connection (section 3.1.2.5).
#[derive(Clone, Copy, Debug)]
pub struct Will<'a> {
    /// Topic name it is published to.
    pub topic: &'a [u8],
    /// Its payload, may be empty.
    pub message: &'a [u8],
    /// Its QoS.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
}

/// CONNECT (section 3.1).
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// Client identifier; empty only with a clean session `[MQTT-3.1.3-7]`.
    pub client_id: &'a [u8],
    /// No state before this connection and none kept after it.
    pub clean_session: bool,
    /// Seconds, 0 turns the mechanism off.
    pub keep_alive: u16,
    /// Will message, if any.
    pub will: Option<Will<'a>>,
    /// User name, if any.
    pub username: Option<&'a [u8]>,
    /// Password; ignored without a user name `[MQTT-3.1.2-22]`.
    pub password: Option<&'a [u8]>,
}

impl Connect<'_> {
    /// Whether every field fits its place: lengths, UTF-8, and a client identifier where one is needed.
    pub fn is_well_formed(&self) -> bool {
        let texts = [Some(self.client_id), self.username, self.will.map(|w| w.topic)];
        let blobs = [self.password, self.will.map(|w| w.message)];
        texts.into_iter().flatten().all(|t| t.len() <= MAX_STRING && is_utf8_string(t))
            && blobs.into_iter().flatten().all(|b| b.len() <= MAX_STRING)
            && (self.clean_session || !self.client_id.is_empty())
    }

    fn password(&self) -> Option<&[u8]> {
        self.username.and(self.password)
    }
}

impl Packet for Connect<'_> {
    fn first_byte(&self) -> u8 {
        first_byte::CONNECT
    }

    fn remaining_len(&self) -> usize {
        let field = |f: Option<&[u8]>| f.map_or(0, |f| 2 + f.len());
        10 + field(Some(self.client_id))
            + self.will.map_or(0, |w| 4 + w.topic.len() + w.message.len())
            + field(self.username)
            + field(self.password())
    }

    fn encode_remaining(&self, out: &mut Vec<u8>) {
        let mut flags = u8::from(self.clean_session) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos.level() << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password().is_some()) << 6 | u8::from(self.username.is_some()) << 7;
        // protocol name and level 4 [MQTT-3.1.2-1] [MQTT-3.1.2-2]
        put_field(b"MQTT", out);
        out.extend_from_slice(&[4, flags]);
        out.extend_from_slice(&self.keep_alive.to_be_bytes());
        // payload in this order [MQTT-3.1.3-1]
        put_field(self.client_id, out);
        if let Some(will) = &self.will {
            put_field(will.topic, out);
            put_field(will.message, out);
        }
        for field in [self.username, self.password()].into_iter().flatten() {
            put_field(field, out);
        }
    }
}

/// PUBLISH (section 3.3). The topic is at most [`MAX_STRING`] bytes long.
#[derive(Clone, Copy)]
pub(super) struct Publish<'a> {
    pub(super) topic: &'a [u8],
    pub(super) payload: &'a [u8],
    /// The packet identifier, which QoS 0 does not have `[MQTT-2.3.1-5]`.
    pub(super) id: Option<u16>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Packet for Publish<'_> {
    fn first_byte(&self) -> u8 {
        first_byte::PUBLISH | self.qos.level() << 1 | u8::from(self.retain)
    }

    fn remaining_len(&self) -> usize {
        2 + self.topic.len() + if self.id.is_some() { 2 } else { 0 } + self.payload.len()
    }

    fn encode_remaining(&self, out: &mut Vec<u8>) {
        put_field(self.topic, out);
        if let Some(id) = self.id {
            out.extend_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(self.payload);
    }
}

/// SUBSCRIBE (with a QoS) or UNSUBSCRIBE (without) of one topic filter (sections 3.8 and 3.10).
#[derive(Clone, Copy)]
pub(super) struct Filter<'a> {
    pub(super) id: u16,
    pub(super) filter: &'a [u8],
    pub(super) qos: Option<QoS>,
}

impl Packet for Filter<'_> {
    fn first_byte(&self) -> u8 {
        if self.qos.is_some() { first_byte::SUBSCRIBE } else { first_byte::UNSUBSCRIBE }
    }

    fn remaining_len(&self) -> usize {
        4 + self.filter.len() + usize::from(self.qos.is_some())
    }

    fn encode_remaining(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_be_bytes());
        put_field(self.filter, out);
        if let Some(qos) = self.qos {
            out.extend_from_slice(&[qos.level()]);
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP: a first byte and a packet identifier (sections 3.4 to 3.7).
pub(super) fn acknowledgement(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}
