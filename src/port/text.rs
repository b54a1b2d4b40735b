//! Texts from bytes.

use crate::protocol::is_utf8;

/// The text, if it is one: with a check that takes less flash than that of Rust's library.
pub fn from_utf8(text: &[u8]) -> Option<&str> {
    // SAFETY: just checked.
    is_utf8(text).then(|| unsafe { core::str::from_utf8_unchecked(text) })
}
