//! Which certificates in `ca` are authorities, and how many of them there may be.

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, IsCa};

use crate::certificates::*;
use crate::der::{element, field, sequence, signed};
use crate::support::*;

/// What becomes of a handshake with this server.
#[track_caller]
fn check(what: &str, ca: &str, server: &Identity, expected: Result<(), &str>) {
    for version in VERSIONS {
        let mut pair = Pair::new(&trusting(ca), &crate::support::server(version, server));
        assert_eq!(pair.run(), expected.map_err(|text| format!("server certificate refused: {text}")), "{what}");
    }
}

/// An authority whose certificate has other fields than rcgen gives it.
fn changed(ca: &Authority, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> String {
    let whole = Identity { chain: vec![ca.der().clone()], pem: vec![String::new()], key: key() };
    signed(whole, ca.key(), change).pem.remove(0)
}

#[test]
fn by_their_own_word() {
    let ca = root("ca");
    let server = issue(&ca, |_| {});
    let extension = |value: &[u8]| {
        let constraints = sequence(&[&element(6, &[&[0x55, 0x1d, 19]]), &element(4, &[&sequence(&[value])])]);
        element(0xa3, &[&sequence(&[&constraints])])
    };
    let saying = |value: &[u8]| changed(&ca, |fields| fields[field::EXTENSIONS] = extension(value));
    let dates = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|date| element(if date.len() == 13 { 0x17 } else { 0x18 }, &[date.as_bytes()]));
        changed(&ca, |fields| fields[field::VALIDITY] = sequence(&[&from, &to]))
    };
    let cases = [
        ("as it is", ca.pem(), Ok(())),
        ("CA:TRUE", saying(&[1, 1, 0xff]), Ok(())),
        ("CA:TRUE, at most 3 below it", saying(&[1, 1, 0xff, 2, 1, 3]), Ok(())),
        ("CA:TRUE in BER", saying(&[1, 1, 1]), Ok(())),
        ("CA:FALSE", saying(&[1, 1, 0]), Err(UNKNOWN)),
        ("no word", saying(&[]), Err(UNKNOWN)),
        ("only a number", saying(&[2, 1, 3]), Err(UNKNOWN)),
        ("no extension", changed(&ca, |fields| fields.truncate(field::EXTENSIONS)), Err(UNKNOWN)),
        // Its dates do not count.
        ("from before 1970", dates("19500101000000Z", "20491231235959Z"), Ok(())),
        ("from 1950 on", dates("500101000000Z", "491231235959Z"), Ok(())),
        ("only before 1970", dates("650101000000Z", "691231235959Z"), Ok(())),
        ("from the end to the beginning", dates("300101000000Z", "200101000000Z"), Ok(())),
        ("without dates", changed(&ca, |fields| fields[field::VALIDITY] = sequence(&[])), Ok(())),
    ];
    for (what, ca, expected) in &cases {
        check(what, ca, &server, *expected);
    }
}

#[test]
fn with_critical_extensions_that_nobody_knows() {
    let mut params = authority_params("ca");
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    let ca = Authority::self_signed(params.clone(), key()).unwrap();
    check("an authority", &ca.pem(), &issue(&ca, |_| {}), Ok(()));
    params.is_ca = IsCa::NoCa;
    let leaf = Authority::self_signed(params, key()).unwrap();
    check("none", &leaf.pem(), &issue(&leaf, |_| {}), Err(UNKNOWN));
}

#[test]
fn a_pinned_authority_for_clients_only() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let cases = [
        (vec![ClientAuth], Err("not issued for servers")),
        (vec![Any], Err("not issued for servers")),
        (vec![ClientAuth, ServerAuth], Ok(())),
        (vec![], Ok(())),
    ];
    for (purposes, expected) in cases {
        for is_ca in [authority_params("").is_ca, IsCa::ExplicitNoCa] {
            let server = self_signed(|params| {
                params.is_ca = is_ca;
                params.extended_key_usages = purposes.clone();
            });
            check(&format!("{purposes:?} {is_ca:?}"), &server.pem[0], &server, expected);
        }
    }
}

#[test]
fn more_than_webpki_tries() {
    // It verifies 100 signatures at most.
    let right = root("ca");
    let server = issue(&right, |_| {});
    let namesakes = |count| (0..count).map(|_| root("ca").pem()).collect::<String>();
    check("99 before it", &(namesakes(99) + &right.pem()), &server, Ok(()));
    let too_many = "too many intermediates, authorities of one name or name constraints to try";
    check("120 before it", &(namesakes(120) + &right.pem()), &server, Err(too_many));
    // Seven intermediates; there may be six.
    let mut chain = vec![intermediate("1", &right, |_| {})];
    for i in 2..=7 {
        chain.push(intermediate(&i.to_string(), chain.last().unwrap(), |_| {}));
    }
    for (count, expected) in [(6, Ok(())), (7, Err(too_many))] {
        let server = issue(&chain[count - 1], |_| {});
        let server = chain[..count].iter().rev().fold(server, |server, issuer| server.followed_by(issuer));
        check(&format!("{count} intermediates"), &right.pem(), &server, expected);
    }
}
