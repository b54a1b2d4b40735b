//! Certificates of X.509 version 1, as the recipe in mosquitto's manual makes them with OpenSSL before 3.2.

use rustls::pki_types::TrustAnchor;
use wm_mqtt_client::transport::tls::{Settings, TlsConfig};

use crate::certificates::*;
use crate::der::*;
use crate::support::*;

const WRONG: &str = "issued for another host name";
const MALFORMED: &str = "malformed, or of X.509 version 1";
const WARNINGS: [&str; 2] = [
    "WARN: the server's certificate has no subject alternative name: its common name was compared",
    "WARN: the server's certificate is of X.509 version 1",
];

/// What becomes of a handshake with this server, in every version, and whether the log says how.
#[track_caller]
fn check(what: &str, config: &TlsConfig, server: &Identity, expected: Result<(), &str>) {
    for version in VERSIONS {
        let mut pair = Pair::new(config, &crate::support::server(version, server));
        let (result, lines) = logged(|| pair.run());
        assert_eq!(result, expected.map_err(|text| format!("server certificate refused: {text}")), "{what}");
        assert_eq!(pair.client.layers.is_open(), expected.is_ok(), "{what}");
        assert_eq!(lines, if expected.is_ok() { &WARNINGS[..] } else { &[] }, "{what}");
        if expected.is_ok() {
            pair.assert_works();
        }
    }
}

#[test]
fn issued_by_an_authority_of_ours() {
    let (ca, other) = (root("ca"), root("other"));
    let namesake = root("ca");
    let trusting_both = trusting(&(other.pem() + &ca.pem()));
    check("ours", &trusting_both, &version_1(&ca, HOST), Ok(()));
    check("with a wildcard", &trusting_both, &version_1(&ca, "*.example"), Err(WRONG));
    check("another host", &trusting_both, &version_1(&ca, "other.example"), Err(WRONG));
    check("behind a namesake", &trusting(&(namesake.pem() + &ca.pem())), &version_1(&ca, HOST), Ok(()));
    check("a stranger's", &trusting(&other.pem()), &version_1(&ca, HOST), Err(UNKNOWN));
    check("a namesake's", &trusting(&namesake.pem()), &version_1(&ca, HOST), Err(BAD_SIGNATURE));
    let own = signed(self_signed(|_| {}), &key(), |fields| make_version_1(fields, HOST));
    check("nobody's", &trusting_both, &own, Err(UNKNOWN));
}

#[test]
fn what_was_signed_counts() {
    // webpki sees other bytes than those.
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let mut server = version_1(&ca, HOST);
    let der = server.chain[0].to_vec();
    for at in 0..der.len() {
        let mut der = der.clone();
        der[at] ^= 1;
        server.chain[0] = der.into();
        let mut pair = Pair::new(&config, &crate::support::server(VERSIONS[0], &server));
        let error = pair.run().expect_err(&format!("{at}"));
        assert!(error.starts_with("server certificate refused: "), "{at}: {error}");
    }
    // Signed as what webpki sees, which is of version 3.
    let mut as_seen = issue_with(&ca, |fields| {
        fields[field::SUBJECT] = subject(&[(0x0c, HOST.as_bytes())]);
        fields.truncate(field::EXTENSIONS);
    });
    let whole = parts(&as_seen.chain[0]);
    let mut fields = parts(&whole[0]);
    fields.remove(0);
    as_seen.replace(sequence(&[&sequence(&[&fields.concat()]), &whole[1], &whole[2]]));
    check("signed as version 3", &config, &as_seen, Err(BAD_SIGNATURE));
}

#[test]
fn its_key_must_be_there() {
    let ca = root("ca");
    let mut server = version_1(&ca, HOST);
    let pinning = trusting(&server.pem[0]);
    server.key = key();
    for config in [trusting(&ca.pem()), pinning] {
        for version in VERSIONS {
            let error = Pair::new(&config, &crate::support::server(version, &server)).run().unwrap_err();
            assert_eq!(error, format!("server certificate refused: {BAD_SIGNATURE}"), "{}", name(version));
        }
    }
}

#[test]
fn only_directly() {
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let sub = intermediate("sub", &ca, |_| {});
    check("by an intermediate", &config, &version_1(&sub, HOST).followed_by(&sub), Err(UNKNOWN));
    check("which is in `ca`", &trusting(&sub.pem()), &version_1(&sub, HOST), Ok(()));
}

#[test]
fn not_as_an_issuer() {
    // What such a server signs is nobody's, also where it is in `ca` itself.
    let ca = root("ca");
    let holder = Authority::self_signed(authority_params("holder"), key()).unwrap();
    let mut certificate = signed(issue(&ca, |_| {}), ca.key(), |fields| {
        let theirs = parts(&parts(holder.der())[0]);
        for field in [field::SUBJECT, field::KEY] {
            fields[field] = theirs[field].clone();
        }
        fields.truncate(field::EXTENSIONS);
        fields.remove(0);
    });
    certificate.key = key();
    let cases = [("version 1", version_1(&holder, HOST), UNKNOWN), ("version 3", issue(&holder, |_| {}), MALFORMED)];
    for (what, mut sent, refusal) in cases {
        sent.chain.push(certificate.chain[0].clone());
        for trusted in [ca.pem() + &certificate.pem[0], certificate.pem[0].clone()] {
            check(what, &trusting(&trusted), &sent, Err(refusal));
        }
        check(what, &trusting(&ca.pem()), &sent, Err(refusal));
        // One that has issued itself is an authority.
        check_open(&trusting(&holder.pem()), &sent);
    }
}

#[track_caller]
fn check_open(config: &TlsConfig, identity: &Identity) {
    let mut pair = Pair::new(config, &server(VERSIONS[0], identity));
    assert_eq!(pair.run(), Ok(()));
}

#[test]
fn an_authority_of_version_1() {
    let ca = root("ca");
    let der =
        signed(Identity { chain: vec![ca.der().clone()], pem: vec![String::new()], key: key() }, ca.key(), |fields| {
            fields.truncate(field::EXTENSIONS);
            fields.remove(0);
        });
    let config = trusting(&der.pem[0]);
    check("version 1 by version 1", &config, &version_1(&ca, HOST), Ok(()));
    check_open(&config, &issue(&ca, |_| {}));
}

#[test]
fn not_under_the_public_authorities() {
    let ca = root("ca");
    let anchor = webpki::anchor_from_trusted_cert(ca.der()).unwrap().to_owned();
    let authorities: &'static [TrustAnchor<'static>] = vec![anchor].leak();
    let config = TlsConfig::new(Settings { verify: true, authorities, ..settings() }).unwrap();
    check("public", &config, &version_1(&ca, HOST), Err(MALFORMED));
    check_open(&config, &issue(&ca, |_| {}));
}

#[test]
fn not_where_the_authority_is_bound_to_names() {
    let mut params = authority_params("bound");
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example".into())],
        excluded_subtrees: vec![],
    });
    let bound = Authority::self_signed(params, key()).unwrap();
    check("bound", &trusting(&bound.pem()), &version_1(&bound, HOST), Err(WRONG));
}

#[test]
fn pinned() {
    let ca = root("gone");
    let server = version_1(&ca, HOST);
    let config = trusting(&server.pem[0]);
    check("pinned", &config, &server, Ok(()));
    check("another one", &config, &version_1(&ca, HOST), Err(UNKNOWN));
    let elsewhere = version_1(&ca, "other.example");
    check("another host", &trusting(&elsewhere.pem[0]), &elsewhere, Err(WRONG));
}

#[test]
fn dates() {
    let (ca, build) = (root("ca"), build_time());
    let dated = |from, to| {
        let valid = issue(&ca, |params| validity(params, from, to));
        signed(valid, ca.key(), |fields| make_version_1(fields, HOST))
    };
    let cases = [
        (build + 100, (0, build + 100), Ok(())),
        (build + 100, (0, build + 99), Err("expired")),
        (build + 100, (build + 101, build + 200), Err("not valid yet")),
        (0, (0, build - 1), Err("expired")),
    ];
    for (clock, (from, to), expected) in cases {
        let server = dated(from, to);
        for trusted in [&ca.pem(), &server.pem[0]] {
            set_clock(clock);
            let mut pair = Pair::new(&trusting(trusted), &crate::support::server(VERSIONS[0], &server));
            assert_eq!(pair.run(), expected.map_err(|text| format!("server certificate refused: {text}")));
        }
    }
    // Without a clock it is as good as one of today: at its first day.
    set_clock(0);
    check_open(&trusting(&ca.pem()), &dated(build + 101, build + 200));
}

#[test]
fn neither_this_nor_that() {
    let ca = root("ca");
    let config = trusting(&ca.pem());
    let version = |number: u8| element(0xa0, &[&[2, 1, number]]);
    let plain = |fields: &mut Vec<Vec<u8>>| make_version_1(fields, HOST);
    let cases = [
        (
            "version 1 with extensions",
            issue_with(&ca, |fields| {
                fields.remove(0);
            }),
        ),
        (
            "version 1 in so many words",
            issue_with(&ca, |fields| {
                plain(fields);
                fields.insert(0, version(0));
            }),
        ),
        (
            "version 2",
            issue_with(&ca, |fields| {
                plain(fields);
                fields.insert(0, version(1));
            }),
        ),
        (
            "with a unique identifier",
            issue_with(&ca, |fields| {
                plain(fields);
                fields.push(element(0x81, &[&[0, 1]]));
            }),
        ),
        ("with a byte behind it", {
            let mut server = version_1(&ca, HOST);
            server.replace([&server.chain[0][..], &[0]].concat());
            server
        }),
        (
            "without a key",
            issue_with(&ca, |fields| {
                plain(fields);
                fields.pop();
            }),
        ),
    ];
    for (what, server) in &cases {
        check(what, &config, server, Err(MALFORMED));
    }
}
