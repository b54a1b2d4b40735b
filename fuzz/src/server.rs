//! What a server sends, decoded a second time, from the standard alone, but for what is let pass since nothing is lost, doubled or
//! forged by it. What is wrong with it is said at the first byte at which it is.

use wm_mqtt_client::protocol::{Buffer, Malformed, Message};

use crate::heap::Bytes;

/// A packet of a server, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    ConnAck { flags: u8, code: u8 },
    Publish(Publish<'a>),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    SubAck { id: u16, code: u8 },
    UnsubAck(u16),
    PingResp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) id: u16,
}

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There may be one when more bytes come.
    More,
    /// Whatever comes.
    Bad(Malformed),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let (part, rest) = self.0.split_at_checked(len).ok_or(Stop::More)?;
        self.0 = rest;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u16, Stop> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn id(&mut self) -> Result<u16, Stop> {
        match self.number()? {
            0 => Err(Stop::Bad(Malformed::PacketId)), // [MQTT-2.3.1-1]
            id => Ok(id),
        }
    }
}

/// The first packet of `bytes`, and its length.
pub(crate) fn packet(bytes: &[u8]) -> Result<(Packet<'_>, usize), Stop> {
    let bad = |malformed| Err(Stop::Bad(malformed));
    let mut reader = Reader(bytes);
    let first = reader.byte()?;
    let (kind, flags) = (first >> 4, first & 15);
    let (qos, retain) = (flags >> 1 & 3, flags & 1 != 0);
    // Where it may not be set, it means nothing [MQTT-3.3.1-2].
    let dup = flags & 8 != 0 && qos > 0;
    let body = match kind {
        3 if qos == 3 => return bad(Malformed::QoS), // [MQTT-3.3.1-4]
        3 => None,
        2 | 4..=7 | 11 => Some(2),
        9 => Some(3),
        13 => Some(0),
        _ => return bad(Malformed::PacketType),
    };
    if kind != 3 && flags != (if kind == 6 { 2 } else { 0 }) {
        return bad(Malformed::Flags); // [MQTT-2.2.2-2]
    }
    // section 2.2.3
    let mut len = 0;
    for digit in 0.. {
        let byte = reader.byte()?;
        len += usize::from(byte & 0x7f) << (7 * digit);
        if byte < 0x80 {
            break;
        }
        if digit == 3 {
            return bad(Malformed::Length);
        }
    }
    let packet = match body {
        Some(body) if body != len => return bad(Malformed::Length),
        None => {
            Packet::Publish(publish(&mut reader, len, Publish { topic: b"", payload: b"", qos, retain, dup, id: 0 })?)
        }
        Some(body) => control(kind, reader.take(body)?)?,
    };
    Ok((packet, bytes.len() - reader.0.len()))
}

fn publish<'a>(reader: &mut Reader<'a>, len: usize, flags: Publish<'a>) -> Result<Publish<'a>, Stop> {
    let around = if flags.qos > 0 { 4 } else { 2 };
    // a topic name has a character at least [MQTT-4.7.3-1]
    if len < around + 1 {
        return Err(Stop::Bad(Malformed::Length));
    }
    let topic_len = usize::from(reader.number()?);
    let payload_len = len.checked_sub(around + topic_len).ok_or(Stop::Bad(Malformed::Length))?;
    if topic_len == 0 {
        return Err(Stop::Bad(Malformed::Topic));
    }
    let topic = reader.take(topic_len)?;
    match core::str::from_utf8(topic) {
        Ok(text) if !text.contains(['\0', '+', '#']) => {}
        _ => return Err(Stop::Bad(Malformed::Topic)), // [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-1.5.3-2]
    }
    let id = if flags.qos > 0 { reader.id()? } else { 0 };
    Ok(Publish { topic, id, payload: reader.take(payload_len)?, ..flags })
}

fn control(kind: u8, body: &[u8]) -> Result<Packet<'_>, Stop> {
    let bad = Err(Stop::Bad(Malformed::ReturnCode));
    match (kind, body) {
        (13, _) => return Ok(Packet::PingResp),
        (2, [flags, code]) => return Ok(Packet::ConnAck { flags: *flags, code: *code }),
        _ => {}
    }
    let mut reader = Reader(body);
    let id = reader.id()?;
    Ok(match kind {
        4 => Packet::PubAck(id),
        5 => Packet::PubRec(id),
        6 => Packet::PubRel(id),
        7 => Packet::PubComp(id),
        9 => match reader.byte()? {
            // [MQTT-3.9.3-2]: neither granted nor refused
            3..0x80 => return bad,
            code => Packet::SubAck { id, code },
        },
        _ => Packet::UnsubAck(id),
    })
}

/// The session hands this message over.
pub(crate) fn assert_same(message: &Message<Bytes>, publish: &Publish<'_>) {
    assert!(message.payload.as_ref().is_none_or(|payload| !payload.as_slice().is_empty()), "an empty payload is None");
    let found = Publish {
        topic: message.topic.as_slice(),
        payload: message.payload.as_ref().map(Buffer::as_slice).unwrap_or_default(),
        qos: message.qos.level(),
        retain: message.retain,
        dup: message.dup,
        id: message.id,
    };
    assert_eq!(found, *publish);
}
