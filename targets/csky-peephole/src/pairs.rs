//! Pairs of instructions: constants in two halves, bits that are clear already, branches around branches.

use crate::assembly::{Instruction, Line};

/// Registers that short instructions reach.
const LOW: [&str; 8] = ["a0", "a1", "a2", "a3", "l0", "l1", "l2", "l3"];
/// Registers that hold the arguments of a call.
const ARGUMENTS: [&str; 4] = ["a0", "a1", "a2", "a3"];

/// Rewrites pairs of instructions that stand next to each other.
pub fn shorten(lines: &mut Vec<Line>) {
    let mut kept = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let short = match &lines[at..] {
            [Line::Code(first), Line::Code(second), rest @ ..] => pair(first, second, rest),
            _ => None,
        };
        match short {
            Some(short) => {
                kept.extend(short.into_iter().map(Line::Code));
                at += 2;
            }
            None => {
                kept.push(lines[at].clone());
                at += 1;
            }
        }
    }
    *lines = kept;
}

fn pair(first: &Instruction, second: &Instruction, rest: &[Line]) -> Option<Vec<Instruction>> {
    let (op, args) = first.parts();
    let (next, operands) = second.parts();
    match (op, &args[..], next, &operands[..]) {
        ("movih", [high, half], "ori", [target, source, low]) if high == source => {
            let free = target == high || is_dead(high, rest);
            constant(target, half.parse().ok()?, low.parse().ok()?).filter(|_| free)
        }
        // These set their register to 0 or 1.
        ("mvc" | "mvcv", [bit], "andi", [target, source, "1"]) if bit == source => {
            (target == bit || is_dead(bit, rest)).then(|| vec![Instruction::new(op, &[target])])
        }
        // The flag is what it would become.
        ("mvc", [bit], "btsti", [source, "0"]) if bit == source => Some(vec![first.clone()]),
        ("movi", [place, "0"], "addu", [target, "sp"]) if place == target => {
            Some(vec![Instruction::new("mov", &[place, "sp"])])
        }
        ("bt" | "bf", [around], "br", [target]) if matches!(rest.first(), Some(Line::Label(label)) if label == around) => {
            Some(vec![Instruction::new(if op == "bt" { "bf" } else { "bt" }, &[target])])
        }
        _ => None,
    }
}

/// The constant with these halves, in fewer bytes than eight.
fn constant(target: &str, high: u32, low: u32) -> Option<Vec<Instruction>> {
    let value = high << 16 | low;
    if low == 0 {
        return Some(vec![Instruction::new("movih", &[target, &high.to_string()])]);
    }
    if high == 0xffff {
        return Some(vec![
            Instruction::new("movi", &[target, &(!value).to_string()]),
            Instruction::new("not", &[target, target]),
        ]);
    }
    LOW.contains(&target).then(|| vec![Instruction::new("lrw", &[target, &format!("{value:#x}")])])
}

/// Whether nobody reads the register before it is written anew. What is not understood reads it.
fn is_dead(register: &str, rest: &[Line]) -> bool {
    for line in rest {
        let Line::Code(code) = line else { return false };
        if code.is_branch() || code.is_end() || code.has_hidden_registers() {
            return false;
        }
        if code.is_call() {
            return !ARGUMENTS.contains(&register) && matches!(register, "t0" | "t1") && !code.names(register);
        }
        if !code.names(register) {
            continue;
        }
        let (op, args) = code.parts();
        let reads = args.iter().skip(1).any(|arg| crate::assembly::words(arg).any(|word| word == register));
        return matches!(op, "movi" | "movih" | "mov" | "lrw" | "ld.w" | "ld.b" | "ld.h") && !reads;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{parse, print};

    fn shortened(text: &str) -> String {
        let mut lines = parse(text);
        shorten(&mut lines);
        print(&lines)
    }

    #[test]
    fn pairs_become_shorter() {
        for (before, after) in [
            ("\tmovih\ta0, 65535\n\tori\ta0, a0, 65535\n", "\tmovi\ta0, 0\n\tnot\ta0, a0\n"),
            ("\tmovih\ta0, 65535\n\tori\ta0, a0, 60530\n", "\tmovi\ta0, 5005\n\tnot\ta0, a0\n"),
            ("\tmovih\tl7, 32768\n\tori\tl7, l7, 0\n", "\tmovih\tl7, 32768\n"),
            ("\tmovih\tl3, 32768\n\tori\tl3, l3, 2\n", "\tlrw\tl3, 0x80000002\n"),
            ("\tmvc\ta1\n\tandi\ta1, a1, 1\n", "\tmvc\ta1\n"),
            ("\tmvc\ta1\n\tbtsti\ta1, 0\n", "\tmvc\ta1\n"),
            ("\tmovi\tl4, 0\n\taddu\tl4, sp\n", "\tmov\tl4, sp\n"),
            ("\tbt\t.LBB0_1\n\tbr\t.LBB0_2\n.LBB0_1:\n", "\tbf\t.LBB0_2\n.LBB0_1:\n"),
        ] {
            assert_eq!(shortened(before), after);
        }
    }

    #[test]
    fn what_is_needed_again_stays() {
        let pair = "\tmovih\ta1, 65535\n\tori\tl4, a1, 65535\n";
        for rest in [
            "\tori\ta2, a1, 3\n",
            "\tbsr\tf\n",
            "\tbt\t.LBB0_1\n\tmovi\ta1, 0\n",
            ".LBB0_1:\n\tmovi\ta1, 0\n",
            "\taddi\ta1, 4\n",
            "\tstm\ta0-a2, (l0)\n\tmovi\ta1, 0\n",
            "\tst.d\ta0, (l0, 0)\n\tmovi\ta1, 0\n",
            "\tbnezad\tl0, .LBB0_1\n\tmovi\ta1, 0\n",
            "\tmovf\ta1, a2\n",
            "\tld.w\ta1, (a1, 4)\n",
        ] {
            let text = format!("{pair}{rest}");
            assert_eq!(shortened(&text), text);
        }
        let free = "\tst.w\tl4, (sp, 4)\n\tld.w\ta1, (l0, 4)\n";
        assert_eq!(shortened(&format!("{pair}{free}")), format!("\tmovi\tl4, 0\n\tnot\tl4, l4\n{free}"));
        // high registers: a literal is no shorter
        let high = "\tmovih\tl7, 32768\n\tori\tl7, l7, 2\n";
        assert_eq!(shortened(high), high);
        // around more than the branch
        let around = "\tbt\t.LBB0_3\n\tbr\t.LBB0_2\n.LBB0_1:\n";
        assert_eq!(shortened(around), around);
        // the other way round the flag is not the bit
        let inverted = "\tmvcv\ta1\n\tbtsti\ta1, 0\n";
        assert_eq!(shortened(inverted), inverted);
        // only bit 0 is known
        let mask = "\tmvc\ta1\n\tandi\ta1, a1, 3\n";
        assert_eq!(shortened(mask), mask);
    }
}
