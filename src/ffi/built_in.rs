//! Certificates and key that are part of the program: `mqtt_client_tls_ca`, `_cert` and `_key` (contract section 3). An
//! application defines its own; `mqtt_client_tls.c` has empty ones for those that don't.

use crate::client::Text;

/// `ca`, or the program's.
pub(super) fn or_ca(ca: Option<Text>) -> Option<Text> {
    ca.or_else(symbols::ca)
}

/// `cert` and `key`, or the program's: only as a pair.
pub(super) fn or_identity(identity: (Option<Text>, Option<Text>)) -> (Option<Text>, Option<Text>) {
    match identity {
        (None, None) => (symbols::cert(), symbols::key()),
        identity => identity,
    }
}

mod symbols {
    use core::ffi::{CStr, c_char};
    use core::hint::black_box;

    use super::Text;

    unsafe extern "C" {
        static mqtt_client_tls_ca: c_char;
        static mqtt_client_tls_cert: c_char;
        static mqtt_client_tls_key: c_char;
    }

    /// The text of a symbol; `None` for an empty one.
    ///
    /// # Safety
    /// It must point to a string that lives as long as the program.
    unsafe fn text(symbol: *const c_char) -> Option<Text> {
        // The compiler need not know that this is declared as one character.
        // SAFETY: the caller vouches for it.
        let text: &'static CStr = unsafe { CStr::from_ptr(black_box(symbol)) };
        (!text.is_empty()).then(|| Text::built_in(text))
    }

    pub(super) fn ca() -> Option<Text> {
        // SAFETY: the program's constant.
        unsafe { text(&raw const mqtt_client_tls_ca) }
    }

    pub(super) fn cert() -> Option<Text> {
        // SAFETY: the program's constant.
        unsafe { text(&raw const mqtt_client_tls_cert) }
    }

    pub(super) fn key() -> Option<Text> {
        // SAFETY: the program's constant.
        unsafe { text(&raw const mqtt_client_tls_key) }
    }
}
