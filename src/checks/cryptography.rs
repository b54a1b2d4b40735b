//! ring, whose portable C runs on the device.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::signature::{self, ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{agreement, digest, hkdf, hmac, pbkdf2, rand};

use super::{Numbers, Sum};

pub(super) fn digests() -> u64 {
    let (mut sum, mut numbers, mut data) = (Sum::new(), Numbers::new(8), [0; 300]);
    numbers.fill(&mut data);
    for algorithm in [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256, &digest::SHA384, &digest::SHA512] {
        for len in (0..140).step_by(3).chain([55, 56, 63, 64, 111, 112, 127, 128, 300]) {
            sum.bytes(digest::digest(algorithm, &data[..len]).as_ref());
        }
        let mut parts = digest::Context::new(algorithm);
        data.chunks(7).for_each(|part| parts.update(part));
        sum.bytes(parts.finish().as_ref());
    }
    sum.end()
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

pub(super) fn derivation() -> u64 {
    let mut sum = Sum::new();
    for algorithm in [hmac::HMAC_SHA256, hmac::HMAC_SHA384] {
        let key = hmac::Key::new(algorithm, b"a key of some length");
        let tag = hmac::sign(&key, b"what is signed");
        sum.bytes(tag.as_ref());
        sum.number(hmac::verify(&key, b"what is signed", tag.as_ref()).is_ok().into());
        sum.number(hmac::verify(&key, b"what is not", tag.as_ref()).is_ok().into());
    }
    for algorithm in [hkdf::HKDF_SHA256, hkdf::HKDF_SHA384] {
        let mut out = [0; 100];
        let key = hkdf::Salt::new(algorithm, b"salt").extract(b"secret");
        let filled = key.expand(&[b"info", b"more"], Length(out.len())).and_then(|okm| okm.fill(&mut out));
        sum.number(filled.is_ok().into());
        sum.bytes(&out);
    }
    let mut out = [0; 40];
    let rounds = core::num::NonZeroU32::new(5).unwrap_or(core::num::NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, b"salt", b"password", &mut out);
    sum.bytes(&out);
    sum.end()
}

pub(super) fn encryption() -> u64 {
    let (mut sum, mut numbers) = (Sum::new(), Numbers::new(9));
    for algorithm in [&AES_128_GCM, &AES_256_GCM, &CHACHA20_POLY1305] {
        let (mut key, mut text) = ([0; 32], [0; 1100 + 16]);
        numbers.fill(&mut key);
        numbers.fill(&mut text);
        let Ok(key) = UnboundKey::new(algorithm, &key[..algorithm.key_len()]) else { return 0 };
        let key = LessSafeKey::new(key);
        for len in (0..35).chain([63, 64, 65, 127, 129, 255, 257, 1024, 1100]) {
            let mut nonce = [0; 12];
            numbers.fill(&mut nonce);
            let (body, place) = text.split_at_mut(len);
            let sealed = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(b"head"), body);
            let Ok(tag) = sealed else { return 1 };
            place[..16].copy_from_slice(tag.as_ref());
            sum.bytes(&text[..len + 16]);
            let opened =
                key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(b"head"), &mut text[..len + 16]);
            sum.number(opened.map_or(u64::MAX, |opened| opened.len() as u64));
            text[len] ^= 0x40;
            let opened =
                key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(b"head"), &mut text[..len + 16]);
            sum.number(opened.is_ok().into());
        }
    }
    sum.end()
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digit = |at: usize| char::from(text.as_bytes()[at]).to_digit(16).unwrap_or(0) as u8;
    core::array::from_fn(|n| digit(2 * n) << 4 | digit(2 * n + 1))
}

/// RFC 6979, A.2.5: P-256 with SHA-256, message "sample".
pub(super) fn ecdsa() -> u64 {
    let key: [u8; 65] = hex(concat!(
        "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    ));
    let mut signature: [u8; 64] = hex(concat!(
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    ));
    let verified = |message: &[u8], signature: &[u8]| {
        u64::from(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key).verify(message, signature).is_ok())
    };
    let right = verified(b"sample", &signature);
    let other_message = verified(b"Sample", &signature);
    signature[40] ^= 1;
    right | other_message << 1 | verified(b"sample", &signature) << 2
}

/// RFC 8032, 7.1, test 2, and other seeds.
pub(super) fn ed25519() -> u64 {
    let mut sum = Sum::new();
    let mut numbers = Numbers::new(10);
    let mut seed: [u8; 32] = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    for _ in 0..3 {
        let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&seed) else { return 0 };
        let signed = pair.sign(&[0x72]);
        sum.bytes(signed.as_ref());
        let key = UnparsedPublicKey::new(&ED25519 as &dyn signature::VerificationAlgorithm, pair.public_key().as_ref());
        sum.number(key.verify(&[0x72], signed.as_ref()).is_ok().into());
        sum.number(key.verify(&[0x73], signed.as_ref()).is_ok().into());
        numbers.fill(&mut seed);
    }
    sum.end()
}

/// Keys are random: both sides must come to the same secret.
pub(super) fn agreement() -> u64 {
    let random = rand::SystemRandom::new();
    let mut agreed = 0;
    for algorithm in [&agreement::X25519, &agreement::ECDH_P256, &agreement::ECDH_P384] {
        let pair = || {
            let private = agreement::EphemeralPrivateKey::generate(algorithm, &random).ok()?;
            let public = private.compute_public_key().ok()?;
            Some((private, public))
        };
        let (Some((a, public_a)), Some((b, public_b))) = (pair(), pair()) else { return 0 };
        let secret = |own, other: &agreement::PublicKey| {
            let mut place = [0; 48];
            let other = agreement::UnparsedPublicKey::new(algorithm, other);
            let got = agreement::agree_ephemeral(own, &other, |secret| place[..secret.len()].copy_from_slice(secret));
            got.is_ok().then_some(place)
        };
        agreed = agreed << 1 | u64::from(secret(a, &public_b).is_some_and(|one| secret(b, &public_a) == Some(one)));
    }
    agreed
}
