//! The relay's TLS server, and what it tells about a handshake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};

/// What can be chosen about the server.
pub struct Options {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// With it a client has to show a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
    pub versions: Vec<&'static rustls::SupportedProtocolVersion>,
    /// Only the cipher suites whose name contains this.
    pub suites: String,
    /// Without: TLS 1.2 still resumes by session id, TLS 1.3 does not resume.
    pub tickets: bool,
    /// Without: nothing is resumed.
    pub resumption: bool,
    pub alpn: Vec<Vec<u8>>,
    /// The largest record, with its header of 5 bytes.
    pub record: Option<usize>,
}

impl Options {
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Options {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            versions: vec![&TLS12, &TLS13],
            suites: String::new(),
            tickets: true,
            resumption: true,
            alpn: Vec::new(),
            record: None,
        }
    }

    pub fn config(&self) -> Result<Arc<ServerConfig>, String> {
        let mut provider = ring::default_provider();
        provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains(&self.suites));
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions)
            .map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(chain(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| in_file(&self.key, error))?;
        let key = provider.key_provider.load_private_key(key).map_err(|error| in_file(&self.key, error))?;
        // Not `with_single_cert`: that looks into the certificate, and some of the tests' are not good enough for it.
        let certified = CertifiedKey::new(chain(&self.certificate)?, key);
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));

        config.alpn_protocols.clone_from(&self.alpn);
        config.max_fragment_size = self.record;
        if self.tickets && self.resumption {
            config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        } else {
            config.send_tls13_tickets = 0;
        }
        if !self.resumption {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Arc::new(config))
    }
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| in_file(file, error))
        .and_then(|chain: Vec<_>| if chain.is_empty() { Err(in_file(file, "no certificate")) } else { Ok(chain) })
}

fn in_file(file: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", file.display())
}

/// The line about a handshake that is complete.
pub(crate) fn describe(tls: &ServerConnection) -> String {
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "-",
    };
    let suite = tls.negotiated_cipher_suite().map_or("-".into(), |suite| format!("{:?}", suite.suite()));
    let resumed = if tls.handshake_kind() == Some(HandshakeKind::Resumed) { "yes" } else { "no" };
    let alpn = tls.alpn_protocol().map_or("-".into(), String::from_utf8_lossy);
    let client = tls.peer_certificates().and_then(|chain| common_name(chain.first()?)).unwrap_or("-".into());
    let sni = tls.server_name().unwrap_or("-");
    format!("tls version={version} suite={suite} resumed={resumed} sni={sni} alpn={alpn} client={client}")
}

/// Why a handshake or a connection failed; an alert by its name in the RFCs.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("received alert: {alert:?}"),
        other => other.to_string(),
    }
}

/// The CN of the certificate's subject, without spaces.
fn common_name(certificate: &[u8]) -> Option<String> {
    const CN: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2; // the version, which version 1 does not have
    }
    // Serial number, algorithm, issuer, validity: the subject is the fifth.
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (_, subject, _) = element(fields)?;
    let at = subject.windows(CN.len()).position(|window| window == CN)?;
    let (_, name, _) = element(&subject[at + CN.len()..])?;
    Some(String::from_utf8_lossy(name).replace(char::is_whitespace, "_"))
}

/// The first element of a DER encoding: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}
