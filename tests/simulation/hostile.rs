//! A server that says what no broker should.

use super::rng::Rng;
use super::wire::{FromServer, Publish};

/// What becomes of the next thing that the broker says.
#[derive(Debug)]
pub(crate) enum Trick {
    Unsaid,
    Twice,
    /// Only so many bytes of it.
    Cut(usize),
    /// The byte at this place has other bits.
    Changed(usize, u8),
    /// Something else before it.
    Before(Vec<u8>),
}

impl Trick {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 => Self::Unsaid,
            1 => Self::Twice,
            2 => Self::Cut(rng.below(40)),
            3 => Self::Changed(rng.below(40), 1 + rng.below(255) as u8),
            _ => Self::Before(bytes(rng)),
        }
    }

    pub(crate) fn apply(self, said: &[u8]) -> Vec<u8> {
        match self {
            Self::Unsaid => Vec::new(),
            Self::Twice => said.repeat(2),
            Self::Cut(len) => said[..len.min(said.len())].to_vec(),
            Self::Changed(at, bits) => {
                said.iter().enumerate().map(|(n, byte)| if n == at { byte ^ bits } else { *byte }).collect()
            }
            Self::Before(mut bytes) => {
                bytes.extend(said);
                bytes
            }
        }
    }
}

/// Packets that nobody waits for, or that are none.
pub(crate) fn bytes(rng: &mut Rng) -> Vec<u8> {
    // Identifiers that are in use, often.
    let id = 1 + rng.below(24) as u16;
    match rng.below(12) {
        0 => FromServer::PubAck(id).encode(),
        1 => FromServer::PubRec(id).encode(),
        2 => FromServer::PubRel(id).encode(),
        3 => FromServer::PubComp(id).encode(),
        4 => FromServer::SubAck { id, code: rng.pick(&[0, 1, 2, 3, 0x80, 0xff]) }.encode(),
        5 => FromServer::UnsubAck(id).encode(),
        6 => FromServer::PingResp.encode(),
        7 => FromServer::ConnAck { present: rng.permille(500), code: rng.pick(&[0, 0, 1, 5, 6]) }.encode(),
        8 | 9 => {
            let (qos, len) = (rng.below(3) as u8, rng.pick(&[0, 1, 20, 3000, 65_535, 65_536]));
            let (retain, dup) = (rng.permille(300), qos > 0 && rng.permille(300));
            let id = if qos > 0 { id } else { 0 };
            Publish { topic: b"all".to_vec(), payload: vec![b'?'; len], qos, retain, dup, id }.encode()
        }
        // The longest packet that there may be, which does not come.
        10 => [0x30 | (rng.below(3) as u8) << 1, 0xff, 0xff, 0xff, 0x7f, 0, 3, b'a', b'l', b'l', 0, 1].to_vec(),
        _ => (0..1 + rng.below(12)).map(|_| rng.below(256) as u8).collect(),
    }
}
