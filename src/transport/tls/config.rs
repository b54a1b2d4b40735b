//! From PEM texts to what every handshake of a handle shares.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::TrustAnchor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, SupportedProtocolVersion};
use webpki::EndEntityCert;

use super::Error;
use super::clock::Clock;
use super::limits;
use super::need::{self, Held, Need};
use super::pem;
use super::provider::{load_key, provider};
use super::tickets::{Tickets, View};
use super::verifier::{AcceptAnything, Trust, Verifier};
use crate::memory::{look_for, push};

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
    /// Adds to what the task that is in a step of a handshake has in reserve of the heap; `false`: there is no memory for it.
    /// One for all: that of the first.
    pub more: fn(Need) -> bool,
    /// Holds heap for what the calling task does next behind the handshake; `None`: there is not so much.
    pub hold: fn(Need) -> Option<Held>,
    /// Seconds since 1970; anything before this library's build is taken for a clock that was not set.
    pub clock: fn() -> u64,
}

impl Settings<'_> {
    /// How many bytes of heap [`TlsConfig::new`] may take at most, beside the texts themselves: what it looks for itself, and, as
    /// measured, 1,600, less than a third of the texts of certificates, and for RSA keys 1.4 times the text.
    pub fn need(&self) -> usize {
        let (chain, key) = self.identity.unwrap_or_default();
        REST + 2048 + self.ca.unwrap_or_default().len() / 2 + chain.len() + 2 * key.len()
    }
}

/// One handle's TLS configuration and its memory of earlier sessions: sessions are resumed only under the same one.
#[derive(Clone)]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    /// The clock and the sessions of `config`.
    view: Arc<View>,
    verifies: bool,
    own: usize,
    alpn: usize,
    hold: fn(Need) -> Option<Held>,
    remembered: Arc<AtomicUsize>,
}

impl TlsConfig {
    /// Parses certificates and key.
    pub fn new(settings: Settings<'_>) -> Result<Self, Error> {
        if settings.alpn.iter().any(|name| name.is_empty() || name.len() > MAX_PROTOCOL) {
            return Err(Error::Setup("an application protocol in `alpn` is empty or longer than 255 bytes"));
        }
        let offered = settings.alpn.iter().map(|name| name.len() + 1).sum::<usize>();
        if offered > MAX_OFFER {
            return Err(Error::Setup("the application protocols in `alpn` are longer than 16,384 bytes in all"));
        }
        let alpn = need::PROTOCOL_BYTE * offered + need::PROTOCOL * settings.alpn.len();
        limits::set(settings.chain, settings.names);
        need::set(settings.more);
        let provider = provider()?;
        let algorithms = provider.signature_verification_algorithms;
        // As large as the application makes them, so what rustls and ring allocate for them comes first, and what is left
        // must be enough for the rest.
        let identity = settings.identity.map(|(chain, key)| identity(chain, key)).transpose()?;
        let trust = if settings.verify { Some(Trust::new(settings.ca, settings.authorities)?) } else { None };
        look_for([REST])?;
        let own = identity.as_ref().map_or(0, |(_, own)| *own);
        if identity.as_ref().is_some_and(|(identity, _)| {
            // What rustls cannot read, X.509 version 1 for one, the server may: that is its affair.
            let certificate = identity.cert.first().and_then(|certificate| EndEntityCert::try_from(certificate).ok());
            certificate.zip(identity.key.public_key()).is_some_and(|(one, key)| one.subject_public_key_info() != key)
        }) {
            return Err(Error::Setup("`key` is not the one of `cert`"));
        }
        let view = Arc::new(View::new(Clock(settings.clock), Arc::new(Tickets::default())));
        let builder = ClientConfig::builder_with_details(Arc::new(provider), view.clone())
            .with_protocol_versions(if settings.tls12 { rustls::ALL_VERSIONS } else { TLS13_ALONE })?
            .dangerous();
        let builder = match trust {
            Some(trust) => builder.with_custom_certificate_verifier(Arc::new(Verifier::new(trust, algorithms))),
            None => builder.with_custom_certificate_verifier(Arc::new(AcceptAnything(algorithms))),
        };
        let mut config = match identity {
            Some((identity, _)) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = settings.alpn;
        config.max_fragment_size = Some(settings.record.clamp(64, MAX_RECORD) + RECORD_OVERHEAD);
        config.resumption = Resumption::store(view.clone());
        let (verifies, hold) = (settings.verify, settings.hold);
        Ok(Self { config: Arc::new(config), view, verifies, own, alpn, hold, remembered: Arc::default() })
    }

    /// For a connection that begins now. Without a clock it has one of its own, by which its sessions are known.
    pub(super) fn client_config(&self) -> Arc<ClientConfig> {
        if self.view.is_sure() {
            return self.config.clone();
        }
        let view = Arc::new(self.view.anew());
        let mut config = ClientConfig::clone(&self.config);
        config.time_provider = view.clone();
        config.resumption = Resumption::store(view);
        Arc::new(config)
    }

    /// What a copy of the certificates takes that came with the last session: rustls makes one when that is resumed.
    pub(super) fn remembered(&self) -> usize {
        self.remembered.load(Ordering::Relaxed)
    }

    /// See [`View::expect`].
    pub(super) fn expect_ticket(&self, bytes: usize) {
        self.view.expect(bytes);
    }

    /// See [`View::offered`].
    pub(super) fn offered(&self) -> usize {
        self.view.offered()
    }

    pub(super) fn remember(&self, chain: usize) {
        self.remembered.store(chain, Ordering::Relaxed);
    }

    /// What presenting a certificate takes of the heap: it is copied and cut into records, and an RSA key's signature takes
    /// a table of powers. 0 without a certificate.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// What offering the application protocols takes of the heap.
    pub(super) fn alpn(&self) -> usize {
        self.alpn
    }

    /// Holds heap for rustls, which does not ask whether there is any.
    pub(super) fn hold(&self, need: Need) -> Result<Held, Error> {
        (self.hold)(need).ok_or(Error::NoMemory)
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

/// Bytes of heap for the comparison of key and certificate, and for what rustls wants its configuration in.
const REST: usize = 4096;

/// Longest name of an application protocol (RFC 7301 section 3.1).
const MAX_PROTOCOL: usize = 255;
/// Most bytes of all of them, with their lengths. The extensions of a ClientHello, a ticket among them, have 65,535.
const MAX_OFFER: usize = 16_384;

/// The client's certificates and key, which may be each other's, or not. And see [`TlsConfig::own`].
fn identity(cert: &[u8], key: &[u8]) -> Result<(CertifiedKey, usize), Error> {
    let key = pem::key(key, Error::Setup("no key in `key` (PKCS#8, PKCS#1 or SEC1 as PEM, not encrypted)"))?;
    let mut own = 3 * key.secret_der().len();
    let key = load_key(key)?;
    let mut chain = Vec::new();
    for certificate in pem::certificates(cert, Error::Setup("`cert` is not PEM")) {
        let certificate = certificate?;
        own += 2 * certificate.len();
        push(&mut chain, certificate)?;
    }
    if chain.is_empty() {
        return Err(Error::Setup("no certificate in `cert`"));
    }
    Ok((CertifiedKey::new(chain, key), own))
}
