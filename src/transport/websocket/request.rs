//! The upgrade request (RFC 6455 section 4.1).

use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use super::Error;
use crate::log::Say;
use crate::transport::uri::Uri;

/// What stands in Sec-WebSocket-Key: 16 bytes in Base64.
pub(super) type Key = [u8; 24];

/// The key from its 16 random bytes.
pub(super) fn key(nonce: &[u8; 16]) -> Key {
    let mut key = [0; 24];
    // cannot fail: the text is exactly that long
    let _ = Base64::encode(nonce, &mut key);
    key
}

/// More than the longest request without host and path.
pub(super) const MAX_REST: usize = 192;

/// Appends the request to `out`. The URI's user info is not in it: that is for MQTT.
pub(super) fn append(uri: &Uri<'_>, key: &Key, out: &mut Vec<u8>) -> Result<(), Error> {
    out.try_reserve(uri.path.len() + uri.host.len() + MAX_REST).map_err(|_| Error::NoMemory)?;
    let mut append = |text: &[u8]| out.extend_from_slice(text);
    append(b"GET ");
    if uri.path.bytes().next() != Some(b'/') {
        append(b"/");
    }
    append(uri.path.as_bytes());
    append(b" HTTP/1.1\r\nHost: ");
    let v6 = uri.host.bytes().any(|byte| byte == b':');
    if v6 {
        append(b"[");
    }
    append(uri.host.as_bytes());
    if v6 {
        append(b"]");
    }
    if uri.port != uri.scheme.default_port {
        append(b":");
        uri.port.say(&mut |digits| append(digits.as_bytes()));
    }
    append(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
    append(key);
    append(b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
    Ok(())
}
