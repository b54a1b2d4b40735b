//! What is known of registers and of the flag from the lines before, until a label: tests of what the flag is already, bits
//! that are cleared where there are none, results that nobody needs.

use std::collections::HashMap;

use crate::assembly::{Instruction, Line, functions};
use crate::encoding::size;
use crate::flow::{Flow, Set};

/// In each function that is understood as a whole.
pub fn shorten(lines: &mut Vec<Line>) {
    // From behind, so that the ranges in front stay right.
    for function in functions(lines).into_iter().rev() {
        let mut part = lines[function.clone()].to_vec();
        while let Some(flow) = Flow::new(&part).filter(|flow| step(&mut part, flow)) {
            drop(flow);
        }
        lines.splice(function, part);
    }
}

/// One change, if there is one to make.
fn step(lines: &mut Vec<Line>, flow: &Flow) -> bool {
    let mut known = Known::default();
    for at in 0..lines.len() {
        let Line::Code(code) = &lines[at] else {
            if matches!(lines[at], Line::Label(_)) {
                known = Known::default();
            }
            continue;
        };
        let Some(effects) = flow.effects[at] else { continue };
        if effects.is_pure && !effects.writes.meets(flow.after[at]) {
            lines.remove(at);
            return true;
        }
        match known.test(code) {
            Some(true) => {
                lines.remove(at);
                return true;
            }
            Some(false) if invert(lines, flow, at) => return true,
            _ => {}
        }
        if let Some(short) = test_of_bit(lines, flow, at) {
            lines.splice(at..=at + 1, short.map(Line::Code));
            return true;
        }
        let Line::Code(code) = &lines[at] else { continue };
        if let Some(copy) = known.copy(code) {
            if copy.args[0] == copy.args[1] {
                lines.remove(at);
            } else {
                lines[at] = Line::Code(copy);
            }
            return true;
        }
        known.learn(code, effects.writes);
    }
    false
}

/// What is known of registers, by their names.
#[derive(Default)]
struct Known {
    /// Those that are the flag, as 0 or 1, or its opposite.
    flags: HashMap<String, bool>,
    /// How many low bits may be set in them.
    bits: HashMap<String, u32>,
}

impl Known {
    fn bits(&self, register: &str) -> u32 {
        self.bits.get(register).copied().unwrap_or(32)
    }

    /// Whether the instruction sets the flag to what it is (`true`), or to its opposite.
    fn test(&self, code: &Instruction) -> Option<bool> {
        match (code.op.as_str(), &code.args[..]) {
            // 0 and 1 are what they are in bit 0, and whether they are not 0.
            ("btsti" | "cmpnei", [register, number]) if number == "0" => self.flags.get(register).copied(),
            _ => None,
        }
    }

    /// The copy that it is, if it clears bits that are clear.
    fn copy(&self, code: &Instruction) -> Option<Instruction> {
        let (source, kept) = match (code.op.as_str(), &code.args[..]) {
            ("zextb", [_, source]) => (source, 8),
            ("zexth", [_, source]) => (source, 16),
            ("andi", [_, source, mask]) => (source, mask.parse::<u32>().ok()?.trailing_ones()),
            _ => return None,
        };
        (self.bits(source) <= kept).then(|| Instruction::new("mov", &[&code.args[0], source]))
    }

    fn learn(&mut self, code: &Instruction, writes: Set) {
        let bits = self.result(code);
        let flag = match (code.op.as_str(), &code.args[..]) {
            ("mvc", _) => Some(true),
            ("mvcv", _) => Some(false),
            ("mov", [_, source]) => self.flags.get(source).copied(),
            _ => None,
        };
        let is_changed = |register: &String| Set::register(register).is_some_and(|register| writes.meets(register));
        self.bits.retain(|register, _| !is_changed(register));
        self.flags.retain(|register, _| !is_changed(register) && !writes.meets(Set::FLAG));
        if let Some(target) = code.args.first() {
            if let Some(bits) = bits {
                self.bits.insert(target.clone(), bits);
            }
            if let Some(flag) = flag {
                self.flags.insert(target.clone(), flag);
            }
            if code.op == "btsti" && code.args[1] == "0" && self.bits(target) <= 1 {
                self.flags.insert(target.clone(), true);
            }
        }
    }

    /// How many low bits may be set in what it writes.
    fn result(&self, code: &Instruction) -> Option<u32> {
        let width = |number: &String| Some(32 - number.parse::<u32>().ok()?.leading_zeros());
        match (code.op.as_str(), &code.args[..]) {
            ("mvc" | "mvcv", _) => Some(1),
            ("ld.b" | "ldr.b", _) => Some(8),
            ("ld.h" | "ldr.h", _) => Some(16),
            ("movi", [_, number]) => width(number),
            ("mov", [_, source]) => Some(self.bits(source)),
            ("zextb", [_, source]) => Some(self.bits(source).min(8)),
            ("zexth", [_, source]) => Some(self.bits(source).min(16)),
            ("andi", [_, source, mask]) => Some(self.bits(source).min(width(mask)?)),
            ("lsri", [_, source, count]) => Some(self.bits(source).saturating_sub(count.parse().ok()?)),
            _ => None,
        }
    }
}

/// A branch by one bit, of which the line makes a number that nobody else needs.
fn test_of_bit(lines: &[Line], flow: &Flow, at: usize) -> Option<[Instruction; 2]> {
    let [Line::Code(mask), Line::Code(branch), ..] = &lines[at..] else { return None };
    let ("andi", [number, source, bit]) = (mask.op.as_str(), &mask.args[..]) else { return None };
    let op = match branch.op.as_str() {
        "bez" => "bf",
        "bnez" => "bt",
        _ => return None,
    };
    let bit = bit.parse::<u32>().ok().filter(|bit| bit.is_power_of_two())?.trailing_zeros();
    let is_free = !flow.after[at + 1].meets(Set::register(number)? | Set::FLAG);
    (is_free && branch.args[0] == *number)
        .then(|| [Instruction::new("btsti", &[source, &bit.to_string()]), Instruction::new(op, &[&branch.args[1]])])
}

/// Removes the line, which sets the flag to its opposite, if those who need it can take the opposite and that is not longer.
fn invert(lines: &mut Vec<Line>, flow: &Flow, at: usize) -> bool {
    let Line::Code(test) = &lines[at] else { return false };
    let mut changes = Vec::new();
    let mut bytes = -(size(test) as isize);
    for next in at + 1..lines.len() {
        let (Line::Code(code), Some(effects)) = (&lines[next], flow.effects[next]) else {
            // Somebody else may come to a label.
            return false;
        };
        if effects.reads.meets(Set::FLAG) {
            let Some(opposite) = opposite(code) else { return false };
            bytes += size(&opposite) as isize - size(code) as isize;
            changes.push((next, opposite));
        }
        if effects.writes.meets(Set::FLAG) || !flow.after[next].meets(Set::FLAG) {
            if bytes > 0 {
                return false;
            }
            for (at, code) in changes {
                lines[at] = Line::Code(code);
            }
            lines.remove(at);
            return true;
        }
        if code.is_branch() {
            return false;
        }
    }
    false
}

/// What does with the opposite flag what the instruction does with the flag.
fn opposite(code: &Instruction) -> Option<Instruction> {
    let op = match code.op.as_str() {
        "bt" => "bf",
        "bf" => "bt",
        "mvc" => "mvcv",
        "mvcv" => "mvc",
        "movt" => "movf",
        "movf" => "movt",
        "clrt" => "clrf",
        "clrf" => "clrt",
        "inct" => "incf",
        "incf" => "inct",
        "dect" => "decf",
        "decf" => "dect",
        _ => return None,
    };
    Some(Instruction { op: op.into(), args: code.args.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{parse, print};
    use crate::machine;

    fn shortened(body: &str) -> String {
        let mut lines = parse(&format!("\t.type\tf,@function\nf:\n{body}.Lfunc_end0:\n"));
        shorten(&mut lines);
        print(&lines[2..lines.len() - 1])
    }

    const END: &str = "\tmovi\ta1, 1\n.LBB0_1:\n\tpop\tlr\n";

    #[test]
    fn what_is_known_is_not_done_again() {
        for (before, after) in [
            // the flag from the flag
            ("\tmvcv\ta2\n\tbtsti\ta2, 0\n\tbt\t.LBB0_1\n", "\tbf\t.LBB0_1\n"),
            ("\tmvcv\ta0\n\tbtsti\ta0, 0\n\tbf\t.LBB0_1\n", "\tmvcv\ta0\n\tbt\t.LBB0_1\n"),
            ("\tmvc\ta0\n\tcmpnei\ta0, 0\n\tbf\t.LBB0_1\n", "\tmvc\ta0\n\tbf\t.LBB0_1\n"),
            ("\tmvcv\ta2\n\tbtsti\ta2, 0\n\tmvcv\ta2\n\tbtsti\ta2, 0\n\tsubc\ta0, a1\n", "\tsubc\ta0, a1\n"),
            ("\tmvcv\ta2\n\tbtsti\ta2, 0\n\tclrt\ta0\n\tincf\ta0, a1, 4\n", "\tclrf\ta0\n\tinct\ta0, a1, 4\n"),
            // bits that are clear
            ("\tld.b\ta0, (l0, 3)\n\tzextb\ta0, a0\n", "\tld.b\ta0, (l0, 3)\n"),
            ("\tld.b\ta2, (l0, 3)\n\tzexth\ta0, a2\n", "\tld.b\ta2, (l0, 3)\n\tmov\ta0, a2\n"),
            ("\tmvc\ta0\n\tandi\ta0, a0, 1\n", "\tmvc\ta0\n"),
            // a branch by a bit
            ("\tandi\ta2, a0, 8\n\tbez\ta2, .LBB0_1\n", "\tbtsti\ta0, 3\n\tbf\t.LBB0_1\n"),
            (
                "\tandi\tl0, l0, 1\n\tmovi\tl0, 1\n\tandi\ta2, l0, 1\n\tbnez\ta2, .LBB0_1\n",
                "\tmovi\tl0, 1\n\tbtsti\tl0, 0\n\tbt\t.LBB0_1\n",
            ),
            // results that nobody needs
            ("\tmovi\ta2, 3\n\tcmpnei\ta2, 4\n", ""),
        ] {
            assert_eq!(shortened(&format!("{before}{END}")), format!("{after}{END}"));
        }
    }

    #[test]
    fn what_is_not_known_stays() {
        for body in [
            // the register has changed, or the flag
            "\tmvcv\ta0\n\taddi\ta0, 1\n\tbtsti\ta0, 0\n\tbt\t.LBB0_1\n",
            "\tmvcv\ta0\n\tcmpnei\ta1, 2\n\tmvc\tl0\n\tbtsti\ta0, 0\n\tbt\t.LBB0_1\n",
            // somebody else comes here
            "\tmvcv\ta0\n.LBB0_2:\n\tbtsti\ta0, 0\n\tbt\t.LBB0_1\n\tbez\ta0, .LBB0_2\n",
            // needed elsewhere, or by what has no opposite
            "\tmvcv\ta0\n\tbtsti\ta0, 0\n\tbez\ta1, .LBB0_2\n\tmovi\ta1, 2\n.LBB0_2:\n\tbt\t.LBB0_1\n",
            "\tmvcv\ta0\n\tbtsti\ta0, 0\n\taddc\ta0, a1\n",
            // needed, not one bit, another register's
            "\tandi\ta0, a0, 8\n\tbez\ta0, .LBB0_1\n",
            "\tandi\ta2, a0, 6\n\tbez\ta2, .LBB0_1\n",
            "\tandi\ta2, a0, 8\n\tbez\ta1, .LBB0_1\n\tst.w\ta2, (sp, 0)\n",
            "\tcmpne\ta0, a1\n\tandi\ta2, a0, 8\n\tbez\ta2, .LBB0_2\n\tmvc\ta0\n.LBB0_2:\n",
            // longer
            "\tmvcv\ta0\n\tbtsti\ta0, 0\n\tmvcv\tl0\n\tmvcv\tl1\n",
            "\tld.h\ta0, (l0, 3)\n\tzextb\ta0, a0\n",
            "\tld.bs\ta0, (l0, 3)\n\tzextb\ta0, a0\n",
            "\tldr.b\ta0, (l0, a0 << 0)\n\tandi\ta0, a0, 127\n",
            // loads may have a meaning of their own
            "\tld.w\ta2, (a0, 0)\n",
        ] {
            let text = format!("{body}{END}");
            assert_eq!(shortened(&text), text);
        }
    }

    #[test]
    fn functions_do_what_they_did() {
        machine::compare(shorten);
    }
}
