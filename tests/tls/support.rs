//! A client and a rustls server, with the test's hands on what goes between them.

use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, HandshakeKind, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion,
};
use wm_mqtt_client::port::Port;
use wm_mqtt_client::port::host::Host;
use wm_mqtt_client::transport::Layers;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

#[path = "../shared/logged.rs"]
mod logged;

use crate::certificates::Identity;
pub(crate) use logged::logged;

/// What the server's certificates are issued for.
pub(crate) const HOST: &str = "broker.example";

/// What is said of a server whose issuer is not there.
pub(crate) const UNKNOWN: &str = "unknown issuer (is an intermediate certificate missing, or is it another CA?)";

/// How a certificate is refused that may issue others, and is not in `ca`.
pub(crate) const MARKED: &str = "marked as a CA (CA:TRUE), and not in `ca` itself";

/// How a certificate is refused that another key has signed.
pub(crate) const BAD_SIGNATURE: &str = "its signature does not fit its issuer (another key, or RSA below 2048 bits)";

/// How a server refuses us that has nothing that we have.
pub(crate) const NOTHING_IN_COMMON: &str =
    "TLS alert by the server: handshake_failure: nothing in common, or a client certificate is missing";

/// Whether this build has what this suite, signature or kind of key needs, by any name for it.
pub(crate) fn is_built(what: &str) -> bool {
    let what = what.to_uppercase();
    let lacks = |built: bool, name| !built && what.contains(name);
    !lacks(cfg!(feature = "rsa"), "RSA")
        && !lacks(cfg!(feature = "ed25519"), "ED25519")
        && !lacks(cfg!(feature = "chacha20"), "CHACHA20")
}

/// What a server may send on Linux: bytes of a message with certificates or names of authorities, and such names.
pub(crate) const CHAIN: usize = 65_535;
pub(crate) const NAMES: usize = 1000;

/// When the library was built: no clock that was set shows less.
pub(crate) fn build_time() -> u64 {
    env!("WM_MQTT_BUILD_TIME").parse().unwrap()
}

thread_local! {
    static NOW: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What the client's clock shows in this test, instead of today, or an hour after the build.
pub(crate) fn set_clock(seconds: u64) {
    NOW.set(Some(seconds));
}

fn clock() -> u64 {
    // A build may be older than the certificates that openssl makes.
    let today = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    NOW.get().unwrap_or_else(|| today().max(build_time() + 3600))
}

/// The versions of this build.
pub(crate) static VERSIONS: &[&SupportedProtocolVersion] = &[
    &rustls::version::TLS13,
    #[cfg(feature = "tls12")]
    &rustls::version::TLS12,
];

/// A version as the log calls it.
pub(crate) fn name(version: &SupportedProtocolVersion) -> &'static str {
    if version.version == rustls::ProtocolVersion::TLSv1_3 { "TLS 1.3" } else { "TLS 1.2" }
}

/// Verifies nothing and presents nothing.
pub(crate) fn settings() -> Settings<'static> {
    Settings {
        verify: false,
        ca: None,
        authorities: Host::authorities(),
        identity: None,
        alpn: Vec::new(),
        tls12: true,
        record: 16 * 1024,
        chain: CHAIN,
        names: NAMES,
        more: crate::limits::more,
        hold: Host::reserve,
        clock,
    }
}

/// A client that verifies nothing and presents nothing.
pub(crate) fn unverified() -> TlsConfig {
    TlsConfig::new(settings()).unwrap()
}

/// A client that trusts this.
pub(crate) fn trusting(ca: &str) -> TlsConfig {
    TlsConfig::new(Settings { verify: true, ca: Some(ca.as_bytes()), ..settings() }).unwrap()
}

/// A server with this certificate, in this version only. It wants no certificate of the client.
pub(crate) fn server(version: &'static SupportedProtocolVersion, identity: &Identity) -> ServerConfig {
    server_asking(version, identity, rustls::server::WebPkiClientVerifier::no_client_auth())
}

pub(crate) fn server_asking(
    version: &'static SupportedProtocolVersion,
    identity: &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    server_of(&[version], default_provider(), identity, verifier)
}

pub(crate) fn server_of(
    versions: &[&'static SupportedProtocolVersion],
    provider: rustls::crypto::CryptoProvider,
    identity: &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
    // Not `with_single_cert`: that one has standards.
    let certified = CertifiedKey::new(identity.chain.clone(), any_supported_type(&key).unwrap());
    ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
}

/// The client's end.
pub(crate) struct Client {
    pub(crate) layers: Layers,
    /// What it wants to send.
    pub(crate) out: Vec<u8>,
    /// What it has received for MQTT.
    pub(crate) up: Vec<u8>,
}

impl Client {
    pub(crate) fn new(config: &TlsConfig, host: &str) -> Result<Self, String> {
        let mut client = Self { layers: Layers::default(), out: Vec::new(), up: Vec::new() };
        client.layers.begin_tls(config, host, &mut client.out).map_err(|error| error.to_string())?;
        assert!(!client.layers.is_open() && !client.layers.is_empty());
        Ok(client)
    }

    pub(crate) fn receive(&mut self, input: &[u8]) -> Result<(), String> {
        let up = &mut self.up;
        let result = self.layers.receive(input, &mut self.out, &mut |plain| {
            assert!(!plain.is_empty());
            up.extend_from_slice(plain);
        });
        result.map_err(|error| error.to_string())
    }

    pub(crate) fn send(&mut self, data: &[u8]) {
        self.layers.send(data, &mut self.out).unwrap();
    }

    pub(crate) fn is_resumed(&self) -> bool {
        match self.layers.description() {
            Some((_, "session resumed")) => true,
            Some((_, "new session")) => false,
            other => panic!("{other:?}"),
        }
    }
}

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: ServerConnection,
    /// What the server has received.
    pub(crate) received: Vec<u8>,
    /// Why the server gave up.
    pub(crate) refusal: Option<rustls::Error>,
}

impl Pair {
    /// Nothing has been said yet but the ClientHello, which waits in the client's output.
    pub(crate) fn new(client: &TlsConfig, server: &ServerConfig) -> Self {
        Self::with_host(client, HOST, server).unwrap()
    }

    pub(crate) fn with_host(client: &TlsConfig, host: &str, server: &ServerConfig) -> Result<Self, String> {
        let mut server = ServerConnection::new(Arc::new(server.clone())).unwrap();
        server.set_buffer_limit(None);
        Ok(Self { client: Client::new(client, host)?, server, received: Vec::new(), refusal: None })
    }

    /// The handshake done, tickets delivered.
    pub(crate) fn open(client: &TlsConfig, server: &ServerConfig) -> Self {
        let mut pair = Self::new(client, server);
        pair.run().unwrap();
        assert!(pair.client.layers.is_open() && !pair.server.is_handshaking());
        pair
    }

    /// Hands over what there is in both directions until nothing is left, or the client fails. That is the result.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.run_in_pieces(&mut || usize::MAX)
    }

    pub(crate) fn run_in_pieces(&mut self, size: &mut dyn FnMut() -> usize) -> Result<(), String> {
        loop {
            self.deliver(size);
            let bytes = self.server_output();
            if bytes.is_empty() && self.client.out.is_empty() {
                return Ok(());
            }
            let mut rest = &bytes[..];
            while let Some((piece, behind)) = cut(rest, size()) {
                rest = behind;
                if let Err(error) = self.client.receive(piece) {
                    self.deliver(size);
                    return Err(error);
                }
            }
        }
    }

    /// Hands over what the client has to send.
    pub(crate) fn deliver(&mut self, size: &mut dyn FnMut() -> usize) {
        let bytes = std::mem::take(&mut self.client.out);
        let mut rest = &bytes[..];
        while let Some((mut piece, behind)) = cut(rest, size()) {
            rest = behind;
            while !piece.is_empty() && self.refusal.is_none() {
                self.server.read_tls(&mut piece).unwrap();
                match self.server.process_new_packets() {
                    Ok(_) => {
                        // An error here only says that there is no more.
                        let _ = self.server.reader().read_to_end(&mut self.received);
                    }
                    Err(error) => self.refusal = Some(error),
                }
            }
        }
    }

    /// What the server has to send.
    pub(crate) fn server_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// What the server has to send once it has this to say too.
    pub(crate) fn says(&mut self, data: &[u8]) -> Vec<u8> {
        self.server.writer().write_all(data).unwrap();
        self.server_output()
    }

    /// What the client would have to read now, if it sent nothing but this.
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        self.deliver(&mut || usize::MAX);
        self.server_output()
    }

    /// Data goes through in both directions.
    pub(crate) fn assert_works(&mut self) {
        self.client.send(b"ping");
        self.server.writer().write_all(b"pong").unwrap();
        self.run().unwrap();
        assert!(self.received.ends_with(b"ping") && self.client.up.ends_with(b"pong"));
    }

    /// Whether the session was resumed; both ends agree on it.
    pub(crate) fn is_resumed(&self) -> bool {
        let resumed = self.server.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(self.client.is_resumed(), resumed);
        resumed
    }
}

fn cut(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    (!bytes.is_empty()).then(|| bytes.split_at(size.clamp(1, bytes.len())))
}

/// The records in `bytes`: content type and length of what is in it.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, len));
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "no record: {bytes:?}");
    records
}

/// Bytes that repeat late.
pub(crate) fn data(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()).take(len).collect()
}

/// Asks the client for a certificate and takes whatever comes, or insists on it.
#[derive(Debug)]
pub(crate) struct Curious {
    pub(crate) mandatory: bool,
    /// Whose certificates it says that it takes.
    pub(crate) names: Vec<DistinguishedName>,
}

impl ClientCertVerifier for Curious {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    // These it does check: the client must have the key.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How long a test waits for another process.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
