//! What a server does against the rules while nothing is lost, doubled or forged by it: the connection goes on, and the log says
//! it once for each type of packet.

use super::decode::kind;
use super::packet::{first_byte, packet_name};
use crate::log;

/// What was told on this connection: a bit for each type of packet.
pub(super) struct Warnings(u16);

impl Warnings {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Tells what is wrong with a packet of this type, and the number that is wrong in it.
    pub(super) fn tell(&mut self, kind: u8, number: u16) {
        let told = self.0;
        self.0 |= 1 << kind;
        if told != self.0 {
            let what = if kind <= kind::PUBLISH {
                " with flags "
            } else if kind == first_byte::SUBSCRIBE >> 4 {
                " refused with code "
            } else {
                " with unexpected id "
            };
            log::warn(&[&packet_name(kind << 4), &what, &number]);
        }
    }
}
