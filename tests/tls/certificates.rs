//! Certificates made on the spot.

use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;

use crate::openssl::openssl;
use crate::support::HOST;

/// A certificate authority.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A chain and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The same as PEM.
    pub(crate) pem: Vec<String>,
    pub(crate) key: KeyPair,
}

impl Identity {
    fn new(certificate: Certificate, key: KeyPair) -> Self {
        Self { pem: vec![certificate.pem()], chain: vec![certificate.into()], key }
    }

    /// With this certificate in place of its own.
    pub(crate) fn replace(&mut self, der: Vec<u8>) {
        self.pem[0] = pem(&der);
        self.chain[0] = der.into();
    }

    /// With the authority's certificate behind what is there.
    pub(crate) fn followed_by(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.der().clone());
        self.pem.push(authority.pem());
        self
    }
}

/// A certificate as PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = openssl(&["base64"], der);
    format!("-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
}

/// Seconds since 1970 as a certificate's date.
pub(crate) fn validity(params: &mut CertificateParams, from: u64, to: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from);
    params.not_after = epoch + Duration::from_secs(to);
}

/// What an authority's certificate says.
pub(crate) fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// What a server's certificate says.
pub(crate) fn server_params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| name.to_string()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "server");
    params
}

pub(crate) fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), key()).unwrap()
}

pub(crate) fn intermediate(name: &str, issuer: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = authority_params(name);
    change(&mut params);
    CertifiedIssuer::signed_by(params, key(), issuer).unwrap()
}

/// A server's certificate for [`HOST`], unless `change` says otherwise.
pub(crate) fn issue(issuer: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = server_params(&[HOST]);
    change(&mut params);
    let key = key();
    Identity::new(params.signed_by(&key, issuer).unwrap(), key)
}

/// A server's certificate that it has signed itself.
pub(crate) fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Identity {
    self_signed_with(&rcgen::PKCS_ECDSA_P256_SHA256, change)
}

pub(crate) fn self_signed_with(
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Identity {
    let mut params = server_params(&[HOST]);
    change(&mut params);
    let key = KeyPair::generate_for(algorithm).unwrap();
    Identity::new(params.self_signed(&key).unwrap(), key)
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}
