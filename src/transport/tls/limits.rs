//! What a server may bring in its handshake, looked at before rustls parses it: that allocates for each item of a list, and
//! does not ask whether there is memory.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::InvalidMessage;

use super::need::Account;
use crate::log::Say;

/// Bytes of a message with certificates, or with names of authorities, and how many such names. They are the system's, and
/// rustls has no place where what decrypts for a connection could find its configuration.
static CHAIN: AtomicUsize = AtomicUsize::new(LARGEST);
static NAMES: AtomicUsize = AtomicUsize::new(0);

/// The longest message and record that rustls takes.
const LARGEST: usize = 0xffff;
const LARGEST_RECORD: usize = 5 + 16_384 + 2048;

/// Sets those of this system.
pub(super) fn set(chain: usize, names: usize) {
    CHAIN.store(chain.min(LARGEST), Relaxed);
    NAMES.store(names, Relaxed);
}

/// Whether a record of so many bytes may come behind so many others of one handshake message. Longer ones than any may be, rustls
/// refuses itself.
pub(super) fn check_record(record: usize, before: usize) -> Result<(), Excess> {
    let excess = Excess(FRAGMENTED, Unit::Bytes);
    if record <= LARGEST_RECORD && before + record > excess.most() { Err(excess) } else { Ok(()) }
}

/// What one kind of message may bring at most.
struct Row {
    /// The message's number; for TLS 1.3 with [`TLS13`], where both versions know it in different forms.
    kind: u16,
    name: &'static str,
    bytes: u16,
    /// Items of its list.
    items: u16,
    /// What is in it, as far as there are lists.
    parts: &'static [u8],
}

pub(super) const NEW_SESSION_TICKET: u16 = 4;
pub(super) const KEY_UPDATE: u16 = 24;
pub(super) const TLS13: u16 = 0x100;
/// No message's number, and what is left of it without a version.
const NONE: u16 = 0xffff;
const NO_KIND: u16 = 0xff;
/// In place of a number, what [`set`] has set.
const AS_SET: u16 = 0xffff;

// The parts of a message (RFC 8446 section 3): each is a byte, of which the last bits are a number.
/// So many bytes.
const OPAQUE: u8 = 0;
/// A length of so many bytes, and what has it.
const VECTOR: u8 = 1 << 6;
/// A vector whose items are counted; one byte behind it says how many describe an item, and these follow.
const LIST: u8 = 2 << 6;
/// What to count them as.
const ITEMS: u8 = 1 << 2;
const EXTENSIONS: u8 = 2 << 2;
const SCHEMES: u8 = 3 << 2;
const COUNTED: u8 = 3 << 2;
/// An extension, or a message. Behind it, up to the end: an extension's type in two bytes, and, after their number, the parts
/// of its contents.
const HEADED: u8 = 3 << 6;

/// A ServerHello, whose cookie may be long.
pub(super) const SERVER_HELLO: u16 = 2048;
/// Some servers put their clients' certificates into tickets.
const TICKET: u16 = 16_384;
/// Extensions and signature schemes of one message: servers have up to some 30.
const MANY: usize = 64;

/// Extensions as rustls parses them: in encrypted_client_hello, which we never offer, are lists of lists.
const HELLO_EXTENSIONS: &[u8] = HELLO.split_at(3).1;
#[rustfmt::skip]
const HELLO: &[u8] = &[OPAQUE | 34, VECTOR | 1, OPAQUE | 3, LIST | EXTENSIONS | 2, 7,
    HEADED, 0xfe, 0x0d, 3, LIST | ITEMS | 2, 1, OPAQUE | 1];

/// A server's messages. HelloRequest and ServerHelloDone are empty, as all others must be.
#[rustfmt::skip]
static ROWS: [Row; 16] = [
    // What messages come in. rustls keeps a list of those of a record.
    Row { kind: NONE, name: "record", bytes: 0, items: 16, parts: &[HEADED] },
    // Its records stay in the input buffer, with all that is around its pieces, until it is complete.
    Row { kind: NONE, name: "fragmented message", bytes: AS_SET, items: 0, parts: &[] },
    // HelloRetryRequest has the same form.
    Row { kind: 2, name: "ServerHello", bytes: SERVER_HELLO, items: 0, parts: HELLO },
    Row { kind: NEW_SESSION_TICKET, name: "NewSessionTicket", bytes: TICKET, items: 0, parts: &[] },
    Row { kind: TLS13 | NEW_SESSION_TICKET, name: "NewSessionTicket", bytes: TICKET, items: 0,
        parts: &[OPAQUE | 8, VECTOR | 1, VECTOR | 2, LIST | EXTENSIONS | 2, 1, HEADED] },
    Row { kind: 8, name: "EncryptedExtensions", bytes: 2048, items: 0, parts: HELLO_EXTENSIONS },
    Row { kind: 11, name: "Certificate", bytes: AS_SET, items: 8, parts: &[LIST | ITEMS | 3, 1, VECTOR | 3] },
    Row { kind: TLS13 | 11, name: "Certificate", bytes: AS_SET, items: 8,
        parts: &[VECTOR | 1, LIST | ITEMS | 3, 4, VECTOR | 3, LIST | EXTENSIONS | 2, 1, HEADED] },
    Row { kind: 12, name: "ServerKeyExchange", bytes: 2048, items: 0, parts: &[] },
    Row { kind: 13, name: "CertificateRequest", bytes: AS_SET, items: AS_SET,
        parts: &[VECTOR | 1, LIST | SCHEMES | 2, 1, OPAQUE | 2, LIST | ITEMS | 2, 1, VECTOR | 2] },
    Row { kind: TLS13 | 13, name: "CertificateRequest", bytes: AS_SET, items: AS_SET,
        parts: &[VECTOR | 1, LIST | EXTENSIONS | 2, 13, HEADED,
            0, 13, 3, LIST | SCHEMES | 2, 1, OPAQUE | 2, 0, 47, 3, LIST | ITEMS | 2, 1, VECTOR | 2] },
    Row { kind: 15, name: "CertificateVerify", bytes: 2048, items: 0, parts: &[] },
    Row { kind: 20, name: "Finished", bytes: 64, items: 0, parts: &[] },
    Row { kind: 22, name: "CertificateStatus", bytes: 8192, items: 0, parts: &[] },
    Row { kind: KEY_UPDATE, name: "KeyUpdate", bytes: 1, items: 0, parts: &[] },
    // All others are clients', or unknown.
    Row { kind: NONE, name: "message of another kind", bytes: 0, items: 0, parts: &[] },
];
/// Rows that are no messages, and the last.
const RECORD: u8 = 0;
const FRAGMENTED: u8 = 1;
const OTHER: u8 = 15;

/// What of a row can be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Items,
    Extensions,
    Schemes,
}

/// A bound that something exceeds: a row, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess(u8, Unit);

impl Excess {
    fn row(self) -> &'static Row {
        &ROWS[usize::from(self.0) % ROWS.len()]
    }

    fn most(self) -> usize {
        let row = self.row();
        match self.1 {
            Unit::Bytes if self.0 == FRAGMENTED => 2 * CHAIN.load(Relaxed).max(TICKET.into()) + LARGEST_RECORD,
            Unit::Bytes if row.bytes == AS_SET => CHAIN.load(Relaxed),
            Unit::Bytes => row.bytes.into(),
            Unit::Items if row.items == AS_SET => NAMES.load(Relaxed),
            Unit::Items => row.items.into(),
            Unit::Extensions | Unit::Schemes => MANY,
        }
    }

    /// rustls hands an error from the decryption through as it is, and sends the alert decode_error for those of this kind.
    /// Some have room for a name; the names of [`ROWS`] are none of its own.
    pub(super) fn into_rustls(self) -> InvalidMessage {
        let name = self.row().name;
        match self.1 {
            Unit::Bytes => InvalidMessage::MissingData(name),
            Unit::Items => InvalidMessage::IllegalEmptyList(name),
            Unit::Extensions => InvalidMessage::UnexpectedMessage(name),
            Unit::Schemes => InvalidMessage::TrailingData(name),
        }
    }

    /// The other way round.
    pub(super) fn from_rustls(error: &InvalidMessage) -> Option<Self> {
        let (name, unit) = match *error {
            InvalidMessage::MissingData(name) => (name, Unit::Bytes),
            InvalidMessage::IllegalEmptyList(name) => (name, Unit::Items),
            InvalidMessage::UnexpectedMessage(name) => (name, Unit::Extensions),
            InvalidMessage::TrailingData(name) => (name, Unit::Schemes),
            _ => return None,
        };
        Some(Self(ROWS.iter().position(|row| row.name == name)? as u8, unit))
    }
}

impl Say for Excess {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        let row = self.row();
        let what = match (self.1, row.kind & 0xff) {
            (Unit::Bytes, _) => "bytes",
            (Unit::Items, 11) => "certificates",
            (Unit::Items, 13) => "names of authorities",
            (Unit::Items, NO_KIND) => "messages",
            (Unit::Items, _) => "keys for encrypted_client_hello",
            (Unit::Extensions, _) => "extensions",
            (Unit::Schemes, _) => "signature schemes",
        };
        let parts: [&dyn Say; 6] = [&"TLS: the server's ", &row.name, &" has more than ", &self.most(), &" ", &what];
        (&parts[..]).say(out);
    }
}

/// A part of the stream that ends somewhere, and is read part by part.
#[derive(Clone, Copy)]
struct Level {
    parts: &'static [u8],
    next: u8,
    /// The bound of how many items it has, if it is a list, and how many there are so far.
    items: Option<Unit>,
    count: u16,
    /// Where in the message it ends.
    end: u16,
}

/// Reads along in the handshake messages of a connection, as they are cut into records.
pub(super) struct Guard {
    /// The message that has begun.
    row: u8,
    tls13: bool,
    /// How much of it has come.
    at: u16,
    /// How much of what comes is passed over.
    pass: u16,
    /// A length, of which so many bytes have come.
    number: u32,
    digits: u8,
    /// A record, a message, a list in it, an extension in that, a list in the extension, an item of that.
    levels: [Level; 6],
    depth: u8,
    /// What rustls will take for the record.
    pub(super) account: Account,
    /// Bytes of the last ticket that has begun; 0: none has.
    pub(super) ticket: u16,
}

impl Guard {
    pub(super) fn new(account: Account) -> Self {
        let record = Level { parts: ROWS[0].parts, next: 0, items: Some(Unit::Items), count: 0, end: u16::MAX };
        let levels = [record; 6];
        Self { row: RECORD, tls13: false, at: 0, pass: 0, number: 0, digits: 0, levels, depth: 0, account, ticket: 0 }
    }

    /// Looks at a record with handshake messages, or parts of them, before rustls does.
    pub(super) fn check(&mut self, mut record: &[u8], tls13: bool) -> Result<(), Excess> {
        // rustls takes the version of a message's first record, and goes on with it until a record and a message end
        // together.
        if self.depth == 0 && self.digits == 0 {
            self.tls13 = tls13;
        }
        self.levels[0].count = 0;
        self.account.begin();
        loop {
            let passed = usize::from(self.pass).min(record.len());
            record = &record[passed..];
            // Not more than `pass`.
            self.pass -= passed as u16;
            self.at += passed as u16;
            if self.pass > 0 {
                return Ok(());
            }
            let depth = self.depth;
            let level = &mut self.levels[usize::from(depth)];
            let left = level.end - self.at;
            if left == 0 {
                (self.number, self.digits) = (0, 0);
                self.depth -= 1;
                if self.depth == 0 {
                    let (len, row) = (usize::from(self.at), Excess(self.row, Unit::Items));
                    self.account.add(row.row().kind, len, row.most().min(len / 3));
                    self.at = 0;
                }
                continue;
            }
            let Some([part, behind @ ..]) = level.parts.get(usize::from(level.next)..) else {
                match level.items {
                    Some(_) if level.next > 0 => level.next = 0,
                    _ => self.pass = left,
                }
                continue;
            };
            let Some((byte, rest)) = record.split_first() else { return Ok(()) };
            if level.next == 0
                && self.digits == 0
                && let Some(unit) = level.items
            {
                level.count += 1;
                let excess = Excess(if depth == 0 { RECORD } else { self.row }, unit);
                if usize::from(level.count) > excess.most() {
                    return Err(excess);
                }
            }
            let width = match part & HEADED {
                OPAQUE => {
                    level.next += 1;
                    self.pass = left.min(u16::from(*part));
                    continue;
                }
                HEADED => 4,
                _ => part & 3,
            };
            record = rest;
            self.number = self.number << 8 | u32::from(*byte);
            self.digits += 1;
            // What is in front of a message is not of it.
            self.at += u16::from(depth > 0);
            if self.digits == width {
                self.enter(*part, behind)?;
            }
        }
    }

    /// Goes into what has this length.
    fn enter(&mut self, part: u8, behind: &'static [u8]) -> Result<(), Excess> {
        let number = core::mem::take(&mut self.number);
        self.digits = 0;
        let level = &mut self.levels[usize::from(self.depth)];
        level.next += 1;
        let (mut parts, mut items, mut len): (&[u8], _, _) = (&[], None, number);
        match part & HEADED {
            LIST => {
                let [size, item @ ..] = behind else { return Ok(()) };
                level.next += 1 + size;
                parts = item.get(..usize::from(*size)).unwrap_or_default();
                items = Some(match part & COUNTED {
                    ITEMS => Unit::Items,
                    EXTENSIONS => Unit::Extensions,
                    _ => Unit::Schemes,
                });
            }
            HEADED if self.depth == 0 => {
                let (kind, tls13) = ((number >> 24) as u16, self.tls13);
                let found = ROWS.iter().rposition(|row| row.kind == kind || tls13 && row.kind == TLS13 | kind);
                self.row = found.map_or(OTHER, |row| row as u8);
                len = number & 0xff_ffff;
                let excess = Excess(self.row, Unit::Bytes);
                if len as usize > excess.most() {
                    return Err(excess);
                }
                parts = excess.row().parts;
                if kind == NEW_SESSION_TICKET {
                    self.ticket = len as u16;
                }
            }
            HEADED => {
                level.next += behind.len() as u8;
                len = number & 0xffff;
                let mut known = behind;
                while let [high, low, size, contents @ ..] = known {
                    let (these, others) = contents.split_at(contents.len().min((*size).into()));
                    if number >> 16 == u32::from(u16::from_be_bytes([*high, *low])) {
                        parts = these;
                    }
                    known = others;
                }
            }
            _ => {}
        }
        // What is said to be longer than that around it, rustls refuses when it comes to it.
        let end = self.at + (level.end - self.at).min(u16::try_from(len).unwrap_or(u16::MAX));
        self.depth += 1;
        self.levels[usize::from(self.depth)] = Level { parts, next: 0, items, count: 0, end };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said to be so many bytes is as many, down to the end.
    fn check(mut parts: &[u8], in_list: bool) {
        assert!(!in_list || !parts.is_empty());
        while let [part, behind @ ..] = parts {
            parts = behind;
            match part & HEADED {
                OPAQUE => assert!(*part > 0),
                VECTOR => assert!(matches!(part & !HEADED, 1..=3)),
                LIST => {
                    assert!(matches!(part & 3, 1..=3) && part & COUNTED != 0);
                    let (item, behind) = parts[1..].split_at(parts[0].into());
                    check(item, true);
                    parts = behind;
                }
                _ => {
                    assert!(in_list);
                    while let [_, _, size, behind @ ..] = parts {
                        let (contents, behind) = behind.split_at((*size).into());
                        assert!(!contents.is_empty());
                        check(contents, false);
                        parts = behind;
                    }
                    assert!(parts.is_empty());
                }
            }
        }
    }

    #[test]
    fn the_parts_of_all_messages() {
        ROWS.iter().for_each(|row| check(row.parts, row.kind == NONE && row.items > 0));
        for (number, name) in
            [(RECORD, "record"), (FRAGMENTED, "fragmented message"), (OTHER, "message of another kind")]
        {
            assert_eq!(ROWS[usize::from(number)].name, name);
        }
    }

    #[test]
    fn the_records_of_a_message() {
        let most = Excess(FRAGMENTED, Unit::Bytes).most();
        for (record, before, fits) in [
            (5, most - 5, true),
            (5, most - 4, false),
            (LARGEST_RECORD, most, false),
            // rustls says why it refuses that.
            (LARGEST_RECORD + 1, most, true),
        ] {
            assert_eq!(check_record(record, before).is_ok(), fits, "{record} behind {before}");
        }
    }

    #[test]
    fn the_longest_message() {
        let mut message = vec![1; 4 + LARGEST];
        // A list without certificates, and behind it what rustls refuses.
        message[..7].copy_from_slice(&[11, 0, 0xff, 0xff, 0, 0, 0]);
        let mut guard = Guard::new(Account::behind_hello(0));
        assert_eq!(guard.check(&message, false), Ok(()));
        assert_eq!((guard.depth, guard.at, guard.digits), (0, 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Bytes of every kind, in pieces: as if they came whole, and a certificate more than allowed is found by whoever
        /// counts them otherwise.
        #[test]
        fn pieces_are_no_different(
            kind in prop::sample::select(&[2_u8, 4, 8, 11, 12, 13, 22][..]),
            body in prop::collection::vec(prop::sample::select(&[0_u8, 0, 0, 1, 2, 3, 13, 47, 255][..]), 0..600),
            tls13: bool,
            sizes in prop::collection::vec(1..40_usize, 1..8),
        ) {
            let message = [&[kind, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat();
            let whole = Guard::new(Account::behind_hello(0)).check(&message, tls13);
            let (mut guard, mut rest, mut pieces) = (Guard::new(Account::behind_hello(0)), &message[..], Ok(()));
            for size in sizes.into_iter().cycle() {
                let (piece, behind) = rest.split_at(size.min(rest.len()));
                // Only the first record's version counts.
                pieces = guard.check(piece, tls13 == (rest.len() == message.len()));
                rest = behind;
                if rest.is_empty() || pieces.is_err() {
                    break;
                }
            }
            prop_assert_eq!(whole, pieces);
            if whole.is_ok() {
                prop_assert_eq!((guard.depth, guard.at, guard.digits), (0, 0, 0));
            }
            if kind == 11 && !tls13 {
                // The list's own length is too.
                let mut list = body.get(3..).unwrap_or_default();
                if let [a, b, c, ..] = body[..] {
                    list = &list[..list.len().min(u32::from_be_bytes([0, a, b, c]) as usize)];
                }
                let mut count = 0;
                while let [a, b, c, behind @ ..] = list {
                    count += 1;
                    list = &behind[behind.len().min(u32::from_be_bytes([0, *a, *b, *c]) as usize)..];
                }
                count += usize::from(!list.is_empty());
                prop_assert_eq!(whole.is_err(), count > 8);
            }
        }
    }
}
