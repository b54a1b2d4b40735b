//! Chain, dates and purpose of certificates.

use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, IsCa};

use crate::certificates::*;
use crate::der::{element, field, issue_with, sequence, subject};
use crate::openssl::{Server, ec_key, openssl, self_signed as openssl_signed};
use crate::support::*;

const DAY: u64 = 24 * 3600;

const EXPIRED: &str = "expired";
const EARLY: &str = "not valid yet";
const NO_RIGHT: &str = "its issuer had no right to issue it";

/// What becomes of a handshake with this server, in every version.
#[track_caller]
fn check(what: &str, ca: &str, server: &Identity, expected: Result<(), &str>) {
    let expected = expected.map_err(|text| format!("server certificate refused: {text}"));
    for version in VERSIONS {
        let mut pair = Pair::new(&trusting(ca), &crate::support::server(version, server));
        assert_eq!(pair.run(), expected, "{what}");
        assert_eq!(pair.client.layers.is_open(), expected.is_ok(), "{what}");
        match expected {
            Ok(()) => pair.assert_works(),
            // The server is told why.
            Err(_) => assert!(matches!(pair.refusal, Some(rustls::Error::AlertReceived(_))), "{what}"),
        }
    }
}

#[test]
fn chains() {
    let (ca, other) = (root("ca"), root("other"));
    let namesake = root("ca");
    let sub = intermediate("sub", &ca, |_| {});
    let subsub = intermediate("subsub", &sub, |_| {});
    let leaf = |issuer| issue(issuer, |_| {});
    let both = other.pem() + &ca.pem();
    let no_ca = intermediate("no CA", &ca, |params| params.is_ca = IsCa::NoCa);
    let last = intermediate("last", &ca, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let behind_last = intermediate("behind last", &last, |_| {});
    let cases = [
        ("the CA's", ca.pem(), leaf(&ca), Ok(())),
        ("root sent too", ca.pem(), leaf(&ca).followed_by(&ca), Ok(())),
        ("one of several", both.clone(), leaf(&ca), Ok(())),
        ("one of several with the same name", namesake.pem() + &ca.pem(), leaf(&ca), Ok(())),
        ("another CA", other.pem(), leaf(&ca), Err(UNKNOWN)),
        ("another CA with the same name", namesake.pem(), leaf(&ca), Err(BAD_SIGNATURE)),
        ("intermediate", ca.pem(), leaf(&sub).followed_by(&sub), Ok(())),
        ("two intermediates", ca.pem(), leaf(&subsub).followed_by(&subsub).followed_by(&sub), Ok(())),
        ("in the wrong order", ca.pem(), leaf(&subsub).followed_by(&sub).followed_by(&subsub), Ok(())),
        ("with one too many", ca.pem(), leaf(&ca).followed_by(&other).followed_by(&sub), Ok(())),
        ("intermediate missing", ca.pem(), leaf(&sub), Err(UNKNOWN)),
        ("one of two missing", ca.pem(), leaf(&subsub).followed_by(&subsub), Err(UNKNOWN)),
        ("the wrong intermediate", ca.pem(), leaf(&sub).followed_by(&other), Err(UNKNOWN)),
        ("only the intermediate is trusted", sub.pem(), leaf(&sub), Ok(())),
        ("so is what it has issued", sub.pem(), leaf(&subsub).followed_by(&subsub), Ok(())),
        ("but not its sisters", sub.pem(), leaf(&ca), Err(UNKNOWN)),
        ("an issuer that is no CA", ca.pem(), leaf(&no_ca).followed_by(&no_ca), Err(NO_RIGHT)),
        (
            "an issuer below the last allowed one",
            ca.pem(),
            leaf(&behind_last).followed_by(&behind_last).followed_by(&last),
            Err(NO_RIGHT),
        ),
        ("self-signed", ca.pem(), self_signed(|_| {}), Err(UNKNOWN)),
    ];
    for (what, trusted, server, expected) in &cases {
        check(what, trusted, server, *expected);
    }
}

#[test]
fn a_ca_as_server() {
    // Whatever it has issued is trusted, but it is no server; `pinned` has the case that it is in `ca`.
    let ca = root("ca");
    let own_ca = |params: &mut rcgen::CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    check("a CA", &ca.pem(), &issue(&ca, own_ca), Err(MARKED));
    // What `openssl req -x509` makes.
    check("one that has issued itself", &ca.pem(), &self_signed(own_ca), Err(MARKED));
}

#[test]
fn dates() {
    let now = build_time() + 1000 * DAY;
    set_clock(now);
    let span = |from: i64, to: i64| (now.strict_add_signed(from), now.strict_add_signed(to));
    let ok = span(-10, 10);
    let cases = [
        ("valid", ok, ok, Ok(())),
        ("its first second", span(0, 10), ok, Ok(())),
        ("its last second", span(-10, 0), ok, Ok(())),
        ("expired", span(-10, -1), ok, Err(EXPIRED)),
        ("long ago", (1_000_000_000, 1_100_000_000), ok, Err(EXPIRED)),
        ("before the build", (0, build_time() - DAY), ok, Err(EXPIRED)),
        ("not valid yet", span(1, 10), ok, Err(EARLY)),
        ("in a hundred years", span(36_500 * DAY as i64, 36_501 * DAY as i64), ok, Err(EARLY)),
        ("intermediate expired", ok, span(-10, -1), Err(EXPIRED)),
        ("intermediate not valid yet", ok, span(1, 10), Err(EARLY)),
        ("for ever", (0, 253_402_300_799), ok, Ok(())),
    ];
    // Those of a root do not count: it is the application's to choose (RFC 5280 section 6.1.1).
    let ca = Authority::self_signed(
        {
            let mut params = authority_params("ca");
            validity(&mut params, 0, 1);
            params
        },
        key(),
    );
    let ca = ca.unwrap();
    for (what, (from, to), (sub_from, sub_to), expected) in cases {
        let sub = intermediate("sub", &ca, |params| validity(params, sub_from, sub_to));
        let server = issue(&sub, |params| validity(params, from, to)).followed_by(&sub);
        check(what, &ca.pem(), &server, expected);
    }
}

#[test]
fn a_clock_that_was_not_set() {
    let build = build_time();
    let old = (0, build + 9000 * DAY);
    let cases = [
        ("valid", old, old, Ok(())),
        ("younger than the build", (build + 2 * DAY, build + 9000 * DAY), old, Ok(())),
        ("as is its issuer", (build + 2 * DAY, build + 9000 * DAY), (build + DAY, build + 9000 * DAY), Ok(())),
        ("and older than that", (build + DAY, build + 9000 * DAY), (build + 2 * DAY, build + 9000 * DAY), Ok(())),
        ("only its issuer is young", old, (build + DAY, build + 9000 * DAY), Ok(())),
        ("expired before the build", (0, build - 1), old, Err(EXPIRED)),
        ("issuer expired before the build", old, (0, build - 1), Err(EXPIRED)),
        // Both have never been valid at one time.
        ("expired before its issuer began", (build, build + DAY), (build + 2 * DAY, build + 3 * DAY), Err(EXPIRED)),
        ("begun after its issuer expired", (build + 2 * DAY, build + 3 * DAY), (build, build + DAY), Err(EXPIRED)),
    ];
    let ca = root("ca");
    for (what, (from, to), (sub_from, sub_to), expected) in cases {
        let sub = intermediate("sub", &ca, |params| validity(params, sub_from, sub_to));
        let server = issue(&sub, |params| validity(params, from, to)).followed_by(&sub);
        for clock in [0, 100, build - 1] {
            set_clock(clock);
            check(what, &ca.pem(), &server, expected);
        }
    }
    // All the rest is verified as ever.
    set_clock(0);
    let young = |params: &mut rcgen::CertificateParams| validity(params, build + DAY, build + 9000 * DAY);
    check("another CA", &root("other").pem(), &issue(&ca, young), Err(UNKNOWN));
    let elsewhere = issue(&ca, |params| {
        *params = server_params(&["elsewhere.example"]);
        young(params);
    });
    check("another host", &ca.pem(), &elsewhere, Err("issued for another host name"));
    // A clock that was set is believed.
    set_clock(build);
    check("young", &ca.pem(), &issue(&ca, young), Err(EARLY));
}

#[test]
fn purposes_and_extensions() {
    let ca = root("ca");
    let purposes =
        |purposes: &[ExtendedKeyUsagePurpose]| issue(&ca, |params| params.extended_key_usages = purposes.to_vec());
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, EmailProtection, ServerAuth};
    let wrong = Err("not issued for servers");
    let extension = |critical| {
        issue(&ca, |params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            extension.set_criticality(critical);
            params.custom_extensions.push(extension);
        })
    };
    let constrained = intermediate("constrained", &ca, |params| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("other.example".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let cases = [
        ("for servers", purposes(&[ServerAuth]), Ok(())),
        ("for both", purposes(&[ClientAuth, ServerAuth]), Ok(())),
        ("for clients", purposes(&[ClientAuth]), wrong),
        ("for mail", purposes(&[EmailProtection]), wrong),
        ("for anything", purposes(&[Any]), wrong),
        ("an extension that nobody knows", extension(false), Ok(())),
        ("a critical one", extension(true), Err("an unknown critical extension")),
        ("outside of its issuer's names", issue(&constrained, |_| {}).followed_by(&constrained), Err(NO_RIGHT)),
    ];
    for (what, server, expected) in &cases {
        check(what, &ca.pem(), server, *expected);
    }
}

#[test]
fn what_openssl_takes_all_the_same() {
    let ca = root("ca");
    let from = |date: &str| {
        let [from, to] = [date, "491231235959Z"].map(|date| element(0x17, &[date.as_bytes()]));
        issue_with(&ca, |fields| fields[field::VALIDITY] = sequence(&[&from, &to]))
    };
    let by = |tag| issue_with(&ca, |fields| fields[field::ISSUER] = subject(&[(tag, b"ca")]));
    let cases = [
        ("from 1970 on", from("700101000000Z"), Ok(())),
        ("from 1969 on", from("691231235959Z"), Err("malformed, or of X.509 version 1")),
        ("the CA's name as UTF8String", by(0x0c), Ok(())),
        ("as PrintableString", by(0x13), Err(UNKNOWN)),
    ];
    for (what, server, expected) in &cases {
        check(what, &ca.pem(), server, *expected);
    }
    let key = openssl(&["ec", "-conv_form", "compressed"], ec_key("prime256v1").as_bytes());
    let certificate = openssl_signed(&key, &[]);
    let server = Server::start(&certificate, &key, "", "-tls1_3");
    let error = server.connect(&trusting(&certificate)).err();
    assert_eq!(error, Some(format!("server certificate refused: {BAD_SIGNATURE}")));
}

#[test]
fn certificates_that_are_none() {
    let ca = root("ca");
    let good = issue(&ca, |_| {});
    let spoil = |bytes: Vec<u8>| Identity { chain: vec![bytes.into()], pem: Vec::new(), key: key() };
    let der = good.chain[0].to_vec();
    let cases = [
        ("garbage", spoil(b"garbage".to_vec())),
        ("half", spoil(der[..der.len() / 2].to_vec())),
        ("one byte more", spoil([&der[..], &[0]].concat())),
        ("empty", spoil(vec![])),
    ];
    for (what, server) in &cases {
        check(what, &ca.pem(), server, Err("malformed, or of X.509 version 1"));
    }
    // Garbage behind a good one that is not needed does no harm.
    let mut server = issue(&ca, |_| {});
    server.chain.push(b"garbage".to_vec().into());
    check("garbage behind", &ca.pem(), &server, Ok(()));
}
