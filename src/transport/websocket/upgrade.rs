//! The server's answer to the upgrade request (RFC 6455 section 4.1).

use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use httparse::{EMPTY_HEADER, Response, Status};
use sha1_smol::Sha1;

use super::Error;
use super::request::Key;
use crate::log;

/// Longest head of an HTTP answer, with the heads of interim answers before it.
const MAX_HEAD: usize = 8192;
/// Most header fields: half a kilobyte of the device's stack. Answers through a proxy have up to 20.
const MAX_FIELDS: usize = 32;

/// The header fields that matter. The first of them must be there; the subprotocol should be.
static FIELDS: [&str; 5] =
    ["Connection", "Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];
const SUBPROTOCOL: usize = 3;

/// Waits for the answer.
pub(super) struct Upgrade {
    /// What Sec-WebSocket-Accept must say.
    accept: [u8; 28],
    head: Vec<u8>,
    /// How many more bytes are taken.
    room: usize,
    /// Nothing stands in the head's last line so far.
    blank: bool,
}

impl Upgrade {
    pub(super) fn new(key: &Key) -> Self {
        let mut sha1 = Sha1::new();
        sha1.update(key);
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let mut accept = [0; 28];
        // cannot fail: 20 bytes are exactly that long
        let _ = Base64::encode(&sha1.digest().bytes(), &mut accept);
        Self { accept, head: Vec::new(), room: MAX_HEAD, blank: false }
    }

    /// Takes bytes off `input` up to the end of the head; whether it is there and accepts the upgrade.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<bool, Error> {
        loop {
            let end = input.iter().position(|byte| self.is_end(*byte));
            let (part, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
            *input = rest;
            self.room = self.room.checked_sub(part.len()).ok_or(Error::HeadTooLong)?;
            self.head.try_reserve(part.len()).map_err(|_| Error::NoMemory)?;
            self.head.extend_from_slice(part);
            if end.is_none() {
                return Ok(false);
            }
            if check(&self.head, &self.accept)? {
                return Ok(true);
            }
            self.head.clear();
            self.blank = false;
        }
    }

    /// Whether the head's next byte ends a blank line.
    fn is_end(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => core::mem::replace(&mut self.blank, true),
            // the parser refuses one that stands elsewhere than at the end of a line
            b'\r' => false,
            _ => {
                self.blank = false;
                false
            }
        }
    }
}

/// Whether this head accepts the upgrade; `false` for an interim answer, behind which the final one comes (RFC 9110 section
/// 15.2). Not inlined: the array must be off the stack when frames are received.
#[inline(never)]
fn check(head: &[u8], accept: &[u8]) -> Result<bool, Error> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut response = Response::new(&mut fields);
    let parsed = response.parse(head);
    // The status says more than a fault in the fields behind it.
    match response.code {
        Some(101) | None => {}
        Some(100..=199) => return Ok(false),
        Some(status) => return Err(Error::Status(status)),
    }
    match parsed {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Error::Answer("more than 32 header fields")),
        _ => return Err(Error::Answer("not in HTTP/1.1")),
    }
    if response.version != Some(1) {
        return Err(Error::Answer("not in HTTP/1.1"));
    }
    // A field may be repeated (by a proxy, say), but must not say anything else then.
    let mut found = [false; SUBPROTOCOL + 1];
    for field in response.headers.iter() {
        let Some(at) = FIELDS.iter().position(|name| name.eq_ignore_ascii_case(field.name)) else { continue };
        let good = match at {
            // a list, which proxies add to
            0 => field.value.split(|c| *c == b',').any(|v| v.trim_ascii().eq_ignore_ascii_case(b"upgrade")),
            1 => field.value.eq_ignore_ascii_case(b"websocket"),
            2 => field.value == accept,
            // [MQTT-6.0.0-4]
            SUBPROTOCOL => field.value == b"mqtt",
            // we have not asked for any
            _ => field.value.is_empty(),
        };
        match found.get_mut(at) {
            Some(found) if good => *found = true,
            _ if good || at == 0 => {}
            _ => return Err(Error::Field(FIELDS[at])),
        }
    }
    match found.iter().position(|found| !found) {
        None => {}
        // MQTT wants it [MQTT-6.0.0-4], RFC 6455 section 4.1 lets a server leave it out
        Some(SUBPROTOCOL) => log::warn(&[&"WebSocket: no ", &FIELDS[SUBPROTOCOL], &" in the answer"]),
        Some(at) => return Err(Error::Field(FIELDS[at])),
    }
    Ok(true)
}
