//! Certificates taken apart and put together again, as no tool makes them.

use rcgen::{KeyPair, SigningKey};

use crate::certificates::{Authority, Identity, issue};

/// Where a certificate of version 3 that is signed has its fields, of which the extensions are the last.
pub(crate) mod field {
    pub(crate) const VERSION: usize = 0;
    pub(crate) const ISSUER: usize = 3;
    pub(crate) const VALIDITY: usize = 4;
    pub(crate) const SUBJECT: usize = 5;
    pub(crate) const KEY: usize = 6;
    pub(crate) const EXTENSIONS: usize = 7;
}

/// An element.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let [.., high, low] = value.len().to_be_bytes();
    let header: &[u8] = match value.len() {
        0..0x80 => &[tag, low],
        0x80..0x100 => &[tag, 0x81, low],
        0x100..0x1_0000 => &[tag, 0x82, high, low],
        _ => panic!("too long"),
    };
    [header, &value].concat()
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

/// The elements in an element.
pub(crate) fn parts(element: &[u8]) -> Vec<Vec<u8>> {
    let contents = |bytes: &[u8]| match bytes[1] {
        len @ ..=0x7f => (2, usize::from(len)),
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        _ => panic!("too long"),
    };
    let (mut at, mut parts) = (contents(element).0, Vec::new());
    while at < element.len() {
        let (header, len) = contents(&element[at..]);
        parts.push(element[at..at + header + len].to_vec());
        at += header + len;
    }
    parts
}

/// A subject: each of these common names, with the tag of its kind of string.
pub(crate) fn subject(names: &[(u8, &[u8])]) -> Vec<u8> {
    let name = |(tag, name): &(u8, &[u8])| {
        let attribute = sequence(&[&element(6, &[&[0x55, 4, 3]]), &element(*tag, &[name])]);
        element(0x31, &[&attribute])
    };
    sequence(&[&names.iter().flat_map(name).collect::<Vec<_>>()])
}

/// A server's certificate with other fields, signed by this key.
pub(crate) fn signed(mut server: Identity, key: &KeyPair, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Identity {
    let whole = parts(&server.chain[0]);
    let mut fields = parts(&whole[0]);
    change(&mut fields);
    let fields = sequence(&[&fields.concat()]);
    let signature = element(3, &[&[0], &key.sign(&fields).unwrap()]);
    server.replace(sequence(&[&fields, &whole[1], &signature]));
    server
}

/// A certificate with other fields, by this authority.
pub(crate) fn issue_with(issuer: &Authority, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Identity {
    signed(issue(issuer, |_| {}), issuer.key(), change)
}

/// Makes the fields those of version 1, with this subject.
pub(crate) fn make_version_1(fields: &mut Vec<Vec<u8>>, common_name: &str) {
    fields[field::SUBJECT] = subject(&[(0x0c, common_name.as_bytes())]);
    fields.truncate(field::EXTENSIONS);
    fields.remove(field::VERSION);
}

/// One of version 1, as `openssl x509 -req` makes it before 3.2.
pub(crate) fn version_1(issuer: &Authority, common_name: &str) -> Identity {
    issue_with(issuer, |fields| make_version_1(fields, common_name))
}
