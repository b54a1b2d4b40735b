//! What the tests' scripted TLS server is made of.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// A certificate with its key.
pub(crate) struct Identity(Arc<CertifiedKey>);

impl Identity {
    pub(crate) fn new(certificate: &str, key: &str) -> Self {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate], any_supported_type(&key).unwrap())))
    }
}

pub(crate) fn server_of(
    versions: &[&'static SupportedProtocolVersion],
    provider: CryptoProvider,
    Identity(key): &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())))
}
