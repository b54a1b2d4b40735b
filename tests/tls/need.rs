use crate::certificates::*;
use crate::memory::peak;
use crate::openssl::rsa_key;
use crate::support::*;
use rcgen::*;
use rustls::DistinguishedName;
use std::sync::Arc;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

#[derive(Debug)]
pub(crate) struct Names(pub Curious, pub Vec<DistinguishedName>);
impl rustls::server::danger::ClientCertVerifier for Names {
    fn client_auth_mandatory(&self) -> bool {
        self.0.mandatory
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.1
    }
    fn verify_client_cert(
        &self,
        a: &rustls::pki_types::CertificateDer<'_>,
        b: &[rustls::pki_types::CertificateDer<'_>],
        c: rustls::pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        self.0.verify_client_cert(a, b, c)
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &rustls::pki_types::CertificateDer<'_>,
        s: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(m, c, s)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &rustls::pki_types::CertificateDer<'_>,
        s: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(m, c, s)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn key(kind: &str) -> KeyPair {
    match kind {
        "p256" => KeyPair::generate().unwrap(),
        _ => KeyPair::from_pem(&rsa_key(kind[3..].parse().unwrap())).unwrap(),
    }
}

#[test]
fn measure() {
    for (kind, n, own, names) in [
        ("p256", 1, "", 0),
        ("p256", 1, "p256", 0),
        ("rsa2048", 1, "", 0),
        ("rsa4096", 1, "", 0),
        ("rsa2048", 4, "", 0),
        ("rsa4096", 4, "", 0),
        ("p256", 1, "rsa2048", 0),
        ("p256", 1, "rsa4096", 0),
        ("rsa4096", 4, "rsa4096", 100),
        ("p256", 1, "p256", 100),
        ("p256", 1, "", 100),
    ] {
        let mut issuer = CertifiedIssuer::self_signed(authority_params("root"), key(kind)).unwrap();
        let ca = issuer.pem();
        let mut chain = vec![];
        for i in 1..n {
            let next = CertifiedIssuer::signed_by(authority_params(&format!("i{i}")), key(kind), &issuer).unwrap();
            chain.insert(0, next.der().clone());
            issuer = next;
        }
        let k = key(kind);
        let leaf = server_params(&[HOST]).signed_by(&k, &issuer).unwrap();
        chain.insert(0, leaf.der().clone());
        let identity = Identity { chain, pem: vec![], key: k };
        let total: usize = identity.chain.iter().map(|c| c.len()).sum();
        for version in VERSIONS {
            let list = (0..names).map(|i| DistinguishedName::in_sequence(format!("{i:078}").as_bytes())).collect();
            let asks: Arc<dyn rustls::server::danger::ClientCertVerifier> = if own.is_empty() && names == 0 {
                rustls::server::WebPkiClientVerifier::no_client_auth()
            } else {
                Arc::new(Names(Curious { mandatory: false }, list))
            };
            let server = server_asking(version, &identity, asks);
            let (oc, ok);
            let mut s = Settings { verify: true, ca: Some(ca.as_bytes()), ..settings() };
            if !own.is_empty() {
                let k = key(own);
                oc = authority_params("me").self_signed(&k).unwrap().pem();
                ok = k.serialize_pem();
                s.identity = Some((oc.as_bytes(), ok.as_bytes()));
            }
            let client = TlsConfig::new(s).unwrap();
            let mut pair = Pair::new(&client, &server);
            println!("== {kind} x{n} ({total}) own {own} names {names} {}", name(version));
            while !pair.client.layers.is_open() {
                let bytes = pair.answer();
                println!("  flight {:?}", records(&bytes));
                for piece in bytes.chunks(1024) {
                    let need = pair.client.layers.handshake_need();
                    pair.client.out.reserve(20000);
                    let Client { layers, out, .. } = &mut pair.client;
                    let (r, p) = peak(|| layers.receive(piece, out, &mut |_| {}));
                    r.unwrap();
                    if p > 500 {
                        println!("    {} -> {p} of {need} {}", piece.len(), if p > need { "!!!!!" } else { "" });
                    }
                }
            }
        }
    }
}
