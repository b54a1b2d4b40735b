//! Certificates and keys that are of no use.

use wm_mqtt_client::transport::tls::{Error, Settings, TlsConfig};

use crate::certificates::*;
use crate::openssl::{self, openssl};
use crate::support::*;

/// What is wrong with these settings.
fn error(settings: Settings<'_>) -> Option<String> {
    TlsConfig::new(settings).err().map(|error| {
        assert!(matches!(error, Error::Setup(_) | Error::Lacking(_)), "{error:?}");
        error.to_string()
    })
}

#[test]
fn texts_for_ca() {
    let root = root("root");
    let good = root.pem();
    let broken = good.replacen("MII", "M!I", 1);
    let cut = &good[..good.len() / 2];
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = key().serialize_pem();
    let (none, not_pem) = (Some("no certificate in `ca`"), Some("`ca` is not PEM"));
    let cases: [(String, Option<&str>); 16] = [
        (good.clone(), None),
        (format!("{good}{good}"), None),
        (good.replace('\n', "\r\n"), None),
        (good.replace('\n', "\r"), None),
        (good.trim_end().into(), None),
        (good.clone() + "\0", None),
        (good.trim_end().to_owned() + "\0", None),
        (format!("# Comment\r\n\r\nIssuer: x\n{good}\ntext between\n{key}{good}and after"), None),
        (format!("{not_der}{good}"), None),
        (String::new(), none),
        ("\0".into(), none),
        ("no PEM at all".into(), none),
        (key.clone(), none),
        (not_der.into(), none),
        (broken, not_pem),
        (cut.into(), not_pem),
    ];
    for (ca, expected) in cases {
        let config = TlsConfig::new(Settings { verify: true, ca: Some(ca.as_bytes()), ..settings() });
        assert_eq!(config.as_ref().err().map(Error::to_string).as_deref(), expected, "{ca:?}");
        let Ok(config) = config else { continue };
        Pair::open(&config, &server(VERSIONS[0], &issue(&root, |_| {}))).assert_works();
    }
    // Nobody reads it when nothing is to be verified.
    assert_eq!(error(Settings { ca: Some(b"no PEM at all"), ..settings() }), None);
}

#[test]
fn nothing_to_verify_against() {
    let expected = if cfg!(feature = "webpki-roots") { None } else { Some("no `ca` to verify the server against") };
    assert_eq!(error(Settings { verify: true, ..settings() }).as_deref(), expected);
}

#[cfg(feature = "webpki-roots")]
#[test]
fn the_built_in_authorities_do_not_know_ours() {
    let config = TlsConfig::new(Settings { verify: true, ..settings() }).unwrap();
    let mut pair = Pair::new(&config, &server(VERSIONS[0], &issue(&root("root"), |_| {})));
    assert!(pair.run().unwrap_err().starts_with("server certificate refused: unknown issuer"));
}

#[test]
fn texts_for_cert_and_key() {
    const NO_KEY: &str = "no key in `key` (PKCS#8, PKCS#1 or SEC1 as PEM, not encrypted)";
    const UNFIT: &str = "`key` is malformed, or of a kind that is not supported";
    const RSA: &str =
        if cfg!(feature = "rsa") { UNFIT } else { "this library was built without what `key` needs: RSA" };
    let identity = self_signed(|_| {});
    let (chain, key) = (&identity.pem[0], &identity.key.serialize_pem());
    let encrypted = openssl(&["pkcs8", "-topk8", "-v2", "aes128", "-passout", "pass:secret"], key.as_bytes());
    let traditional = openssl(&["ec", "-aes128", "-passout", "pass:secret"], key.as_bytes());
    let p521 = openssl::ec_key("secp521r1");
    let rsa_1024 = openssl::rsa_key(1024);
    let certificate_of = |key: &str| openssl::self_signed(key, &[]);
    // ring wants the public point in it, and 65,537 or more for the exponent.
    let pointless = openssl(&["ec", "-no_public"], key.as_bytes());
    let exponent_3 = openssl::rsa_key_with_exponent_3();
    let cases: [(&str, &str, Option<&str>); 16] = [
        (chain, &pointless, Some(UNFIT)),
        (&certificate_of(&exponent_3), &exponent_3, Some(RSA)),
        (chain, key, None),
        ("", key, Some("no certificate in `cert`")),
        ("rubbish", key, Some("no certificate in `cert`")),
        (key, key, Some("no certificate in `cert`")),
        (&chain[..100], key, Some("`cert` is not PEM")),
        (chain, "", Some(NO_KEY)),
        (chain, "rubbish", Some(NO_KEY)),
        (chain, chain, Some(NO_KEY)),
        (chain, &key[..100], Some(NO_KEY)),
        (chain, &encrypted, Some(NO_KEY)),
        (chain, &traditional, Some(NO_KEY)),
        (chain, &crate::certificates::key().serialize_pem(), Some("`key` is not the one of `cert`")),
        (&certificate_of(&p521), &p521, Some(UNFIT)),
        (&certificate_of(&rsa_1024), &rsa_1024, Some(RSA)),
    ];
    for (chain, key, expected) in cases {
        let identity = Some((chain.as_bytes(), key.as_bytes()));
        let error = error(Settings { identity, ..settings() });
        assert_eq!(error.as_deref(), expected, "{chain}{key}");
    }
}

#[test]
fn names_of_application_protocols() {
    let bad = Some("an application protocol in `alpn` is empty or longer than 255 bytes");
    for (len, expected) in [(0, bad), (1, None), (255, None), (256, bad)] {
        let alpn = vec![b"mqtt".to_vec(), vec![b'x'; len]];
        assert_eq!(error(Settings { alpn, ..settings() }).as_deref(), expected, "{len}");
    }
}
