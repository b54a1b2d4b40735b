//! MQTT 3.1.1 as a server speaks it, written from the standard alone: strict about what clients send, and a decoder and
//! an encoder for both directions. The tests of `protocol` and the simulated broker share it.
#![allow(dead_code)]

/// A will as CONNECT carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: Vec<u8>,
    pub(crate) message: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// PUBLISH, which travels both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) id: u16,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromClient {
    Connect {
        client_id: Vec<u8>,
        clean: bool,
        keep_alive: u16,
        will: Option<Will>,
        username: Option<Vec<u8>>,
        password: Option<Vec<u8>>,
    },
    Publish(Publish),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe {
        id: u16,
        filters: Vec<(Vec<u8>, u8)>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<Vec<u8>>,
    },
    PingReq,
    Disconnect,
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromServer {
    ConnAck { present: bool, code: u8 },
    Publish(Publish),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    SubAck { id: u16, code: u8 },
    UnsubAck(u16),
    PingResp,
}

/// A fixed header and what it announces.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    assert!(rest < 268_435_456);
    loop {
        let byte = (rest % 128) as u8;
        rest /= 128;
        out.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

fn with_id(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

impl Publish {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        field(&mut body, &self.topic);
        if self.qos > 0 {
            body.extend(self.id.to_be_bytes());
        }
        body.extend(&self.payload);
        packet(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

impl FromServer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            FromServer::ConnAck { present, code } => packet(0x20, &[u8::from(*present), *code]),
            FromServer::Publish(publish) => publish.encode(),
            FromServer::PubAck(id) => with_id(0x40, *id),
            FromServer::PubRec(id) => with_id(0x50, *id),
            FromServer::PubRel(id) => with_id(0x62, *id),
            FromServer::PubComp(id) => with_id(0x70, *id),
            FromServer::SubAck { id, code } => packet(0x90, &[(id >> 8) as u8, *id as u8, *code]),
            FromServer::UnsubAck(id) => with_id(0xb0, *id),
            FromServer::PingResp => packet(0xd0, &[]),
        }
    }
}

impl FromClient {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            FromClient::Connect { client_id, clean, keep_alive, will, username, password } => {
                let mut flags = u8::from(*clean) << 1;
                if let Some(will) = will {
                    flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
                }
                flags |= u8::from(password.is_some()) << 6 | u8::from(username.is_some()) << 7;
                let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags];
                body.extend(keep_alive.to_be_bytes());
                field(&mut body, client_id);
                if let Some(will) = will {
                    field(&mut body, &will.topic);
                    field(&mut body, &will.message);
                }
                for text in [username, password].into_iter().flatten() {
                    field(&mut body, text);
                }
                packet(0x10, &body)
            }
            FromClient::Publish(publish) => publish.encode(),
            FromClient::PubAck(id) => with_id(0x40, *id),
            FromClient::PubRec(id) => with_id(0x50, *id),
            FromClient::PubRel(id) => with_id(0x62, *id),
            FromClient::PubComp(id) => with_id(0x70, *id),
            FromClient::Subscribe { id, filters } => {
                let mut body = id.to_be_bytes().to_vec();
                for (filter, qos) in filters {
                    field(&mut body, filter);
                    body.push(*qos);
                }
                packet(0x82, &body)
            }
            FromClient::Unsubscribe { id, filters } => {
                let mut body = id.to_be_bytes().to_vec();
                for filter in filters {
                    field(&mut body, filter);
                }
                packet(0xa2, &body)
            }
            FromClient::PingReq => packet(0xc0, &[]),
            FromClient::Disconnect => packet(0xe0, &[]),
        }
    }
}

/// The part of a packet that is not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        if self.0.len() < len {
            return Err(format!("{len} bytes wanted, {} left", self.0.len()));
        }
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn id(&mut self) -> Result<u16, String> {
        match self.number()? {
            0 => Err("packet identifier 0".into()), // [MQTT-2.3.1-1]
            id => Ok(id),
        }
    }

    fn field(&mut self) -> Result<Vec<u8>, String> {
        let len = self.number()?;
        Ok(self.take(len.into())?.to_vec())
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        let bytes = self.field()?;
        match core::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(bytes),
            _ => Err(format!("not a string: {bytes:?}")), // [MQTT-1.5.3-1] [MQTT-1.5.3-2]
        }
    }

    fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", self.0.len())) }
    }
}

/// The length of the first packet in `bytes` without its fixed header, and that of the header; `None`: more is needed.
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut len = 0;
    for at in 0..4 {
        let Some(byte) = bytes.get(1 + at) else { return Ok(None) };
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if at > 0 && *byte == 0 {
                return Err("a remaining length longer than it need be".into());
            }
            return Ok(if bytes.len() < 2 + at + len { None } else { Some((len, 2 + at)) });
        }
    }
    Err("a remaining length of more than four bytes".into())
}

/// Takes the first packet off `bytes`; `None`: more is needed.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(FromClient, usize)>, String> {
    let Some((len, header)) = frame(bytes)? else { return Ok(None) };
    let first = bytes[0];
    let mut body = Reader(&bytes[header..header + len]);
    let packet = match (first >> 4, first & 15) {
        (1, 0) => connect(&mut body)?,
        (3, flags) => {
            let (qos, dup, retain) = (flags >> 1 & 3, flags & 8 != 0, flags & 1 != 0);
            if qos == 3 || (qos == 0 && dup) {
                return Err(format!("flags of PUBLISH {flags:04b}")); // [MQTT-3.3.1-2] [MQTT-3.3.1-4]
            }
            let topic = body.text()?;
            if topic.is_empty() || topic.iter().any(|c| matches!(c, b'+' | b'#')) {
                return Err(format!("topic name {topic:?}")); // [MQTT-3.3.2-2]
            }
            let id = if qos > 0 { body.id()? } else { 0 };
            let payload = body.take(body.0.len())?.to_vec();
            FromClient::Publish(Publish { topic, payload, qos, retain, dup, id })
        }
        (4, 0) => FromClient::PubAck(body.id()?),
        (5, 0) => FromClient::PubRec(body.id()?),
        (6, 2) => FromClient::PubRel(body.id()?),
        (7, 0) => FromClient::PubComp(body.id()?),
        (8, 2) => {
            let (id, mut filters) = (body.id()?, Vec::new());
            while !body.0.is_empty() {
                let filter = (body.text()?, body.byte()?);
                if filter.1 > 2 {
                    return Err("requested QoS".into()); // [MQTT-3-8.3-4]
                }
                filters.push(filter);
            }
            if filters.is_empty() {
                return Err("SUBSCRIBE without a filter".into()); // [MQTT-3.8.3-3]
            }
            FromClient::Subscribe { id, filters }
        }
        (10, 2) => {
            let (id, mut filters) = (body.id()?, Vec::new());
            while !body.0.is_empty() {
                filters.push(body.text()?);
            }
            if filters.is_empty() {
                return Err("UNSUBSCRIBE without a filter".into()); // [MQTT-3.10.3-2]
            }
            FromClient::Unsubscribe { id, filters }
        }
        (12, 0) => FromClient::PingReq,
        (14, 0) => FromClient::Disconnect,
        _ => return Err(format!("first byte {first:#04x}")), // [MQTT-2.2.2-2]
    };
    body.end()?;
    Ok(Some((packet, header + len)))
}

fn connect(body: &mut Reader<'_>) -> Result<FromClient, String> {
    if body.text()? != b"MQTT" || body.byte()? != 4 {
        return Err("protocol name and level".into()); // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
    }
    let flags = body.byte()?;
    if flags & 1 != 0 {
        return Err("reserved connect flag".into()); // [MQTT-3.1.2-3]
    }
    let (has_will, will_qos, will_retain) = (flags & 4 != 0, flags >> 3 & 3, flags & 0x20 != 0);
    if will_qos == 3 || (!has_will && (will_qos != 0 || will_retain)) {
        return Err("will flags".into()); // [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
    }
    if flags & 0x80 == 0 && flags & 0x40 != 0 {
        return Err("password without user name".into()); // [MQTT-3.1.2-22]
    }
    let keep_alive = body.number()?;
    let client_id = body.text()?;
    let clean = flags & 2 != 0;
    if client_id.is_empty() && !clean {
        return Err("empty client identifier in a persistent session".into()); // [MQTT-3.1.3-7]
    }
    let will = match has_will {
        true => Some(Will { topic: body.text()?, message: body.field()?, qos: will_qos, retain: will_retain }),
        false => None,
    };
    let username = if flags & 0x80 != 0 { Some(body.text()?) } else { None };
    let password = if flags & 0x40 != 0 { Some(body.field()?) } else { None };
    Ok(FromClient::Connect { client_id, clean, keep_alive, will, username, password })
}

/// All packets of `bytes`, which must end with the last one.
pub(crate) fn decode_all(mut bytes: &[u8]) -> Vec<FromClient> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        match decode(bytes) {
            Ok(Some((packet, len))) => {
                packets.push(packet);
                bytes = &bytes[len..];
            }
            Ok(None) => panic!("an unfinished packet: {} bytes, {:02x?}", bytes.len(), &bytes[..bytes.len().min(16)]),
            Err(error) => panic!("{error}"),
        }
    }
    packets
}
