//! What the back end makes of Rust.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering::SeqCst};

use super::{Numbers, Sum};

const ROUNDS: u64 = 200;

fn pairs(mut with: impl FnMut(u64, u64, &mut Sum)) -> u64 {
    const EDGES: [u64; 12] =
        [0, 1, 2, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let (mut numbers, mut sum) = (Numbers::new(1), Sum::new());
    for a in EDGES {
        for b in EDGES {
            with(black_box(a), black_box(b), &mut sum);
        }
    }
    for _ in 0..ROUNDS {
        let (a, b) = (numbers.next(), numbers.next());
        with(a, b, &mut sum);
        with(a >> (b & 63), b >> (a & 63), &mut sum);
    }
    sum.end()
}

pub(super) fn narrow() -> u64 {
    pairs(|a, b, sum| {
        let (x, y) = (a as u8, b as u8);
        sum.number(
            u64::from(x.wrapping_mul(y)) | u64::from(x.saturating_add(y)) << 8 | u64::from(x.rotate_left(3)) << 16,
        );
        let (x, y) = (a as i8, b as i8);
        sum.number(i64::from(x.wrapping_sub(y)) as u64 ^ i64::from(x.saturating_sub(y)) as u64 ^ u64::from(x < y));
        let (x, y) = (a as u16, b as u16);
        sum.number(u64::from(x.wrapping_mul(y)) | u64::from(x.swap_bytes()) << 16 | u64::from(x.abs_diff(y)) << 32);
        let (x, y) = (a as i16, b as i16);
        sum.number((i32::from(x) * i32::from(y)) as u64 ^ i64::from(x >> (y & 15)) as u64);
        let (x, y) = (a as i32, b as i32);
        sum.number(x.wrapping_mul(y) as u64 ^ (i64::from(x) * i64::from(y)) as u64 ^ x.saturating_add(y) as u64);
        sum.number(x.checked_mul(y).map_or(7, |n| n as u64) ^ u64::from(x.checked_sub(y).is_none()));
    })
}

pub(super) fn wide() -> u64 {
    pairs(|a, b, sum| {
        let (x, y) = (a as i64, b as i64);
        sum.number(a.wrapping_add(b));
        sum.number(a.wrapping_sub(b));
        sum.number(a.wrapping_mul(b));
        sum.number(((u128::from(a) * u128::from(b)) >> 64) as u64);
        sum.number(((i128::from(x) * i128::from(y)) >> 64) as u64);
        sum.number(a.saturating_sub(b) ^ a.saturating_add(b));
        sum.number(a.checked_add(b).map_or(1, |n| n) ^ a.checked_mul(b).unwrap_or(2));
        sum.number(x.wrapping_neg() as u64 ^ x.saturating_add(y) as u64 ^ x.wrapping_abs() as u64);
        sum.number(u64::from(a > b) | u64::from(x > y) << 1 | u64::from(x <= y) << 2 | u64::from(a == b) << 3);
        sum.number(a.max(b) ^ x.min(y) as u64 ^ x.signum() as u64);
        let (low, carry) = a.overflowing_add(b);
        let (high, borrow) = b.overflowing_sub(a);
        sum.number(low ^ high ^ u64::from(carry) << 1 ^ u64::from(borrow));
    })
}

pub(super) fn bits() -> u64 {
    pairs(|a, b, sum| {
        let by = (b % 64) as u32;
        sum.number(a << by);
        sum.number(a >> by);
        sum.number((a as i64 >> by) as u64);
        sum.number(a.rotate_left(by) ^ a.rotate_right(by));
        sum.number(u64::from((a as u32) << (by % 32)) | u64::from(a as u32 >> (by % 32)) << 32);
        sum.number(((a as i32) >> (by % 32)) as u64 ^ u64::from((a as u32).rotate_right(by)));
        sum.number(
            a.checked_shl(by + 1).unwrap_or(9) ^ u64::from(a.leading_zeros()) ^ u64::from(a.trailing_zeros()) << 8,
        );
        sum.number(
            u64::from(a.count_ones())
                | u64::from((a as u32).leading_zeros()) << 8
                | u64::from((a as u16).trailing_ones()) << 16,
        );
        sum.number(a.swap_bytes() ^ a.reverse_bits());
        sum.number(u64::from((a as u32).reverse_bits()) | u64::from((a as u32).swap_bytes()) << 32);
        sum.number((a & !(1 << by)) ^ (b | 1 << by) ^ (a >> 5 & 0x7f) ^ u64::from(a as u32 >> 9 & 0x3ff));
    })
}

pub(super) fn divisions() -> u64 {
    pairs(|a, b, sum| {
        let or_1 = |n: u64| if n == 0 { 1 } else { n };
        sum.number(a / or_1(b));
        sum.number(a % or_1(b));
        sum.number((a as i64).wrapping_div(or_1(b) as i64) as u64);
        sum.number((a as i64).wrapping_rem(or_1(b) as i64) as u64);
        let (x, y) = (a as u32, or_1(u64::from(b as u32)) as u32);
        sum.number(u64::from(x / y) | u64::from(x % y) << 32);
        sum.number((x as i32).wrapping_div(y as i32) as u64 ^ (x as i32).wrapping_rem(y as i32) as u64);
        sum.number((a / 1000) ^ (a % 1000) ^ u64::from(x / 10) ^ u64::from(x % 10) ^ ((a as i64) / 86_400) as u64);
        sum.number(a.div_ceil(or_1(b)) ^ (a as i64).checked_rem_euclid(7).unwrap_or(0) as u64);
    })
}

/// What `if` becomes: tables, chains of comparisons, values chosen without a jump.
pub(super) fn branches() -> u64 {
    pairs(|a, b, sum| {
        let table = match a % 23 {
            0 => b,
            1 => b ^ 3,
            2 | 7 => b.wrapping_add(a),
            3..=5 => b << 1,
            6 => !b,
            8 => 0x1234_5678_9abc_def0,
            9 => a.wrapping_mul(5),
            10 => u64::from(b as u8),
            11 => b >> 33,
            12 => a & b,
            n if n % 2 == 0 => a | b,
            _ => 0,
        };
        sum.number(table);
        let (x, y) = (a as i32, b as i32);
        let chosen = if x < 0 && y >= 0 || x == y { x } else { y };
        sum.number(chosen as u64 ^ u64::from((x > 0) ^ (y > 0)) ^ u64::from(a as u32 <= b as u32) << 5);
        let text = ["none", "one", "two", "many"][(a % 4) as usize];
        sum.bytes(if b & 1 == 0 { text.as_bytes() } else { &text.as_bytes()[1..] });
        sum.number(
            Some(a).filter(|n| n % 3 == 0).or((b % 5 == 0).then_some(b)).map_or(11, |n| n.wrapping_add(1) & 0xffff),
        );
        sum.number(x.cmp(&y) as i64 as u64 ^ a.cmp(&b) as i64 as u64 ^ (a as i64).cmp(&(b as i64)) as i64 as u64);
    })
}

macro_rules! atomic {
    ($atomic:ty, $integer:ty, $sum:expr, $numbers:expr) => {
        let place = <$atomic>::new(0);
        for _ in 0..100 {
            let with = $numbers.next() as $integer;
            let old = match $numbers.below(9) {
                0 => place.fetch_add(with, SeqCst),
                1 => place.fetch_sub(with, SeqCst),
                2 => place.fetch_and(with, SeqCst),
                3 => place.fetch_or(with, SeqCst),
                4 => place.fetch_xor(with, SeqCst),
                5 => place.fetch_nand(with, SeqCst),
                6 => place.swap(with, SeqCst),
                7 => place.compare_exchange(place.load(SeqCst), with, SeqCst, SeqCst).unwrap_or_else(|other| !other),
                _ => place.compare_exchange(with, 1, SeqCst, SeqCst).unwrap_or_else(|other| other),
            };
            $sum.number(u64::from(old) << 32 | u64::from(place.load(SeqCst)));
        }
        place.store(42, SeqCst);
        $sum.number(place.fetch_max(77, SeqCst).into());
    };
}

pub(super) fn atomics() -> u64 {
    let (mut sum, mut numbers) = (Sum::new(), Numbers::new(2));
    atomic!(AtomicU8, u8, sum, numbers);
    atomic!(AtomicU16, u16, sum, numbers);
    atomic!(AtomicU32, u32, sum, numbers);
    let flag = AtomicBool::new(false);
    sum.number(flag.swap(true, SeqCst).into());
    sum.number(flag.fetch_not(SeqCst).into());
    sum.number(flag.load(SeqCst).into());
    sum.end()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    small: u8,
    wide: u64,
    medium: u16,
    flag: bool,
    bytes: [u8; 5],
}

pub(super) fn memory() -> u64 {
    let (mut sum, mut numbers) = (Sum::new(), Numbers::new(3));
    let mut records = Vec::new();
    for len in 0..150_usize {
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        sum.number((bytes.as_ptr().align_offset(8) == 0 || len == 0).into());
        bytes.resize(len, 0);
        numbers.fill(&mut bytes);
        let (from, to, n) = (len / 3, len / 2, len / 4);
        bytes.copy_within(from..from + n, to);
        bytes.copy_within(to..to + n, from.min(1));
        bytes.extend_from_within(..n);
        bytes.rotate_left(n);
        bytes[..n].reverse();
        sum.bytes(&bytes);
        bytes.shrink_to_fit();
        sum.number(bytes.iter().rposition(|byte| *byte == 7).unwrap_or(0) as u64);
        let wide = numbers.next();
        let mut five = [0; 5];
        numbers.fill(&mut five);
        records.push(Record { small: wide as u8, wide, medium: (wide >> 7) as u16, flag: wide & 4 != 0, bytes: five });
    }
    let boxed: alloc::boxed::Box<[Record]> = records.clone().into();
    sum.number(u64::from(boxed.as_ptr().cast::<u64>().is_aligned()));
    records.sort_unstable();
    records.dedup_by_key(|record| record.small);
    let mut ordered = BTreeMap::new();
    let mut queue = VecDeque::new();
    for record in &records {
        sum.number(record.wide ^ u64::from(record.medium) ^ u64::from(record.flag));
        sum.bytes(&record.bytes);
        ordered.insert(record.medium, *record);
        queue.push_back(record.small);
        if record.flag {
            sum.number(queue.pop_front().map_or(0, u64::from));
        }
    }
    ordered.retain(|key, record| key & 1 == 0 || record.small > 100);
    for (key, record) in &ordered {
        sum.number(u64::from(*key) << 32 | record.wide >> 32);
    }
    sum.end()
}

pub(super) fn text() -> u64 {
    let (mut sum, mut numbers, mut all) = (Sum::new(), Numbers::new(4), String::new());
    for _ in 0..100 {
        let n = numbers.next() >> numbers.below(64);
        all.push_str(&format!("{n} {:>9} {:<5}| {:#x} {:08b} ", n as i32, n as i8, n as u16, n as u8));
        sum.number((n as i64).checked_neg().map_or(0, |n| n as u64));
        sum.number(format!("{n}").parse::<u64>().map_or(1, |same| u64::from(same == n)));
        sum.number(format!("{}", n as u32).parse::<u16>().map_or(2, u64::from));
    }
    all.push('\u{6e29}');
    sum.bytes(all.to_ascii_uppercase().as_bytes());
    sum.number(all.split(' ').filter(|word| word.starts_with("0x")).count() as u64);
    sum.number(all.find("| 0x1").unwrap_or(0) as u64);
    sum.number(all.chars().rev().take(3).map(u64::from).sum());
    sum.number(
        core::str::from_utf8(&all.as_bytes()[..all.len() - 1]).map_or_else(|error| error.valid_up_to() as u64, |_| 0),
    );
    sum.end()
}
