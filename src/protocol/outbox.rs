//! Bytes on their way out: small packets coalesce in one queue, large ones stay where they lie.

use alloc::vec::Vec;

use zeroize::Zeroize;

use super::in_flight::InFlight;
use super::packet::first_byte;

/// Packets from this size on are not copied into the queue.
const LARGE: usize = 512;

enum Segment {
    /// So many bytes of the queue.
    Small(usize),
    /// A packet of its own that nobody else needs (QoS 0).
    Owned { packet: Vec<u8>, sent: usize },
    /// A message that [`InFlight`] keeps until it is acknowledged.
    Stored { id: u16, resend: bool, len: usize, sent: usize },
}

pub(super) struct Outbox {
    /// In their order. Seldom more than a few, so taking the first away is cheap.
    segments: Vec<Segment>,
    /// Small packets, of which the first `small_sent` bytes are gone.
    small: Vec<u8>,
    small_sent: usize,
    /// Bytes in all segments.
    queued: usize,
}

/// No memory for one more packet; nothing was queued.
#[derive(Debug)]
pub(super) struct NoMemory;

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { segments: Vec::new(), small: Vec::new(), small_sent: 0, queued: 0 }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Drops everything, and the memory. CONNECT may be in it, so that is wiped.
    pub(super) fn clear(&mut self) {
        self.small.zeroize();
        *self = Self::new();
    }

    /// Gives memory back that a burst has needed.
    pub(super) fn shrink(&mut self) {
        if self.queued == 0 {
            self.clear();
        }
    }

    /// The queue, for a packet of `len` bytes that the caller must append now.
    pub(super) fn room(&mut self, len: usize) -> Result<&mut Vec<u8>, NoMemory> {
        self.segments.try_reserve(1).map_err(|_| NoMemory)?;
        // Bytes that are gone leave once they are the larger part, so that moving the rest is cheap.
        if self.small_sent * 2 > self.small.len() {
            self.small.drain(..self.small_sent);
            self.small_sent = 0;
        }
        self.small.try_reserve(len).map_err(|_| NoMemory)?;
        self.queued += len;
        match self.segments.last_mut() {
            Some(Segment::Small(bytes)) => *bytes += len,
            _ => self.segments.push(Segment::Small(len)),
        }
        Ok(&mut self.small)
    }

    /// Queues a few bytes.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        self.room(bytes.len())?.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether a packet of `len` bytes should be [`push_owned`](Self::push_owned).
    pub(super) fn is_large(len: usize) -> bool {
        len >= LARGE
    }

    pub(super) fn push_owned(&mut self, packet: Vec<u8>) -> Result<(), NoMemory> {
        self.segments.try_reserve(1).map_err(|_| NoMemory)?;
        self.queued += packet.len();
        self.segments.push(Segment::Owned { packet, sent: 0 });
        Ok(())
    }

    /// Queues a stored message; `resend` sets its DUP flag `[MQTT-3.3.1-1]`.
    pub(super) fn push_stored(&mut self, id: u16, packet: &[u8], resend: bool) -> Result<(), NoMemory> {
        if !Self::is_large(packet.len()) {
            let queue = self.room(packet.len())?;
            let start = queue.len();
            queue.extend_from_slice(packet);
            queue[start] = with_dup(packet, resend)[0];
            return Ok(());
        }
        self.segments.try_reserve(1).map_err(|_| NoMemory)?;
        self.queued += packet.len();
        self.segments.push(Segment::Stored { id, resend, len: packet.len(), sent: 0 });
        Ok(())
    }

    /// Takes back the resend of the stored message `id`, if it is queued; `false` if bytes of that message must still
    /// be sent: the rest of a packet, or one that was never sent.
    pub(super) fn withdraw(&mut self, id: u16) -> bool {
        let is_it = |segment: &Segment| matches!(segment, Segment::Stored { id: stored, .. } if *stored == id);
        let Some(at) = self.segments.iter().position(is_it) else { return true };
        match self.segments[at] {
            Segment::Stored { resend: true, sent: 0, len, .. } => {
                self.queued -= len;
                self.segments.remove(at);
                true
            }
            _ => false,
        }
    }

    /// Copies bytes from the front into `out`, as many as fit; they stay queued until [`Self::sent`].
    pub(super) fn peek(&self, in_flight: &InFlight, out: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut small_at = self.small_sent;
        let mut fill = |bytes: &[u8]| {
            let room = &mut out[filled..];
            let len = bytes.len().min(room.len());
            room[..len].copy_from_slice(&bytes[..len]);
            filled += len;
            len == bytes.len()
        };
        for segment in &self.segments {
            let whole = match segment {
                Segment::Small(len) => {
                    let from = small_at;
                    small_at += len;
                    fill(&self.small[from..small_at])
                }
                Segment::Owned { packet, sent } => fill(&packet[*sent..]),
                Segment::Stored { id, resend, sent, .. } => match in_flight.packet(*id) {
                    Some(packet) if *sent == 0 => fill(&with_dup(packet, *resend)) && fill(&packet[1..]),
                    Some(packet) => fill(&packet[*sent..]),
                    None => true,
                },
            };
            if !whole {
                break;
            }
        }
        filled
    }

    /// The transport has taken `count` bytes.
    pub(super) fn sent(&mut self, mut count: usize) {
        self.queued -= count;
        while count > 0 {
            let Some(segment) = self.segments.first_mut() else { return };
            let (taken, done) = match segment {
                Segment::Small(len) => {
                    let taken = count.min(*len);
                    self.small_sent += taken;
                    *len -= taken;
                    (taken, *len == 0)
                }
                Segment::Owned { packet, sent } => {
                    let taken = count.min(packet.len() - *sent);
                    *sent += taken;
                    (taken, *sent == packet.len())
                }
                Segment::Stored { len, sent, .. } => {
                    let taken = count.min(*len - *sent);
                    *sent += taken;
                    (taken, *sent == *len)
                }
            };
            count -= taken;
            if done {
                self.segments.remove(0);
            }
        }
    }
}

/// The first byte of a packet, with the DUP flag of a resend.
fn with_dup(packet: &[u8], resend: bool) -> [u8; 1] {
    let first = packet.first().copied().unwrap_or_default();
    [if resend { first | first_byte::DUP } else { first }]
}
