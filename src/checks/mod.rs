//! Computations with results of 64 bits: what a compiler can get wrong (integers of all widths, atomics, memory, formatting),
//! MQTT's packets, and cryptography. `examples/board_check` compares them with the host's, where ring has assembly of its
//! own: another implementation.

use core::ffi::CStr;

mod compiler;
mod cryptography;
mod mqtt;
pub mod products;

/// A name and the computation.
pub type Check = (&'static CStr, fn() -> u64);

/// All of them.
pub static CHECKS: &[Check] = &[
    (c"narrow integers", compiler::narrow),
    (c"wide integers", compiler::wide),
    (c"shifts and bits", compiler::bits),
    (c"divisions", compiler::divisions),
    (c"branches", compiler::branches),
    (c"atomics", compiler::atomics),
    (c"memory", compiler::memory),
    (c"text", compiler::text),
    (c"time", mqtt::time),
    (c"URIs", mqtt::uris),
    (c"packets sent", mqtt::sent),
    (c"packets received", mqtt::received),
    (c"digests", cryptography::digests),
    (c"key derivation", cryptography::derivation),
    (c"authenticated encryption", cryptography::encryption),
    (c"ECDSA P-256", cryptography::ecdsa),
    (c"Ed25519", cryptography::ed25519),
    (c"key agreement", cryptography::agreement),
];

/// Pseudo-random numbers, the same everywhere.
struct Numbers(u64);

impl Numbers {
    const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }
}

/// FNV-1a over what it is given.
struct Sum(u64);

impl Sum {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn end(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the board is told to expect; `UPDATE_CHECKS=1` writes it.
    #[test]
    fn expected_results() {
        let products =
            products::PRODUCTS.iter().map(|(name, product)| (format!("{name:?}"), products::results(product)));
        let checks = CHECKS.iter().map(|(name, check)| (format!("{name:?}"), check()));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/board_check/main/src/expected.h");
        let mut text =
            "/* The host's results of src/checks, as a test there writes them: rows of a table. */\n".to_owned();
        for (name, result) in products.chain(checks) {
            text += &format!("{{{name}, 0x{result:016x}ull}},\n");
        }
        if std::env::var_os("UPDATE_CHECKS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}
