//! `csky-peephole IN OUT`: shortens the assembly that LLVM makes for C-SKY, for GNU as to assemble.
//!
//! LLVM's back end for C-SKY is young. It saves registers one by one, reaches each function through a word of its own that
//! holds its address, has long branches only, loads most constants in two long instructions, and does not know which registers
//! short instructions reach. What the instruction set and GNU as offer instead takes a quarter less flash, and does the same:
//!
//! | module | what it does |
//! |---|---|
//! | [`literals`] | `bsr` for a call; pools of constants are left to the assembler, which places them near and shares them |
//! | [`frames`] | `push` and `pop` where a function saves and restores its registers |
//! | [`pairs`] | pairs of instructions that say in eight bytes what takes two or four |
//! | [`constants`] | numbers near 2^32 without an upper half from elsewhere, and copies of numbers that a register holds |
//! | [`values`] | tests of what the flag is already, bits cleared where there are none, results that nobody needs |
//! | [`registers`] | registers that short instructions reach for what is used most |
//! | [`order`] | the arguments of a call in the same order everywhere, for the next |
//! | [`outline`] | one copy of what many functions have in common |
//!
//! [`flow`] knows what each instruction reads and writes, and which registers are needed where; a function with one that it
//! does not know stays as it is. Tests run random functions before and after (`machine`).
//!
//! Mnemonics lose their sizes (`movi16`, `st32.w`), so that the assembler takes the shortest form, also of branches. What is
//! not recognised stays as it is.

mod assembly;
mod constants;
mod encoding;
mod flow;
mod frames;
mod literals;
#[cfg(test)]
mod machine;
mod order;
mod outline;
mod pairs;
mod registers;
mod values;

use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let [input, output] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: csky-peephole IN OUT");
        return ExitCode::from(2);
    };
    let result = fs::read_to_string(input).and_then(|text| fs::write(output, shorten(&text)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("csky-peephole: {input} to {output}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All of it, in the order in which one makes the next easier.
fn shorten(text: &str) -> String {
    let mut lines = assembly::parse(text);
    literals::shorten(&mut lines);
    frames::shorten(&mut lines);
    pairs::shorten(&mut lines);
    constants::shorten(&mut lines);
    values::shorten(&mut lines);
    registers::shorten(&mut lines);
    // Once more: what was long for want of a short register may be short now.
    constants::shorten(&mut lines);
    values::shorten(&mut lines);
    order::shorten(&mut lines);
    outline::shorten(&mut lines);
    assembly::print(&lines)
}
