//! The processor: 16 integer and 16 single-precision registers, one condition bit, and of the status register the two bits
//! that mask interrupts.

use crate::decode::{Kind, Op, decode};
use crate::linux::{Linux, Outcome};
use crate::memory::{Fault, Memory};

const SP: usize = 14;
const LINK: usize = 15;
/// Supervisor, interrupts and exceptions on.
const PSR: u32 = 0x8000_0140;
const PSR_IE: u32 = 1 << 6;
const PSR_EE: u32 = 1 << 8;

pub struct Cpu {
    r: [u32; 32],
    f: [u32; 32],
    carry: bool,
    psr: u32,
    pc: u32,
    memory: Memory,
    linux: Linux,
    code_base: u32,
    /// What stands at each halfword of the code, as far as it was executed.
    ops: Vec<Op>,
    pub executed: u64,
}

impl Cpu {
    pub fn new(memory: Memory) -> Self {
        let (code_base, code) = memory.code();
        let ops = vec![Op::UNREAD; code.len() / 2];
        let mut r = [0; 32];
        r[SP] = memory.stack_top;
        let (pc, linux) = (memory.entry, Linux::new());
        Self { r, f: [0; 32], carry: false, psr: PSR, pc, memory, linux, code_base, ops, executed: 0 }
    }

    /// Runs until the program ends; its exit status.
    pub fn run(&mut self) -> Result<u8, Fault> {
        loop {
            let here = self.pc;
            match self.step() {
                Ok(None) => self.executed += 1,
                Ok(Some(status)) => return Ok(status),
                Err(why) => {
                    return Err(Fault::new(format!(
                        "{why}\n  at {here:#010x}, called from {:#010x}, sp {:#010x}",
                        self.r[LINK], self.r[SP]
                    )));
                }
            }
        }
    }

    #[inline(always)]
    fn fetch(&mut self) -> Result<Op, Fault> {
        let at = self.pc.wrapping_sub(self.code_base) as usize / 2;
        match self.ops.get(at) {
            None => Err(Fault::new("no code there")),
            Some(op) if op.kind != Kind::Unread => Ok(*op),
            Some(_) => {
                let first = self.memory.load16(self.pc)?;
                let second = self.memory.load16(self.pc.wrapping_add(2)).unwrap_or(0);
                let op = decode(first as u16, second as u16);
                if op.kind == Kind::Unknown {
                    return Err(Fault::new(format!("unknown instruction {first:04x} {second:04x}")));
                }
                self.ops[at] = op;
                Ok(op)
            }
        }
    }

    /// One instruction; the exit status when it has ended the program.
    #[inline(always)]
    fn step(&mut self) -> Result<Option<u8>, Fault> {
        let Op { kind, z, x, y, imm, len } = self.fetch()?;
        let (z, x, y) = (usize::from(z & 31), usize::from(x & 31), usize::from(y & 31));
        let (a, b) = (self.r[x], self.r[y]);
        let next = self.pc.wrapping_add(u32::from(len));
        let target = self.pc.wrapping_add(imm);
        let literal = target & !3;
        let mut to = next;
        match kind {
            Kind::Unread | Kind::Unknown => return Err(Fault::new("no instruction")),

            Kind::Addu => self.r[z] = a.wrapping_add(b),
            Kind::Addc => self.add_with_carry(z, a, b),
            Kind::Subu => self.r[z] = a.wrapping_sub(b),
            Kind::Subc => self.add_with_carry(z, a, !b),
            Kind::Addi => self.r[z] = a.wrapping_add(imm),
            Kind::Subi => self.r[z] = a.wrapping_sub(imm),
            Kind::And => self.r[z] = a & b,
            Kind::Andn => self.r[z] = a & !b,
            Kind::Or => self.r[z] = a | b,
            Kind::Xor => self.r[z] = a ^ b,
            Kind::Nor => self.r[z] = !(a | b),
            Kind::Andi => self.r[z] = a & imm,
            Kind::Andni => self.r[z] = a & !imm,
            Kind::Ori => self.r[z] = a | imm,
            Kind::Xori => self.r[z] = a ^ imm,
            Kind::Mov => self.r[z] = a,
            Kind::Movi => self.r[z] = imm,
            // The low six bits count: 32 and more shift everything out.
            Kind::Lsl => self.r[z] = a.checked_shl(b & 63).unwrap_or(0),
            Kind::Lsr => self.r[z] = a.checked_shr(b & 63).unwrap_or(0),
            Kind::Asr => self.r[z] = (a as i32 >> (b & 63).min(31)) as u32,
            Kind::Rotl => self.r[z] = if b & 63 < 32 { a.rotate_left(b & 63) } else { 0 },
            Kind::Lsli => self.r[z] = a << imm,
            Kind::Lsri => self.r[z] = a >> imm,
            Kind::Asri => self.r[z] = (a as i32 >> imm) as u32,
            Kind::Rotli => self.r[z] = a.rotate_left(imm),
            Kind::Ixh => self.r[z] = a.wrapping_add(b << 1),
            Kind::Ixw => self.r[z] = a.wrapping_add(b << 2),
            Kind::Ixd => self.r[z] = a.wrapping_add(b << 3),
            Kind::Mult => self.r[z] = a.wrapping_mul(b),
            Kind::MulU => self.set_pair(z, u64::from(a) * u64::from(b)),
            Kind::MulS => self.set_pair(z, signed_product(a, b)),
            Kind::MulaU => self.set_pair(z, self.pair(z).wrapping_add(u64::from(a) * u64::from(b))),
            Kind::MulaS => self.set_pair(z, self.pair(z).wrapping_add(signed_product(a, b))),
            Kind::Mula => self.r[z] = self.r[z].wrapping_add(a.wrapping_mul(b)),
            Kind::Divu => self.r[z] = a.checked_div(b).ok_or_else(|| Fault::new("division by 0"))?,
            Kind::Divs if b == 0 => return Err(Fault::new("division by 0")),
            Kind::Divs => self.r[z] = (a as i32).wrapping_div(b as i32) as u32,
            Kind::Zext => self.r[z] = (a << (31 - (imm >> 5))) >> (31 - (imm >> 5) + (imm & 31)),
            Kind::Sext => self.r[z] = ((a << (31 - (imm >> 5))) as i32 >> (31 - (imm >> 5) + (imm & 31))) as u32,
            Kind::Ins => {
                let mask = (u32::MAX >> (31 - (imm >> 5))) << (imm & 31);
                self.r[z] = self.r[z] & !mask | a << (imm & 31) & mask;
            }
            Kind::Revb => self.r[z] = a.swap_bytes(),
            Kind::Brev => self.r[z] = a.reverse_bits(),
            Kind::Ff1 => self.r[z] = a.leading_zeros(),
            Kind::Bclri => self.r[z] = a & !(1 << imm),
            Kind::Bseti => self.r[z] = a | 1 << imm,
            Kind::Bmaski => self.r[z] = u32::MAX >> (32 - imm),

            Kind::Cmphs => self.carry = a >= b,
            Kind::Cmplt => self.carry = (a as i32) < b as i32,
            Kind::Cmpne => self.carry = a != b,
            Kind::Cmphsi => self.carry = a >= imm,
            Kind::Cmplti => self.carry = (a as i32) < imm as i32,
            Kind::Cmpnei => self.carry = a != imm,
            Kind::Btsti => self.carry = a >> imm & 1 != 0,
            Kind::Mvc => self.r[z] = u32::from(self.carry),
            Kind::Mvcv => self.r[z] = u32::from(!self.carry),
            Kind::Incf if !self.carry => self.r[z] = a.wrapping_add(imm),
            Kind::Inct if self.carry => self.r[z] = a.wrapping_add(imm),
            Kind::Decf if !self.carry => self.r[z] = a.wrapping_sub(imm),
            Kind::Dect if self.carry => self.r[z] = a.wrapping_sub(imm),
            Kind::Clrf if !self.carry => self.r[z] = 0,
            Kind::Clrt if self.carry => self.r[z] = 0,
            Kind::Incf | Kind::Inct | Kind::Decf | Kind::Dect | Kind::Clrf | Kind::Clrt => {}

            Kind::Br => to = target,
            Kind::Bt if self.carry => to = target,
            Kind::Bf if !self.carry => to = target,
            Kind::Bez if a == 0 => to = target,
            Kind::Bnez if a != 0 => to = target,
            Kind::Bhz if a as i32 > 0 => to = target,
            Kind::Blsz if a as i32 <= 0 => to = target,
            Kind::Blz if (a as i32) < 0 => to = target,
            Kind::Bhsz if a as i32 >= 0 => to = target,
            Kind::Bt | Kind::Bf | Kind::Bez | Kind::Bnez | Kind::Bhz | Kind::Blsz | Kind::Blz | Kind::Bhsz => {}
            Kind::Bsr => (self.r[LINK], to) = (next, target),
            Kind::Jmp => to = a,
            Kind::Jmpi => to = self.memory.load32(literal)?,
            Kind::Jsr => (self.r[LINK], to) = (next, a),
            Kind::Jsri => (self.r[LINK], to) = (next, self.memory.load32(literal)?),
            Kind::Lrw => self.r[z] = self.memory.load32(literal)?,

            Kind::LdB => self.r[z] = self.memory.load8(a.wrapping_add(imm))?,
            Kind::LdH => self.r[z] = self.memory.load16(a.wrapping_add(imm))?,
            Kind::LdW => self.r[z] = self.memory.load32(a.wrapping_add(imm))?,
            Kind::LdBs => self.r[z] = self.memory.load8(a.wrapping_add(imm))? as i8 as u32,
            Kind::LdHs => self.r[z] = self.memory.load16(a.wrapping_add(imm))? as i16 as u32,
            Kind::StB => self.memory.store8(a.wrapping_add(imm), self.r[z])?,
            Kind::StH => self.memory.store16(a.wrapping_add(imm), self.r[z])?,
            Kind::StW => self.memory.store32(a.wrapping_add(imm), self.r[z])?,
            Kind::LdrB => self.r[z] = self.memory.load8(a.wrapping_add(b << imm))?,
            Kind::LdrH => self.r[z] = self.memory.load16(a.wrapping_add(b << imm))?,
            Kind::LdrW => self.r[z] = self.memory.load32(a.wrapping_add(b << imm))?,
            Kind::LdrBs => self.r[z] = self.memory.load8(a.wrapping_add(b << imm))? as i8 as u32,
            Kind::LdrHs => self.r[z] = self.memory.load16(a.wrapping_add(b << imm))? as i16 as u32,
            Kind::StrB => self.memory.store8(a.wrapping_add(b << imm), self.r[z])?,
            Kind::StrH => self.memory.store16(a.wrapping_add(b << imm), self.r[z])?,
            Kind::StrW => self.memory.store32(a.wrapping_add(b << imm), self.r[z])?,
            Kind::Ldm => {
                for n in 0..imm {
                    self.r[(z + n as usize) & 31] = self.memory.load32(a.wrapping_add(4 * n))?;
                }
            }
            Kind::Stm => {
                for n in 0..imm {
                    self.memory.store32(a.wrapping_add(4 * n), self.r[(z + n as usize) & 31])?;
                }
            }
            Kind::Push => {
                let sp = self.r[SP].wrapping_sub(4 * pushed(imm).count() as u32);
                for (n, register) in pushed(imm).enumerate() {
                    self.memory.store32(sp.wrapping_add(4 * n as u32), self.r[register])?;
                }
                self.r[SP] = sp;
            }
            Kind::Pop => {
                let mut sp = self.r[SP];
                for register in pushed(imm) {
                    self.r[register] = self.memory.load32(sp)?;
                    sp = sp.wrapping_add(4);
                }
                self.r[SP] = sp;
                to = self.r[LINK];
            }

            Kind::Trap if self.psr & PSR_IE == 0 => {
                return Err(Fault::new("a call of the system with interrupts masked"));
            }
            Kind::Trap if imm == 0 => {
                let [a, b, c, d, e, f, _, call] = std::array::from_fn(|n| self.r[n]);
                match self.linux.call(&mut self.memory, self.executed, call, [a, b, c, d, e, f])? {
                    Outcome::Result(result) => self.r[0] = result,
                    Outcome::Exit(status) => return Ok(Some(status)),
                }
            }
            Kind::Trap => return Err(Fault::new(format!("trap {imm}"))),
            Kind::Mfcr if imm == 0 => self.r[z] = self.psr,
            Kind::Mtcr if imm == 0 => self.psr = a,
            Kind::Mfcr | Kind::Mtcr => return Err(Fault::new(format!("control register {imm}"))),
            Kind::Psrclr => self.psr &= !psr_bits(imm)?,
            Kind::Psrset => self.psr |= psr_bits(imm)?,

            Kind::Fabss => self.f[z] = self.f[x] & !(1 << 31),
            Kind::Fnegs => self.f[z] = self.f[x] ^ 1 << 31,
            Kind::Fcmphss => self.carry = self.float(x) >= self.float(y),
            Kind::Fcmpuos => self.carry = self.float(x).is_nan() || self.float(y).is_nan(),
            Kind::Fmfvrl => self.r[z] = self.f[x],
            Kind::Fmtvrl => self.f[z] = a,
            Kind::Fsts => self.memory.store32(a.wrapping_add(imm), self.f[z])?,
            Kind::Fldms => {
                for n in 0..imm {
                    self.f[(z + n as usize) & 31] = self.memory.load32(a.wrapping_add(4 * n))?;
                }
            }
            Kind::Fstms => {
                for n in 0..imm {
                    self.memory.store32(a.wrapping_add(4 * n), self.f[(z + n as usize) & 31])?;
                }
            }
        }
        self.pc = to;
        Ok(None)
    }

    fn add_with_carry(&mut self, z: usize, a: u32, b: u32) {
        let sum = u64::from(a) + u64::from(b) + u64::from(self.carry);
        self.r[z] = sum as u32;
        self.carry = sum >> 32 != 0;
    }

    fn pair(&self, low: usize) -> u64 {
        u64::from(self.r[low]) | u64::from(self.r[(low + 1) & 31]) << 32
    }

    fn set_pair(&mut self, low: usize, value: u64) {
        self.r[low] = value as u32;
        self.r[(low + 1) & 31] = (value >> 32) as u32;
    }

    fn float(&self, register: usize) -> f32 {
        f32::from_bits(self.f[register])
    }
}

fn signed_product(a: u32, b: u32) -> u64 {
    (i64::from(a as i32) * i64::from(b as i32)) as u64
}

/// The registers of push and pop: so many from r4, and r15.
fn pushed(list: u32) -> impl Iterator<Item = usize> {
    (4..4 + (list & 15) as usize).chain((list & 16 != 0).then_some(LINK))
}

fn psr_bits(flags: u32) -> Result<u32, Fault> {
    match flags {
        4 => Ok(PSR_IE),
        8 => Ok(PSR_EE),
        12 => Ok(PSR_IE | PSR_EE),
        _ => Err(Fault::new(format!("bits {flags:#x} of the status register"))),
    }
}
