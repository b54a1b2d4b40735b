//! Which register holds what. Short instructions reach `a0` to `a3` and `l0` to `l3` only, and LLVM does not know.
//!
//! For two registers of a function, the places where either holds something that is still needed fall into parts: what one
//! has computed and another may read are together, as are two values that are needed at the same time. In such a part the
//! two registers may be exchanged, whatever happens in others: unless callers, the called or instructions with registers of
//! their own have a say in it. They are exchanged when that makes the function shorter; a copy between them may go then.

use std::collections::{BTreeMap, HashMap};

use crate::assembly::{Instruction, Line, functions, words};
use crate::encoding::size;
use crate::flow::{Flow, NAMES, Set};

/// In each function that is understood as a whole.
pub fn shorten(lines: &mut Vec<Line>) {
    // From behind, so that the ranges in front stay right.
    for function in functions(lines).into_iter().rev() {
        let part = &mut lines[function.clone()];
        // A table of jumps has places that no line names.
        if !part.iter().any(|line| matches!(line, Line::Code(code) if code.op == "jmp")) {
            exchange_all(part);
        }
        let kept: Vec<Line> = part.iter().filter(|line| !is_empty(line)).cloned().collect();
        lines.splice(function, kept);
    }
}

/// How often the search begins anew, from where exchanges that save nothing have led: the best next step is not always the best
/// way.
const TRIES: usize = 6;

/// Exchanges whatever makes the function shorter.
fn exchange_all(lines: &mut [Line]) {
    while exchange_each(lines, None) {}
    let mut best = lines.to_vec();
    for seed in 1..=TRIES {
        let mut other = best.clone();
        exchange_each(&mut other, Some(seed));
        while exchange_each(&mut other, None) {}
        if total(&other) <= total(&best) {
            best = other;
        }
    }
    if total(&best) < total(lines) {
        lines.clone_from_slice(&best);
    }
}

/// Whether any two registers were exchanged in any part. With a seed some are that save nothing.
fn exchange_each(lines: &mut [Line], seed: Option<usize>) -> bool {
    let Some(mut flow) = Flow::new(lines) else { return false };
    let mut is_changed = false;
    for first in 0..14 {
        for second in first + 1..14 {
            // Which ones does not matter, but always the same.
            let any = |part: usize| {
                seed.is_some_and(|seed| (part * 31 + first * 7 + second * 3 + seed * 5).is_multiple_of(8))
            };
            let changed = exchange(lines, &flow, [first, second], any);
            if !changed.is_empty() {
                is_changed = true;
                flow.update(lines, &changed);
            }
        }
    }
    is_changed
}

fn total(lines: &[Line]) -> isize {
    let bytes = |line: &Line| match line {
        Line::Code(code) => bytes(code),
        _ => 0,
    };
    lines.iter().map(bytes).sum()
}

/// A copy of a register to itself.
fn is_empty(line: &Line) -> bool {
    matches!(line, Line::Code(code) if code.op == "mov" && code.args[0] == code.args[1])
}

fn bytes(code: &Instruction) -> isize {
    if code.op == "mov" && code.args[0] == code.args[1] { 0 } else { size(code) as isize }
}

/// Exchanges the two registers in the parts where that makes it shorter, and in any that may be exchanged for nothing; the
/// lines that have changed.
fn exchange(lines: &mut [Line], flow: &Flow, pair: [usize; 2], any: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut parts = Parts::new(lines, flow, pair);
    let either = Set::number(pair[0]) | Set::number(pair[1]);
    let fixed = parts.find(0);
    let mut places = BTreeMap::<usize, Vec<usize>>::new();
    for (at, effects) in flow.effects.iter().enumerate() {
        if !effects.is_some_and(|effects| either.meets(effects.reads | effects.writes)) {
            continue;
        }
        for place in [place_before(at, 0), place_before(at, 1), place_after(at, 0), place_after(at, 1)] {
            let part = parts.find(place);
            let lines = places.entry(part).or_default();
            if part != fixed && lines.last() != Some(&at) {
                lines.push(at);
            }
        }
    }
    let mut original = HashMap::new();
    let mut exchanged = Vec::new();
    for (part, places) in places {
        exchanged.push(part);
        let mut saved = 0;
        let mut changed = Vec::new();
        for at in places {
            let Line::Code(now) = &lines[at] else { continue };
            let new = parts.exchanged(at, original.get(&at).unwrap_or(now), &exchanged);
            saved += bytes(now) - bytes(&new);
            changed.push((at, new));
        }
        if part == fixed || saved < 0 || saved == 0 && !any(part) {
            exchanged.pop();
            continue;
        }
        for (at, new) in changed {
            if let Line::Code(old) = std::mem::replace(&mut lines[at], Line::Code(new)) {
                original.entry(at).or_insert(old);
            }
        }
    }
    original.into_keys().collect()
}

/// The parts for two registers. Places are before and after each line, of each of the two; number 0 is outside.
struct Parts<'a> {
    flow: &'a Flow,
    pair: [usize; 2],
    parents: Vec<usize>,
}

impl<'a> Parts<'a> {
    fn new(lines: &[Line], flow: &'a Flow, pair: [usize; 2]) -> Self {
        let mut parts = Parts { flow, pair, parents: (0..=4 * lines.len()).collect() };
        let either = Set::number(pair[0]) | Set::number(pair[1]);
        for at in 0..lines.len() {
            let written = flow.effects[at].map_or(Set::NONE, |effects| effects.writes);
            if !either.meets(flow.before[at] | flow.after[at] | written) {
                continue;
            }
            for which in 0..2 {
                parts.join_line(lines, at, which);
            }
            // Both are needed, or one is written while the other is needed.
            let after = flow.after[at] | written;
            if after.meets(parts.pair_set(0)) && after.meets(parts.pair_set(1)) {
                parts.join(place_after(at, 0), place_after(at, 1));
            }
        }
        parts
    }

    fn pair_set(&self, which: usize) -> Set {
        Set::number(self.pair[which])
    }

    /// Joins the places around a line that hold the same value, and those whose register cannot be chosen with the outside.
    fn join_line(&mut self, lines: &[Line], at: usize, which: usize) {
        let register = self.pair_set(which);
        let flow = self.flow;
        if at == 0 && flow.before[at].meets(register) {
            self.join(place_before(at, which), 0);
        }
        if flow.after[at].meets(register) {
            let (next, is_left) = &flow.next[at];
            if *is_left {
                self.join(place_after(at, which), 0);
            }
            for next in next {
                if flow.before[*next].meets(register) {
                    self.join(place_after(at, which), place_before(*next, which));
                }
            }
        }
        let Some(effects) = flow.effects[at] else {
            return self.join(place_before(at, which), place_after(at, which));
        };
        let Line::Code(code) = &lines[at] else { return };
        let is_target = effects.has_target && code.args[0] == NAMES[self.pair[which]];
        if !effects.writes.meets(register) || is_target && effects.reads_target {
            self.join(place_before(at, which), place_after(at, which));
        }
        if effects.writes.meets(register) && !is_target {
            self.join(place_after(at, which), 0);
        }
        // Registers of its own, and lists.
        let is_named = code.names(NAMES[self.pair[which]]) && !matches!(code.op.as_str(), "push" | "pop");
        if effects.reads.meets(register) && (!is_named || code.is_call() && Set::ARGUMENTS.meets(register)) {
            self.join(place_before(at, which), 0);
        }
    }

    fn find(&mut self, mut place: usize) -> usize {
        while self.parents[place] != place {
            self.parents[place] = self.parents[self.parents[place]];
            place = self.parents[place];
        }
        place
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        self.parents[one.max(other)] = one.min(other);
    }

    /// The line with the two registers exchanged in these parts.
    fn exchanged(&mut self, at: usize, code: &Instruction, parts: &[usize]) -> Instruction {
        if matches!(code.op.as_str(), "push" | "pop") {
            return code.clone();
        }
        let target = self.flow.effects[at].is_some_and(|effects| effects.has_target);
        let mut names = |is_target: bool| {
            [0, 1].map(|which| {
                let place = if is_target { place_after(at, which) } else { place_before(at, which) };
                let part = self.find(place);
                NAMES[self.pair[if parts.contains(&part) { 1 - which } else { which }]]
            })
        };
        let (read, written) = (names(false), names(true));
        let old = self.pair.map(|register| NAMES[register]);
        let args = code.args.iter().enumerate();
        let rename =
            |(place, arg): (usize, &String)| rename(arg, &old, if target && place == 0 { &written } else { &read });
        Instruction { op: code.op.clone(), args: args.map(rename).collect() }
    }
}

/// The place of the first or the second register before a line.
fn place_before(at: usize, which: usize) -> usize {
    1 + 4 * at + which
}

/// And after it.
fn place_after(at: usize, which: usize) -> usize {
    3 + 4 * at + which
}

fn rename(arg: &str, old: &[&str; 2], new: &[&str; 2]) -> String {
    let mut renamed = String::new();
    let mut rest = arg;
    for word in words(arg) {
        let Some(at) = rest.find(word) else { break };
        renamed += &rest[..at];
        renamed += old.iter().position(|old| *old == word).map_or(word, |which| new[which]);
        rest = &rest[at + word.len()..];
    }
    renamed + rest
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

    const PUSH: &str = "\tpush\tl0, l1, l2, l3, l4, lr\n";
    const POP: &str = "\tpop\tl0, l1, l2, l3, l4, lr\n";

    #[test]
    fn what_is_used_most_becomes_short() {
        let body = "\tmov\tl0, a0\n\tld.w\tl4, (a0, 4)\n\tbsr\tg\n\tst.w\tl4, (sp, 4)\n\tldr.w\ta0, (l4, l0 << 2)\n\tlrw\ta1, l4.x\n";
        let short = "\tmov\tl4, a0\n\tld.w\tl0, (a0, 4)\n\tbsr\tg\n\tst.w\tl0, (sp, 4)\n\tldr.w\ta0, (l0, l4 << 2)\n\tlrw\ta1, l4.x\n";
        assert_eq!(shortened(&format!("{PUSH}{body}{POP}")), format!("{PUSH}{short}{POP}"));
    }

    #[test]
    fn a_copy_goes_when_both_may_be_one() {
        let kept = "\tst.w\ta0, (sp, 4)\n\tmovi\ta0, 1\n";
        for (before, after) in [
            ("\tmov\tl0, a0\n\tst.w\tl0, (sp, 4)\n\tmovi\ta0, 1\n".to_string(), kept.to_string()),
            // needed by the other side of a call
            (
                "\tmov\tl0, a0\n\tbsr\tg\n\tst.w\tl0, (sp, 4)\n".into(),
                "\tmov\tl0, a0\n\tbsr\tg\n\tst.w\tl0, (sp, 4)\n".into(),
            ),
            // needed with another value
            (
                "\tmov\tl0, a0\n\taddi\ta0, 1\n\tst.w\tl0, (a0, 4)\n".into(),
                "\tmov\tl0, a0\n\taddi\ta0, 1\n\tst.w\tl0, (a0, 4)\n".into(),
            ),
        ] {
            assert_eq!(shortened(&format!("{PUSH}{before}{POP}")), format!("{PUSH}{after}{POP}"));
        }
    }

    #[test]
    fn a_function_that_is_not_understood_as_a_whole_stays() {
        let use_it = "\tld.w\tl4, (a0, 4)\n\tst.w\tl4, (sp, 4)\n";
        for body in [
            // What `l4` holds is the caller's, or somebody's who is not known.
            format!("\tst.w\tl4, (sp, 4)\n{PUSH}{POP}"),
            format!("{use_it}\trts\t\n"),
            format!("{PUSH}{use_it}\tbr\tg\n{POP}"),
            format!("{PUSH}{use_it}\tbez\tl4, g\n{POP}"),
            format!("{PUSH}{use_it}\tpop\tl0, l1, l2, l3, lr\n"),
            // There are instructions that are not known, or a table of jumps.
            format!("{PUSH}{use_it}\tldm\tl0-l3, (a0)\n{POP}"),
            format!("{PUSH}{use_it}\tjmp\tt0\n{POP}"),
        ] {
            assert_eq!(shortened(&body), body);
        }
    }

    #[test]
    fn functions_do_what_they_did() {
        machine::compare(shorten);
    }
}
