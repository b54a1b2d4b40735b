//! The library's own logic.

use alloc::format;
use alloc::vec::Vec;

use crate::protocol::{Buffer, Connect, Event, Limits, QoS, Session, Will};
use crate::time::Instant;
use crate::transport::uri::Uri;

use super::{Numbers, Sum};

struct Bytes(Vec<u8>);

impl Buffer for Bytes {
    fn allocate(len: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        Some(Self(bytes))
    }

    fn append(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn time() -> u64 {
    let (mut sum, mut numbers) = (Sum::new(), Numbers::new(5));
    for _ in 0..500 {
        let (a, b) = (numbers.next() >> numbers.below(64), numbers.next() >> numbers.below(64));
        let (from, until) = (Instant::from_millis(a), Instant::from_millis(b));
        sum.number((from + b as u32).as_millis());
        sum.number(until.millis_from(from).into());
        sum.number(from.min(if a & 1 == 0 { until } else { Instant::NEVER }).as_millis());
    }
    sum.end()
}

pub(super) fn uris() -> u64 {
    const PARTS: [&[&str]; 5] = [
        &["", "mqtt://", "WSS://", "ssl://", "http://", "://", "tcp:/"],
        &["", "user@", "us%3aer:pass%40word@", ":@", "a:b:c@"],
        &["host", "[::1]", "127.0.0.1", "", "[::1", "a.b-c.test"],
        &["", ":1", ":65535", ":65536", ":0", ":", ":8x"],
        &["", "/", "/mqtt?x=1#y", "?q", "/a b"],
    ];
    let mut sum = Sum::new();
    for (scheme, user) in PARTS[0].iter().flat_map(|scheme| PARTS[1].iter().map(move |user| (scheme, user))) {
        for (host, port) in PARTS[2].iter().flat_map(|host| PARTS[3].iter().map(move |port| (host, port))) {
            for path in PARTS[4] {
                match Uri::parse(&format!("{scheme}{user}{host}{port}{path}")) {
                    Err(error) => sum.number(error as u64),
                    Ok(uri) => {
                        sum.bytes(uri.host.as_bytes());
                        sum.bytes(uri.path.as_bytes());
                        sum.number(uri.port.into());
                        sum.bytes(uri.user_info.map_or("", |user| user.password.unwrap_or(user.username)).as_bytes());
                    }
                }
            }
        }
    }
    sum.end()
}

fn session() -> Session<Bytes> {
    let connect = Connect {
        client_id: b"checks",
        clean_session: false,
        keep_alive: 600,
        will: Some(Will { topic: b"will", message: b"gone", qos: QoS::ExactlyOnce, retain: true }),
        username: Some(b"somebody"),
        password: Some(&[1, 2, 3]),
    };
    let mut session = Session::new(Limits { window: 20, outgoing: 2048, payload: u16::MAX }, None);
    let _ = session.connect(Instant::from_millis(0), &connect);
    session
}

fn drain(session: &mut Session<Bytes>, now: u64, sum: &mut Sum) {
    let mut out = [0; 333];
    loop {
        let count = session.transmit(&mut out);
        if count == 0 {
            break;
        }
        sum.bytes(&out[..count]);
        session.transmitted(Instant::from_millis(now), count);
    }
    sum.number(match session.deadline() {
        Instant::NEVER => 0,
        deadline => deadline.as_millis(),
    });
}

fn feed(session: &mut Session<Bytes>, now: u64, mut input: &[u8], sum: &mut Sum) -> bool {
    while !input.is_empty() {
        match session.handle_input(Instant::from_millis(now), &mut input) {
            Ok(None) => {}
            Ok(Some(Event::Message(receipt))) => {
                let Some(message) = session.take_message() else { return false };
                sum.bytes(message.topic.as_slice());
                sum.bytes(message.payload.as_ref().map_or(&[], |payload| payload.as_slice()));
                sum.number(u64::from(message.id) << 16 | message.qos as u64);
                let _ = session.accepted(receipt);
            }
            Ok(Some(Event::Published(id) | Event::Unsubscribed(id))) => sum.number(id.into()),
            Ok(Some(Event::Subscribed { id, granted })) => {
                sum.number(u64::from(id) << 8 | granted.map_or(3, |qos| qos as u64))
            }
            Ok(Some(Event::Connected { session_present })) => sum.number(session_present.into()),
            Ok(Some(_)) => sum.number(99),
            Err(_) => {
                sum.number(input.len() as u64);
                return false;
            }
        }
    }
    true
}

/// Everything that is sent in an orderly connection.
pub(super) fn sent() -> u64 {
    let (mut sum, mut numbers, mut session) = (Sum::new(), Numbers::new(6), session());
    let mut payload = [0; 700];
    drain(&mut session, 1, &mut sum);
    feed(&mut session, 2, &[0x20, 2, 0, 0], &mut sum);
    for now in 0..300 {
        let (topic, len) = (format!("t/{}", numbers.below(1000)), numbers.below(payload.len()));
        numbers.fill(&mut payload[..len]);
        let id = match numbers.below(5) {
            0 => session.subscribe(topic.as_bytes(), Some(QoS::AtLeastOnce)).map_or(0, u64::from),
            1 => session.subscribe(topic.as_bytes(), None).map_or(0, u64::from),
            n => {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][n - 2];
                session.publish(topic.as_bytes(), &payload[..len], qos, len % 2 == 0).map_or(0, u64::from)
            }
        };
        sum.number(id);
        drain(&mut session, now * 10, &mut sum);
        let [high, low] = (id as u16).to_be_bytes();
        let answer = [0x40, 0x50, 0x70, 0x90, 0xb0][numbers.below(5)];
        let body = if answer == 0x90 { 3 } else { 2 };
        if id != 0 {
            feed(&mut session, now * 10 + 5, &[answer, body, high, low, 1][..2 + usize::from(body)], &mut sum);
        }
        drain(&mut session, now * 10 + 6, &mut sum);
    }
    session.disconnect();
    drain(&mut session, 4000, &mut sum);
    sum.end()
}

/// What a server sends, whole and cut, right and wrong.
pub(super) fn received() -> u64 {
    let (mut sum, mut numbers) = (Sum::new(), Numbers::new(7));
    for round in 0..200 {
        let mut session = session();
        drain(&mut session, 1, &mut sum);
        let mut stream = alloc::vec![0x20, 2, 0, 0];
        for _ in 0..numbers.below(20) {
            let (topic, len, qos) = (format!("a/{}", numbers.below(50)), numbers.below(400), numbers.below(3));
            let size = 2 + topic.len() + 2 * usize::from(qos > 0) + len;
            stream.push(0x30 | (qos as u8) << 1);
            if size >= 128 {
                stream.extend([0x80 | (size % 128) as u8, (size / 128) as u8]);
            } else {
                stream.push(size as u8);
            }
            stream.extend((topic.len() as u16).to_be_bytes());
            stream.extend(topic.as_bytes());
            if qos > 0 {
                stream.extend((1 + numbers.below(9) as u16).to_be_bytes());
            }
            let start = stream.len();
            stream.resize(start + len, 0);
            numbers.fill(&mut stream[start..]);
        }
        if round % 2 == 1 {
            for _ in 0..3 {
                let at = numbers.below(stream.len());
                stream[at] ^= 1 << numbers.below(8);
            }
        }
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(1 + numbers.below(rest.len()));
            rest = behind;
            if !feed(&mut session, 7, part, &mut sum) {
                break;
            }
            drain(&mut session, 8, &mut sum);
        }
    }
    sum.end()
}
