//! Text out of bytes.

use crate::protocol::topic::is_utf8_string;

/// The text that `bytes` are, if they are one without a NUL. [`core::str::from_utf8`] is made for long texts: it would take 650
/// bytes of flash, with its table.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    // SAFETY: it is well-formed UTF-8.
    is_utf8_string(bytes).then(|| unsafe { core::str::from_utf8_unchecked(bytes) })
}
