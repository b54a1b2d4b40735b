//! Runs a C-SKY image of the firmware (`csky-emulator IMAGE`); its exit status is that of the program, or 99 where it could not go
//! on. `csky-emulator --list IMAGE` writes the name of each instruction, for the test that compares them with a disassembler's.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod cpu;
mod decode;
mod linux;
mod memory;

use cpu::Cpu;
use memory::{Fault, Memory};

fn list(memory: &Memory) {
    let (base, code) = memory.code();
    let half = |at: usize| code.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    for at in (0..code.len()).step_by(2) {
        let (name, len) = decode::name(half(at), half(at + 2));
        println!("{:x} {len} {name}", base + at as u32);
    }
}

fn run(arguments: &[String]) -> Result<u8, Fault> {
    let load = |path: &String| {
        let file = std::fs::read(path).map_err(|error| Fault::new(format!("{path}: {error}")))?;
        Memory::load(&file)
    };
    match arguments {
        [option, image] if option == "--list" => {
            list(&load(image)?);
            Ok(0)
        }
        [image] => {
            let mut cpu = Cpu::new(load(image)?);
            let status = cpu.run();
            if std::env::var_os("CSKY_COUNT").is_some() {
                eprintln!("{} instructions", cpu.executed);
            }
            status
        }
        _ => Err(Fault::new("csky-emulator [--list] IMAGE")),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments).map_or_else(
        |fault| {
            eprintln!("csky-emulator: {fault}");
            ExitCode::from(99)
        },
        ExitCode::from,
    )
}
