//! What is UTF-8. The check of Rust's library has a table of 256 bytes and is made for long texts.

/// Whether `text` is well-formed: no byte too many or too few, no character longer than it need be, no surrogates.
pub fn is_utf8(mut text: &[u8]) -> bool {
    while let [first, rest @ ..] = text {
        text = rest;
        let following = match first.leading_ones() {
            0 => continue,
            ones @ 2..=4 => ones - 1,
            _ => return false,
        };
        let mut point = u32::from(*first) & (0x3f >> following);
        for _ in 0..following {
            let [byte @ 0x80..0xc0, rest @ ..] = text else { return false };
            text = rest;
            point = point << 6 | u32::from(byte & 0x3f);
        }
        if char::from_u32(point).is_none_or(|char| char.len_utf8() as u32 <= following) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What matters of a byte: its kind, and the ends of ranges.
    const BYTES: [u8; 29] = [
        0, 1, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
        0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xf8, 0xff,
    ];

    #[test]
    fn as_the_library_says() {
        let mut counts = [0, 0];
        let mut check = |text: &[u8]| {
            let is_good = core::str::from_utf8(text).is_ok();
            assert_eq!(is_utf8(text), is_good, "{text:x?}");
            counts[usize::from(is_good)] += 1;
        };
        check(&[]);
        for a in BYTES {
            check(&[a]);
            for b in BYTES {
                check(&[a, b]);
                for c in BYTES {
                    check(&[a, b, c]);
                    for d in BYTES {
                        check(&[a, b, c, d]);
                        check(&[b'x', a, b, c, d, b'y']);
                    }
                }
            }
        }
        for point in 0..=0x11_0000_u32 {
            // as the encoding would have it, a character or not
            let low = |shift: u32| 0x80 | (point >> shift & 0x3f) as u8;
            let four = [0xf0 | (point >> 18) as u8, low(12), low(6), low(0)];
            check(&four);
            check(&[0xe0 | (point >> 12 & 0xf) as u8, low(6), low(0)]);
            check(&[0xc0 | (point >> 6 & 0x1f) as u8, low(0)]);
        }
        assert!(counts[0] > 1_000_000 && counts[1] > 1_000_000, "{counts:?}");
    }
}
