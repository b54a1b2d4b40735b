//! Certificates and keys out of PEM texts (RFC 7468), which are read as OpenSSL reads them.

use alloc::vec::Vec;
use core::mem::take;

use base64ct::{Base64, Encoding};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::Error;
use crate::log;

/// The certificates of a text; other sections are skipped. `broken` says what is wrong with a text that is no PEM.
pub(super) fn certificates(text: &[u8], broken: Error) -> impl Iterator<Item = Result<CertificateDer<'static>, Error>> {
    sections(text).filter_map(move |section| {
        let Ok((label, body)) = section else { return Some(Err(broken)) };
        match label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Some(decode(body, broken).map(CertificateDer::from)),
            // With more behind it that says what it may be used for
            b"TRUSTED CERTIFICATE" => {
                log::warn(&[&"a certificate is left out: `TRUSTED CERTIFICATE` is OpenSSL's own format"]);
                None
            }
            _ => None,
        }
    })
}

/// The first key of a text.
pub(super) fn key(text: &[u8], broken: Error) -> Result<PrivateKeyDer<'static>, Error> {
    for section in sections(text) {
        let (label, body) = section.map_err(|Broken| broken)?;
        let kind: fn(Vec<u8>) -> PrivateKeyDer<'static> = match label {
            b"PRIVATE KEY" => |key| PrivateKeyDer::Pkcs8(key.into()),
            b"RSA PRIVATE KEY" => |key| PrivateKeyDer::Pkcs1(key.into()),
            b"EC PRIVATE KEY" => |key| PrivateKeyDer::Sec1(key.into()),
            _ => continue,
        };
        return decode(body, broken).map(kind);
    }
    Err(broken)
}

/// A section that has no end.
struct Broken;

/// Labels and bodies.
fn sections(mut text: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), Broken>> {
    core::iter::from_fn(move || {
        let label = loop {
            match boundary(line(&mut text)?, b"-----BEGIN ") {
                Some(Ok(label)) => break label,
                Some(Err(broken)) => return Some(Err(broken)),
                None => {}
            }
        };
        let body = text;
        loop {
            let behind = text.len();
            let Some(line) = line(&mut text) else { return Some(Err(Broken)) };
            if line.starts_with(b"-----BEGIN ") {
                return Some(Err(Broken));
            }
            if matches!(boundary(line, b"-----END "), Some(Ok(end)) if end == label) {
                return Some(Ok((label, &body[..body.len() - behind])));
            }
        }
    })
}

/// The label in this line, if it is such a boundary.
fn boundary<'a>(line: &'a [u8], begin: &[u8]) -> Option<Result<&'a [u8], Broken>> {
    let label = line.strip_prefix(begin)?;
    Some(label.strip_suffix(b"-----").ok_or(Broken))
}

/// Takes the next line off a text, without what is around it: blanks, a NUL, and what is not ASCII, such as a byte order mark
/// or a no-break space.
fn line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let (mut line, rest) = text.split_at(end.unwrap_or(text.len()));
    *text = rest.get(1..).unwrap_or_default();
    let is_around = |byte: &u8| !byte.is_ascii_graphic();
    while let [first, rest @ ..] = line
        && is_around(first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_around(last)
    {
        line = rest;
    }
    Some(line)
}

/// What a section's body says in Base64.
fn decode(mut body: &[u8], broken: Error) -> Result<Vec<u8>, Error> {
    // It may be a key.
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.try_reserve_exact(body.len()).map_err(|_| Error::NoMemory)?;
    while let Some(line) = line(&mut body) {
        bytes.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }
    let len = Base64::decode_in_place(&mut bytes).map_err(|_| broken)?.len();
    bytes.truncate(len);
    Ok(take(&mut *bytes))
}
