//! Registers that a function saves: `push` and `pop` instead of a store and a load for each.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::assembly::{Instruction, Line, functions};

/// What `push` and `pop` can take: the first so many of these, and `lr`.
const SAVED: [&str; 8] = ["l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7"];

/// Where a function keeps the registers of its caller: offset by register.
type Places = BTreeMap<String, usize>;

/// Rewrites each function whose first and last instructions are understood, all of them.
pub fn shorten(lines: &mut Vec<Line>) {
    // From behind, so that the ranges in front stay right.
    for function in functions(lines).into_iter().rev() {
        rewrite(lines, function);
    }
}

fn rewrite(lines: &mut Vec<Line>, function: Range<usize>) -> Option<()> {
    let mut saves = function.clone().filter_map(|at| Some((at, save(&lines[at..function.end])?)));
    let (start, places) = saves.next()?;
    // Later on it may be on some ways only, or not what it looks like: arguments of a call.
    if saves.next().is_some() || lines[function.start..start].iter().any(|line| matches!(line, Line::Code(_))) {
        return None;
    }
    let list = list(&places)?;
    let restores: Vec<usize> =
        function.clone().filter(|at| restore(&lines[*at..function.end]).as_ref() == Some(&places)).collect();
    // A return or a jump that leaves the function another way is not understood.
    let returns = lines[function.clone()].iter().filter(|line| is_return(line)).count();
    if restores.len() != returns || lines[function].windows(2).any(|pair| leaves(&pair[0], &pair[1])) {
        return None;
    }
    let count = places.len();
    for at in restores.into_iter().rev() {
        lines.splice(at..at + count + 2, [Line::Code(Instruction::new("pop", &list))]);
    }
    lines.splice(start..start + count + 1, [Line::Code(Instruction::new("push", &list))]);
    Some(())
}

/// The registers as `push` wants them; `None` when they are not such a list.
fn list(places: &Places) -> Option<Vec<&'static str>> {
    let has_link = places.contains_key("lr");
    let count = places.len() - usize::from(has_link);
    let mut list = SAVED.get(..count)?.to_vec();
    if !list.iter().all(|register| places.contains_key(*register)) {
        return None;
    }
    if has_link {
        list.push("lr");
    }
    (!list.is_empty()).then_some(list)
}

/// `subi sp, sp, N` and a store for each of N bytes.
fn save(lines: &[Line]) -> Option<Places> {
    places(&lines[1..], "st.w", adjustment(lines.first()?, "subi")?)
}

/// A load for each of N bytes, `addi sp, sp, N` and `rts`.
fn restore(lines: &[Line]) -> Option<Places> {
    let count = lines.iter().take_while(|line| access(line, "ld.w").is_some()).count();
    let bytes = adjustment(lines.get(count)?, "addi")?;
    let is_whole = bytes == 4 * count && is_return(lines.get(count + 1)?);
    places(lines, "ld.w", bytes).filter(|_| is_whole)
}

/// The first N / 4 accesses, each to a word of its own below N.
fn places(lines: &[Line], op: &str, bytes: usize) -> Option<Places> {
    let mut places = Places::new();
    for line in lines.get(..bytes / 4)? {
        let (register, offset) = access(line, op)?;
        if offset >= bytes || offset % 4 != 0 || places.values().any(|taken| *taken == offset) {
            return None;
        }
        if places.insert(register.into(), offset).is_some() {
            return None;
        }
    }
    Some(places).filter(|places| 4 * places.len() == bytes)
}

/// Register and offset of `op REGISTER, (sp, OFFSET)`, of a register that callers want back.
fn access<'a>(line: &'a Line, op: &str) -> Option<(&'a str, usize)> {
    let Line::Code(code) = line else { return None };
    let [register, place] = &code.args[..] else { return None };
    let known = register == "lr" || SAVED.contains(&register.as_str());
    let offset = place.strip_prefix("(sp, ")?.strip_suffix(')')?.parse().ok()?;
    (known && code.op == op).then_some((register, offset))
}

/// N of `op sp, sp, N`.
fn adjustment(line: &Line, op: &str) -> Option<usize> {
    match line {
        Line::Code(code) => match code.parts() {
            (name, args) if name == op => match args[..] {
                ["sp", "sp", bytes] => bytes.parse().ok().filter(|bytes| *bytes > 0),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn is_return(line: &Line) -> bool {
    matches!(line, Line::Code(code) if code.op == "rts")
}

/// Jumps out of the function, other than by a return: none that LLVM makes, but who knows.
fn leaves(before: &Line, line: &Line) -> bool {
    let Line::Code(code) = line else { return false };
    match code.op.as_str() {
        "rts" | "bkpt" => false,
        // By a table of jumps, or with the frame gone to another function.
        "jmp" => code.names("lr") || adjustment(before, "addi").is_some(),
        _ if code.is_branch() => !code.args.last().is_some_and(|target| target.starts_with(".LBB")),
        _ => code.is_end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{parse, print};

    fn shortened(body: &str) -> String {
        let mut lines = parse(&format!("\t.type\tf,@function\nf:\n{body}.Lfunc_end0:\n"));
        shorten(&mut lines);
        print(&lines[2..lines.len() - 1])
    }

    #[test]
    fn saved_registers_are_pushed_and_popped() {
        let body = "\tsubi16\tsp, sp, 12\n\tst16.w\tl1, (sp, 8)\n\tst16.w\tl0, (sp, 4)\n\tst32.w\tlr, (sp, 0)\n\tsubi16\tsp, sp, 8\n\
                    \tbez32\ta0, .LBB0_2\n\taddi16\tsp, sp, 8\n\tld32.w\tlr, (sp, 0)\n\tld16.w\tl0, (sp, 4)\n\tld16.w\tl1, (sp, 8)\n\
                    \taddi16\tsp, sp, 12\n\trts16\n.LBB0_2:\n\tbsr\tabort\n";
        let expected = "\tpush\tl0, l1, lr\n\tsubi\tsp, sp, 8\n\tbez\ta0, .LBB0_2\n\taddi\tsp, sp, 8\n\tpop\tl0, l1, lr\n\
                        .LBB0_2:\n\tbsr\tabort\n";
        assert_eq!(shortened(body), expected);
    }

    #[test]
    fn a_function_that_is_not_understood_as_a_whole_stays() {
        let save = "\tsubi\tsp, sp, 8\n\tst.w\tl0, (sp, 4)\n\tst.w\tlr, (sp, 0)\n";
        let restore = "\tld.w\tlr, (sp, 0)\n\tld.w\tl0, (sp, 4)\n\taddi\tsp, sp, 8\n\trts\t\n";
        for body in [
            // no such list
            save.replace("l0", "l1") + &restore.replace("l0", "l1"),
            // restored from other places
            save.to_string() + &restore.replace("4", "8"),
            // a return without restoring
            save.to_string() + "\trts\t\n" + restore,
            // other ways out
            save.to_string() + "\tbr\tg\n" + restore,
            save.to_string() + "\tbez\ta0, g\n" + restore,
            save.to_string() + "\tpop\tl0, lr\n.LBB0_1:\n" + restore,
            save.to_string() + restore + ".LBB0_1:\n" + &restore.replace("rts\t", "jmp\tlr"),
            save.to_string() + restore + ".LBB0_1:\n" + &restore.replace("rts\t", "jmp\ta1"),
            save.to_string() + restore + ".LBB0_1:\n\trte\t\n",
            // not at the beginning: on one way, or as arguments of a call that does not return
            "\tbez\ta0, .LBB0_1\n".to_string() + save + restore + ".LBB0_1:\n",
            "\tmovi\tl0, 1\n".to_string() + save + "\tbsr\tg\n",
            // with what a debugger or an unwinder is told
            save.replace("\tst.w\tl0", "\t.cfi_def_cfa_offset 8\n\tst.w\tl0") + restore,
            save.to_string() + &restore.replace("\taddi", "\t.loc\t1 2 3\n\taddi"),
            // saved twice
            save.to_string() + save + restore,
            // not all of it saved
            save.replace("sp, sp, 8", "sp, sp, 12") + restore,
        ] {
            assert_eq!(shortened(&body), body);
        }
        // A table of jumps stays inside.
        let inside = "\tldr.w\ta1, (a1, a0 << 2)\n\tjmp\ta1\n.LBB0_1:\n";
        assert_eq!(shortened(&format!("{save}{inside}{restore}")), format!("\tpush\tl0, lr\n{inside}\tpop\tl0, lr\n"));
    }
}
