//! What instructions read and write, and which registers are still needed after each line of a function.

use std::collections::HashMap;
use std::ops::{BitAnd, BitOr, Not};

use crate::assembly::{Instruction, Line, words};

/// All registers that LLVM uses here, as bits 0 to 15 of a [`Set`].
pub const NAMES: [&str; 16] =
    ["a0", "a1", "a2", "a3", "l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "t0", "t1", "sp", "lr"];

/// A set of registers and of the flag that comparisons set and branches read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Set(u32);

impl Set {
    pub const NONE: Set = Set(0);
    /// The flag, C in the manual.
    pub const FLAG: Set = Set(1 << 16);
    pub const ARGUMENTS: Set = Set(0x000f);
    /// What a call may change: arguments, `t0`, `t1`, `lr`, the flag.
    pub const CLOBBERED: Set = Set(0x1_b00f);
    /// What whoever is returned to may read: results in `a0` and `a1`, and what belongs to it.
    pub const RETURNED: Set = Set(0xcff3);
    pub const ALL: Set = Set(0x1_ffff);

    /// The register with this number, its place in `NAMES`.
    pub fn number(number: usize) -> Set {
        Set(1 << number)
    }

    /// The register with this name.
    pub fn register(name: &str) -> Option<Set> {
        NAMES.iter().position(|known| *known == name).map(|at| Set(1 << at))
    }

    /// Whether the two have one in common.
    pub fn meets(self, other: Set) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Set {
    type Output = Set;

    fn bitor(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }
}

impl BitAnd for Set {
    type Output = Set;

    fn bitand(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }
}

impl Not for Set {
    type Output = Set;

    fn not(self) -> Set {
        Set(!self.0 & Set::ALL.0)
    }
}

/// What an instruction does to registers and to the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    pub reads: Set,
    pub writes: Set,
    /// It does nothing else: no memory, no jump, no call.
    pub is_pure: bool,
    /// Its first operand is a register that it writes.
    pub has_target: bool,
    /// And may read.
    pub reads_target: bool,
}

/// How many operands an operation on registers has when its target is not one of its sources.
fn full_count(op: &str) -> Option<usize> {
    Some(match op {
        "addi" | "addu" | "subi" | "subu" | "and" | "andi" | "andni" | "or" | "ori" | "xor" | "xori" | "nor"
        | "lsl" | "lsli" | "rotl" | "rotli" | "andn" | "lsr" | "lsri" | "asr" | "asri" | "mult" | "divu" | "divs"
        | "bclri" | "bseti" | "ixh" | "ixw" | "ixd" => 3,
        "mov" | "movi" | "movih" | "lrw" | "grs" | "not" | "zextb" | "zexth" | "sextb" | "sexth" | "revb" | "revh"
        | "brev" | "ff1.32" => 2,
        _ => return None,
    })
}

/// `None` for what is not understood.
pub fn effects(code: &Instruction) -> Option<Effects> {
    let mut all = Set::NONE;
    for arg in &code.args {
        all = all | registers(arg)?;
    }
    let op = code.op.as_str();
    let first = code.args.first().and_then(|arg| Set::register(arg));
    let rest = code.args.iter().skip(1).filter_map(|arg| registers(arg)).fold(Set::NONE, BitOr::bitor);
    let (sp, lr) = (Set::register("sp")?, Set::register("lr")?);
    let with_target = |reads, more, is_pure, reads_target| {
        Some(Effects { reads, writes: first? | more, is_pure, has_target: true, reads_target })
    };
    let without =
        |reads, writes, is_pure| Some(Effects { reads, writes, is_pure, has_target: false, reads_target: false });
    if let Some(count) = full_count(op) {
        let reads_target = code.args.len() < count;
        return with_target(if reads_target { all } else { rest }, Set::NONE, true, reads_target);
    }
    match op {
        "ld.b" | "ld.bs" | "ld.h" | "ld.hs" | "ld.w" | "ldr.b" | "ldr.bs" | "ldr.h" | "ldr.hs" | "ldr.w" => {
            with_target(rest, Set::NONE, false, false)
        }
        "mvc" | "mvcv" => with_target(Set::FLAG, Set::NONE, true, false),
        "addc" | "subc" => with_target(all | Set::FLAG, Set::FLAG, true, true),
        // What they do not change they keep.
        "incf" | "inct" | "decf" | "dect" | "movf" | "movt" | "clrf" | "clrt" => {
            with_target(all | Set::FLAG, Set::NONE, true, true)
        }
        "st.b" | "st.h" | "st.w" | "str.b" | "str.h" | "str.w" => without(all, Set::NONE, false),
        "cmpne" | "cmphs" | "cmplt" | "cmpnei" | "cmphsi" | "cmplti" | "btsti" => without(all, Set::FLAG, true),
        "clrc" | "setc" => without(Set::NONE, Set::FLAG, true),
        "br" => without(Set::NONE, Set::NONE, false),
        "bt" | "bf" => without(Set::FLAG, Set::NONE, false),
        "bez" | "bnez" | "bhz" | "blsz" | "blz" | "bhsz" | "jmp" => without(all, Set::NONE, false),
        "bsr" if is_abort(code) => without(Set::NONE, Set::NONE, false),
        "bsr" | "jsr" => without(all | Set::ARGUMENTS | sp, Set::CLOBBERED, false),
        // What `push` has saved is free from there to `pop`.
        "push" => without(all | sp, all & !lr | sp, false),
        "pop" => without(Set::RETURNED & !all | sp, Set::NONE, false),
        "rts" => without(Set::RETURNED, Set::NONE, false),
        _ => None,
    }
}

/// Whether it ends the program.
pub fn is_abort(code: &Instruction) -> bool {
    code.op == "bsr" && code.args == ["abort"]
}

/// The registers in an operand; `None` when there is one that is not known.
fn registers(arg: &str) -> Option<Set> {
    let mut set = Set::NONE;
    for word in words(arg) {
        match Set::register(word) {
            Some(register) => set = set | register,
            None if is_register(word) => return None,
            None => {}
        }
    }
    Some(set)
}

/// Whether it looks like a register's name: letters and digits, as `r12`, `l8`, `t9`, `fr3`, `vr1`.
fn is_register(word: &str) -> bool {
    let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let letters = &word[..word.len() - digits.len()];
    matches!(letters, "a" | "l" | "t" | "r" | "fr" | "vr" | "cr") && digits.parse::<u32>().is_ok()
}

/// Where each line of a function goes, and what is needed there.
pub struct Flow {
    /// Of each line that is an instruction.
    pub effects: Vec<Option<Effects>>,
    /// The lines that may come after each, and whether others may, which are not known.
    pub next: Vec<(Vec<usize>, bool)>,
    /// What is needed before each line, and after it.
    pub before: Vec<Set>,
    pub after: Vec<Set>,
}

impl Flow {
    /// `None` when one of the instructions is not understood.
    pub fn new(lines: &[Line]) -> Option<Self> {
        let labels: HashMap<&str, usize> = lines.iter().enumerate().filter_map(|(at, line)| label(at, line)).collect();
        let mut known = Vec::with_capacity(lines.len());
        let mut next = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            known.push(match line {
                Line::Code(code) => Some(effects(code)?),
                _ => None,
            });
            next.push(successors(at, line, &labels, lines.len()));
        }
        let mut flow = Flow { effects: known, next, before: Vec::new(), after: Vec::new() };
        flow.find_needs();
        Some(flow)
    }

    /// After changes of instructions that have not changed where they go.
    pub fn update(&mut self, lines: &[Line], changed: &[usize]) {
        for at in changed {
            if let Line::Code(code) = &lines[*at] {
                self.effects[*at] = effects(code);
            }
        }
        self.find_needs();
    }

    fn find_needs(&mut self) {
        let nothing = vec![Set::NONE; self.next.len()];
        (self.before, self.after) = (nothing.clone(), nothing);
        while !self.is_stable() {}
    }

    /// Goes once through the lines, backwards; whether nothing has changed.
    fn is_stable(&mut self) -> bool {
        let mut is_stable = true;
        for at in (0..self.next.len()).rev() {
            let (next, is_left) = &self.next[at];
            let elsewhere = if *is_left { Set::ALL } else { Set::NONE };
            let after = next.iter().fold(elsewhere, |live, at| live | self.before[*at]);
            let before = self.effects[at].map_or(after, |effects| after & !effects.writes | effects.reads);
            is_stable &= (self.before[at], self.after[at]) == (before, after);
            (self.before[at], self.after[at]) = (before, after);
        }
        is_stable
    }
}

fn label(at: usize, line: &Line) -> Option<(&str, usize)> {
    match line {
        Line::Label(label) => Some((label, at)),
        _ => None,
    }
}

/// The lines that may come after this one, and whether others may, which are not known.
fn successors(at: usize, line: &Line, labels: &HashMap<&str, usize>, end: usize) -> (Vec<usize>, bool) {
    let (mut next, mut is_left) = (Vec::new(), false);
    if let Line::Code(code) = line {
        match code.op.as_str() {
            "pop" | "rts" => return (next, false),
            "bsr" if is_abort(code) => return (next, false),
            "jmp" => return (next, true),
            _ => {}
        }
        if code.is_branch() {
            match code.args.last().and_then(|target| labels.get(target.as_str())) {
                Some(target) => next.push(*target),
                None => is_left = true,
            }
            if code.op == "br" {
                return (next, is_left);
            }
        }
    }
    if at + 1 < end {
        next.push(at + 1)
    } else {
        is_left = true
    }
    (next, is_left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::parse;

    fn set(names: &[&str]) -> Set {
        names
            .iter()
            .map(|name| if *name == "C" { Set::FLAG } else { Set::register(name).unwrap() })
            .fold(Set::NONE, BitOr::bitor)
    }

    fn instruction(text: &str) -> Instruction {
        match &parse(&format!("\t{text}\n"))[0] {
            Line::Code(code) => code.clone(),
            line => panic!("{line:?}"),
        }
    }

    #[test]
    fn reads_and_writes() {
        for (text, reads, writes) in [
            ("mov\ta0, l1", &["l1"][..], &["a0"][..]),
            ("addi\ta0, a1, 4", &["a1"], &["a0"]),
            ("addi\ta0, 4", &["a0"], &["a0"]),
            ("mult\tl4, l5", &["l4", "l5"], &["l4"]),
            ("not\ta0", &["a0"], &["a0"]),
            ("not\ta0, a1", &["a1"], &["a0"]),
            ("lrw\ta0, a1_symbol", &[], &["a0"]),
            ("rotli\ta0, a1, 7", &["a1"], &["a0"]),
            ("andn\ta0, a1, l4", &["a1", "l4"], &["a0"]),
            ("brev\ta0, a1", &["a1"], &["a0"]),
            ("ff1.32\tt0, t0", &["t0"], &["t0"]),
            ("ldr.w\tl4, (a1, a3 << 2)", &["a1", "a3"], &["l4"]),
            ("ld.b\ta0, (a0, 1)", &["a0"], &["a0"]),
            ("st.w\ta0, (sp, 8)", &["a0", "sp"], &[]),
            ("str.h\tl3, (a0, a1 << 0)", &["l3", "a0", "a1"], &[]),
            ("cmpnei\tl7, 2", &["l7"], &["C"]),
            ("mvcv\ta0", &["C"], &["a0"]),
            ("movf\tl2, a2", &["C", "l2", "a2"], &["l2"]),
            ("incf\ta1, a2, 10", &["C", "a1", "a2"], &["a1"]),
            ("clrt\tt0", &["C", "t0"], &["t0"]),
            ("subc\tt0, a2, a3", &["C", "a2", "a3", "t0"], &["C", "t0"]),
            ("bt\t.LBB0_1", &["C"], &[]),
            ("bnez\tl1, .LBB0_1", &["l1"], &[]),
            ("bsr\tf", &["a0", "a1", "a2", "a3", "sp"], &["a0", "a1", "a2", "a3", "t0", "t1", "lr", "C"]),
            ("jsr\tl1", &["a0", "a1", "a2", "a3", "sp", "l1"], &["a0", "a1", "a2", "a3", "t0", "t1", "lr", "C"]),
        ] {
            let effects = effects(&instruction(text)).unwrap();
            assert_eq!((effects.reads, effects.writes), (set(reads), set(writes)), "{text}");
        }
        for unknown in [
            "mula.32.l\ta0, a1, a2",
            "ldm\tl0-l2, (a0)",
            "fmovs\tfr0, fr1",
            "mov\ta0, t9",
            "bkpt",
            "zext\ta0, a1, 7, 0",
        ] {
            assert_eq!(effects(&instruction(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_needed() {
        let text = "f:\n\tmovi\ta2, 1\n.LBB0_1:\n\tcmpne\ta0, a2\n\tbt\t.LBB0_2\n\tmovi\tt0, 1\n\tbr\t.LBB0_1\n.LBB0_2:\n\tmov\ta0, l0\n\tpop\tl0, lr\n";
        let after = Flow::new(&parse(text)).unwrap().after;
        let kept = Set::RETURNED & !set(&["a0", "lr"]);
        assert_eq!(after[1], kept | set(&["a0", "a2"]));
        assert_eq!(after[3], kept | set(&["a0", "a2", "C"]));
        // `t0` and the flag are nobody's, where the loop begins again
        assert_eq!(after[5], kept | set(&["a0", "a2"]));
        assert_eq!(after[8], Set::RETURNED & !set(&["l0", "lr"]));
        assert_eq!(after[9], Set::NONE);
    }

    #[test]
    fn where_it_goes_nobody_knows() {
        for way in ["\tjmp\tt0\n", "\tbr\tg\n", "\tbez\ta0, g\n\tpop\tlr\n", ""] {
            let text = format!("f:\n\tmovi\tt1, 1\n\tcmpne\ta0, a1\n{way}");
            let after = Flow::new(&parse(&text)).unwrap().after;
            assert!(after[2].meets(set(&["t1"])) && after[2].meets(Set::FLAG), "{way}");
        }
        assert!(Flow::new(&parse("f:\n\tmovi\tt1, 1\n\tmula.32.l\ta0, a1, a2\n\tpop\tlr\n")).is_none());
    }
}
