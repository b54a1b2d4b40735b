//! How long the assembler makes an instruction, to weigh one against another. Nothing becomes wrong when this is.

use crate::assembly::{Instruction, words};

/// Whether short instructions reach the register: r0 to r7.
fn is_low(register: &str) -> bool {
    matches!(register, "a0" | "a1" | "a2" | "a3" | "l0" | "l1" | "l2" | "l3")
}

/// Bytes of the instruction, 2 or 4; of a branch as if it did not go far.
pub fn size(code: &Instruction) -> usize {
    if is_short(code) { 2 } else { 4 }
}

fn is_short(code: &Instruction) -> bool {
    let (op, args) = code.parts();
    let number = |range: std::ops::RangeInclusive<i64>| {
        args.last().and_then(|arg| arg.parse::<i64>().ok()).is_some_and(|number| range.contains(&number))
    };
    let target = args.first().copied().unwrap_or_default();
    let is_same = args.len() == 2 || args.get(1) == Some(&target);
    match op {
        "mov" | "zextb" | "zexth" | "sextb" | "sexth" | "revb" | "revh" | "mvcv" | "cmpne" | "cmphs" | "cmplt"
        | "jmp" | "jsr" | "rts" | "push" | "pop" | "br" | "bt" | "bf" => true,
        "not" => args.len() == 1 || is_same && args[0] == args[1],
        "movi" => is_low(target) && number(0..=255),
        "lrw" => is_low(target),
        "addi" if args.contains(&"sp") => target == "sp" || is_low(target) && number(0..=1020),
        "subi" if args.contains(&"sp") => target == "sp",
        "addi" | "subi" => {
            is_low(target)
                && (is_same && number(1..=256) || args.get(1).is_some_and(|arg| is_low(arg)) && number(1..=8))
        }
        "addu" | "subu" => {
            let is_commuted = op == "addu" && args.get(2) == Some(&target);
            is_same || is_commuted || args.iter().all(|arg| is_low(arg))
        }
        "and" | "or" | "xor" | "nor" | "mult" => is_same || args.get(2) == Some(&target),
        "lsl" | "lsr" | "asr" => is_same,
        "lsli" | "lsri" | "asri" => args.iter().take(args.len() - 1).all(|arg| is_low(arg)),
        "cmpnei" => is_low(target) && number(0..=31),
        "cmphsi" | "cmplti" => is_low(target) && number(1..=32),
        "btsti" => is_low(target),
        "bclri" | "bseti" => is_low(target) && is_same,
        "ld.b" | "ld.h" | "ld.w" | "st.b" | "st.h" | "st.w" => is_short_access(op, target, args.get(1).unwrap_or(&"")),
        _ => false,
    }
}

fn is_short_access(op: &str, register: &str, place: &str) -> bool {
    let mut parts = words(place);
    let base = parts.next().unwrap_or_default();
    let offset = parts.next().and_then(|offset| offset.parse::<i64>().ok()).unwrap_or(0);
    let unit = match &op[3..] {
        "b" => 1,
        "h" => 2,
        _ => 4,
    };
    let reach = match base {
        "sp" if unit == 4 => 255,
        _ if is_low(base) => 31,
        _ => return false,
    };
    is_low(register) && offset <= reach * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long() {
        let size = |op: &str, args: &[&str]| size(&Instruction::new(op, args));
        for (op, short, long) in [
            ("movi", &["a0", "255"][..], &["a0", "256"][..]),
            ("movi", &["l3", "0"], &["l4", "0"]),
            ("addi", &["a0", "a1", "8"], &["a0", "a1", "9"]),
            ("addi", &["a0", "256"], &["l4", "1"]),
            ("addi", &["a0", "sp", "1020"], &["t0", "sp", "0"]),
            ("ld.w", &["a0", "(sp, 1020)"], &["l4", "(sp, 0)"]),
            ("ld.w", &["a0", "(a1, 124)"], &["a0", "(a1, 128)"]),
            ("st.b", &["a0", "(a1, 31)"], &["a0", "(sp, 0)"]),
            ("st.h", &["a0", "(a1, 62)"], &["a0", "(l5, 0)"]),
            ("mult", &["l4", "l5"], &["l4", "l5", "l6"]),
            ("addu", &["a0", "a1", "a2"], &["a0", "a1", "t0"]),
            ("addu", &["a0", "t0", "a0"], &["t0", "a1", "a0"]),
            ("not", &["t0"], &["a0", "a1"]),
            ("mvcv", &["t0"], &["mvc"]),
            ("lsri", &["a0", "a1", "4"], &["a0", "t1", "4"]),
        ] {
            let long_op = if long == ["mvc"] { "mvc" } else { op };
            assert_eq!((size(op, short), size(long_op, long)), (2, 4), "{op} {short:?} {long:?}");
        }
    }
}
