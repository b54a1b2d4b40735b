//! What webpki does not tell of a certificate, and those of X.509 version 1, which it does not read. All bytes come through
//! `untrusted`, which webpki is built on.

use alloc::vec::Vec;
use core::fmt;

use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, IpAddr, ServerName, SignatureVerificationAlgorithm,
};
use untrusted::{EndOfInput, Input, Reader};

use super::error::Error;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
/// In a subject alternative name
const DNS_NAME: u8 = 0x82;
/// Likewise
const IP_ADDRESS: u8 = 0x87;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.3.6.1.5.5.7.3.1
pub(super) const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// Extensions, by their number under 2.5.29.
#[derive(Clone, Copy)]
pub(super) enum Extension {
    SubjectAltName = 17,
    BasicConstraints = 19,
    NameConstraints = 30,
    ExtendedKeyUsage = 37,
}

/// DER that is none.
#[derive(Debug)]
pub(super) struct Malformed;

impl From<Malformed> for webpki::Error {
    fn from(_: Malformed) -> Self {
        webpki::Error::BadDer
    }
}

type Element<'a> = (u8, &'a [u8]);

/// Reads one element: its tag and what is in it.
fn element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, EndOfInput> {
    let tag = reader.read_byte()?;
    let len = match reader.read_byte()? {
        len @ ..=0x7f => len.into(),
        0x81 => reader.read_byte()?.into(),
        0x82 => u16::from_be_bytes([reader.read_byte()?, reader.read_byte()?]).into(),
        _ => return Err(EndOfInput),
    };
    Ok((tag, reader.read_bytes(len)?.as_slice_less_safe()))
}

/// The elements of a value, up to one that is malformed.
struct Elements<'a>(Reader<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.at_end() {
            return None;
        }
        Some(element(&mut self.0).map_err(|EndOfInput| {
            self.0.skip_to_end();
            Malformed
        }))
    }
}

fn elements(value: &[u8]) -> Elements<'_> {
    Elements(Reader::new(Input::from(value)))
}

/// What is in the SEQUENCE that a value begins with.
fn inside(value: &[u8]) -> Result<&[u8], Malformed> {
    match elements(value).next() {
        Some(Ok((SEQUENCE, contents))) => Ok(contents),
        _ => Err(Malformed),
    }
}

/// What an extension of a certificate says, without the SEQUENCE around it.
pub(super) fn extension(certificate: &[u8], wanted: Extension) -> Result<Option<&[u8]>, Malformed> {
    for field in elements(inside(inside(certificate)?)?) {
        let (EXTENSIONS, extensions) = field? else { continue };
        for extension in elements(inside(extensions)?) {
            // Its name, whether it is critical, its value
            let mut parts = elements(extension?.1);
            let (_, name) = parts.next().unwrap_or(Err(Malformed))?;
            if name == [0x55, 0x1d, wanted as u8] {
                let (_, value) = parts.last().unwrap_or(Err(Malformed))?;
                return inside(value).map(Some);
            }
        }
    }
    Ok(None)
}

/// Whether a certificate says that it may issue others (RFC 5280 section 4.2.1.9). One of version 1 cannot say it: there it
/// is enough to have issued itself, as with OpenSSL.
pub(super) fn is_authority(certificate: &[u8]) -> Result<bool, Malformed> {
    let fields = inside(inside(certificate)?)?;
    if is_version_1(fields) {
        let mut fields = elements(fields);
        let (issuer, subject) = (fields.nth(2), fields.nth(1));
        return Ok(matches!((issuer, subject), (Some(Ok(issuer)), Some(Ok(subject))) if issuer == subject));
    }
    let constraints = extension(certificate, Extension::BasicConstraints)?.unwrap_or_default();
    Ok(matches!(elements(constraints).next().transpose()?, Some((BOOLEAN, [1..=0xff]))))
}

/// Whether a certificate may be a server's, as far as its extended key usage goes.
pub(super) fn is_for_servers(certificate: &[u8]) -> Result<bool, Malformed> {
    let Some(purposes) = extension(certificate, Extension::ExtendedKeyUsage)? else { return Ok(true) };
    for purpose in elements(purposes) {
        if purpose?.1 == SERVER_AUTH {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this host is among the names of a subject alternative name.
pub(super) fn is_among(names: &[u8], host: &ServerName<'_>) -> Result<bool, Malformed> {
    for name in elements(names) {
        let found = match (name?, host) {
            ((DNS_NAME, name), ServerName::DnsName(host)) => covers(name, host.as_ref()),
            ((IP_ADDRESS, name), ServerName::IpAddress(IpAddr::V4(host))) => name == host.as_ref(),
            ((IP_ADDRESS, name), ServerName::IpAddress(IpAddr::V6(host))) => name == host.as_ref(),
            _ => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the common name of a subject, the last one, is this host's.
pub(super) fn is_common_name(subject: &[u8], host: &ServerName<'_>) -> Result<bool, Malformed> {
    let mut last = None;
    for relative in elements(subject) {
        for attribute in elements(relative?.1) {
            let mut parts = elements(attribute?.1);
            if matches!(parts.next().transpose()?, Some((_, COMMON_NAME))) {
                last = parts.next().transpose()?;
            }
        }
    }
    // The other kinds of strings are not ASCII: what says something else in them may have a host's bytes.
    let Some((UTF8_STRING | PRINTABLE_STRING | TELETEX_STRING | IA5_STRING, name)) = last else { return Ok(false) };
    Ok(match host {
        ServerName::DnsName(host) => covers(name, host.as_ref()),
        ServerName::IpAddress(host) => core::str::from_utf8(name).is_ok_and(|name| IpAddr::try_from(name) == Ok(*host)),
        _ => false,
    })
}

/// Whether a certificate's name covers this host: it is the same one, or has `*` in place of its first label and at least two
/// others.
fn covers(name: &[u8], host: &str) -> bool {
    let Some(behind) = name.strip_prefix(b"*.") else { return name.eq_ignore_ascii_case(host.as_bytes()) };
    let Some((_, domain)) = host.split_once('.') else { return false };
    behind.contains(&b'.') && behind.eq_ignore_ascii_case(domain.as_bytes())
}

/// Serial number, signature's algorithm, issuer, validity, subject, key, and nothing else.
fn is_version_1(fields: &[u8]) -> bool {
    let tags = elements(fields).map(|field| field.map_or(0, |(tag, _)| tag));
    tags.eq([INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE])
}

/// A certificate of version 1.
pub(super) struct Version1<'a> {
    /// The same as one of version 3 without extensions, which webpki reads.
    pub(super) certificate: CertificateDer<'static>,
    /// What its issuer has signed.
    signed: &'a [u8],
}

impl<'a> Version1<'a> {
    /// `None` if it is none.
    pub(super) fn read(certificate: &'a [u8]) -> Result<Option<Self>, Error> {
        const VERSION_3: &[u8] = &[0xa0, 3, INTEGER, 1, 2];
        let mut whole = elements(certificate);
        let (Some(Ok((SEQUENCE, parts))), None) = (whole.next(), whole.next()) else { return Ok(None) };
        let mut reader = Reader::new(Input::from(parts));
        let Ok((signed, (_, fields))) = reader.read_partial(element) else { return Ok(None) };
        let rest = reader.read_bytes_to_end().as_slice_less_safe();
        if !is_version_1(fields) {
            return Ok(None);
        }
        let fields = sequence(&[VERSION_3, fields])?;
        let certificate = sequence(&[&fields, rest])?;
        Ok(Some(Self { certificate: certificate.into(), signed: signed.as_slice_less_safe() }))
    }

    /// The same algorithms, for the signature in such a certificate.
    pub(super) fn algorithms<'b>(
        &'b self,
        all: &[&'b dyn SignatureVerificationAlgorithm],
    ) -> Result<Vec<AsSigned<'b>>, Error> {
        let mut algorithms = Vec::new();
        algorithms.try_reserve_exact(all.len()).map_err(|_| Error::NoMemory)?;
        algorithms.extend(all.iter().map(|algorithm| AsSigned { algorithm: *algorithm, signed: self.signed }));
        Ok(algorithms)
    }
}

/// A SEQUENCE of these parts.
fn sequence(parts: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let [.., high, low] = len.to_be_bytes();
    let header: &[u8] = match len {
        ..0x80 => &[SEQUENCE, low],
        0x80..0x100 => &[SEQUENCE, 0x81, low],
        // One that is longer webpki does not read.
        _ => &[SEQUENCE, 0x82, high, low],
    };
    let mut sequence = Vec::new();
    sequence.try_reserve_exact(header.len() + len).map_err(|_| Error::NoMemory)?;
    sequence.extend_from_slice(header);
    for part in parts {
        sequence.extend_from_slice(part);
    }
    Ok(sequence)
}

/// An algorithm that verifies what was signed, whatever webpki takes for it.
pub(super) struct AsSigned<'a> {
    algorithm: &'a dyn SignatureVerificationAlgorithm,
    signed: &'a [u8],
}

impl fmt::Debug for AsSigned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsSigned")
    }
}

impl SignatureVerificationAlgorithm for AsSigned<'_> {
    fn verify_signature(&self, key: &[u8], _: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.algorithm.verify_signature(key, self.signed, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use std::vec;

    use super::*;

    /// Asks everything of it.
    fn ask(certificate: &[u8]) {
        let hosts = ["broker.example", "192.0.2.1", "::1"].map(|host| ServerName::try_from(host).unwrap());
        let _ = (is_authority(certificate), is_for_servers(certificate), Version1::read(certificate));
        for wanted in [Extension::SubjectAltName, Extension::NameConstraints] {
            let _ = extension(certificate, wanted).map(|names| names.map(|names| is_among(names, &hosts[0])));
        }
        for host in &hosts {
            let _ = (is_among(certificate, host), is_common_name(certificate, host));
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            ask(&bytes);
        }

        #[test]
        fn changed_certificates(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10)) {
            let mut params = CertificateParams::new(vec!["broker.example".into(), "192.0.2.1".into()]).unwrap();
            params.is_ca = IsCa::ExplicitNoCa;
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let mut certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            for (at, byte) in changes {
                let at = at.index(certificate.len());
                certificate[at] = byte;
            }
            ask(&certificate);
        }
    }

    #[test]
    fn lengths() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let whole = sequence(&[&vec![5; len / 2], &vec![5; len - len / 2]]).unwrap();
            assert_eq!(inside(&whole).unwrap(), vec![5; len]);
            assert_eq!(elements(&whole).count(), 1);
            assert!(inside(&whole[..whole.len() - 1]).is_err());
        }
        // As webpki and all others read them, and not without an end.
        assert!(inside(&[SEQUENCE, 0x80, 0, 0]).is_err() && inside(&[SEQUENCE, 0x83, 0, 0, 0]).is_err());
    }
}
