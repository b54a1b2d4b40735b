//! Certificates without any subject alternative name, as the recipe in mosquitto's manual makes them: the common name counts
//! under an authority of the application's own.

use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, SanType};
use rustls::pki_types::TrustAnchor;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::der::{field, issue_with, subject};
use crate::support::*;

const WRONG: Result<(), &str> = Err("issued for another host name");
const WARNING: &str = "WARN: the server's certificate has no subject alternative name: its common name was compared";

/// What becomes of a handshake with this server, in every version, and whether the log says how.
#[track_caller]
fn check(what: &str, config: &TlsConfig, host: &str, server: &Identity, expected: Result<(), &str>) {
    for version in VERSIONS {
        let mut pair = Pair::with_host(config, host, &crate::support::server(version, server)).unwrap();
        let (result, lines) = logged(|| pair.run());
        let refusal = expected.map_err(|text| format!("server certificate refused: {text}"));
        assert_eq!(result, refusal, "{what}, {host}");
        assert_eq!(pair.client.layers.is_open(), expected.is_ok(), "{what}, {host}");
        assert_eq!(lines, if expected.is_ok() { &[WARNING][..] } else { &[] }, "{what}, {host}");
    }
}

/// Only a common name.
fn unnamed(common_name: impl Into<DnValue>) -> impl FnOnce(&mut CertificateParams) {
    let common_name = common_name.into();
    |params| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
}

#[test]
fn names() {
    let ca = root("ca");
    let cases = [
        ("broker.example", "broker.example", Ok(())),
        ("broker.example", "broker.example.", Ok(())),
        ("Broker.Example", "bROKER.eXAMPLE", Ok(())),
        ("localhost", "localhost", Ok(())),
        ("my_broker", "my_broker", Ok(())),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", Ok(())),
        ("broker.example", "other.example", WRONG),
        ("broker.example", "a.broker.example", WRONG),
        ("broker.example", "example", WRONG),
        ("broker.example.", "broker.example", WRONG),
        (" broker.example", "broker.example", WRONG),
        ("broker.example\0", "broker.example", WRONG),
        ("broker.example\0.evil.example", "broker.example", WRONG),
        ("broker.example.evil.example", "broker.example", WRONG),
        ("https://broker.example", "broker.example", WRONG),
        ("b\u{fc}cher.example", "xn--bcher-kva.example", WRONG),
        // Cyrillic
        ("br\u{43e}ker.example", "broker.example", WRONG),
        ("", "broker.example", WRONG),
        ("*.example.org", "broker.example.org", Ok(())),
        ("*.EXAMPLE.org", "BROKER.example.org", Ok(())),
        ("*.example.org", "example.org", WRONG),
        ("*.example.org", "a.broker.example.org", WRONG),
        ("*.org", "example.org", WRONG),
        ("*.", "broker", WRONG),
        ("*", "broker", WRONG),
        ("b*.example.org", "broker.example.org", WRONG),
        ("*r.example.org", "broker.example.org", WRONG),
        ("a.*.example.org", "a.b.example.org", WRONG),
        ("*.*.example.org", "a.b.example.org", WRONG),
        ("**.example.org", "broker.example.org", WRONG),
        ("192.0.2.1", "192.0.2.1", Ok(())),
        ("192.0.2.1", "192.0.2.2", WRONG),
        ("2001:db8:0::1", "2001:DB8::1", Ok(())),
        ("*.0.2.1", "192.0.2.1", WRONG),
        ("broker.example", "192.0.2.1", WRONG),
    ];
    let config = trusting(&ca.pem());
    for (common_name, host, expected) in cases {
        check(common_name, &config, host, &issue(&ca, unnamed(common_name)), expected);
    }
}

#[test]
fn kinds_of_strings() {
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let cases = [
        ("UTF8String", 0x0c, Ok(())),
        ("PrintableString", 0x13, Ok(())),
        ("TeletexString", 0x14, Ok(())),
        ("IA5String", 0x16, Ok(())),
        // Seven Chinese characters, of which somebody may well be called.
        ("BMPString", 0x1e, WRONG),
        ("UniversalString", 0x1c, WRONG),
        ("OCTET STRING", 0x04, WRONG),
    ];
    for (kind, tag, expected) in cases {
        let server = issue_with(&ca, |fields| {
            fields[field::SUBJECT] = subject(&[(tag, HOST.as_bytes())]);
            fields.truncate(field::EXTENSIONS);
        });
        check(kind, &config, HOST, &server, expected);
    }
    let server = issue(&ca, unnamed(DnValue::BmpString(HOST.try_into().unwrap())));
    check("as a BMPString says it", &config, HOST, &server, WRONG);
}

#[test]
fn the_last_of_several() {
    // The most specific one, which is not for whoever asks for a certificate to add to.
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let (ours, other, chinese) = ((0x0c, HOST.as_bytes()), (0x0c, &b"other.example"[..]), (0x1e, HOST.as_bytes()));
    for (names, expected) in
        [(&[other, ours][..], Ok(())), (&[ours, other], WRONG), (&[ours, chinese], WRONG), (&[], WRONG)]
    {
        let server = issue_with(&ca, |fields| {
            fields[field::SUBJECT] = subject(names);
            fields.truncate(field::EXTENSIONS);
        });
        check(&format!("{names:?}"), &config, HOST, &server, expected);
    }
}

#[test]
fn not_beside_a_subject_alternative_name() {
    // Whatever is in it.
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let named = |names: Vec<SanType>| {
        issue(&ca, |params| {
            unnamed(HOST)(params);
            params.subject_alt_names = names;
        })
    };
    let cases = [
        ("another host", named(vec![SanType::DnsName("other.example".try_into().unwrap())])),
        ("an address", named(vec![SanType::IpAddress([192, 0, 2, 1].into())])),
        ("for mail", named(vec![SanType::Rfc822Name("broker@example.org".try_into().unwrap())])),
        ("a URI", named(vec![SanType::URI("mqtts://broker.example".try_into().unwrap())])),
        (
            "none in it",
            issue(&ca, |params| {
                unnamed(HOST)(params);
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0]));
            }),
        ),
    ];
    for (what, server) in &cases {
        check(what, &config, HOST, server, WRONG);
    }
}

#[test]
fn not_under_the_public_authorities() {
    let ca = root("ca");
    let server = issue(&ca, unnamed(HOST));
    let anchor = webpki::anchor_from_trusted_cert(ca.der()).unwrap().to_owned();
    let authorities: &'static [TrustAnchor<'static>] = vec![anchor].leak();
    let public = TlsConfig::new(Settings { verify: true, authorities, ..settings() }).unwrap();
    check("public", &public, HOST, &server, WRONG);
    check("our own", &trusting(&ca.pem()), HOST, &server, Ok(()));
    // It is known to them.
    let mut pair = Pair::new(&public, &crate::support::server(VERSIONS[0], &issue(&ca, |_| {})));
    assert_eq!(logged(|| pair.run()), (Ok(()), vec![]));
}

#[test]
fn not_where_an_issuer_is_bound_to_names() {
    // Those bind subject alternative names only, so the common name would evade them.
    let constrain = |params: &mut CertificateParams| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example".into())],
            excluded_subtrees: vec![],
        });
    };
    let mut params = authority_params("bound");
    constrain(&mut params);
    let bound = Authority::self_signed(params, key()).unwrap();
    check("the root", &trusting(&bound.pem()), HOST, &issue(&bound, unnamed(HOST)), WRONG);
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let (free, bound) = (intermediate("free", &ca, |_| {}), intermediate("bound", &ca, constrain));
    check("no one", &config, HOST, &issue(&free, unnamed(HOST)).followed_by(&free), Ok(()));
    check("an intermediate", &config, HOST, &issue(&bound, unnamed(HOST)).followed_by(&bound), WRONG);
    let below = intermediate("below", &bound, |_| {});
    let server = issue(&below, unnamed(HOST)).followed_by(&below).followed_by(&bound);
    check("the one above", &config, HOST, &server, WRONG);
    // With a name that they allow, all is well.
    let mut pair = Pair::new(&config, &server_with_names(&bound));
    assert_eq!(logged(|| pair.run()), (Ok(()), vec![]));
}

fn server_with_names(issuer: &Authority) -> rustls::ServerConfig {
    server(VERSIONS[0], &issue(issuer, |_| {}).followed_by(issuer))
}

#[test]
fn everything_else_counts_as_ever() {
    let (ca, other) = (root("ca"), root("other"));
    let config = trusting(&ca.pem());
    let changed = |change: fn(&mut CertificateParams)| {
        issue(&ca, |params| {
            unnamed(HOST)(params);
            change(params);
        })
    };
    let cases = [
        ("unknown issuer", issue(&other, unnamed(HOST)), UNKNOWN),
        ("expired", changed(|params| validity(params, 0, build_time() - 1)), "expired"),
        (
            "for clients",
            changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "not issued for servers",
        ),
        ("a CA's", changed(|params| params.is_ca = authority_params("").is_ca), MARKED),
    ];
    for (what, server, refusal) in &cases {
        check(what, &config, HOST, server, Err(refusal));
    }
}

#[test]
fn pinned() {
    let server = issue(&root("gone"), unnamed(HOST));
    let config = trusting(&server.pem[0]);
    check("pinned", &config, HOST, &server, Ok(()));
    check("pinned", &config, "other.example", &server, WRONG);
}
