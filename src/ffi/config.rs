//! What the application configured, copied out of C's memory.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

use zeroize::Zeroizing;

#[cfg(feature = "tls")]
use super::built_in;
use super::types::*;
use crate::client::{AuthMode, Config, Text};
use crate::log;
use crate::port::{Platform, Port, text};
use crate::protocol::topic::is_utf8_string;
use crate::transport::uri::{self, Uri, UriError};

/// Why init returns NULL; the log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)] // whole words are moved in less flash than bytes beside others
pub(super) enum InitError {
    NullConfig,
    NullUri,
    BadProtocol,
    BadClientId,
    BadAuthMode,
    NoMemory,
}

impl InitError {
    pub(super) fn log(self) {
        let text = match self {
            InitError::NullConfig => "no configuration",
            InitError::NullUri => "no URI",
            InitError::BadProtocol => uri::UNKNOWN_SCHEME,
            InitError::BadClientId => "the client id is not UTF-8",
            InitError::BadAuthMode => "auth_mode is not 0 to 3",
            InitError::NoMemory => "out of memory",
        };
        log::error(&[&"init: ", &text]);
    }
}

/// 0 in the configuration means this many seconds.
const DEFAULT_KEEP_ALIVE: u16 = 60;

/// Copies a C string to its place, where NULL leaves `None`. Not returned: an optional text in a `Result` is moved byte by
/// byte, in a quarter of the flash that all of init takes.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string.
unsafe fn copy(text: *const c_char, place: &mut Option<Text>) -> Result<(), InitError> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: not NULL, so a NUL-terminated string.
    put(unsafe { CStr::from_ptr(text) }.to_bytes(), place)
}

/// Copies a text to its place.
fn put(text: &[u8], place: &mut Option<Text>) -> Result<(), InitError> {
    *place = Text::copy(text);
    if place.is_some() { Ok(()) } else { Err(InitError::NoMemory) }
}

/// A part of the URI without its percent-encoding.
fn put_decoded(text: &str, place: &mut Option<Text>) -> Result<(), InitError> {
    // The text may be a password.
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.try_reserve_exact(text.len()).map_err(|_| InitError::NoMemory)?;
    bytes.extend(uri::decode(text));
    put(&bytes, place)
}

/// Copies a NULL-terminated array of C strings.
///
/// # Safety
/// `list` is NULL or points to such an array.
unsafe fn copy_list(list: *const *mut c_char, copies: &mut Vec<Text>) -> Result<(), InitError> {
    if list.is_null() {
        return Ok(());
    }
    for at in 0.. {
        let mut text = None;
        // SAFETY: the array goes on until its NULL, at which the loop ends.
        unsafe { copy(*list.add(at), &mut text) }?;
        let Some(text) = text else { break };
        copies.try_reserve(1).map_err(|_| InitError::NoMemory)?;
        copies.push(text);
    }
    Ok(())
}

/// The client identifier of an application that names none: chip name and three bytes of the MAC address, the first in
/// lower case (contract section 3).
fn put_default_client_id(place: &mut Option<Text>) -> Result<(), InitError> {
    const LOWER: &[u8; 16] = b"0123456789abcdef";
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    let [a, b, c] = Platform::unique_id();
    let mut id = [b'_'; 11];
    id[..4].copy_from_slice(b"W800");
    for (at, (byte, digits)) in [(a, LOWER), (b, UPPER), (c, UPPER)].into_iter().enumerate() {
        id[5 + 2 * at] = digits[usize::from(byte >> 4)];
        id[6 + 2 * at] = digits[usize::from(byte & 15)];
    }
    put(&id, place)
}

/// Copies and checks a configuration.
///
/// # Safety
/// `config` is NULL or points to a configuration whose pointers are NULL or valid as the header says.
pub(super) unsafe fn from_c(config: *const wm_mqtt_client_config_t) -> Result<Config, InitError> {
    // SAFETY: NULL or valid; enum and bool, which C may have set to anything, are `MaybeUninit` in it.
    let config = unsafe { config.as_ref() }.ok_or(InitError::NullConfig)?;
    // SAFETY: an enum of C has the size and alignment of an `unsigned int`, and C has initialised it.
    let mode = unsafe { config.auth_mode.as_ptr().cast::<u32>().read() };
    // SAFETY: as above, a bool of C is one byte.
    let debug = unsafe { config.debug.as_ptr().cast::<u8>().read() } != 0;
    // SAFETY: the caller vouches for each string; `ca`, `cert` and `key`, which may be blobs without a NUL where they
    // are not used, are read only where they are.
    unsafe {
        let (mut uri, mut client_id) = (None, None);
        copy(config.uri, &mut uri)?;
        // Filled in place: when a copy fails, dropping `ours` frees all copies before it.
        let mut ours = Config {
            uri: uri.ok_or(InitError::NullUri)?,
            client_id: Text::built_in(c""),
            username: None,
            password: None,
            auth_mode: AuthMode { verify: false, present: false },
            #[cfg(feature = "tls")]
            ca: None,
            #[cfg(feature = "tls")]
            cert: None,
            #[cfg(feature = "tls")]
            key: None,
            alpn: Vec::new(),
            will_topic: None,
            will_message: None,
            will_qos: config.will_qos,
            will_retain: config.will_retain != 0,
            keep_alive: if config.keep_alive == 0 { DEFAULT_KEEP_ALIVE } else { config.keep_alive },
            clean_session: config.clean_session != 0,
            debug,
        };
        let broker = text(&ours.uri).ok_or(UriError::BadHost).and_then(Uri::parse);
        if broker.is_err_and(|error| error == UriError::UnknownScheme) {
            return Err(InitError::BadProtocol);
        }
        ours.auth_mode = AuthMode::from_number(mode).ok_or(InitError::BadAuthMode)?;
        copy(config.client_id, &mut client_id)?;
        if client_id.is_none() {
            put_default_client_id(&mut client_id)?;
        }
        ours.client_id = client_id.filter(|id| is_utf8_string(id)).ok_or(InitError::BadClientId)?;
        copy(config.username, &mut ours.username)?;
        match broker.ok().and_then(|broker| broker.user_info) {
            Some(user_info) if ours.username.is_none() => {
                put_decoded(user_info.username, &mut ours.username)?;
                if let Some(password) = user_info.password {
                    put_decoded(password, &mut ours.password)?;
                }
            }
            _ => copy(config.password, &mut ours.password)?,
        }
        #[cfg(feature = "tls")]
        if broker.is_ok_and(|broker| broker.scheme.tls) {
            if ours.auth_mode.verify {
                copy(config.ca, &mut ours.ca)?;
                ours.ca = built_in::or_ca(ours.ca);
            }
            if ours.auth_mode.present {
                copy(config.cert, &mut ours.cert)?;
                copy(config.key, &mut ours.key)?;
                (ours.cert, ours.key) = built_in::or_identity((ours.cert, ours.key));
            }
        }
        copy_list(config.alpn, &mut ours.alpn)?;
        copy(config.will_topic, &mut ours.will_topic)?;
        copy(config.will_msg, &mut ours.will_message)?;
        Ok(ours)
    }
}
