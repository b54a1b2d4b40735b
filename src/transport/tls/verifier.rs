//! Who the server may be.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::log;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, InvalidNameContext, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath, anchor_from_trusted_cert,
};

use super::certificate::{self, Extension, SERVER_AUTH, Version1};
use super::clock::{BUILD_TIME, is_set};
use super::error::Error;
use super::pem;
use super::provider::{UNVERIFIED, lacking};
use crate::memory::{copy, push};

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
        for (number, certificate) in (1_usize..).zip(pem::certificates(ca, Error::Setup("`ca` is not PEM"))) {
            let certificate = certificate?;
            let (Ok(anchor), Ok(is_authority)) =
                (anchor_from_trusted_cert(&certificate), certificate::is_authority(&certificate))
            else {
                // Whoever it signed is refused for want of an issuer.
                log::warn(&[&"certificate ", &number, &" in `ca` is of no use: malformed"]);
                continue;
            };
            if let Some(kind) = lacking(&anchor.subject_public_key_info) {
                log::warn(&[&"a certificate in `ca` has a key of a kind that this library was built without: ", &kind]);
            }
            // Any other one is trusted for itself only.
            if is_authority {
                push(&mut anchors, owned(&anchor)?)?;
            }
            push(&mut fingerprints, fingerprint(&certificate))?;
        }
        if fingerprints.is_empty() {
            return Err(Error::Setup("no certificate in `ca`"));
        }
        log::debug(&[&"certificates trusted: ", &fingerprints.len()]);
        Ok(Self { anchors: anchors.into(), fingerprints })
    }

    /// Whether the application has named whom it trusts, and not the public authorities.
    fn is_own(&self) -> bool {
        !self.fingerprints.is_empty()
    }

    fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.fingerprints.contains(&fingerprint(certificate))
    }
}

/// What `TrustAnchor::to_owned` does, if there is memory for it.
fn owned(anchor: &TrustAnchor<'_>) -> Result<TrustAnchor<'static>, Error> {
    Ok(TrustAnchor {
        subject: copy(&anchor.subject)?.into(),
        subject_public_key_info: copy(&anchor.subject_public_key_info)?.into(),
        name_constraints: match &anchor.name_constraints {
            Some(constraints) => Some(copy(constraints)?.into()),
            None => None,
        },
    })
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

    /// Checks the server at this time.
    fn check_at(&self, server: &Server<'_>, name: &ServerName<'_>, time: UnixTime) -> Result<(), webpki::Error> {
        let Server { certificate, algorithms, anchors, intermediates, pinned } = *server;
        let parsed = EndEntityCert::try_from(certificate)?;
        let constrained =
            match parsed.verify_for_usage(algorithms, anchors, intermediates, time, ForServers, None, None) {
                Ok(path) => is_constrained(&path)?,
                // webpki looks at its dates first, and at the purpose of what is no CA's.
                Err(webpki::Error::UnknownIssuer) if pinned => false,
                Err(webpki::Error::CaUsedAsEndEntity) if pinned => {
                    if !certificate::is_for_servers(certificate)? {
                        return Err(not_for_servers());
                    }
                    false
                }
                Err(error) => return Err(error),
            };
        match certificate::extension(certificate, Extension::SubjectAltName)? {
            // webpki would list them all in its error.
            Some(names) if certificate::is_among(names, name)? => parsed.verify_is_valid_for_subject_name(name),
            None if self.trust.is_own() && !constrained && certificate::is_common_name(parsed.subject(), name)? => {
                log::warn(&[&"the server's certificate has no subject alternative name: its common name was compared"]);
                Ok(())
            }
            _ => Err(webpki::Error::CertNotValidForName(InvalidNameContext {
                expected: name.to_owned(),
                presented: Vec::new(),
            })),
        }
    }

    /// As [`Self::check_at`], for a clock that may not have been set yet: then it is at least as late as this library
    /// was built, and as late as the certificates were issued.
    fn check(&self, server: &Server<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        if is_set(now.as_secs()) {
            return self.check_at(server, name, now);
        }
        log::warn(&[&"the clock is not set: certificates are checked at the date of this library's build"]);
        let mut time = UnixTime::since_unix_epoch(Duration::from_secs(BUILD_TIME));
        // Once for each certificate that may be younger than this library.
        for _ in 0..=server.intermediates.len() {
            match self.check_at(server, name, time) {
                Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
                    log::warn(&[&"the clock is not set: checking at a certificate's first day"]);
                    time = not_before;
                }
                result => return result,
            }
        }
        self.check_at(server, name, time)
    }

    /// Checks what a server presents.
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let mut server = Server {
            certificate,
            algorithms: self.algorithms.all,
            anchors: &self.trust.anchors,
            intermediates,
            pinned: self.trust.contains(certificate),
        };
        // The public authorities issue no such certificates.
        let version_1 = if self.trust.is_own() { Version1::read(certificate)? } else { None };
        let signed;
        let mut algorithms = Vec::<&dyn SignatureVerificationAlgorithm>::new();
        if let Some(version_1) = &version_1 {
            signed = version_1.algorithms(self.algorithms.all)?;
            for algorithm in &signed {
                push(&mut algorithms, algorithm).map_err(Error::from)?;
            }
            server.certificate = &version_1.certificate;
            server.algorithms = &algorithms;
            // Only whom the application trusts may issue them.
            server.intermediates = &[];
        }
        if server.pinned {
            // It needs no issuer, so it is checked as one that has none. Many brokers sign their certificate themselves, and
            // tools make that one a CA.
            (server.anchors, server.intermediates) = (&[], &[]);
        }
        self.check(&server, name, now).map_err(|error| rustls::Error::InvalidCertificate(for_rustls(&error)))?;
        if version_1.is_some() {
            log::warn(&[&"the server's certificate is of X.509 version 1"]);
        }
        Ok(())
    }
}

/// What a server presents, and what that is checked with.
struct Server<'a> {
    certificate: &'a CertificateDer<'a>,
    algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    anchors: &'a [TrustAnchor<'static>],
    intermediates: &'a [CertificateDer<'a>],
    /// It is in `ca` itself.
    pinned: bool,
}

/// Whether an issuer is bound to some names: those must not be evaded by a common name.
fn is_constrained(path: &VerifiedPath<'_>) -> Result<bool, webpki::Error> {
    if path.anchor().name_constraints.is_some() {
        return Ok(true);
    }
    for issuer in path.intermediate_certificates() {
        if certificate::extension(&issuer.der(), Extension::NameConstraints)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What `KeyUsage::server_auth` does, without a list of all other purposes in its error.
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut any = false;
        for purpose in purposes {
            if purpose? == KeyPurposeId::new(SERVER_AUTH) {
                return Ok(());
            }
            any = true;
        }
        if any { Err(not_for_servers()) } else { Ok(()) }
    }
}

fn not_for_servers() -> webpki::Error {
    webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
        required: KeyUsage::server_auth(),
        present: Vec::new(),
    })
}

impl Verifier {
    /// Verifies what the server has signed in its handshake, by the first so many algorithms of the scheme that fit its key. This
    /// is what `rustls::crypto::verify_tls12_signature` and its like do, without all of webpki's errors: 1,000 bytes of flash.
    fn verify_signed(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
        candidates: usize,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let wrong = |error: webpki::Error| rustls::Error::InvalidCertificate(for_rustls(&error));
        let version_1 = Version1::read(certificate)?;
        let certificate = version_1.as_ref().map_or(certificate, |version_1| &version_1.certificate);
        let certificate = EndEntityCert::try_from(certificate).map_err(wrong)?;
        let Some((_, algorithms)) = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme)
        else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        let mut result = Err(webpki::Error::InvalidSignatureForPublicKey);
        for algorithm in algorithms.iter().take(candidates) {
            result = certificate.verify_signature(*algorithm, message, signature.signature());
            if !matches!(result, Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_))) {
                break;
            }
        }
        result.map(|()| HandshakeSignatureValid::assertion()).map_err(wrong)
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
        self.verify(certificate, intermediates, name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signed(message, certificate, signature, usize::MAX)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        use SignatureScheme as S;
        // There RSA signs with PSS alone (RFC 8446 section 4.4.3).
        if matches!(signature.scheme, S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        // And its names of schemes say which curve.
        self.verify_signed(message, certificate, signature, 1)
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
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::EndEntityUsedAsCa | E::PathLenConstraintViolated | E::NameConstraintViolation => {
            CertificateError::ApplicationVerificationFailure
        }
        E::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        // Two that rustls has for what we do not look at.
        E::CaUsedAsEndEntity => CertificateError::ExpiredRevocationList,
        E::MaximumSignatureChecksExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathDepthExceeded => CertificateError::UnknownRevocationStatus,
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
