//! Without verification any certificate will do, even one that is none.

use crate::certificates::*;
use crate::support::*;

#[test]
fn another_key_than_the_certificates() {
    // Who does not care whose certificate it is cannot care whose key it is either.
    let mut identity = self_signed(|_| {});
    identity.key = key();
    for version in VERSIONS {
        Pair::open(&unverified(), &server(version, &identity)).assert_works();
    }
}

#[test]
fn any_certificate() {
    let cases = [
        ("expired", self_signed(|params| validity(params, 0, 1_000_000_000))),
        ("not valid yet", self_signed(|params| validity(params, 3_000_000_000, 3_000_000_001))),
        ("another host's", self_signed(|params| *params = server_params(&["elsewhere.example"]))),
        ("nobody's", self_signed(|params| *params = server_params(&[]))),
        ("a CA's", self_signed(|params| *params = authority_params("ca"))),
        (
            "for clients",
            self_signed(|params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
        ("garbage", Identity { chain: vec![b"garbage".to_vec().into()], pem: Vec::new(), key: key() }),
    ];
    for (what, identity) in &cases {
        for clock in [0, build_time() + 1, u64::MAX / 2] {
            set_clock(clock);
            for version in VERSIONS {
                let mut pair = Pair::new(&unverified(), &server(version, identity));
                assert_eq!(pair.run(), Ok(()), "{what}");
                pair.assert_works();
            }
        }
    }
}
