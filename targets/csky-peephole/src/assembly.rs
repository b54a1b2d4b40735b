//! Lines of assembly, as LLVM prints them.

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `name:`, without the colon.
    Label(String),
    /// A machine instruction.
    Code(Instruction),
    /// A directive, a comment, nothing.
    Other(String),
}

/// A machine instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Mnemonic without a size: `st.w` for `st16.w` and `st32.w`.
    pub op: String,
    /// What it works on: `sp`, `12`, `[.LCPI0_0]`, `(sp, 8)`.
    pub args: Vec<String>,
}

impl Instruction {
    /// An instruction of its parts.
    pub fn new(op: &str, args: &[&str]) -> Self {
        Self { op: op.into(), args: args.iter().map(|arg| arg.to_string()).collect() }
    }

    /// The mnemonic, and the operands to match them as a slice.
    pub fn parts(&self) -> (&str, Vec<&str>) {
        (&self.op, self.args.iter().map(String::as_str).collect())
    }

    /// Whether the register is named anywhere in it.
    pub fn names(&self, register: &str) -> bool {
        self.args.iter().any(|arg| words(arg).any(|word| word == register))
    }

    /// Whether it jumps to a place that it names, always or not.
    pub fn is_branch(&self) -> bool {
        matches!(self.op.as_str(), "br" | "bt" | "bf" | "bez" | "bnez" | "bhz" | "blsz" | "blz" | "bhsz" | "bnezad")
    }

    /// Whether what follows is never the next line.
    pub fn is_end(&self) -> bool {
        matches!(self.op.as_str(), "jmp" | "jmpi" | "jmpix" | "rts" | "pop" | "ipop" | "nir" | "rte" | "rfi" | "bkpt")
    }

    /// Whether it may use registers that it does not name: of a range, of a pair, of a fixed list.
    pub fn has_hidden_registers(&self) -> bool {
        matches!(self.op.as_str(), "ldm" | "stm" | "ldq" | "stq" | "push" | "ipush" | "nie" | "trap")
            || [".d", ".64", ".u32", ".s32"].iter().any(|suffix| self.op.ends_with(suffix))
    }

    /// Whether it calls a function.
    pub fn is_call(&self) -> bool {
        matches!(self.op.as_str(), "bsr" | "jsr" | "jsri")
    }
}

/// Registers, numbers and symbols of an operand.
pub fn words(arg: &str) -> impl Iterator<Item = &str> {
    arg.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '$'))).filter(|word| !word.is_empty())
}

/// Splits a text into lines.
pub fn parse(text: &str) -> Vec<Line> {
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Line {
    if let Some(label) = line.strip_suffix(':')
        && !line.starts_with(['\t', ' ', '#'])
    {
        return Line::Label(label.into());
    }
    let Some(code) = line.strip_prefix('\t').filter(|code| code.starts_with(|c: char| c.is_ascii_lowercase())) else {
        return Line::Other(line.into());
    };
    let (mnemonic, operands) = code.split_once(['\t', ' ']).unwrap_or((code, ""));
    Line::Code(Instruction { op: without_size(mnemonic.trim()), args: split(operands) })
}

/// `ld16.w` and `ld32.w` are `ld.w`. Other mnemonics have no digits.
fn without_size(mnemonic: &str) -> String {
    let (name, suffix) = mnemonic.split_at(mnemonic.find('.').unwrap_or(mnemonic.len()));
    let name = name.strip_suffix("16").or(name.strip_suffix("32")).unwrap_or(name);
    format!("{name}{suffix}")
}

/// Operands, at the commas outside of brackets.
fn split(operands: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in operands.chars() {
        match c {
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.iter().map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect()
}

/// The lines as a text again.
pub fn print(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        match line {
            Line::Label(label) => text += &format!("{label}:\n"),
            Line::Code(code) => text += &format!("\t{}\t{}\n", code.op, code.args.join(", ")),
            Line::Other(other) => text += &format!("{other}\n"),
        }
    }
    text
}

/// The lines of each function, from its label to that of its end, as ranges.
pub fn functions(lines: &[Line]) -> Vec<std::ops::Range<usize>> {
    let (mut functions, mut start) = (Vec::new(), None);
    for (at, line) in lines.iter().enumerate() {
        match line {
            Line::Other(other) if other.starts_with("\t.type\t") && other.ends_with(",@function") => {
                start = Some(at + 1)
            }
            Line::Label(label) if label.starts_with(".Lfunc_end") => {
                if let Some(start) = start.take() {
                    functions.push(start..at);
                }
            }
            _ => {}
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_come_out_again() {
        let text = "\t.type\tf,@function\nf:\n\tst32.w\tlr, (sp, 8)\n\tjsri32\t[.LCPI0_0]\n\trts16\n.Lfunc_end0:\n\t.long\t1\n";
        let lines = parse(text);
        assert_eq!(lines[1], Line::Label("f".into()));
        assert_eq!(lines[2], Line::Code(Instruction::new("st.w", &["lr", "(sp, 8)"])));
        assert_eq!(lines[4], Line::Code(Instruction::new("rts", &[])));
        assert_eq!(functions(&lines).first(), Some(&(1..5)));
        let printed =
            "\t.type\tf,@function\nf:\n\tst.w\tlr, (sp, 8)\n\tjsri\t[.LCPI0_0]\n\trts\t\n.Lfunc_end0:\n\t.long\t1\n";
        assert_eq!(print(&lines), printed);
    }

    #[test]
    fn assembly_that_somebody_wrote_by_hand_is_read_too() {
        let lines = parse("\tmov16 a0, a1\n\trts\n\tmula.32.l\ta0, a1, a2\n\tff1.32\ta0, a1\n");
        assert_eq!(lines[0], Line::Code(Instruction::new("mov", &["a0", "a1"])));
        assert_eq!(lines[1], Line::Code(Instruction::new("rts", &[])));
        assert_eq!(lines[2], Line::Code(Instruction::new("mula.32.l", &["a0", "a1", "a2"])));
        assert_eq!(lines[3], Line::Code(Instruction::new("ff1.32", &["a0", "a1"])));
    }

    #[test]
    fn registers_are_words() {
        let code = Instruction::new("ld.w", &["a0", "(l1, 4)"]);
        assert!(code.names("a0") && code.names("l1") && !code.names("a") && !code.names("l0"));
    }
}
