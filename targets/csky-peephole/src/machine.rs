//! Runs functions, so that tests can compare what comes in and what goes out: random ones, with every instruction that
//! the passes understand in part.

use std::collections::HashMap;

use crate::assembly::{Instruction, Line, parse, print, words};
use crate::flow::NAMES;

/// Random numbers, the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    pub fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u32) as usize]
    }
}

/// Compares what functions do before and after a pass, which must have changed most of them.
pub fn compare(pass: fn(&mut Vec<Line>)) {
    let changed = (0..FUNCTIONS).filter(|seed| is_changed(pass, *seed, function(*seed), &["f"])).count();
    assert!(changed > FUNCTIONS as usize / 20, "{changed} changed");
}

/// The same of programs of several functions, of which two are almost the same and one is called.
pub fn compare_programs(pass: fn(&mut Vec<Line>)) {
    let program = |seed: u64| {
        let mut random = Random::new(seed);
        let one = print(&function(seed));
        let mut other: Vec<&str> = one.lines().collect();
        for _ in 0..random.below(4) {
            let at = random.below(other.len() as u32) as usize;
            if other[at].starts_with("\tmov") {
                other.remove(at);
            }
        }
        let rename = |text: &str, name: &str, number: u32| {
            text.replace("\tf,@", &format!("\t{name},@"))
                .replace("f:\n", &format!("{name}:\n"))
                .replace("BB0_", &format!("BB{number}_"))
                .replace("_end0", &format!("_end{number}"))
        };
        let other = rename(&(other.join("\n") + "\n"), "other", 1);
        parse(&(rename(&print(&function(seed + FUNCTIONS)), "g", 2) + &one + &other))
    };
    let changed = (0..FUNCTIONS).filter(|seed| is_changed(pass, *seed, program(*seed), &["f", "g", "other"])).count();
    assert!(changed > FUNCTIONS as usize / 2, "{changed} changed");
}

/// Whether the pass changes the functions; they must do the same as before.
fn is_changed(pass: fn(&mut Vec<Line>), seed: u64, before: Vec<Line>, names: &[&str]) -> bool {
    let mut after = before.clone();
    pass(&mut after);
    for (name, run_seed) in names.iter().flat_map(|name| (0..8).map(move |run_seed| (name, run_seed))) {
        let seed = seed << 8 | run_seed;
        if let Err(traces) = run(&before, name, seed).check(&run(&after, name, seed)) {
            panic!("{name} of {seed}:\n{}\nis not\n{}\n{traces}", print(&before), print(&after));
        }
    }
    before != after
}

const FUNCTIONS: u64 = 400;

/// A function with branches back and forth, calls, loads and stores.
pub fn function(seed: u64) -> Vec<Line> {
    let mut random = Random::new(seed);
    let saved = &NAMES[4..4 + random.below(9) as usize];
    let list = [saved, &["lr"]].concat().join(", ");
    let mut free = [&NAMES[..4], saved, &["t0", "t1"]].concat();
    // Few registers have much to do with each other, and so have few kinds of instructions.
    while random.below(4) != 0 && free.len() > 2 {
        free.swap_remove(random.below(free.len() as u32) as usize);
    }
    let kinds: Vec<u32> = (0..4 + random.below(24)).map(|_| random.below(31)).collect();
    let blocks = 2 + random.below(6);
    let mut text = format!("\t.type\tf,@function\nf:\n\tpush\t{list}\n\tsubi\tsp, sp, 32\n");
    for block in 0..blocks {
        text += &format!(".LBB0_{block}:\n");
        for _ in 0..random.below(12) {
            let kind = kinds[random.below(kinds.len() as u32) as usize];
            text += &instruction(&mut random, kind, &free);
        }
        let (label, register) = (format!(".LBB0_{}", random.below(blocks)), random.pick(&free));
        text += &match random.below(8) {
            0 => format!("\tbr\t{label}\n"),
            1 if random.below(2) == 0 => {
                format!("\tandi\t{register}, {}, 4\n\tbez\t{register}, {label}\n", random.pick(&free))
            }
            1 => format!("\tbez\t{register}, {label}\n"),
            2 => format!("\tbnez\t{register}, {label}\n"),
            3 => format!("\tbt\t{label}\n"),
            4 => format!("\tbf\t{label}\n"),
            5 => format!("\taddi\tsp, sp, 32\n\tpop\t{list}\n"),
            6 if random.below(8) == 0 => "\tbsr\tabort\n".into(),
            _ => String::new(),
        };
    }
    text += &format!("\taddi\tsp, sp, 32\n\tpop\t{list}\n.Lfunc_end0:\n");
    parse(&text)
}

fn instruction(random: &mut Random, kind: u32, free: &[&str]) -> String {
    let (x, y, z) = (random.pick(free), random.pick(free), random.pick(free));
    let small = random.below(4);
    let slot = 4 * random.below(8);
    match kind {
        0..=1 => format!("\tmov\t{x}, {y}\n"),
        2 => format!("\t{}\t{x}\n", random.pick(&["mvc", "mvcv"])),
        3 => format!("\t{}\t{x}, 0\n", random.pick(&["btsti", "cmpnei"])),
        4 => format!("\tmovi\t{x}, {small}\n"),
        5 => format!("\taddi\t{x}, {y}, {}\n", small + 1),
        6 => format!("\taddi\t{x}, {}\n", small + 1),
        7 => format!("\t{}\t{x}, {y}, {z}\n", random.pick(&["addu", "andn"])),
        8 => format!("\tmult\t{x}, {y}\n"),
        9 => format!("\t{}\t{x}, {y}\n", random.pick(&["not", "brev"])),
        10 => format!("\tcmpne\t{x}, {y}\n"),
        11 => format!("\tcmphs\t{x}, {y}\n"),
        12 => format!("\tcmpnei\t{x}, {small}\n"),
        13 => format!("\tbtsti\t{x}, {}\n", small / 2),
        14 => format!("\t{}\t{x}\n", random.pick(&["mvc", "mvcv", "clrt", "clrf"])),
        15 => format!("\t{}\t{x}, {y}\n", random.pick(&["movt", "movf"])),
        16 => format!("\t{}\t{x}, {y}, {small}\n", random.pick(&["incf", "inct", "decf", "dect"])),
        17 => format!("\tld.w\t{x}, (sp, {slot})\n"),
        18 => format!("\tst.w\t{x}, (sp, {slot})\n"),
        19 => format!("\t{}\t{x}, ({y}, {small})\n", random.pick(&["ld.w", "ld.b", "ld.h", "st.w", "st.b", "st.h"])),
        20 => format!("\t{}\t{x}, {y}\n", random.pick(&["zextb", "zexth"])),
        21 => format!("\t{}\t{x}, {y}, {z}\n", random.pick(&["addc", "subc"])),
        22 => format!("\tldr.w\t{x}, ({y}, {z} << 2)\n"),
        23 => format!("\tandi\t{x}, {y}, {}\n", random.pick(&["1", "3", "255", "256"])),
        24 => format!("\tmvcv\t{x}\n\tbtsti\t{x}, 0\n"),
        25 if small == 0 => format!("\trotli\t{x}, {y}, 7\n"),
        25 => format!("\tmovih\t{x}, 65535\n"),
        26 => format!("\tori\t{x}, {y}, {}\n", 0xffff - small),
        27..=28 => {
            let compare = random.pick(&["cmpne", "cmphs"]);
            format!("\tmovi\t{x}, {small}\n\tnot\t{x}, {x}\n\t{compare}\t{x}, {y}\n")
        }
        29 => format!("\tbsr\t{}\n", random.pick(&["g", "h"])),
        _ => format!("\tjsr\t{x}\n"),
    }
}

/// What a function did for others to see: calls with their arguments, stores, what it returned; and whether it came to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    pub seen: Vec<u32>,
    pub is_over: bool,
}

impl Trace {
    /// Whether it may be of the same function: as far as both have come. `Err` says what is not.
    pub fn check(&self, other: &Trace) -> Result<(), String> {
        let count = self.seen.len().min(other.seen.len());
        let is_same =
            if self.is_over && other.is_over { self == other } else { self.seen[..count] == other.seen[..count] };
        if is_same { Ok(()) } else { Err(format!("{self:x?}\n{other:x?}")) }
    }
}

/// What `lr` holds while a copy of [`crate::outline`] runs: this, and the line to go back to.
const COPY: u32 = 0x7357_0000;

/// Runs the function for a while, with registers and memory full of what the seed says. Others are not run: that they are
/// called is seen.
fn run(lines: &[Line], name: &str, seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut machine =
        Machine { registers: [0; 16], flag: random.below(2) == 1, memory: HashMap::new(), salt: random.next() };
    machine.registers.fill_with(|| if random.below(2) == 0 { random.next() } else { random.below(3) });
    machine.registers[14] = 0x8000;
    let mut trace = Trace { seen: Vec::new(), is_over: false };
    let place = |name: &str| lines.iter().position(|line| matches!(line, Line::Label(label) if label == name));
    let start = place(name).expect("a function");
    let (mut at, mut calls) = (start, 0);
    for _ in 0..2000 {
        let Some(line) = lines.get(at) else { break };
        // Where a copy has led to a function, that is called and goes back to where the copy was called.
        let called = match line {
            Line::Code(code) if matches!(code.op.as_str(), "jmpi" | "jmp") => Some(&code.args[0]),
            Line::Label(label) if at != start && !label.contains('.') => Some(label),
            _ => None,
        };
        if let Some(called) = called {
            let back = machine.registers[15];
            machine.call(called, seed ^ calls << 32, &mut trace.seen);
            calls += 1;
            at = machine.back(back);
            continue;
        }
        at += 1;
        let Line::Code(code) = line else { continue };
        let target = || place(code.args.last().expect("a target")).expect("a label");
        match code.op.as_str() {
            "bsr" if code.args == ["abort"] => {
                trace.is_over = true;
                break;
            }
            "bsr" if code.args[0].starts_with("outlined.") => {
                machine.registers[15] = COPY + at as u32;
                at = target();
            }
            "bsr" | "jsr" => {
                machine.call(&code.args[0], seed ^ calls << 32, &mut trace.seen);
                calls += 1;
            }
            "rts" => at = machine.back(machine.registers[15]),
            "pop" => {
                machine.pop(code);
                trace.seen.extend(&machine.registers[..2]);
                trace.seen.extend(&machine.registers[4..12]);
                trace.seen.extend(&machine.registers[14..]);
                trace.is_over = true;
                break;
            }
            "br" => at = target(),
            "bt" if machine.flag => at = target(),
            "bf" if !machine.flag => at = target(),
            "bez" if machine.value(&code.args[0]) == 0 => at = target(),
            "bnez" if machine.value(&code.args[0]) != 0 => at = target(),
            "bt" | "bf" | "bez" | "bnez" => {}
            _ => machine.step(code, &mut trace.seen),
        }
    }
    trace
}

struct Machine {
    registers: [u32; 16],
    flag: bool,
    /// Bytes that were stored.
    memory: HashMap<u32, u8>,
    salt: u32,
}

impl Machine {
    /// Of a function by its name or by a register that has its address.
    fn call(&mut self, function: &str, seed: u64, seen: &mut Vec<u32>) {
        seen.push(match NAMES.contains(&function) {
            true => self.value(function),
            false => function.bytes().map(u32::from).sum(),
        });
        seen.extend(&self.registers[..4]);
        seen.push(self.registers[14]);
        // It changes what it may change.
        let mut random = Random::new(seed);
        for number in [0, 1, 2, 3, 12, 13, 15] {
            self.registers[number] = if random.below(2) == 0 { random.next() } else { random.below(3) };
        }
        self.flag = random.below(2) == 1;
    }

    /// The line to go back to from a copy.
    fn back(&self, link: u32) -> usize {
        link.checked_sub(COPY).expect("in a copy") as usize
    }

    /// Of a register or a number.
    fn value(&self, arg: &str) -> u32 {
        match NAMES.iter().position(|name| *name == arg) {
            Some(number) => self.registers[number],
            None => arg.parse().expect("a number"),
        }
    }

    fn set(&mut self, arg: &str, value: u32) {
        self.registers[NAMES.iter().position(|name| *name == arg).expect("a register")] = value;
    }

    fn load(&self, address: u32, count: u32) -> u32 {
        let random = |at: u32| ((at ^ self.salt).wrapping_mul(0x9e37_79b1) >> 24) as u8;
        let byte = |at: u32| self.memory.get(&at).copied().unwrap_or_else(|| random(at));
        (0..count).map(|at| u32::from(byte(address.wrapping_add(at))) << (8 * at)).sum()
    }

    fn store(&mut self, address: u32, count: u32, value: u32) {
        for at in 0..count {
            self.memory.insert(address.wrapping_add(at), (value >> (8 * at)) as u8);
        }
    }

    fn pop(&mut self, code: &Instruction) {
        for register in &code.args {
            let sp = self.registers[14];
            self.set(register, self.load(sp, 4));
            self.registers[14] = sp + 4;
        }
    }

    fn address(&self, place: &str) -> u32 {
        let parts: Vec<&str> = words(place).collect();
        match parts[..] {
            [base, index, shift] => self.value(base).wrapping_add(self.value(index) << self.value(shift)),
            [base, offset] => self.value(base).wrapping_add(self.value(offset)),
            _ => panic!("{place}"),
        }
    }

    fn step(&mut self, code: &Instruction, seen: &mut Vec<u32>) {
        let (op, args) = code.parts();
        if op == "push" {
            for register in args.iter().rev() {
                self.registers[14] -= 4;
                self.store(self.registers[14], 4, self.value(register));
            }
            return;
        }
        let target = args[0];
        if let Some((name, unit)) = op.split_once('.') {
            let address = self.address(args[1]);
            let count = match unit {
                "b" => 1,
                "h" => 2,
                _ => 4,
            };
            if name.starts_with("ld") {
                return self.set(target, self.load(address, count));
            }
            let value = self.value(target);
            self.store(address, count, value);
            if !args[1].contains("sp") {
                seen.extend([address, count, value & (u32::MAX >> (32 - 8 * count))]);
            }
            return;
        }
        let last = args.last().map_or(0, |arg| self.value(arg));
        let before = self.value(target);
        // Of three operands the second; of two the target is the first source.
        let left = if args.len() == 3 { self.value(args[1]) } else { before };
        let flag = self.flag;
        let value = match op {
            "mov" | "movi" => last,
            "addi" | "addu" => left.wrapping_add(last),
            "subi" | "subu" => left.wrapping_sub(last),
            "mult" => left.wrapping_mul(last),
            "not" => !last,
            "brev" => last.reverse_bits(),
            "andn" => left & !last,
            "rotli" => left.rotate_left(last),
            "zextb" => last & 0xff,
            "zexth" => last & 0xffff,
            "andi" => left & last,
            "ori" => left | last,
            "lsli" => left << last,
            "movih" => last << 16,
            "lsri" => left >> last,
            "mvc" => flag.into(),
            "mvcv" => (!flag).into(),
            "clrt" if flag => 0,
            "clrf" if !flag => 0,
            "movt" if flag => last,
            "movf" if !flag => last,
            "inct" if flag => left.wrapping_add(last),
            "incf" if !flag => left.wrapping_add(last),
            "dect" if flag => left.wrapping_sub(last),
            "decf" if !flag => left.wrapping_sub(last),
            "clrt" | "clrf" | "movt" | "movf" | "inct" | "incf" | "dect" | "decf" => before,
            "addc" => {
                let sum = u64::from(left) + u64::from(last) + u64::from(flag);
                self.flag = sum >> 32 != 0;
                sum as u32
            }
            "subc" => {
                let difference = i64::from(left) - i64::from(last) - i64::from(!flag);
                self.flag = difference >= 0;
                difference as u32
            }
            "cmpne" | "cmpnei" => return self.flag = before != last,
            "cmphs" | "cmphsi" => return self.flag = before >= last,
            "btsti" => return self.flag = before >> last & 1 == 1,
            _ => panic!("{code:?}"),
        };
        self.set(target, value);
    }
}
