//! Products of 32 by 32 bits to 64, and sums of them, by whatever computes them: `examples/board_check` has each of the processor's
//! instructions for them, and what the compilers make of C, under the same names.

use super::{Numbers, Sum};

/// What is computed from two factors and a sum.
pub type Product = fn(u32, u32, u64) -> u64;

fn unsigned(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

fn signed(a: u32, b: u32) -> u64 {
    (i64::from(a as i32) * i64::from(b as i32)) as u64
}

fn low_word(sum: u64, a: u32, b: u32) -> u64 {
    sum & !0xffff_ffff | u64::from((sum as u32).wrapping_add(a.wrapping_mul(b)))
}

/// What must come out.
pub static PRODUCTS: &[(&str, Product)] = &[
    ("mul.u32", |a, b, _| unsigned(a, b)),
    ("mul.u32 into its factors", |a, b, _| unsigned(a, b)),
    ("mul.u32 into an odd pair, its factor low", |a, b, _| unsigned(a, b)),
    ("mul.u32, its factor high", |a, b, _| unsigned(a, b)),
    ("mul.s32", |a, b, _| signed(a, b)),
    ("mul.s32 into its factors", |a, b, _| signed(a, b)),
    ("mul.s32 into an odd pair, its factor low", |a, b, _| signed(a, b)),
    ("mul.s32, its factor high", |a, b, _| signed(a, b)),
    ("mula.u32", |a, b, sum| sum.wrapping_add(unsigned(a, b))),
    ("mula.u32 into an odd pair", |a, b, sum| sum.wrapping_add(unsigned(a, b))),
    ("mula.u32 of its low half", |_, b, sum| sum.wrapping_add(unsigned(sum as u32, b))),
    ("mula.u32 of its high half", |a, _, sum| sum.wrapping_add(unsigned(a, (sum >> 32) as u32))),
    ("mula.s32", |a, b, sum| sum.wrapping_add(signed(a, b))),
    ("mula.s32 into an odd pair", |a, b, sum| sum.wrapping_add(signed(a, b))),
    ("mula.s32 of its low half", |_, b, sum| sum.wrapping_add(signed(sum as u32, b))),
    ("mula.s32 of its high half", |a, _, sum| sum.wrapping_add(signed(a, (sum >> 32) as u32))),
    ("mula.32.l", |a, b, sum| low_word(sum, a, b)),
    ("mula.32.l of itself", |_, b, sum| low_word(sum, sum as u32, b)),
    ("C's product", |a, b, _| unsigned(a, b)),
    ("C's signed product", |a, b, _| signed(a, b)),
    ("C's sum", |a, b, sum| sum.wrapping_add(unsigned(a, b))),
    ("C's sum of its own half", |_, b, sum| sum.wrapping_add(unsigned(sum as u32, b))),
    ("C's signed sum", |a, b, sum| sum.wrapping_add(signed(a, b))),
    ("C's low sum", |a, b, sum| u64::from((sum as u32).wrapping_add(a.wrapping_mul(b)))),
    ("C's product of 64 bits", |a, b, sum| sum.wrapping_mul(u64::from(a) | u64::from(b) << 32)),
    ("__muldi3", |a, b, sum| sum.wrapping_mul(u64::from(a) | u64::from(b) << 32)),
];

/// All results of one.
pub fn results(product: impl Fn(u32, u32, u64) -> u64) -> u64 {
    const EDGES: [u32; 8] = [0, 1, 2, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let (mut numbers, mut sum) = (Numbers::new(5), Sum::new());
    for a in EDGES {
        for b in EDGES {
            for before in [0, 1, u64::from(a), u64::from(b) << 32, u64::MAX, 0x0123_4567_89ab_cdef] {
                sum.number(product(a, b, before));
            }
        }
    }
    for _ in 0..200 {
        let factors = numbers.next();
        sum.number(product(factors as u32, (factors >> 32) as u32, numbers.next()));
    }
    sum.end()
}
