//! Lines for the log: parts in a row, like `log::warn(&[&"PUBREC with unknown id ", &id])`. Not by `core::fmt`, which
//! would be a tenth of the device's flash.

pub(crate) use ::log::Level;
use core::fmt;

/// What can be a part of a line.
pub(crate) trait Say {
    /// Gives its text to `out`, piece by piece.
    fn say(&self, out: &mut dyn FnMut(&str));
}

/// Something went wrong.
pub(crate) fn error(parts: &[&dyn Say]) {
    write(Level::Error, parts);
}

/// Something may be wrong.
pub(crate) fn warn(parts: &[&dyn Say]) {
    write(Level::Warn, parts);
}

/// What happens.
pub(crate) fn debug(parts: &[&dyn Say]) {
    write(Level::Debug, parts);
}

fn write(level: Level, parts: &[&dyn Say]) {
    #[cfg(feature = "freertos")]
    crate::port::freertos::log(level, parts);
    #[cfg(not(feature = "freertos"))]
    {
        struct Line<'a>(&'a [&'a dyn Say]);
        impl fmt::Display for Line<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt(&self.0, f)
            }
        }
        ::log::log!(target: "mqtt", level, "{}", Line(parts));
    }
}

/// What `Display` prints, for those who have `core::fmt` anyway.
pub(crate) fn fmt(what: &dyn Say, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut result = Ok(());
    what.say(&mut |text| result = result.and_then(|()| f.write_str(text)));
    result
}

/// Parts in a row are one too.
impl Say for &[&dyn Say] {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        for part in self.iter() {
            part.say(out);
        }
    }
}

impl<A: Say, B: Say> Say for (A, B) {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        self.0.say(out);
        self.1.say(out);
    }
}

impl Say for &str {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        out(self);
    }
}

impl Say for bool {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        out(if *self { "true" } else { "false" });
    }
}

impl Say for u32 {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        let (mut digits, mut at, mut rest) = ([0; 10], 10, *self);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out(crate::port::text(&digits[at..]).unwrap_or_default());
    }
}

impl Say for u16 {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        u32::from(*self).say(out);
    }
}

impl Say for usize {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        // No length and no count that is logged is larger.
        u32::try_from(*self).unwrap_or(u32::MAX).say(out);
    }
}

impl Say for i32 {
    fn say(&self, out: &mut dyn FnMut(&str)) {
        if *self < 0 {
            out("-");
        }
        self.unsigned_abs().say(out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::string::String;

    use super::*;

    fn line(parts: &[&dyn Say]) -> String {
        let mut line = String::new();
        parts.say(&mut |text| line.push_str(text));
        line
    }

    /// Whether each of them says something else, as errors should.
    pub(crate) fn differ(all: &[impl Say]) -> bool {
        let texts: BTreeSet<String> = all.iter().map(|one| line(&[one])).collect();
        texts.len() == all.len() && !texts.contains("")
    }

    #[test]
    fn numbers_and_texts_in_a_row() {
        assert_eq!(line(&[&"id ", &0u16, &", ", &65535u16, &true, &false]), "id 0, 65535truefalse");
        assert_eq!(line(&[&u32::MAX, &" ", &i32::MIN, &" ", &-1, &" ", &10usize]), "4294967295 -2147483648 -1 10");
        assert_eq!(line(&[&usize::MAX]), "4294967295");
    }
}
