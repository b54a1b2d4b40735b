//! Pools of constants. LLVM makes one for each function, with four bytes for each function that is called.

use std::collections::HashMap;

use crate::assembly::{Instruction, Line, words};

/// Calls by `bsr`, constants by the assembler's own pools; what is not needed of LLVM's pools any more goes.
pub fn shorten(lines: &mut Vec<Line>) {
    let pool = pool(lines);
    for line in &mut *lines {
        if let Line::Code(code) = line
            && let Some(short) = without_pool(code, &pool)
        {
            *code = short;
        }
    }
    remove_unused(lines, &pool);
}

/// Each word in a pool, by its label.
fn pool(lines: &[Line]) -> HashMap<String, String> {
    let word = |pair: &[Line]| match pair {
        [Line::Label(label), Line::Other(word)] if label.starts_with(".LCPI") => {
            Some((label.clone(), word.strip_prefix("\t.long\t")?.trim().to_string()))
        }
        _ => None,
    };
    lines.windows(2).filter_map(word).collect()
}

fn without_pool(code: &Instruction, pool: &HashMap<String, String>) -> Option<Instruction> {
    let word = |arg: &str| pool.get(arg.strip_prefix('[')?.strip_suffix(']')?);
    match code.parts() {
        // In reach: all of the firmware's code is in 2 MB of flash, and `bsr` reaches 64 MB. The linker says if not. A number
        // is a function in the chip's ROM, which is not in reach.
        ("jsri", args) => {
            let function = word(args.first()?)?;
            let is_number = function.starts_with(|c: char| c.is_ascii_digit() || c == '-');
            (!is_number).then(|| Instruction::new("bsr", &[function]))
        }
        ("lrw", args) => Some(Instruction::new("lrw", &[args.first()?, word(args.get(1)?)?])),
        _ => None,
    }
}

/// Drops words that nothing refers to, and the alignment in front of pools that are empty now.
fn remove_unused(lines: &mut Vec<Line>, pool: &HashMap<String, String>) {
    let mut used = HashMap::<String, bool>::new();
    for line in &*lines {
        let arguments = match line {
            Line::Code(code) => &code.args[..],
            Line::Other(other) => std::slice::from_ref(other),
            Line::Label(_) => &[],
        };
        for word in arguments.iter().flat_map(|arg| words(arg)).filter(|word| word.starts_with(".LCPI")) {
            used.insert(word.into(), true);
        }
    }
    let mut kept = Vec::with_capacity(lines.len());
    let mut rest = std::mem::take(lines).into_iter();
    while let Some(line) = rest.next() {
        match line {
            Line::Label(label) if pool.contains_key(&label) && !used.contains_key(&label) => drop(rest.next()),
            Line::Label(label) if label.starts_with(".Lfunc_end") => {
                while matches!(kept.last(), Some(Line::Other(other)) if other.starts_with("\t.p2align")) {
                    kept.pop();
                }
                kept.push(Line::Label(label));
            }
            line => kept.push(line),
        }
    }
    *lines = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{parse, print};

    #[test]
    fn calls_and_constants() {
        let mut lines = parse(
            "f:\n\tjsri32\t[.LCPI0_0]\n\tlrw\ta1, [.LCPI0_1]\n\tlrw32\ta2, [.LCPI0_2]\n\tgrs32\ta3, .LCPI0_3\n\trts16\n\t.p2align\t1\n\
             \t.p2align\t2, 0x0\n.LCPI0_0:\n\t.long\tg\n.LCPI0_1:\n\t.long\t.Lanon+4\n.LCPI0_2:\n\t.short\t7\n.LCPI0_3:\n\
             \t.long\t9\n.Lfunc_end0:\n",
        );
        shorten(&mut lines);
        assert_eq!(
            print(&lines),
            "f:\n\tbsr\tg\n\tlrw\ta1, .Lanon+4\n\tlrw\ta2, [.LCPI0_2]\n\tgrs\ta3, .LCPI0_3\n\trts\t\n\t.p2align\t1\n\
             \t.p2align\t2, 0x0\n.LCPI0_2:\n\t.short\t7\n.LCPI0_3:\n\t.long\t9\n.Lfunc_end0:\n"
        );
    }

    #[test]
    fn a_function_that_is_a_number_is_called_through_the_pool() {
        let text = "f:\n\tjsri\t[.LCPI0_0]\n\t.p2align\t2, 0x0\n.LCPI0_0:\n\t.long\t4660\n.Lfunc_end0:\n";
        let mut lines = parse(text);
        shorten(&mut lines);
        assert_eq!(print(&lines), text);
    }

    #[test]
    fn an_empty_pool_needs_no_alignment() {
        let mut lines =
            parse("f:\n\tjsri32\t[.LCPI0_0]\n\t.p2align\t1\n\t.p2align\t2, 0x0\n.LCPI0_0:\n\t.long\tg\n.Lfunc_end0:\n");
        shorten(&mut lines);
        assert_eq!(print(&lines), "f:\n\tbsr\tg\n.Lfunc_end0:\n");
    }
}
