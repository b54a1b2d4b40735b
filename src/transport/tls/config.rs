//! From PEM texts to what every handshake of a handle shares.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, InconsistentKeys, SupportedProtocolVersion};

use super::Error;
use super::clock::Clock;
use super::limits;
use super::provider::{load_key, provider};
use super::tickets::Tickets;
use super::verifier::{AcceptAnything, Trust, Verifier};

/// What a TLS configuration is made of. The texts are PEM and may have a NUL at their end.
pub struct Settings<'a> {
    /// Whether to verify the server.
    pub verify: bool,
    /// Whom to trust then; `None` for the authorities below.
    pub ca: Option<&'a [u8]>,
    /// The public certificate authorities, or none.
    pub authorities: &'static [TrustAnchor<'static>],
    /// Certificate chain and key to present to servers that ask for them.
    pub identity: Option<(&'a [u8], &'a [u8])>,
    /// Application protocols to offer (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.2 may be spoken, if this build can.
    pub tls12: bool,
    /// Largest plaintext of a record that we send.
    pub record: usize,
    /// Largest message with certificates, or with names of authorities, that a server may send, in bytes. One for all
    /// configurations: that of the last.
    pub chain: usize,
    /// How many names of authorities a server may send when it asks for a certificate. One for all, too.
    pub names: usize,
    /// Seconds since 1970; anything before this library's build is taken for a clock that was not set.
    pub clock: fn() -> u64,
}

impl Settings<'_> {
    /// How many bytes of heap [`TlsConfig::new`] may take at most, beside the texts themselves: 1,600, less than a third of the texts
    /// of certificates, and for RSA keys 1.4 times the text, as measured.
    pub fn need(&self) -> usize {
        let (chain, key) = self.identity.unwrap_or_default();
        2048 + self.ca.unwrap_or_default().len() / 2 + chain.len() + 2 * key.len()
    }
}

/// One handle's TLS configuration and its memory of earlier sessions: sessions are resumed only under the same one.
#[derive(Clone)]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    verifies: bool,
    own: usize,
    tickets: Arc<Tickets>,
}

impl TlsConfig {
    /// Parses certificates and key.
    pub fn new(settings: Settings<'_>) -> Result<Self, Error> {
        if settings.alpn.iter().any(|name| name.is_empty() || name.len() > MAX_PROTOCOL) {
            return Err(Error::Setup("an application protocol in `alpn` is empty or longer than 255 bytes"));
        }
        limits::set(settings.chain, settings.names);
        let clock = Clock(settings.clock);
        let provider = provider()?;
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(clock))
            .with_protocol_versions(if settings.tls12 { rustls::ALL_VERSIONS } else { TLS13_ALONE })?
            .dangerous();
        let builder = if settings.verify {
            let trust = Trust::new(settings.ca, settings.authorities)?;
            builder.with_custom_certificate_verifier(Arc::new(Verifier::new(trust, algorithms)))
        } else {
            builder.with_custom_certificate_verifier(Arc::new(AcceptAnything(algorithms)))
        };
        let mut own = 0;
        let mut config = match settings.identity {
            Some((chain, key)) => {
                let (chain, key) = parse_identity(chain, key)?;
                own = 2 * chain.iter().map(|certificate| certificate.len()).sum::<usize>() + 3 * key.secret_der().len();
                let identity = CertifiedKey::new(chain, load_key(key)?);
                // What rustls cannot read, X.509 version 1 for one, the server may: that is its affair.
                if identity.keys_match() == Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
                    return Err(Error::Setup("`key` is not the one of `cert`"));
                }
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = settings.alpn;
        config.max_fragment_size = Some(settings.record.clamp(64, MAX_RECORD) + RECORD_OVERHEAD);
        let tickets = Arc::new(Tickets::new(clock));
        config.resumption = Resumption::store(tickets.clone());
        Ok(Self { config: Arc::new(config), verifies: settings.verify, own, tickets })
    }

    pub(super) fn client_config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// How many bytes of heap [`Tls::connect`](super::Tls::connect) may take at most. Measured, as [`Tls::need`](super::Tls::need)
    /// is; to offer a session that takes more, there must be memory for it, too, or none is offered.
    pub fn need(&self) -> usize {
        4608
    }

    /// What presenting a certificate takes of the heap: it is copied and cut into records, and an RSA key's signature takes
    /// a table of powers. 0 without a certificate.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    pub(super) fn tickets(&self) -> Arc<Tickets> {
        self.tickets.clone()
    }

    pub(super) fn verifies(&self) -> bool {
        self.verifies
    }
}

static TLS13_ALONE: &[&SupportedProtocolVersion] = &[&TLS13];

/// Largest plaintext of a record (RFC 8446 section 5.1).
const MAX_RECORD: usize = 16 * 1024;
/// What rustls counts on top of it: the record's header.
const RECORD_OVERHEAD: usize = 5;

/// Longest name of an application protocol (RFC 7301 section 3.1).
const MAX_PROTOCOL: usize = 255;

/// The certificates of a PEM text, other sections skipped.
pub(super) fn certificates(pem: &[u8]) -> impl Iterator<Item = Result<CertificateDer<'static>, ()>> + '_ {
    CertificateDer::pem_slice_iter(pem).map(|result| result.map_err(|_| ()))
}

/// Appends to a list if there is memory for it.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Error> {
    list.try_reserve(1).map_err(|_| Error::NoMemory)?;
    list.push(item);
    Ok(())
}

fn parse_identity(cert: &[u8], key: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let mut chain = Vec::new();
    for certificate in certificates(cert) {
        push(&mut chain, certificate.map_err(|()| Error::Setup("`cert` is not PEM"))?)?;
    }
    if chain.is_empty() {
        return Err(Error::Setup("no certificate in `cert`"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| Error::Setup("no key in `key` (PKCS#8, PKCS#1 or SEC1 as PEM, not encrypted)"))?;
    Ok((chain, key))
}
