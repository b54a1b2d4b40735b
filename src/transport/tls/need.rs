//! What a handshake takes of the heap. rustls and ring do not ask whether it is there, so it is put in reserve before: for a step
//! what does not depend on what the server says, and then, when its messages are decrypted but not parsed, what they take.
//!
//! All of it for a heap that adds [`BLOCK_HEADER`] bytes to a block. Measured on x86-64, where pointers are larger than the
//! device's, with every kind of key (tests/tls/need.rs) and with hostile servers (tests/tls/limits.rs).

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use spin::Once;

use super::limits::{KEY_UPDATE, NEW_SESSION_TICKET, TLS13};

/// What the heap adds to a block, at most, beside rounding it up to 8: the SDK's wm_heap.h has 24 bytes with HEAP_USE_TRACING, its
/// default, and 16 without.
pub const BLOCK_HEADER: usize = 24;

/// How much, at most.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Bytes, in all.
    pub bytes: usize,
    /// What must fit into one block, and into another one beside it.
    pub least: [usize; 2],
}

impl Need {
    /// So much in one block.
    pub fn whole(bytes: usize) -> Self {
        Self { bytes, least: [bytes, 0] }
    }
}

/// So much of the heap is the calling task's alone, until this is dropped, by that task.
pub struct Held(fn());

impl Held {
    /// `end` gives it back.
    pub fn new(end: fn()) -> Self {
        Self(end)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// For a ClientHello, without a session and the application protocols that it offers.
pub(super) const CLIENT_HELLO: usize = 6144;

/// For each byte of the application protocols, and for each of them: in lists, and in a buffer that grows by doubling and is copied.
pub(super) const PROTOCOL_BYTE: usize = 8;
pub(super) const PROTOCOL: usize = 216;

/// For each byte of a ticket that is offered: in a buffer that grows by doubling, and in two copies.
pub(super) const TICKET_BYTE: usize = 5;

/// For a step, beside what its messages take: state, keys and our own messages, and the lists of schemes, extensions and
/// certificates.
pub(super) const STEP: usize = 3072;

/// For each name of an authority its block, its place in a list that grows by doubling, and one in another list.
const NAME: usize = 2 * size_of::<Vec<u8>>() + size_of::<&[u8]>() + BLOCK_HEADER + 8;

/// The modulus of the largest keys that ring takes, as often as what was seen has it at least.
const RSA_8192: usize = 2 * 1024;

/// Kinds of messages.
const CERTIFICATE_REQUEST: u16 = 13;
/// As one that the limits do not name.
const SERVER_HELLO_DONE: u16 = 0xff;
const CERTIFICATE_VERIFY: u16 = 15;
/// Those that come behind the handshake.
const TICKET: u16 = TLS13 | NEW_SESSION_TICKET;

/// The port's way to add to the reserve of the task that is in a step. Set in the handshakes' task alone, so nobody spins.
static MORE: Once<fn(Need) -> bool> = Once::new();

/// The copy of the handshake, as long as it is not encrypted, whose keys are made next. rustls has no place where what decrypts for
/// a connection could find that; but it makes the keys of a handshake in the task of handshakes, in the step that has set this.
static COPY: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// What a ticket of TLS 1.3 takes beside its bytes, at most, on all connections so far: the MQTT task decrypts beside that of
/// handshakes, which may get tickets with the end of one.
static BESIDE_TICKET: AtomicUsize = AtomicUsize::new(0);

pub(super) fn set_beside_ticket(bytes: usize) {
    BESIDE_TICKET.fetch_max(bytes, Relaxed);
}

pub(super) fn set(more: fn(Need) -> bool) {
    MORE.call_once(|| more);
}

/// Puts so much more in reserve for the step that the calling task is in; `false`: there is no memory for it.
pub(super) fn add(need: Need) -> bool {
    need.bytes == 0 || MORE.get().is_none_or(|more| more(need))
}

/// The copy that rustls keeps of a handshake for who has a certificate of his own: a block that grows by doubling.
#[derive(Clone, Copy)]
struct Copied {
    len: usize,
    /// 0: there is none.
    capacity: usize,
}

/// What the messages of a record take, as rustls takes one after the other.
pub(super) struct Account {
    copy: Copied,
    /// The copy's block, as far as this record makes it grow.
    grown: usize,
    /// What its messages leave on the heap, and at most beside `grown`, and the largest block of that.
    kept: usize,
    rest: usize,
    block: usize,
    /// Tickets in it, as far as they are counted.
    tickets: u8,
    /// All messages so far, as far as that matters.
    seen: usize,
}

impl Account {
    fn new(copy: Copied) -> Self {
        Self { copy, grown: 0, kept: 0, rest: 0, block: 0, tickets: 0, seen: 0 }
    }

    /// For what comes unencrypted, behind a ClientHello of which there is such a copy; 0: there is none.
    pub(super) fn behind_hello(copy: usize) -> Self {
        Self::new(Copied { len: copy, capacity: copy })
    }

    /// For what comes encrypted with keys that are made now.
    pub(super) fn with_new_keys() -> Self {
        Self::new(Copied { len: COPY[0].load(Relaxed), capacity: COPY[1].load(Relaxed) })
    }

    /// A record begins.
    pub(super) fn begin(&mut self) {
        (self.grown, self.kept, self.rest, self.block, self.tickets) = (0, 0, 0, 0, 0);
    }

    /// A message is complete; a list in it has at most so many items. What it takes counts as if it stayed: where something is
    /// freed the next block may not fit.
    pub(super) fn add(&mut self, kind: u16, len: usize, items: usize) {
        self.seen = (self.seen + len).min(RSA_8192);
        self.block = self.block.max(len);
        let (before, behind) = match kind & 0xff {
            // All names are there before the message is copied.
            CERTIFICATE_REQUEST => (len + items * NAME, 0),
            _ => (0, len),
        };
        self.kept += before;
        // A third gets the place of the first, which the second has replaced.
        if kind == TICKET && self.tickets < 2 {
            self.tickets += 1;
            let beside = BESIDE_TICKET.load(Relaxed);
            self.kept += beside;
            self.block = self.block.max(beside);
        }
        // Behind the handshake nothing is copied, and there is no copy any more.
        if self.copy.capacity > 0 && !matches!(kind, TICKET | KEY_UPDATE) {
            self.copy.len = self.copy.len.saturating_add(4 + len);
            if self.copy.len > self.copy.capacity {
                self.copy.capacity = self.copy.len.max(self.copy.capacity.saturating_mul(2));
                // The block before is there still.
                self.rest = self.rest.max(self.kept) + self.grown;
                self.block = self.block.max(self.grown);
                self.grown = self.copy.capacity;
            }
        }
        self.kept += behind;
        let verification = match kind & 0xff {
            // RSA's modulus six times: what was seen has it twice, as a key and as the length of a signature.
            SERVER_HELLO_DONE | CERTIFICATE_VERIFY => 3 * self.seen,
            _ => 0,
        };
        self.rest = self.rest.max(self.kept + verification);
    }

    /// Puts it in reserve, before rustls gets the record; `false`: there is no memory for it.
    pub(super) fn provide(&self) -> bool {
        let least = [self.grown.max(self.block), self.grown.min(self.block)];
        add(Need { bytes: self.grown + self.rest, least })
    }

    /// The same, for a record that was not encrypted.
    pub(super) fn provide_before_keys(&self) -> bool {
        COPY[0].store(self.copy.len, Relaxed);
        COPY[1].store(self.copy.capacity, Relaxed);
        self.provide()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: u16 = 11;

    fn add(account: &mut Account, messages: &[(u16, usize, usize)]) -> [usize; 3] {
        account.begin();
        messages.iter().for_each(|(kind, len, items)| account.add(*kind, *len, *items));
        [account.grown, account.rest, account.block]
    }

    #[test]
    fn without_a_copy() {
        let mut account = Account::behind_hello(0);
        // With 64 bits a name takes 96 bytes beside its own.
        let names = (CERTIFICATE_REQUEST, 500, 10);
        assert_eq!(add(&mut account, &[(CERTIFICATE, 1000, 0), names]), [0, 1000 + 500 + 960, 1000]);
        assert_eq!(add(&mut account, &[(CERTIFICATE_VERIFY, 100, 0)]), [0, 100 + 3 * 1600, 100]);
        assert_eq!(add(&mut account, &[(SERVER_HELLO_DONE, 1000, 0)]), [0, 1000 + 3 * 2048, 1000]);
    }

    #[test]
    fn with_a_copy_that_grows() {
        let mut account = Account::behind_hello(300);
        assert_eq!(add(&mut account, &[(CERTIFICATE, 0, 0)]), [600, 0, 0]);
        // It is full now.
        assert_eq!(add(&mut account, &[(CERTIFICATE, 292, 0)]), [0, 292, 292]);
        let messages = [(CERTIFICATE, 596, 0), (CERTIFICATE, 1196, 0)];
        assert_eq!(add(&mut account, &messages), [2400, 596 + 1200, 1200]);
    }

    #[test]
    fn what_is_held_is_given_back() {
        static ENDS: AtomicUsize = AtomicUsize::new(0);
        drop(Held::new(|| _ = ENDS.fetch_add(1, Relaxed)));
        assert_eq!(ENDS.load(Relaxed), 1);
    }
}
