//! Sequences of instructions that occur again and again: one copy, which `bsr` calls wherever they stood.
//!
//! `bsr` writes nothing but `lr`, so it may stand where a function has saved that and has not read it back: the copy finds
//! registers, flag and stack as they were. How the copy ends is how the sequence does:
//!
//! | the sequence ends with | its copy |
//! |---|---|
//! | `pop`, with `lr` | leaves the function that has called it |
//! | `bsr` of a function here | stands in front of that function and runs into it, or jumps there |
//! | `bsr` of another one | jumps there by `jmpi`: other branches do not reach through all of the firmware |
//! | `jsr` | jumps there |
//! | something else | returns |
//!
//! Other calls in it would overwrite `lr`: only before a `pop`. Loops without a call stay as they are: that is where the time
//! goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::ops::Range;

use crate::assembly::{Instruction, Line, functions, words};
use crate::encoding::size;
use crate::flow::{Flow, Set, is_abort};

/// Bytes of the call that takes a sequence's place, and of a constant in the assembler's pool.
const CALL: isize = 4;
const CONSTANT: isize = 4;
/// The most instructions in a sequence.
const LONGEST: usize = 64;

/// In all functions together.
pub fn shorten(lines: &mut Vec<Line>) {
    let mut program = Program::new(lines);
    let copies = program.choose();
    program.write(lines, &copies);
}

/// Instructions that follow one another, each of which may be in a sequence.
struct Run {
    /// The line of the first.
    start: usize,
    /// Which ones, as numbers in [`Program::codes`].
    codes: Vec<usize>,
    /// How many bytes go with each.
    bytes: Vec<isize>,
    /// Whether a copy has taken its place.
    is_taken: Vec<bool>,
}

/// Where a sequence stands: number of the run, and where in that.
type Site = (usize, usize);

/// A sequence: where it stands, and how many instructions it has.
struct Sequence {
    sites: Vec<Site>,
    count: usize,
}

/// How a copy ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Pop,
    /// Of a function here, whose label is in this line.
    Here(usize),
    /// Of a function that is elsewhere.
    Elsewhere,
    Jump,
    Return,
}

struct Program {
    runs: Vec<Run>,
    /// Each instruction that there is, once.
    codes: Vec<Instruction>,
    /// The functions that have a label, by it: the label's line.
    labels: HashMap<String, usize>,
    /// Functions that a copy jumps to already.
    called: HashSet<String>,
}

impl Program {
    fn new(lines: &[Line]) -> Self {
        let mut program =
            Program { runs: Vec::new(), codes: Vec::new(), labels: HashMap::new(), called: HashSet::new() };
        let mut numbers = HashMap::new();
        for function in functions(lines) {
            if let Some(Line::Label(label)) = lines.get(function.start) {
                program.labels.insert(label.clone(), function.start);
            }
            program.find_runs(&lines[function.clone()], function.start, &mut numbers);
        }
        program
    }

    fn find_runs(&mut self, lines: &[Line], start: usize, numbers: &mut HashMap<Instruction, usize>) {
        let Some(flow) = Flow::new(lines) else { return };
        let loops = loops(lines);
        let mut constants = HashMap::<&str, usize>::new();
        for line in lines {
            if let Some(constant) = constant(line) {
                *constants.entry(constant).or_default() += 1;
            }
        }
        let mut is_open = false;
        for (at, line) in lines.iter().enumerate() {
            let Line::Code(code) = line else {
                is_open = false;
                continue;
            };
            if !may_move(code, flow.after[at]) || loops.iter().any(|range| range.contains(&at)) {
                is_open = false;
                continue;
            }
            if !is_open {
                let run = Run { start: start + at, codes: Vec::new(), bytes: Vec::new(), is_taken: Vec::new() };
                self.runs.push(run);
            }
            let Some(run) = self.runs.last_mut() else { return };
            let number = *numbers.entry(code.clone()).or_insert_with(|| {
                self.codes.push(code.clone());
                self.codes.len() - 1
            });
            let is_last_use = constant(line).is_some_and(|constant| constants[constant] == 1);
            run.codes.push(number);
            run.bytes.push(size(code) as isize + if is_last_use { CONSTANT } else { 0 });
            run.is_taken.push(false);
            is_open = code.op != "pop";
        }
    }

    /// Every sequence that stands in two places or more.
    fn sequences(&self) -> Vec<Sequence> {
        let mut sequences: Vec<Sequence> = Vec::new();
        let all = (0..self.runs.len()).flat_map(|run| (0..self.runs[run].codes.len()).map(move |at| (run, at)));
        let mut groups = vec![Sequence { sites: all.collect(), count: 0 }];
        // Those that repeat are longer by one than others that do.
        while let Some(group) = groups.pop() {
            let mut longer = BTreeMap::<usize, Vec<Site>>::new();
            for (run, at) in &group.sites {
                if let Some(code) = self.runs[*run].codes.get(at + group.count) {
                    longer.entry(*code).or_default().push((*run, *at));
                }
            }
            let count = group.count + 1;
            groups.extend(
                longer
                    .into_values()
                    .filter(|sites| sites.len() > 1 && count <= LONGEST)
                    .map(|sites| Sequence { sites, count }),
            );
            if group.count > 0 {
                sequences.push(group);
            }
        }
        sequences
    }

    fn codes(&self, sequence: &Sequence) -> Vec<&Instruction> {
        let (run, at) = sequence.sites[0];
        self.runs[run].codes[at..at + sequence.count].iter().map(|code| &self.codes[*code]).collect()
    }

    /// How a copy of these would end; `None` when there can be none.
    fn end(&self, codes: &[&Instruction]) -> Option<End> {
        let (last, rest) = codes.split_last()?;
        if last.op == "pop" {
            return Some(End::Pop);
        }
        if rest.iter().any(|code| code.is_call()) {
            return None;
        }
        Some(match last.op.as_str() {
            "bsr" => self.labels.get(&last.args[0]).map_or(End::Elsewhere, |line| End::Here(*line)),
            "jsr" => End::Jump,
            _ => End::Return,
        })
    }

    /// The places of the sequence that nothing has taken and that do not overlap.
    fn free(&self, sequence: &Sequence) -> Vec<Site> {
        let mut free: Vec<Site> = Vec::new();
        for (run, at) in &sequence.sites {
            let is_behind = free.last().is_none_or(|last| last.0 != *run || last.1 + sequence.count <= *at);
            if is_behind && !self.runs[*run].is_taken[*at..at + sequence.count].contains(&true) {
                free.push((*run, *at));
            }
        }
        free
    }

    /// The bytes that a copy saves.
    fn gain(&self, sequence: &Sequence) -> isize {
        let codes = self.codes(sequence);
        let Some(end) = self.end(&codes) else { return 0 };
        let copy: isize =
            codes.iter().map(|code| size(code) as isize + if code.op == "lrw" { CONSTANT } else { 0 }).sum();
        let is_first =
            codes.last().and_then(|last| last.args.first()).is_some_and(|target| !self.called.contains(target));
        let end = match end {
            End::Here(_) if is_first => -CALL,
            End::Here(_) => 2 - CALL,
            End::Elsewhere if is_first => CONSTANT,
            End::Elsewhere | End::Jump | End::Pop => 0,
            End::Return => 2,
        };
        let sites = self.free(sequence);
        let saved: isize = sites
            .iter()
            .map(|(run, at)| self.runs[*run].bytes[*at..at + sequence.count].iter().sum::<isize>() - CALL)
            .sum();
        saved - copy - end
    }

    /// What to make copies of, what saves most first.
    fn choose(&mut self) -> Vec<Sequence> {
        let sequences = self.sequences();
        let mut heap: BinaryHeap<(isize, Reverse<usize>)> = sequences
            .iter()
            .enumerate()
            .map(|(number, sequence)| (self.gain(sequence), Reverse(number)))
            .filter(|(gain, _)| *gain > 0)
            .collect();
        let mut chosen = Vec::new();
        while let Some((expected, Reverse(number))) = heap.pop() {
            let sequence = Sequence { sites: self.free(&sequences[number]), ..sequences[number] };
            if sequence.sites.len() < 2 {
                continue;
            }
            // Others have taken some of its places since, or it has become cheaper.
            let gain = self.gain(&sequence);
            if gain != expected {
                if gain > 0 {
                    heap.push((gain, Reverse(number)));
                }
                continue;
            }
            let codes = self.codes(&sequence);
            if let (Some(End::Here(_) | End::Elsewhere), Some(last)) = (self.end(&codes), codes.last()) {
                self.called.insert(last.args[0].clone());
            }
            for (run, at) in &sequence.sites {
                self.runs[*run].is_taken[*at..at + sequence.count].fill(true);
            }
            chosen.push(sequence);
        }
        chosen
    }

    /// Writes the copies, and the calls.
    fn write(&self, lines: &mut Vec<Line>, copies: &[Sequence]) {
        let mut calls = HashMap::new();
        // By the line in front of which they stand, and by the section in which they do.
        let mut in_front = HashMap::<usize, Vec<Line>>::new();
        let mut sections = BTreeMap::<String, Vec<Line>>::new();
        for (number, copy) in copies.iter().enumerate() {
            let name = format!("outlined.{number}");
            for (run, at) in &copy.sites {
                calls.insert(self.runs[*run].start + at, (copy.count, Instruction::new("bsr", &[&name])));
            }
            let codes = self.codes(copy);
            let (Some(end), Some((last, rest))) = (self.end(&codes), codes.split_last()) else { continue };
            let mut body: Vec<Instruction> = rest.iter().copied().cloned().collect();
            let target = last.args.first().map_or("", String::as_str);
            let place = match end {
                End::Here(line) => in_front.entry(line).or_default(),
                End::Elsewhere => sections.entry(target.into()).or_default(),
                _ => sections.entry(number.to_string()).or_default(),
            };
            match end {
                // The last one in front of the function runs into it.
                End::Here(_) if place.is_empty() => {}
                End::Here(_) => body.push(Instruction::new("br", &[target])),
                End::Elsewhere => body.push(Instruction::new("jmpi", &[target])),
                End::Jump => body.push(Instruction::new("jmp", &[target])),
                End::Pop => body.push((*last).clone()),
                End::Return => body.extend([(*last).clone(), Instruction::new("rts", &[])]),
            }
            let start = [Line::Other(format!("\t.type\t{name},@function")), Line::Label(name.clone())];
            let size = Line::Other(format!("\t.size\t{name}, .-{name}"));
            place.splice(0..0, start.into_iter().chain(body.into_iter().map(Line::Code)).chain([size]));
        }
        let mut rest = std::mem::take(lines).into_iter().enumerate();
        while let Some((at, line)) = rest.next() {
            lines.extend(in_front.remove(&at).unwrap_or_default());
            match calls.remove(&at) {
                Some((count, call)) => {
                    lines.push(Line::Code(call));
                    rest.by_ref().take(count - 1).for_each(drop);
                }
                None => lines.push(line),
            }
        }
        for (name, section) in sections {
            lines.push(Line::Other(format!("\t.section\t.text.outlined.{name},\"ax\",@progbits")));
            lines.push(Line::Other("\t.p2align\t1".into()));
            lines.extend(section);
        }
    }
}

/// What the line takes from the assembler's pool.
fn constant(line: &Line) -> Option<&str> {
    match line {
        Line::Code(code) if code.op == "lrw" => code.args.get(1).map(String::as_str),
        _ => None,
    }
}

/// Whether the instruction may be somewhere else, after a call that has overwritten `lr`: nobody needs that after it.
fn may_move(code: &Instruction, after: Set) -> bool {
    if code.op == "pop" {
        return code.names("lr");
    }
    let is_bound =
        code.is_branch() || code.is_end() || code.has_hidden_registers() || is_abort(code) || code.names("lr");
    // What stands in the function's own pool.
    let is_near = code.args.iter().any(|arg| words(arg).any(|word| word.starts_with(".LCPI")));
    !is_bound && !is_near && !Set::register("lr").is_some_and(|lr| after.meets(lr))
}

/// The loops that call nobody: from where a branch leads back to that branch.
fn loops(lines: &[Line]) -> Vec<Range<usize>> {
    let mut labels = HashMap::new();
    let mut loops = Vec::new();
    let mut last_call = None;
    for (at, line) in lines.iter().enumerate() {
        match line {
            Line::Label(label) => {
                labels.insert(label.as_str(), at);
            }
            Line::Code(code) if code.is_call() => last_call = Some(at),
            Line::Code(code) if code.is_branch() => {
                let start = code.args.last().and_then(|target| labels.get(target.as_str()));
                loops.extend(start.filter(|start| last_call.is_none_or(|call| call < **start)).map(|start| *start..at));
            }
            _ => {}
        }
    }
    loops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{parse, print};
    use crate::machine;

    /// Functions of these bodies, each of which has saved `lr`.
    fn program(bodies: &[&str]) -> Vec<Line> {
        let function = |(number, body): (usize, &&str)| {
            format!("\t.type\tf{number},@function\nf{number}:\n\tpush\tlr\n{body}\tpop\tlr\n.Lfunc_end{number}:\n")
        };
        parse(&bodies.iter().enumerate().map(function).collect::<String>())
    }

    /// The bodies, and what there is besides, by the names of labels.
    fn shortened(bodies: &[&str]) -> String {
        let mut lines = program(bodies);
        shorten(&mut lines);
        let wanted = |line: &&Line| !matches!(line, Line::Other(other) if !other.starts_with("\t.section"));
        print(&lines.iter().filter(wanted).cloned().collect::<Vec<_>>())
    }

    const COMMON: &str = "\tld.w\ta0, (l0, 4)\n\tst.w\ta0, (sp, 8)\n\tld.w\ta1, (l0, 8)\n\tst.w\ta1, (sp, 12)\n\tcmpne\ta0, a1\n\tmvcv\tl3\n";

    fn functions_around(bodies: &[&str]) -> String {
        let function =
            |(number, body): (usize, &&str)| format!("f{number}:\n\tpush\tlr\n{body}\tpop\tlr\n.Lfunc_end{number}:\n");
        bodies.iter().enumerate().map(function).collect()
    }

    #[test]
    fn how_copies_end() {
        let two =
            |between: &str| [format!("\tmovi\ta2, 1\n{COMMON}{between}"), format!("\tmovi\ta2, 2\n{COMMON}{between}")];
        let call = ["\tmovi\ta2, 1\n\tbsr\toutlined.0\n", "\tmovi\ta2, 2\n\tbsr\toutlined.0\n"];
        let add = "\taddi\ta2, 3\n\tbt\t.LBB0_1\n.LBB0_1:\n";
        // returns
        let [one, other] = two(add);
        let section = "\t.section\t.text.outlined.0,\"ax\",@progbits\noutlined.0:\n";
        assert_eq!(
            shortened(&[&one, &other]),
            functions_around(
                &call.map(|call| format!("{call}\tbt\t.LBB0_1\n.LBB0_1:\n")).each_ref().map(String::as_str)
            ) + &format!("{section}{COMMON}\taddi\ta2, 3\n\trts\t\n")
        );
        // leaves the function
        let [one, other] = two("");
        let bodies = functions_around(&call).replace("outlined.0\n\tpop\tlr\n", "outlined.0\n");
        assert_eq!(shortened(&[&one, &other]), bodies + &format!("{section}{COMMON}\tpop\tlr\n"));
        // jumps to a function that is somewhere
        for (end, jump) in [("\tbsr\tmemcpy\n", "\tjmpi\tmemcpy\n"), ("\tjsr\tl1\n", "\tjmp\tl1\n")] {
            let [one, other] = two(&format!("{end}\tbt\t.LBB0_1\n.LBB0_1:\n"));
            let name = if end.contains("memcpy") { "memcpy" } else { "0" };
            assert_eq!(
                shortened(&[&one, &other]),
                functions_around(
                    &call.map(|call| format!("{call}\tbt\t.LBB0_1\n.LBB0_1:\n")).each_ref().map(String::as_str)
                ) + &format!("{}{COMMON}{jump}", section.replace("text.outlined.0", &format!("text.outlined.{name}")))
            );
        }
    }

    #[test]
    fn copies_stand_in_front_of_the_function_that_they_call() {
        let rest = "\tbt\t.LBB0_1\n.LBB0_1:\n";
        let (one, two) = ("\tmovi\ta2, 1\n\tmovi\ta3, 2\n", "\tmovi\ta2, 3\n\tst.w\ta2, (sp, 4)\n\tmov\ta0, l3\n");
        let body = |sequence: &str| format!("{sequence}\tbsr\tf2\n{rest}");
        let bodies = [one, one, "", two, two].map(body);
        let mut bodies = bodies.each_ref().map(String::as_str);
        bodies[2] = "\tmovi\ta0, 9\n";
        let call = |number: usize| format!("\tbsr\toutlined.{number}\n{rest}");
        let calls = [call(1), call(1), bodies[2].into(), call(0), call(0)];
        let expected = functions_around(&calls.each_ref().map(String::as_str))
            .replace("f2:\n", &format!("outlined.1:\n{one}\tbr\tf2\noutlined.0:\n{two}f2:\n"));
        assert_eq!(shortened(&bodies), expected);
    }

    #[test]
    fn copies_do_not_overlap() {
        for count in 8..16 {
            let body = "\tld.w\tl4, (l0, 8)\n".repeat(count) + "\tcmpne\tl4, t0\n\tbt\t.LBB0_1\n.LBB0_1:\n";
            let text = shortened(&[&body]);
            let mut parts = text.split("\t.section");
            let mut function = parts.next().unwrap_or_default().to_string();
            for copy in parts {
                let (name, instructions) = copy.split_once(":\n").unwrap();
                let name = name.lines().nth(1).unwrap();
                function = function.replace(&format!("\tbsr\t{name}\n"), instructions.trim_end_matches("\trts\t\n"));
            }
            assert_ne!(text, function);
            assert_eq!(function, functions_around(&[&body]));
        }
    }

    #[test]
    fn what_must_stay_where_it_is() {
        let pop = |body: &str| format!("{body}\tbt\t.LBB0_1\n.LBB0_1:\n");
        for body in [
            // `lr` is overwritten, and needed again
            pop(&COMMON.replace("\tst.w", "\tbsr\tg\n\tst.w").replace("\tld.w", "\tbsr\tg\n\tld.w")),
            // of no use
            pop("\tmovi\ta0, 1\n\tmovi\ta1, 1\n"),
            // a loop without a call
            format!(".LBB0_1:\n{COMMON}\tbt\t.LBB0_1\n"),
            // from a pool that is the function's own
            "\tlrw\ta0, [.LCPI0_0]\n\tlrw\ta1, [.LCPI0_1]\n".repeat(4),
            // not understood
            format!("\tldm\tl0-l3, (a0)\n{COMMON}"),
        ] {
            let unchanged = program(&[&body, &body]);
            let mut lines = unchanged.clone();
            shorten(&mut lines);
            assert_eq!(print(&lines), print(&unchanged));
        }
        // `lr` is where it was when the function was called
        for (save, restore) in [("", "\trts\t\n"), ("\tpush\tl0\n", "\tpop\tl0\n")] {
            let text = format!("\t.type\tf,@function\nf:\n{save}{COMMON}{restore}.Lfunc_end0:\n").repeat(2);
            let mut lines = parse(&text);
            shorten(&mut lines);
            assert_eq!(print(&lines), text);
        }
    }

    #[test]
    fn functions_do_what_they_did() {
        machine::compare_programs(shorten);
    }
}
