//! Numbers near 2^32, with which Rust says "none" and "fine": LLVM keeps the upper half in a register and makes the lower one
//! anew for each use, or makes both for a comparison.

use crate::assembly::{Instruction, Line, functions};
use crate::encoding::size;
use crate::flow::{Flow, NAMES, Set};

/// In each function that is understood as a whole.
pub fn shorten(lines: &mut Vec<Line>) {
    // From behind, so that the ranges in front stay right.
    for function in functions(lines).into_iter().rev() {
        let mut part = lines[function.clone()].to_vec();
        // A table of jumps has places that no line names.
        if part.iter().any(|line| matches!(line, Line::Code(code) if code.op == "jmp")) {
            continue;
        }
        make_whole(&mut part);
        copy_known(&mut part);
        while compare_opposite(&mut part) {}
        lines.splice(function, part);
    }
}

/// Numbers that need no upper half from elsewhere: they are the opposite of a small one.
fn make_whole(lines: &mut Vec<Line>) {
    let Some(flow) = Flow::new(lines) else { return };
    let known = known_before(lines, &flow);
    for at in (0..lines.len()).rev() {
        let Line::Code(code) = &lines[at] else { continue };
        let ("ori", [target, _, _]) = (code.op.as_str(), &code.args[..]) else { continue };
        let Some(value) = result(code, &known[at]) else { continue };
        let whole =
            [Instruction::new("movi", &[target, &(!value).to_string()]), Instruction::new("not", &[target, target])];
        if !value <= 0xffff && size(&whole[0]) + size(&whole[1]) <= size(code) {
            lines.splice(at..=at, whole.map(Line::Code));
        }
    }
}

/// Numbers that a register holds already are copied from there, where to make them anew is longer.
fn copy_known(lines: &mut Vec<Line>) {
    let Some(flow) = Flow::new(lines) else { return };
    let known = known_before(lines, &flow);
    for at in (0..lines.len()).rev() {
        let Line::Code(code) = &lines[at] else { continue };
        let (Some(mut value), Some(target)) = (result(code, &known[at]), code.args.first()) else { continue };
        let (mut end, mut bytes) = (at, size(code));
        if let Some(Line::Code(next)) = lines.get(at + 1)
            && next.op == "not"
            && next.args.iter().all(|arg| arg == target)
        {
            (end, bytes, value) = (at + 1, bytes + size(next), !value);
        }
        let Some(numbers) = known[at] else { continue };
        let mut holders = NAMES.iter().zip(numbers).filter(|(_, number)| *number == Some(value)).map(|(name, _)| *name);
        let Some(first) = holders.next() else { continue };
        if first == target || holders.any(|name| name == target) {
            lines.drain(at..=end);
        } else {
            let copy = Instruction::new("mov", &[target, first]);
            if size(&copy) < bytes {
                lines.splice(at..=end, [Line::Code(copy)]);
            }
        }
    }
}

/// Compares the opposite of a register with the opposite of such a number, or what is that much above it with 0, if neither the
/// number is needed any more nor the register that has changed.
fn compare_opposite(lines: &mut Vec<Line>) -> bool {
    let Some(flow) = Flow::new(lines) else { return false };
    for at in 2..lines.len() {
        let [Line::Code(first), Line::Code(opposite), Line::Code(compare)] = &lines[at - 2..=at] else { continue };
        let ("movi", [number, small]) = (first.op.as_str(), &first.args[..]) else { continue };
        if opposite.op != "not" || opposite.args.iter().any(|arg| arg != number) {
            continue;
        }
        let (op, register) = match (compare.op.as_str(), &compare.args[..]) {
            ("cmpne", [one, other]) if other == number => ("cmpnei", one),
            ("cmpne", [one, other]) if one == number => ("cmpnei", other),
            ("cmphs", [one, other]) if one == number && small != "0" => ("cmphsi", other),
            _ => continue,
        };
        let is_needed = |register| Set::register(register).is_none_or(|register| flow.after[at].meets(register));
        if register == number || is_needed(number) {
            continue;
        }
        let Some(above) = small.parse::<u32>().ok().and_then(|small| small.checked_add(1)) else { continue };
        let sum = [
            Instruction::new("addi", &[number, register, &above.to_string()]),
            Instruction::new("cmpnei", &[number, "0"]),
        ];
        let opposites = [Instruction::new("not", &[register, register]), Instruction::new(op, &[register, small])];
        for (short, may_be) in [(sum, op == "cmpnei"), (opposites, !is_needed(register))] {
            if may_be && size(&short[0]) + size(&short[1]) < size(first) + size(opposite) + size(compare) {
                lines.splice(at - 2..=at, short.map(Line::Code));
                return true;
            }
        }
    }
    false
}

/// What each register holds: a number, if it is the same on all ways; `None` when no way leads there.
type Numbers = Option<[Option<u32>; NAMES.len()]>;

fn known_before(lines: &[Line], flow: &Flow) -> Vec<Numbers> {
    let mut known: Vec<Numbers> = vec![None; lines.len()];
    let mut changed = vec![0];
    known[0] = Some([None; NAMES.len()]);
    while let Some(at) = changed.pop() {
        let Some(mut numbers) = known[at] else { continue };
        if let (Line::Code(code), Some(effects)) = (&lines[at], flow.effects[at]) {
            let result = result(code, &known[at]);
            for (number, name) in numbers.iter_mut().zip(NAMES) {
                if Set::register(name).is_some_and(|register| effects.writes.meets(register)) {
                    *number = result.filter(|_| code.args[0] == name);
                }
            }
        }
        for next in &flow.next[at].0 {
            let merged = match known[*next] {
                None => numbers,
                Some(old) => {
                    std::array::from_fn(|register| old[register].filter(|_| old[register] == numbers[register]))
                }
            };
            if known[*next] != Some(merged) {
                known[*next] = Some(merged);
                changed.push(*next);
            }
        }
    }
    known
}

/// The number that it writes into its target, if that is known.
fn result(code: &Instruction, known: &Numbers) -> Option<u32> {
    let value = |name: &str| known.as_ref()?[NAMES.iter().position(|known| *known == name)?];
    let number = |arg: &str| arg.parse::<u32>().ok();
    let (op, args) = code.parts();
    match (op, &args[..]) {
        ("movi", [_, low]) => number(low),
        ("movih", [_, high]) => Some(number(high)? << 16),
        ("mov", [_, source]) => value(source),
        ("not", [_, source]) => Some(!value(source)?),
        ("ori", [_, source, low]) => Some(value(source)? | number(low)?),
        _ => None,
    }
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
    fn upper_halves_that_nobody_needs() {
        let half = "\tmovih\tl4, 65535\n\tbez\ta0, .LBB0_1\n\tori\tl4, l4, 1\n";
        let here = "\tori\ta0, l4, 65533\n\tpop\tlr\n";
        let whole = "\tmovi\ta0, 2\n\tnot\ta0, a0\n\tpop\tlr\n";
        // two ways, on which the register holds the same
        let body = format!(
            "\tbez\ta0, .LBB0_2\n\tmovih\tl4, 65535\n\tbr\t.LBB0_1\n.LBB0_2:\n\tmovih\tl4, 65535\n.LBB0_1:\n{here}"
        );
        assert_eq!(shortened(&body), body.replace(here, whole));
        for body in [
            // two ways, and not the same
            format!("{half}.LBB0_1:\n{here}"),
            // longer
            format!("\tmovih\tl4, 65535\n{}", here.replace("a0", "l5")),
            format!("\tmovih\tl4, 65535\n{}", here.replace("65533", "65000")),
            // not so near
            format!("\tmovih\tl4, 65534\n{here}"),
            // of a caller, or of who knows
            here.into(),
            format!("\tmovih\tl4, 65535\n\tjmp\tt0\n{here}"),
        ] {
            assert_eq!(shortened(&body), body);
        }
    }

    #[test]
    fn numbers_that_are_there_are_copied() {
        let rest = "\tst.w\ta0, (a1, 0)\n\tst.w\tl4, (a1, 4)\n\tpop\tlr\n";
        let (number, again) = ("\tmovi\ta0, 0\n\tnot\ta0, a0\n", "\tmovi\tl4, 0\n\tnot\tl4, l4\n");
        for (before, after) in [
            (format!("{number}{again}"), format!("{number}\tmov\tl4, a0\n")),
            ("\tmovi\ta0, 0\n\tmovi\tl4, 0\n".into(), "\tmovi\ta0, 0\n\tmov\tl4, a0\n".into()),
            // in the same register, which a call keeps
            (format!("{again}\tbsr\tg\n{again}"), format!("{again}\tbsr\tg\n")),
            // the copy of before
            (format!("{again}{number}{again}"), format!("{again}\tmov\ta0, l4\n")),
        ] {
            assert_eq!(shortened(&format!("{before}{rest}")), format!("{after}{rest}"));
        }
        for body in [
            // not longer
            "\tmovi\tl4, 7\n\tmovi\ta0, 7\n".into(),
            // a call has changed it, or one of two ways
            format!("{number}\tbsr\tg\n{again}"),
            format!("{number}\tbez\ta1, .LBB0_1\n\taddi\ta0, 1\n.LBB0_1:\n{again}"),
            // the opposite of a number that is needed between
            "\tmovi\ta0, 0\n\tmovi\ta2, 0\n\tst.w\ta2, (a1, 8)\n\tnot\tl4, a2\n".into(),
        ] {
            assert_eq!(shortened(&format!("{body}{rest}")), format!("{body}{rest}"));
        }
    }

    #[test]
    fn comparisons_with_opposites() {
        let number = "\tmovi\ta2, 2\n\tnot\ta2, a2\n";
        let high = number.replace("a2", "t0");
        let rest = "\tbt\t.LBB0_1\n\tmovi\ta1, 1\n.LBB0_1:\n\tmovi\ta0, 1\n\tpop\tlr\n";
        for (number, compare, short) in [
            (number, "cmpne\ta0, a2", "\taddi\ta2, a0, 3\n\tcmpnei\ta2, 0\n"),
            (number, "cmpne\ta2, a1", "\taddi\ta2, a1, 3\n\tcmpnei\ta2, 0\n"),
            // longer that way
            (&high, "cmpne\ta0, t0", "\tnot\ta0, a0\n\tcmpnei\ta0, 2\n"),
            (&high, "cmpne\tt0, a0", "\tnot\ta0, a0\n\tcmpnei\ta0, 2\n"),
            (&number.replace('2', "9").replace("a9", "a2"), "cmpne\ta0, a2", "\tnot\ta0, a0\n\tcmpnei\ta0, 9\n"),
            (number, "cmphs\ta2, a0", "\tnot\ta0, a0\n\tcmphsi\ta0, 2\n"),
        ] {
            assert_eq!(shortened(&format!("{number}\t{compare}\n{rest}")), format!("{short}{rest}"));
        }
        for body in [
            // one of them is needed
            format!("{high}\tcmpne\ta1, t0\n{}", rest.replace("movi\ta1, 1", "mov\ta0, a1")),
            format!("{number}\tcmpne\ta0, a2\n\tst.w\ta2, (sp, 0)\n{rest}"),
            // the wrong way round
            format!("{number}\tcmphs\ta0, a2\n{rest}"),
            // longer, or impossible
            format!("\tmovi\ta2, 40\n\tnot\ta2, a2\n\tcmpne\ta0, a2\n{rest}"),
            format!("\tmovi\ta2, 0\n\tnot\ta2, a2\n\tcmphs\ta2, a0\n{rest}"),
            // of another number
            format!("\tmovi\ta2, 2\n\tnot\ta2, a3\n\tcmpne\ta0, a2\n{rest}"),
        ] {
            assert_eq!(shortened(&body), body);
        }
    }

    #[test]
    fn functions_do_what_they_did() {
        machine::compare(shorten);
    }
}
