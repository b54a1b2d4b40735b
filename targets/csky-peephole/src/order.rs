//! The order in which the arguments of calls are made: first what is each call's own, last what many have in common, so that
//! [`crate::outline`] finds the same in front of the same call.

use crate::assembly::{Instruction, Line, functions};
use crate::flow::effects;

/// In all functions.
pub fn shorten(lines: &mut [Line]) {
    for function in functions(lines) {
        let part = &mut lines[function];
        while exchange_some(part) {}
    }
}

/// Exchanges neighbours that stand the wrong way round; whether there are any.
fn exchange_some(lines: &mut [Line]) -> bool {
    let mut is_changed = false;
    for at in 1..lines.len() {
        let [Line::Code(first), Line::Code(second)] = &lines[at - 1..=at] else { continue };
        if rank(first) > rank(second) && are_independent(first, second) {
            lines.swap(at - 1, at);
            is_changed = true;
        }
    }
    is_changed
}

/// What has a higher one comes later: numbers after copies, of each the first argument last.
fn rank(code: &Instruction) -> usize {
    let Some(target) = code.args.first() else { return 0 };
    let Some(number) = ["a0", "a1", "a2", "a3"].iter().position(|argument| argument == target) else { return 0 };
    match code.op.as_str() {
        "mov" | "addi" => 4 - number,
        "movi" | "movih" | "lrw" => 8 - number,
        _ => 0,
    }
}

/// Whether the two do the same in either order.
fn are_independent(first: &Instruction, second: &Instruction) -> bool {
    let (Some(one), Some(other)) = (effects(first), effects(second)) else { return false };
    let clash = one.writes.meets(other.reads | other.writes) || one.reads.meets(other.writes);
    one.is_pure && !clash && !second.is_branch() && !second.is_call() && !second.is_end()
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

    #[test]
    fn numbers_come_last() {
        for (before, after) in [
            ("\tmovi\ta2, 4\n\tmov\ta0, l1\n\tbsr\tg\n", "\tmov\ta0, l1\n\tmovi\ta2, 4\n\tbsr\tg\n"),
            ("\tlrw\ta1, g\n\tmovi\ta2, 4\n", "\tmovi\ta2, 4\n\tlrw\ta1, g\n"),
            ("\tmov\ta0, l1\n\taddi\ta1, sp, 8\n", "\taddi\ta1, sp, 8\n\tmov\ta0, l1\n"),
            ("\tmovi\ta0, 4\n\tst.w\ta1, (sp, 8)\n", "\tst.w\ta1, (sp, 8)\n\tmovi\ta0, 4\n"),
            ("\tmovi\ta0, 4\n\tcmpne\ta1, l4\n\tbt\tg\n", "\tcmpne\ta1, l4\n\tmovi\ta0, 4\n\tbt\tg\n"),
        ] {
            assert_eq!(shortened(before), after);
        }
        for body in [
            // needed, or overwritten
            "\tmovi\ta0, 4\n\tst.w\ta0, (sp, 8)\n",
            "\tmovi\ta0, 4\n\tmov\ta1, a0\n",
            "\tmovi\ta0, 4\n\tld.w\ta0, (sp, 8)\n",
            "\tmov\ta0, l1\n\tld.w\tl1, (sp, 8)\n",
            "\tmov\ta2, a0\n\tmovi\ta0, 4\n\tmov\ta0, l1\n",
            // who knows what it does
            "\tmovi\ta0, 4\n\tldm\tl0-l3, (a1)\n",
            // elsewhere
            "\tmovi\ta0, 4\n\tbsr\tg\n\tmovi\ta0, 4\n\tbt\tg\n\tmovi\ta0, 4\n\tpop\tlr\n",
            "\tmovi\ta0, 4\n.LBB0_1:\n\tmov\ta1, l1\n",
            // not an argument
            "\tmovi\tl0, 4\n\tmov\ta1, l1\n",
        ] {
            assert_eq!(shortened(body), body);
        }
    }

    #[test]
    fn functions_do_what_they_did() {
        machine::compare(|lines| shorten(lines));
    }
}
