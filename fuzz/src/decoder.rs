//! What a server sends, in pieces of any length: the session tells what a second decoder finds in the whole of it, and where that finds a
//! mistake, it refuses it at the same byte and for the same reason.

use wm_mqtt_client::protocol::{Connect, Event, Limits, Malformed, Session, Violation};
use wm_mqtt_client::time::Instant;

use crate::heap::{Bytes, fail_allocation};
use crate::pieces::{cut, lengths};
use crate::server::{Packet, Stop, packet};

/// The first byte says, beside how many [pieces](lengths) there are, whether CONNACK has come, and which payloads are too large.
pub fn run(data: &[u8]) {
    let Some((flags, lengths, stream)) = lengths(data) else { return };
    let largest = [u16::MAX, 16, 0, 300][usize::from(flags >> 1 & 3)];
    fail_allocation(0);
    let connect =
        Connect { client_id: b"c", clean_session: false, keep_alive: 60, will: None, username: None, password: None };
    let now = Instant::from_millis(0);
    let mut session = Session::<Bytes>::new(Limits { window: 20, outgoing: 4096, payload: largest }, None);
    session.connect(now, &connect).unwrap();
    let mut expected = Expected { rest: stream, fed: 0, connected: flags & 1 != 0, refused: false, known: Vec::new() };
    if expected.connected {
        assert!(matches!(session.handle_input(now, &mut &[0x20, 2, 0, 0][..]), Ok(Some(Event::Connected { .. }))));
    }
    for mut piece in cut(stream, lengths) {
        loop {
            let before = piece.len();
            let result = session.handle_input(now, &mut piece);
            expected.fed += before - piece.len();
            match (result, expected.next()) {
                (Ok(Some(event)), Ok(Some(packet))) => compare(event, packet, largest, &mut session),
                (Ok(None), Ok(None)) => {
                    assert!(piece.is_empty(), "no event, and yet input is left");
                    break;
                }
                (Err(violation), Err(expected)) => {
                    assert_eq!(violation, expected);
                    return;
                }
                (result, expected) => panic!("{result:?} instead of {expected:?}"),
            }
        }
    }
}

/// What must come of the stream.
struct Expected<'a> {
    rest: &'a [u8],
    /// So many of its bytes have been taken.
    fed: usize,
    connected: bool,
    refused: bool,
    /// Identifiers of messages with QoS 2 that are not released.
    known: Vec<u16>,
}

impl<'a> Expected<'a> {
    /// The next packet that has an event, of those that have been taken; all others before it are passed.
    fn next(&mut self) -> Result<Option<Packet<'a>>, Violation> {
        loop {
            let (packet, len) = match packet(&self.rest[..self.fed]) {
                Ok(found) => found,
                Err(Stop::More) => return Ok(None),
                Err(Stop::Bad(malformed)) => return Err(malformed.into()),
            };
            self.rest = &self.rest[len..];
            self.fed -= len;
            let is_connack = matches!(packet, Packet::ConnAck { .. });
            if self.refused || self.connected == is_connack {
                return Err(Violation::Unexpected);
            }
            match packet {
                Packet::ConnAck { code: 6.., .. } => return Err(Malformed::ReturnCode.into()),
                Packet::ConnAck { code, .. } => (self.connected, self.refused) = (code == 0, code != 0),
                Packet::Publish(publish) if publish.qos == 2 && self.known.contains(&publish.id) => continue,
                Packet::Publish(publish) if publish.qos == 2 => self.known.push(publish.id),
                Packet::Publish(_) => {}
                Packet::PubRel(id) => {
                    self.known.retain(|known| *known != id);
                    continue;
                }
                // Answers to what nobody has sent.
                _ => continue,
            }
            return Ok(Some(packet));
        }
    }
}

fn compare(event: Event, packet: Packet<'_>, largest: u16, session: &mut Session<Bytes>) {
    match (event, packet) {
        (Event::Connected { session_present }, Packet::ConnAck { flags, code: 0 }) => {
            assert_eq!(session_present, flags & 1 != 0);
        }
        (Event::Refused(reason), Packet::ConnAck { code, .. }) => assert_eq!(reason.code(), code),
        (Event::Skipped(_), Packet::Publish(publish)) => assert!(publish.payload.len() > largest.into()),
        (Event::Message(_), Packet::Publish(publish)) => {
            assert!(publish.payload.len() <= largest.into());
            let message = session.take_message().unwrap();
            crate::server::assert_same(&message, &publish);
            assert!(session.take_message().is_none());
        }
        (event, packet) => panic!("{event:?} for {packet:?}"),
    }
}
