//! Computations with results of 64 bits: what a compiler can get wrong (integers of all widths, atomics, memory, formatting),
//! MQTT's packets, and cryptography. On the host ring has assembly of its own: another implementation.
#![cfg_attr(not(feature = "host"), no_std)]

extern crate alloc;

mod compiler;
mod cryptography;
mod mqtt;
pub mod products;

/// A name and the computation.
pub type Check = (&'static str, fn() -> u64);

/// All of them.
pub static CHECKS: &[Check] = &[
    ("narrow integers", compiler::narrow),
    ("wide integers", compiler::wide),
    ("shifts and bits", compiler::bits),
    ("divisions", compiler::divisions),
    ("branches", compiler::branches),
    ("atomics", compiler::atomics),
    ("memory", compiler::memory),
    ("text", compiler::text),
    ("time", mqtt::time),
    ("URIs", mqtt::uris),
    ("packets sent", mqtt::sent),
    ("packets received", mqtt::received),
    ("digests", cryptography::digests),
    ("key derivation", cryptography::derivation),
    ("authenticated encryption", cryptography::encryption),
    ("ECDSA P-256", cryptography::ecdsa),
    ("Ed25519", cryptography::ed25519),
    ("key agreement", cryptography::agreement),
];

/// For C: the name and the result of one; false behind the last.
///
/// # Safety
///
/// The pointers can be written to.
#[cfg(feature = "device")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn check_result(number: u32, name: *mut *const u8, len: *mut usize, result: *mut u64) -> bool {
    let Some((text, check)) = CHECKS.get(number as usize) else { return false };
    // SAFETY: the caller's promise.
    unsafe {
        name.write(text.as_ptr());
        len.write(text.len());
        result.write(check());
    }
    true
}

/// For C: all results of what multiplies.
#[cfg(feature = "device")]
#[unsafe(no_mangle)]
pub extern "C" fn check_product(product: extern "C" fn(u32, u32, u64) -> u64) -> u64 {
    products::results(|a, b, sum| product(a, b, sum))
}

/// Pseudo-random numbers, the same everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }
}

/// FNV-1a over what it is given.
pub(crate) struct Sum(u64);

impl Sum {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(crate) fn end(&self) -> u64 {
        self.0
    }
}
