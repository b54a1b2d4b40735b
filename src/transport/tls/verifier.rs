//! Who the server may be.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::log;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::clock::{BUILD_TIME, is_set};
use super::config::{certificates, push};
use super::error::Error;
use super::provider::{UNVERIFIED, lacking};

/// Whom a handle trusts.
pub(super) struct Trust {
    anchors: Cow<'static, [TrustAnchor<'static>]>,
    /// SHA-256 of the certificates in `ca`, to recognise a server that presents one of them itself.
    fingerprints: Vec<[u8; SHA256_OUTPUT_LEN]>,
}

impl Trust {
    /// The certificates of `ca`; without it the public authorities, if there are any.
    pub(super) fn new(ca: Option<&[u8]>, authorities: &'static [TrustAnchor<'static>]) -> Result<Self, Error> {
        let Some(ca) = ca else {
            if authorities.is_empty() {
                return Err(Error::Setup("no `ca` to verify the server against"));
            }
            log::debug(&[&"certificates trusted: the public authorities"]);
            return Ok(Self { anchors: authorities.into(), fingerprints: Vec::new() });
        };
        let (mut anchors, mut fingerprints) = (Vec::new(), Vec::new());
        for certificate in certificates(ca) {
            let Ok(certificate) = certificate else { return Err(Error::Setup("`ca` is not PEM")) };
            let anchor = anchor_from_trusted_cert(&certificate);
            if let Some(kind) = anchor.as_ref().ok().and_then(|anchor| lacking(&anchor.subject_public_key_info)) {
                log::warn(&[&"a certificate in `ca` has a key of a kind that this library was built without: ", &kind]);
            }
            match anchor {
                Ok(anchor) if is_authority(&certificate) => push(&mut anchors, anchor.to_owned())?,
                // Trusted for itself only.
                Ok(_) => {}
                Err(_) => {
                    // Whoever it signed is refused for want of an issuer.
                    log::warn(&[&"a certificate in `ca` is of no use: malformed"]);
                    continue;
                }
            }
            push(&mut fingerprints, fingerprint(&certificate))?;
        }
        if fingerprints.is_empty() {
            return Err(Error::Setup("no certificate in `ca`"));
        }
        log::debug(&[&"certificates trusted: ", &fingerprints.len()]);
        Ok(Self { anchors: anchors.into(), fingerprints })
    }

    fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.fingerprints.contains(&fingerprint(certificate))
    }
}

/// Whether a certificate may be an issuer's: one that says so, or of X.509 version 1, which cannot say it.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return true };
    // That it is no server's is what webpki says of it first, on a day on which it is valid.
    let error_on = |time| certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err();
    let error = match error_on(UnixTime::since_unix_epoch(Duration::ZERO)) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => error_on(not_before),
        error => error,
    };
    error == Some(webpki::Error::CaUsedAsEndEntity)
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; SHA256_OUTPUT_LEN] {
    let mut fingerprint = [0; SHA256_OUTPUT_LEN];
    fingerprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
    fingerprint
}

/// Verifies chain, dates and name.
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms }
    }

    /// Checks a certificate at this time.
    fn check_at(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        time: UnixTime,
    ) -> Result<(), webpki::Error> {
        let server = EndEntityCert::try_from(certificate)?;
        // A certificate that is in `ca` itself needs no issuer, so it is checked as one that has none: webpki looks at its
        // dates and purpose first. Many brokers sign their certificate themselves, and tools make that one a CA.
        let pinned = self.trust.contains(certificate);
        let (anchors, intermediates) =
            if pinned { (&[][..], &[][..]) } else { (&self.trust.anchors[..], intermediates) };
        let usage = KeyUsage::server_auth();
        match server.verify_for_usage(self.algorithms.all, anchors, intermediates, time, usage, None, None) {
            Ok(_) => {}
            Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) if pinned => {}
            Err(error) => return Err(error),
        }
        server.verify_is_valid_for_subject_name(name)
    }

    /// As [`Self::check_at`], for a clock that may not have been set yet: then it is at least as late as this library
    /// was built, and as late as the certificates were issued.
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        if is_set(now.as_secs()) {
            return self.check_at(certificate, intermediates, name, now);
        }
        log::warn(&[&"the clock is not set: certificates are checked at the date of this library's build"]);
        let mut time = UnixTime::since_unix_epoch(Duration::from_secs(BUILD_TIME));
        // Once for each certificate that may be younger than this library.
        for _ in 0..=intermediates.len() {
            match self.check_at(certificate, intermediates, name, time) {
                Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
                    log::warn(&[&"the clock is not set: checking at a certificate's first day"]);
                    time = not_before;
                }
                result => return result,
            }
        }
        self.check_at(certificate, intermediates, name, time)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(certificate, intermediates, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(rustls::Error::InvalidCertificate(for_rustls(&error))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The error that makes rustls send the alert that fits.
fn for_rustls(error: &webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertNotValidForName(_) => CertificateError::NotValidForName,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        // A CA's certificate that we were not given ourselves.
        E::CaUsedAsEndEntity => CertificateError::UnknownIssuer,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::EndEntityUsedAsCa | E::PathLenConstraintViolated | E::NameConstraintViolation => {
            CertificateError::ApplicationVerificationFailure
        }
        E::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        E::BadDer | E::BadDerTime | E::TrailingData(_) | E::UnsupportedCertVersion => CertificateError::BadEncoding,
        _ => CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: Vec::new(),
            supported_algorithms: Vec::new(),
        },
    }
}

/// Accepts every server, and does not even parse what it presents: certificates of version 1, with old hashes or short
/// keys are as good as none.
pub(super) struct AcceptAnything(pub(super) WebPkiSupportedAlgorithms);

impl fmt::Debug for AcceptAnything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptAnything")
    }
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.0.supported_schemes();
        schemes.extend(UNVERIFIED);
        schemes
    }
}
