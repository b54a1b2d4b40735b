//! Packets that nobody has handed to the transport yet: small ones coalesce in one queue, large ones stay where they lie.

use alloc::vec::Vec;

use zeroize::Zeroize;

use super::in_flight::InFlight;
use crate::memory::OutOfMemory;

/// Packets from this size on are not copied into the queue.
const LARGE: usize = 512;

enum Segment {
    /// So many bytes of the queue.
    Small(usize),
    /// A packet of its own that nobody else needs, of which so many bytes are gone: a request, or QoS 0 without identifier.
    Owned { id: u16, packet: Vec<u8>, gone: usize },
    /// A message that [`InFlight`] keeps until it is acknowledged; likewise.
    Stored { id: u16, len: usize, gone: usize },
}

pub(super) struct Outbox {
    /// In their order. Seldom more than a few, so taking the first away is cheap.
    segments: Vec<Segment>,
    /// Small packets, of which the first `small_gone` bytes are gone.
    small: Vec<u8>,
    small_gone: usize,
    /// Bytes in all segments.
    queued: usize,
}

impl Outbox {
    pub(super) const fn new() -> Self {
        Self { segments: Vec::new(), small: Vec::new(), small_gone: 0, queued: 0 }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes of small packets.
    pub(super) fn small(&self) -> usize {
        self.small.len() - self.small_gone
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
    pub(super) fn room(&mut self, len: usize) -> Result<&mut Vec<u8>, OutOfMemory> {
        self.segments.try_reserve(1).map_err(|_| OutOfMemory)?;
        // Bytes that are gone leave once they are the larger part, so that moving the rest is cheap.
        if self.small_gone * 2 > self.small.len() {
            // In 120 bytes of flash less than with `Vec::drain`.
            self.small.copy_within(self.small_gone.., 0);
            self.small.truncate(self.small.len() - self.small_gone);
            self.small_gone = 0;
        }
        self.small.try_reserve(len).map_err(|_| OutOfMemory)?;
        self.queued += len;
        match self.segments.last_mut() {
            Some(Segment::Small(bytes)) => *bytes += len,
            _ => self.segments.push(Segment::Small(len)),
        }
        Ok(&mut self.small)
    }

    /// Queues a few bytes.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.room(bytes.len())?.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether a packet of `len` bytes should be [`push_owned`](Self::push_owned).
    pub(super) fn is_large(len: usize) -> bool {
        len >= LARGE
    }

    pub(super) fn push_owned(&mut self, id: u16, packet: Vec<u8>) -> Result<(), OutOfMemory> {
        self.segments.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.queued += packet.len();
        self.segments.push(Segment::Owned { id, packet, gone: 0 });
        Ok(())
    }

    /// Takes a packet back that was [pushed](Self::push_owned) with this identifier, unless it has begun to leave.
    pub(super) fn withdraw(&mut self, id: u16) {
        let queued = &mut self.queued;
        self.segments.retain(|segment| match segment {
            Segment::Owned { id: owned, packet, gone: 0 } if *owned == id => {
                *queued -= packet.len();
                false
            }
            _ => true,
        });
    }

    /// Queues a stored message.
    pub(super) fn push_stored(&mut self, id: u16, packet: &[u8]) -> Result<(), OutOfMemory> {
        if !Self::is_large(packet.len()) {
            return self.push_bytes(packet);
        }
        self.segments.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.queued += packet.len();
        self.segments.push(Segment::Stored { id, len: packet.len(), gone: 0 });
        Ok(())
    }

    /// Whether bytes of the stored message `id` are still queued.
    pub(super) fn holds(&self, id: u16) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Stored { id: stored, .. } if *stored == id))
    }

    /// Moves bytes from the front into `out`, as many as fit; how many.
    // Not inlined: 52 bytes of flash less, and fewer instructions for most turns, which find nothing here.
    #[inline(never)]
    pub(super) fn take(&mut self, in_flight: &InFlight, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(segment) = self.segments.first_mut().filter(|_| self.queued > 0) {
            let room = &mut out[filled..];
            let mut fill = |bytes: &[u8]| {
                let len = bytes.len().min(room.len());
                room[..len].copy_from_slice(&bytes[..len]);
                len
            };
            let (len, done) = match segment {
                Segment::Small(left) => {
                    let len = fill(&self.small[self.small_gone..][..*left]);
                    self.small_gone += len;
                    *left -= len;
                    // With nothing behind it, it stays for the next packet, and no segment is moved.
                    (len, *left == 0 && len < self.queued)
                }
                Segment::Owned { packet, gone, .. } => {
                    let len = fill(&packet[*gone..]);
                    *gone += len;
                    (len, *gone == packet.len())
                }
                // A message whose bytes are queued is in flight: nothing acknowledges it before.
                Segment::Stored { id, len: whole, gone } => {
                    let len = fill(in_flight.packet(*id).and_then(|packet| packet.get(*gone..)).unwrap_or_default());
                    *gone += len;
                    (len, *gone == *whole)
                }
            };
            filled += len;
            self.queued -= len;
            if !done {
                break;
            }
            self.segments.remove(0);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As of a client that answers many small messages on a slow network.
    #[test]
    fn a_queue_that_never_ends_does_not_grow() {
        let (mut outbox, in_flight) = (Outbox::new(), InFlight::new());
        for _ in 0..100 {
            outbox.push_bytes(&[1; 4]).unwrap();
        }
        assert_eq!(outbox.take(&in_flight, &mut [0; 301]), 301);
        for _ in 0..1000 {
            outbox.push_bytes(&[1; 4]).unwrap();
            assert_eq!(outbox.take(&in_flight, &mut [0; 4]), 4);
            assert_eq!((outbox.queued(), outbox.small(), outbox.segments.len()), (99, 99, 1));
            assert!(outbox.small.len() <= 2 * 99 + 4);
        }
    }

    #[test]
    fn memory_goes_back_when_nothing_waits() {
        let (mut outbox, in_flight) = (Outbox::new(), InFlight::new());
        outbox.push_bytes(b"password").unwrap();
        outbox.take(&in_flight, &mut [0; 7]);
        outbox.shrink();
        assert_eq!(outbox.take(&in_flight, &mut [0; 7]), 1);
        assert!(outbox.small.capacity() > 0);
        outbox.shrink();
        assert_eq!((outbox.small.capacity(), outbox.segments.capacity()), (0, 0));
    }
}
