//! Host names: in SNI, and in certificates.

use crate::certificates::{issue, root, self_signed};
use crate::support::*;

#[test]
fn server_name_indication() {
    // RFC 6066 section 3: no literal addresses, no trailing dot.
    let cases = [
        ("broker.example", Some("broker.example")),
        ("Broker.EXAMPLE", Some("broker.example")),
        ("broker.example.", Some("broker.example")),
        ("my_broker", Some("my_broker")),
        ("localhost", Some("localhost")),
        ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("::ffff:192.0.2.1", None),
    ];
    for (host, expected) in cases {
        for version in VERSIONS {
            let mut pair = Pair::with_host(&unverified(), host, &server(version, &self_signed(|_| {}))).unwrap();
            pair.run().unwrap();
            assert_eq!(pair.server.server_name().map(str::to_lowercase).as_deref(), expected, "{host}");
            pair.assert_works();
        }
    }
}

#[test]
fn names_that_no_certificate_can_have() {
    let ca = root("ca");
    for host in ["fe80::1%eth0", "a host", "-broker.example", "broker..example", "b\u{fc}cher.example"] {
        let error = Client::new(&trusting(&ca.pem()), host).err();
        assert_eq!(error.as_deref(), Some("the host is no valid name for a certificate"), "{host}");
        // Without verification it is enough that the name has led to an address.
        let mut pair = Pair::with_host(&unverified(), host, &server(VERSIONS[0], &self_signed(|_| {}))).unwrap();
        pair.run().unwrap();
        assert_eq!(pair.server.server_name(), None, "{host}");
        pair.assert_works();
    }
}

#[test]
fn names_of_certificates() {
    let wrong = Err("server certificate refused: issued for another host name");
    let cases: [(&[&str], &str, Result<(), &str>); 21] = [
        (&["broker.example"], "broker.example", Ok(())),
        (&["broker.example"], "BROKER.example", Ok(())),
        (&["Broker.Example"], "broker.example", Ok(())),
        (&["broker.example"], "broker.example.", Ok(())),
        (&["my_broker"], "my_broker", Ok(())),
        (&["localhost"], "localhost", Ok(())),
        (&["other.example", "broker.example"], "broker.example", Ok(())),
        (&["broker.example"], "other.example", wrong),
        (&["broker.example"], "a.broker.example", wrong),
        (&["broker.example"], "example", wrong),
        // Wildcards stand for one label, the first.
        (&["*.example.org"], "broker.example.org", Ok(())),
        (&["*.example.org"], "BROKER.example.org", Ok(())),
        (&["*.example.org"], "example.org", wrong),
        (&["*.example.org"], "a.broker.example.org", wrong),
        (&["a.*.example.org"], "a.b.example.org", wrong),
        (&["*"], "broker", wrong),
        // Addresses
        (&["192.0.2.1"], "192.0.2.1", Ok(())),
        (&["192.0.2.1"], "192.0.2.2", wrong),
        (&["2001:db8::1"], "2001:DB8:0::1", Ok(())),
        (&["192.0.2.1"], "broker.example", wrong),
        (&["broker.example"], "192.0.2.1", wrong),
        // `common_name` has those without.
    ];
    let ca = root("ca");
    for (names, host, expected) in cases {
        let identity = issue(&ca, |params| {
            params.subject_alt_names = crate::certificates::server_params(names).subject_alt_names;
            params.distinguished_name.push(rcgen::DnType::CommonName, host);
        });
        let mut pair = Pair::with_host(&trusting(&ca.pem()), host, &server(VERSIONS[0], &identity)).unwrap();
        assert_eq!(pair.run(), expected.map_err(String::from), "{names:?} {host}");
        assert_eq!(pair.client.layers.is_open(), expected.is_ok());
    }
}

#[test]
fn an_address_that_is_written_as_a_name_is_none() {
    // Some tools write addresses as DNS names; nobody else accepts that either.
    let ca = root("ca");
    let identity = issue(&ca, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("192.0.2.1".try_into().unwrap())];
    });
    let mut pair = Pair::with_host(&trusting(&ca.pem()), "192.0.2.1", &server(VERSIONS[0], &identity)).unwrap();
    assert!(pair.run().unwrap_err().starts_with("server certificate refused"));
}
