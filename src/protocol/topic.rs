//! Topic names and topic filters (section 4.7).

/// Longest UTF-8 encoded string that fits its two-byte length (section 1.5.3).
pub const MAX_STRING: usize = 65_535;

/// Why a topic name or filter cannot be used, in the order in which the checks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// Not UTF-8, or with a NUL in it `[MQTT-1.5.3-1]` `[MQTT-1.5.3-2]`.
    Utf8,
    /// More than 65,535 bytes.
    TooLong,
    /// Empty, or with a wildcard where none may stand.
    Wildcard,
}

/// Whether `text` may stand in a UTF-8 encoded string of MQTT: no ill-formed UTF-8, no surrogates, no U+0000
/// `[MQTT-1.5.3-1]` `[MQTT-1.5.3-2]`.
pub fn is_utf8_string(text: &[u8]) -> bool {
    has_wildcards(text).is_some()
}

/// Whether `+` or `#` is in such a string; `None` where it is none.
fn has_wildcards(text: &[u8]) -> Option<bool> {
    let (mut bytes, mut found) = (text.iter(), false);
    while let Some(first) = bytes.next() {
        if matches!(first, b'+' | b'#') {
            found = true;
        } else if !(1..0x80).contains(first) && !is_encoded(*first, &mut bytes) {
            return None;
        }
    }
    Some(found)
}

/// Whether `first` begins the encoding of a character outside ASCII, and `bytes` go on with the rest of it, which they lose.
#[cold]
fn is_encoded(first: u8, bytes: &mut core::slice::Iter<'_, u8>) -> bool {
    let len = first.leading_ones() as usize;
    let mut code = u32::from(first) & (0x7F >> len);
    for _ in 1..len {
        match bytes.next() {
            Some(byte) if byte >> 6 == 0b10 => code = code << 6 | u32::from(byte & 0x3F),
            _ => return false,
        }
    }
    // No surrogate, nothing behind the last code point, and not in more bytes than needed.
    char::from_u32(code).is_some_and(|c| len > 1 && c.len_utf8() == len)
}

/// Whether there are wildcards in it.
fn check_string(text: &[u8]) -> Result<bool, TopicError> {
    let has_wildcards = has_wildcards(text).ok_or(TopicError::Utf8)?;
    if text.len() > MAX_STRING {
        return Err(TopicError::TooLong);
    }
    // [MQTT-4.7.3-1] at least one character
    if text.is_empty() { Err(TopicError::Wildcard) } else { Ok(has_wildcards) }
}

/// Checks a topic name, as a PUBLISH carries it: no wildcard characters `[MQTT-3.3.2-2]`.
pub fn check_name(name: &[u8]) -> Result<(), TopicError> {
    if check_string(name)? { Err(TopicError::Wildcard) } else { Ok(()) }
}

/// Checks a topic filter: `#` only as the whole last level `[MQTT-4.7.1-2]`, `+` only as a whole level `[MQTT-4.7.1-3]`.
pub fn check_filter(filter: &[u8]) -> Result<(), TopicError> {
    check_string(filter)?;
    let mut levels = filter.split(|c| *c == b'/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        let well_formed = match level {
            b"#" => last,
            b"+" => true,
            _ => !level.iter().any(|c| matches!(c, b'+' | b'#')),
        };
        if !well_formed {
            return Err(TopicError::Wildcard);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use TopicError::*;
    use alloc::vec;

    /// As the standard library, but for U+0000.
    #[test]
    fn utf8_strings() {
        let check = |text: &[u8]| {
            let expected = core::str::from_utf8(text).is_ok_and(|text| !text.contains('\0'));
            assert_eq!(is_utf8_string(text), expected, "{text:x?}");
        };
        let mut encoded = [0; 4];
        for c in '\0'..=char::MAX {
            check(c.encode_utf8(&mut encoded).as_bytes());
        }
        // The ends of each range of bytes that means something, in every sequence of four.
        let bytes =
            b"\0\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xf7\xf8";
        for at in 0..bytes.len().pow(4) {
            let text = [0, 1, 2, 3].map(|place| bytes[at / bytes.len().pow(place) % bytes.len()]);
            (1..=4).for_each(|len| check(&text[..len]));
        }
        // What once encoded code points above U+10FFFF, whose upper bits shall not get lost.
        for first in 0xf8..=0xff {
            for last in 0x80..=0xbf {
                (4..8).for_each(|len| check(&[&[first][..], &vec![0x80; len - 1], &[last]].concat()));
            }
        }
    }

    #[test]
    fn names() {
        for (name, expected) in [
            (&b"a"[..], Ok(())),
            (b"/", Ok(())),
            (b"a/b c/\xc3\xa9", Ok(())),
            (b"", Err(Wildcard)),
            (b"a/#", Err(Wildcard)),
            (b"+", Err(Wildcard)),
            (b"a\0b", Err(Utf8)),
            (b"\xff", Err(Utf8)),
            (b"\xed\xa0\x80", Err(Utf8)),
        ] {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
        assert_eq!(check_name(&vec![b'a'; 65_535]), Ok(()));
        assert_eq!(check_name(&vec![b'a'; 65_536]), Err(TooLong));
    }

    #[test]
    fn filters() {
        for (filter, ok) in [
            ("#", true),
            ("+", true),
            ("a/+/b/#", true),
            ("/+", true),
            ("a/", true),
            ("", false),
            ("a#", false),
            ("a/#/b", false),
            ("#/", false),
            ("a+/b", false),
            ("++", false),
        ] {
            assert_eq!(check_filter(filter.as_bytes()).is_ok(), ok, "{filter}");
        }
    }
}
