//! A server whose own certificate is in `ca`: it needs no issuer, but dates and name count.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa};

use crate::certificates::*;
use crate::support::*;

fn own_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

#[track_caller]
fn check(what: &str, ca: &str, host: &str, server: &Identity, expected: Result<(), &str>) {
    let expected = expected.map_err(|text| format!("server certificate refused: {text}"));
    for version in VERSIONS {
        let mut pair = Pair::with_host(&trusting(ca), host, &crate::support::server(version, server)).unwrap();
        assert_eq!(pair.run(), expected, "{what}");
        assert_eq!(pair.client.layers.is_open(), expected.is_ok(), "{what}");
    }
}

#[test]
fn kinds() {
    let (ca, sub) = (root("ca"), intermediate("sub", &root("gone"), |_| {}));
    let expired = intermediate("sub", &ca, |params| validity(params, 0, build_time() - 1));
    let kinds: [(&str, Identity); 8] = [
        ("self-signed", self_signed(|_| {})),
        ("self-signed CA", self_signed(own_ca)),
        ("issuer unknown", issue(&ca, |_| {})),
        ("issuer unknown, and it is a CA", issue(&ca, own_ca)),
        ("issuer unknown, but sent", issue(&sub, |_| {}).followed_by(&sub)),
        ("issuer expired", issue(&expired, |_| {}).followed_by(&expired)),
        ("sent twice", {
            let mut server = issue(&ca, |_| {});
            server.chain.push(server.chain[0].clone());
            server
        }),
        ("followed by garbage", {
            let mut server = issue(&ca, |_| {});
            server.chain.push(b"garbage".to_vec().into());
            server
        }),
    ];
    let others = root("other").pem();
    for (what, server) in &kinds {
        let pem = &server.pem[0];
        check(what, pem, HOST, server, Ok(()));
        check(what, &format!("{others}{pem}{pem}"), HOST, server, Ok(()));
        check(what, pem, "elsewhere.example", server, Err("issued for another host name"));
        // Not by what it says, but by being the same.
        let stranger = match *what {
            "issuer expired" => "expired",
            "self-signed CA" | "issuer unknown, and it is a CA" => MARKED,
            "followed by garbage" => "malformed, or of X.509 version 1",
            _ => UNKNOWN,
        };
        check(what, &others, HOST, server, Err(stranger));
    }
}

#[test]
fn namesakes() {
    // A CA that has the name of the issuer and another key.
    let (ca, namesake) = (root("ca"), root("ca"));
    let server = issue(&ca, |_| {});
    for trusted in [namesake.pem() + &server.pem[0], server.pem[0].clone() + &namesake.pem()] {
        check("issuer has a namesake", &trusted, HOST, &server, Ok(()));
    }
    let server = self_signed(|_| {});
    let renewed = self_signed(|_| {});
    let both = server.pem[0].clone() + &renewed.pem[0];
    check("old", &both, HOST, &server, Ok(()));
    check("new", &both, HOST, &renewed, Ok(()));
    check("renewed", &server.pem[0], HOST, &renewed, Err(UNKNOWN));
}

#[test]
fn dates() {
    let build = build_time();
    let cases = [
        (build + 100, (0, build + 99), Err("expired")),
        (build + 100, (0, build + 100), Ok(())),
        (build + 100, (build + 101, build + 200), Err("not valid yet")),
        (0, (build + 101, build + 200), Ok(())),
        (0, (0, build - 1), Err("expired")),
    ];
    let ca = root("ca");
    for (clock, (from, to), expected) in cases {
        set_clock(clock);
        let dated = |params: &mut CertificateParams| validity(params, from, to);
        let own = |params: &mut CertificateParams| {
            dated(params);
            own_ca(params);
        };
        for server in [self_signed(dated), self_signed(own), issue(&ca, dated)] {
            check("", &server.pem[0], HOST, &server, expected);
        }
    }
}

#[test]
fn purposes() {
    let server = self_signed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    check("for clients", &server.pem[0], HOST, &server, Err("not issued for servers"));
}

#[test]
fn a_pinned_certificate_is_no_authority_but_by_its_own_word() {
    let holder = Authority::self_signed(server_params(&["holder.example"]), key()).unwrap();
    let server = issue(&holder, |_| {});
    check("issued by a leaf", &holder.pem(), HOST, &server, Err(UNKNOWN));
}

#[test]
fn its_key_must_be_there() {
    let mut server = self_signed(|_| {});
    server.key = key();
    check("another key", &server.pem[0], HOST, &server, Err(BAD_SIGNATURE));
}
