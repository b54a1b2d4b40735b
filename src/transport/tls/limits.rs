//! What a server may bring in its handshake, looked at before rustls parses it: that allocates for each item of a list, and
//! does not ask whether there is memory.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustls::InvalidMessage;

use super::error::Error;

/// Bytes of a message with certificates, or with names of authorities, and how many such names. They are the system's, and
/// rustls has no place where what decrypts for a connection could find its configuration.
static CHAIN: AtomicUsize = AtomicUsize::new(LARGEST);
static NAMES: AtomicUsize = AtomicUsize::new(0);

/// The longest message that rustls takes.
const LARGEST: usize = 0xffff;

/// Sets those of this system.
pub(super) fn set(chain: usize, names: usize) {
    CHAIN.store(chain.min(LARGEST), Relaxed);
    NAMES.store(names, Relaxed);
}

/// The longest message that a server may send.
pub(super) fn longest() -> usize {
    CHAIN.load(Relaxed).max(TICKET)
}

/// What rustls and ring allocate at most for `bytes` of a server's flight behind `seen` bytes that they have taken, on a heap
/// whose blocks have 8 bytes more than was asked for. Measured (tests/tls/need.rs):
/// - 2,800 with P-256 and without a certificate of our own, and what many short lists and the least names can add;
/// - for verification, RSA's modulus six times; there are two of its length, the other in a signature;
/// - a copy of the certificates, in TLS 1.2 one more for the session at the end;
/// - for each name of an authority its block, its place in a list that grows by doubling, and one in another list;
/// - with a certificate of our own, all of the flight once more, in a block that grows by doubling.
pub(super) fn cost(bytes: usize, seen: usize, own: usize) -> usize {
    const STEP: usize = 3072;
    const NAME: usize = 2 * size_of::<Vec<u8>>() + size_of::<&[u8]>() + 16;
    let flight = bytes + seen;
    let log = if own == 0 { 0 } else { 3 * flight };
    STEP + 3 * flight.min(2048) + flight + NAMES.load(Relaxed).min(bytes / 3) * NAME + log + own
}

/// What one kind of message may bring at most.
struct Row {
    kind: u8,
    name: &'static str,
    bytes: Most,
    /// Items of its list, and what they are.
    items: (Most, &'static str),
    /// What is in it, in TLS 1.2 and in TLS 1.3.
    body: [&'static [Field]; 2],
}

#[derive(Clone, Copy)]
enum Most {
    Fixed(u16),
    Chain,
    Names,
}

impl Most {
    fn value(self) -> usize {
        match self {
            Most::Fixed(value) => value.into(),
            Most::Chain => CHAIN.load(Relaxed),
            Most::Names => NAMES.load(Relaxed),
        }
    }
}

/// What of a row can be exceeded.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Items,
    Extensions,
    Schemes,
}

/// A part of a message (RFC 8446 section 3).
#[derive(Clone, Copy)]
enum Field {
    /// So many bytes.
    Opaque(u8),
    /// A length of so many bytes, and what has it.
    Vector(u8),
    /// A vector of items with these fields each, which are counted.
    List(u8, Unit, &'static [Field]),
    /// Type and data of an extension. Those of these types have lists in them.
    Extension(&'static [(u16, &'static [Field])]),
    /// A handshake message, in the list that a record is.
    Message,
}

use Field::{Extension, List, Message, Opaque, Vector};

/// The longest ticket: some servers put their clients' certificates into it.
const TICKET: usize = 16 * 1024;
/// Extensions of one message, and signature schemes in a list: servers have up to some 30.
const EXTENSIONS: usize = 32;
const SCHEMES: usize = 64;

const NOTHING: [&[Field]; 2] = [&[], &[]];
const NONE: (Most, &str) = (Most::Fixed(0), "");
const AUTHORITIES: Field = List(2, Unit::Items, &[Vector(2)]);
const SIGNATURES: Field = List(2, Unit::Schemes, &[Opaque(2)]);
/// Without such a list in them.
const EXTENSION_LIST: Field = List(2, Unit::Extensions, &[Extension(&[])]);
/// Those in which rustls parses encrypted_client_hello, which we never offer.
const HELLO_EXTENSIONS: Field =
    List(2, Unit::Extensions, &[Extension(&[(0xfe0d, &[List(2, Unit::Items, &[Opaque(1)])])])]);
const ECH: (Most, &str) = (Most::Fixed(0), "configurations of encrypted_client_hello");
/// With those that have a list of two bytes' length.
const REQUEST_EXTENSIONS: Field = List(2, Unit::Extensions, &[Extension(&[(13, &[SIGNATURES]), (47, &[AUTHORITIES])])]);

/// A server's messages.
#[rustfmt::skip]
static ROWS: [Row; 12] = [
    Row { kind: 0, name: "HelloRequest", bytes: Most::Fixed(0), items: NONE, body: NOTHING },
    // HelloRetryRequest has the same form.
    Row { kind: 2, name: "ServerHello", bytes: Most::Fixed(2048), items: ECH,
        body: [&[Opaque(34), Vector(1), Opaque(3), HELLO_EXTENSIONS]; 2] },
    Row { kind: 4, name: "NewSessionTicket", bytes: Most::Fixed(TICKET as u16), items: NONE,
        body: [&[], &[Opaque(8), Vector(1), Vector(2), EXTENSION_LIST]] },
    Row { kind: 8, name: "EncryptedExtensions", bytes: Most::Fixed(2048), items: ECH, body: [&[HELLO_EXTENSIONS]; 2] },
    // Of their extensions rustls takes one.
    Row { kind: 11, name: "Certificate", bytes: Most::Chain, items: (Most::Fixed(8), "certificates"),
        body: [&[List(3, Unit::Items, &[Vector(3)])], &[Vector(1), List(3, Unit::Items, &[Vector(3), EXTENSION_LIST])]] },
    Row { kind: 12, name: "ServerKeyExchange", bytes: Most::Fixed(2048), items: NONE, body: NOTHING },
    Row { kind: 13, name: "CertificateRequest", bytes: Most::Chain, items: (Most::Names, "names of authorities"),
        body: [&[Vector(1), SIGNATURES, AUTHORITIES], &[Vector(1), REQUEST_EXTENSIONS]] },
    Row { kind: 14, name: "ServerHelloDone", bytes: Most::Fixed(0), items: NONE, body: NOTHING },
    Row { kind: 15, name: "CertificateVerify", bytes: Most::Fixed(2048), items: NONE, body: NOTHING },
    Row { kind: 20, name: "Finished", bytes: Most::Fixed(64), items: NONE, body: NOTHING },
    Row { kind: 22, name: "CertificateStatus", bytes: Most::Fixed(8192), items: NONE, body: NOTHING },
    Row { kind: 24, name: "KeyUpdate", bytes: Most::Fixed(1), items: NONE, body: NOTHING },
];

/// All others: they are clients', or unknown.
static OTHER: Row =
    Row { kind: 255, name: "message of an unknown kind", bytes: Most::Fixed(0), items: NONE, body: NOTHING };

/// What the messages are in: rustls makes a list of those of a record.
static RECORD: Row = Row {
    kind: 255,
    name: "record",
    bytes: Most::Chain,
    items: (Most::Fixed(16), "handshake messages"),
    body: NOTHING,
};

/// A bound, which something exceeds.
#[derive(Clone, Copy)]
pub(super) struct Excess(&'static Row, Unit);

impl Excess {
    fn most(&self) -> usize {
        match self.1 {
            Unit::Bytes => self.0.bytes.value(),
            Unit::Items => self.0.items.0.value(),
            Unit::Extensions => EXTENSIONS,
            Unit::Schemes => SCHEMES,
        }
    }

    /// rustls hands an error from the decryption through as it is, and sends the alert decode_error for those of this kind.
    /// Some have room for a name; the names of [`ROWS`] are none of its own.
    pub(super) fn into_rustls(self) -> InvalidMessage {
        let Self(row, unit) = self;
        match unit {
            Unit::Bytes => InvalidMessage::MissingData(row.name),
            Unit::Items => InvalidMessage::IllegalEmptyList(row.name),
            Unit::Extensions => InvalidMessage::UnexpectedMessage(row.name),
            Unit::Schemes => InvalidMessage::TrailingData(row.name),
        }
    }
}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        let what = match excess.1 {
            Unit::Bytes => "bytes",
            Unit::Items => excess.0.items.1,
            Unit::Extensions => "extensions",
            Unit::Schemes => "signature schemes",
        };
        Error::Excess(excess.0.name, excess.most(), what)
    }
}

/// What [`Guard::check`] has found in what was encrypted.
pub(super) fn found(error: &InvalidMessage) -> Option<Error> {
    let (name, unit) = match *error {
        InvalidMessage::MissingData(name) => (name, Unit::Bytes),
        InvalidMessage::IllegalEmptyList(name) => (name, Unit::Items),
        InvalidMessage::UnexpectedMessage(name) => (name, Unit::Extensions),
        InvalidMessage::TrailingData(name) => (name, Unit::Schemes),
        _ => return None,
    };
    let row = ROWS.iter().chain([&OTHER, &RECORD]).find(|row| row.name == name)?;
    Some(Excess(row, unit).into())
}

/// A part of the stream that ends somewhere, and is read field by field.
#[derive(Clone, Copy)]
struct Level {
    fields: &'static [Field],
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
    row: &'static Row,
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
}

impl Guard {
    pub(super) fn new() -> Self {
        let record = Level { fields: &[Message], next: 0, items: Some(Unit::Items), count: 0, end: u16::MAX };
        Self { row: &RECORD, tls13: false, at: 0, pass: 0, number: 0, digits: 0, levels: [record; 6], depth: 0 }
    }

    /// Looks at a record with handshake messages, or parts of them, before rustls does.
    pub(super) fn check(&mut self, mut record: &[u8], tls13: bool) -> Result<(), Excess> {
        // rustls takes the version of a message's first record, and goes on with it until a record and a message end
        // together.
        if self.depth == 0 && self.digits == 0 {
            self.tls13 = tls13;
        }
        self.levels[0].count = 0;
        loop {
            if self.pass > 0 {
                let passed = usize::from(self.pass).min(record.len());
                record = &record[passed..];
                // Not more than `pass`.
                self.pass -= passed as u16;
                self.at += passed as u16;
                if self.pass > 0 {
                    return Ok(());
                }
            }
            let depth = usize::from(self.depth);
            let level = &mut self.levels[depth];
            let left = level.end - self.at;
            if left == 0 {
                self.leave();
                continue;
            }
            let Some(field) = level.fields.get(usize::from(level.next)) else {
                match level.items {
                    Some(_) => level.next = 0,
                    None => self.pass = left,
                }
                continue;
            };
            let Some((byte, rest)) = record.split_first() else { return Ok(()) };
            if level.next == 0
                && self.digits == 0
                && let Some(unit) = level.items
            {
                level.count += 1;
                let excess = Excess(if depth == 0 { &RECORD } else { self.row }, unit);
                if usize::from(level.count) > excess.most() {
                    return Err(excess);
                }
            }
            let width = match *field {
                Opaque(size) => {
                    level.next += 1;
                    self.pass = left.min(size.into());
                    continue;
                }
                Vector(width) | List(width, ..) => width,
                Extension(_) | Message => 4,
            };
            record = rest;
            self.number = self.number << 8 | u32::from(*byte);
            self.digits += 1;
            // What is in front of a message is not of it.
            self.at += u16::from(depth > 0);
            if self.digits == width {
                level.next += 1;
                self.enter(*field)?;
            }
        }
    }

    /// Goes into what has this length.
    fn enter(&mut self, field: Field) -> Result<(), Excess> {
        let number = self.number;
        (self.number, self.digits) = (0, 0);
        let (fields, len, items): (&'static [Field], _, _) = match field {
            Opaque(_) | Vector(_) => (&[], number, None),
            List(_, unit, fields) => (fields, number, Some(unit)),
            Extension(lists) => {
                let list = lists.iter().find(|(kind, _)| u32::from(*kind) == number >> 16);
                (list.map_or(&[], |(_, fields)| fields), number & 0xffff, None)
            }
            Message => {
                let kind = number >> 24;
                self.row = ROWS.iter().find(|row| u32::from(row.kind) == kind).unwrap_or(&OTHER);
                let len = number & 0xff_ffff;
                if len as usize > self.row.bytes.value() {
                    return Err(Excess(self.row, Unit::Bytes));
                }
                (self.row.body[usize::from(self.tls13)], len, None)
            }
        };
        // What is said to be longer than that around it, rustls refuses when it comes to it.
        let end =
            self.at + (self.levels[usize::from(self.depth)].end - self.at).min(u16::try_from(len).unwrap_or(u16::MAX));
        self.depth += 1;
        self.levels[usize::from(self.depth)] = Level { fields, next: 0, items, count: 0, end };
        Ok(())
    }

    fn leave(&mut self) {
        (self.number, self.digits) = (0, 0);
        self.depth -= 1;
        if self.depth == 0 {
            self.at = 0;
        }
    }
}
