//! From the bits of an instruction to what it does. The encodings are those that the disassembler of GNU binutils shows, which a
//! test compares.

/// What an instruction does. `z` is the register that gets the result, or its low half when it has 64 bits and the next register
/// the high half; `x` and `y` are operands, `imm` is a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[rustfmt::skip]
pub enum Kind {
    Unread, Unknown,
    Addu, Addc, Subu, Subc, Addi, Subi, And, Andn, Or, Xor, Nor, Andi, Andni, Ori, Xori, Mov, Movi,
    Lsl, Lsr, Asr, Rotl, Lsli, Lsri, Asri, Rotli, Ixh, Ixw, Ixd, Mult, Divu, Divs,
    MulU, MulS, MulaU, MulaS, Mula,
    Zext, Sext, Ins, Revb, Brev, Ff1, Bclri, Bseti, Bmaski,
    Cmphs, Cmplt, Cmpne, Cmphsi, Cmplti, Cmpnei, Btsti, Mvc, Mvcv,
    Incf, Inct, Decf, Dect, Clrf, Clrt,
    Br, Bt, Bf, Bez, Bnez, Bhz, Blsz, Blz, Bhsz, Bsr, Jmp, Jmpi, Jsr, Jsri, Lrw,
    LdB, LdH, LdW, LdBs, LdHs, StB, StH, StW, LdrB, LdrH, LdrW, LdrBs, LdrHs, StrB, StrH, StrW, Ldm, Stm, Push, Pop,
    Trap, Mfcr, Mtcr, Psrclr, Psrset,
    Fabss, Fnegs, Fcmphss, Fcmpuos, Fmtvrl, Fmfvrl, Fsts, Fldms, Fstms,
}

#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub kind: Kind,
    pub z: u8,
    pub x: u8,
    pub y: u8,
    pub imm: u32,
    /// Bytes of the instruction.
    pub len: u8,
}

impl Op {
    pub const UNREAD: Self = Self { kind: Kind::Unread, z: 0, x: 0, y: 0, imm: 0, len: 0 };
}

type Operands = (u32, u32, u32, u32);

struct Row {
    name: &'static str,
    mask: u32,
    bits: u32,
    kind: Kind,
    operands: fn(u32) -> Operands,
}

const fn row(name: &'static str, mask: u32, bits: u32, kind: Kind, operands: fn(u32) -> Operands) -> Row {
    Row { name, mask, bits, kind, operands }
}

fn field(bits: u32, at: u32, len: u32) -> u32 {
    bits >> at & ((1 << len) - 1)
}

fn signed(value: u32, len: u32) -> u32 {
    ((value << (32 - len)) as i32 >> (32 - len)) as u32
}

// ---- operands of instructions of 16 bits ----

/// z op= y
fn two(i: u32) -> Operands {
    (field(i, 6, 4), field(i, 6, 4), field(i, 2, 4), 0)
}

/// z = op y, with the operand as x too
fn from_to(i: u32) -> Operands {
    (field(i, 6, 4), field(i, 2, 4), field(i, 2, 4), 0)
}

fn compared(i: u32) -> Operands {
    (0, field(i, 2, 4), field(i, 6, 4), 0)
}

fn three(i: u32) -> Operands {
    (field(i, 5, 3), field(i, 8, 3), field(i, 2, 3), 0)
}

fn three_imm(i: u32) -> Operands {
    (field(i, 5, 3), field(i, 8, 3), 0, field(i, 2, 3) + 1)
}

fn imm8(i: u32) -> Operands {
    (field(i, 8, 3), field(i, 8, 3), 0, field(i, 0, 8))
}

fn imm8_from_1(i: u32) -> Operands {
    (field(i, 8, 3), field(i, 8, 3), 0, field(i, 0, 8) + 1)
}

fn imm5(i: u32) -> Operands {
    (field(i, 8, 3), field(i, 8, 3), 0, field(i, 0, 5))
}

fn imm5_from_1(i: u32) -> Operands {
    (0, field(i, 8, 3), 0, field(i, 0, 5) + 1)
}

fn shift5(i: u32) -> Operands {
    (field(i, 5, 3), field(i, 8, 3), 0, field(i, 0, 5))
}

fn near_b(i: u32) -> Operands {
    shift5(i)
}

fn near_h(i: u32) -> Operands {
    (field(i, 5, 3), field(i, 8, 3), 0, field(i, 0, 5) * 2)
}

fn near_w(i: u32) -> Operands {
    (field(i, 5, 3), field(i, 8, 3), 0, field(i, 0, 5) * 4)
}

fn stack_w(i: u32) -> Operands {
    (field(i, 5, 3), 14, 0, (field(i, 8, 3) << 5 | field(i, 0, 5)) * 4)
}

fn stack_adjust(i: u32) -> Operands {
    (14, 14, 0, (field(i, 8, 2) << 5 | field(i, 0, 5)) * 4)
}

fn stack_place(i: u32) -> Operands {
    (field(i, 8, 3), 14, 0, field(i, 0, 8) * 4)
}

fn list(i: u32) -> Operands {
    (0, 0, 0, field(i, 0, 5))
}

fn branch10(i: u32) -> Operands {
    (0, 0, 0, signed(field(i, 0, 10), 10) * 2)
}

fn literal7(i: u32) -> Operands {
    (field(i, 5, 3), 0, 0, (field(i, 8, 2) << 5 | field(i, 0, 5)) * 4)
}

fn literal8(i: u32) -> Operands {
    (field(i, 5, 3), 0, 0, (0x80 | (!(field(i, 8, 2) << 5 | field(i, 0, 5)) & 0x7f)) * 4)
}

fn jump(i: u32) -> Operands {
    (0, field(i, 2, 4), 0, 0)
}

fn zext_b(i: u32) -> Operands {
    (field(i, 6, 4), field(i, 2, 4), 0, 7 << 5)
}

fn zext_h(i: u32) -> Operands {
    (field(i, 6, 4), field(i, 2, 4), 0, 15 << 5)
}

fn only_z(i: u32) -> Operands {
    (field(i, 6, 4), 0, 0, 0)
}

fn none(_: u32) -> Operands {
    (0, 0, 0, 0)
}

use Kind::*;

#[rustfmt::skip]
static HALVES: &[Row] = &[
    row("bkpt",   0xffff, 0x0000, Unknown, none),
    row("lrw",    0xfc00, 0x0000, Lrw, literal8),
    row("br",     0xfc00, 0x0400, Br, branch10),
    row("bt",     0xfc00, 0x0800, Bt, branch10),
    row("bf",     0xfc00, 0x0c00, Bf, branch10),
    row("lrw",    0xfc00, 0x1000, Lrw, literal7),
    row("push",   0xffe0, 0x14c0, Push, list),
    row("pop",    0xffe0, 0x1480, Pop, list),
    row("addi",   0xfce0, 0x1400, Addi, stack_adjust),
    row("subi",   0xfce0, 0x1420, Subi, stack_adjust),
    row("addi",   0xf800, 0x1800, Addi, stack_place),
    row("addi",   0xf800, 0x2000, Addi, imm8_from_1),
    row("subi",   0xf800, 0x2800, Subi, imm8_from_1),
    row("movi",   0xf800, 0x3000, Movi, imm8),
    row("cmphsi", 0xf8e0, 0x3800, Cmphsi, imm5_from_1),
    row("cmplti", 0xf8e0, 0x3820, Cmplti, imm5_from_1),
    row("cmpnei", 0xf8e0, 0x3840, Cmpnei, imm5),
    row("bclri",  0xf8e0, 0x3880, Bclri, imm5),
    row("bseti",  0xf8e0, 0x38a0, Bseti, imm5),
    row("btsti",  0xf8e0, 0x38c0, Btsti, imm5),
    row("lsli",   0xf800, 0x4000, Lsli, shift5),
    row("lsri",   0xf800, 0x4800, Lsri, shift5),
    row("asri",   0xf800, 0x5000, Asri, shift5),
    row("addu",   0xf803, 0x5800, Addu, three),
    row("subu",   0xf803, 0x5801, Subu, three),
    row("addi",   0xf803, 0x5802, Addi, three_imm),
    row("subi",   0xf803, 0x5803, Subi, three_imm),
    row("addu",   0xfc03, 0x6000, Addu, two),
    row("addc",   0xfc03, 0x6001, Addc, two),
    row("subu",   0xfc03, 0x6002, Subu, two),
    row("subc",   0xfc03, 0x6003, Subc, two),
    row("cmphs",  0xfc03, 0x6400, Cmphs, compared),
    row("cmplt",  0xfc03, 0x6401, Cmplt, compared),
    row("cmpne",  0xfc03, 0x6402, Cmpne, compared),
    row("mvcv",   0xfc3f, 0x6403, Mvcv, only_z),
    row("and",    0xfc03, 0x6800, And, two),
    row("andn",   0xfc03, 0x6801, Andn, two),
    row("or",     0xfc03, 0x6c00, Or, two),
    row("xor",    0xfc03, 0x6c01, Xor, two),
    row("nor",    0xfc03, 0x6c02, Nor, two),
    row("mov",    0xfc03, 0x6c03, Mov, from_to),
    row("lsl",    0xfc03, 0x7000, Lsl, two),
    row("lsr",    0xfc03, 0x7001, Lsr, two),
    row("asr",    0xfc03, 0x7002, Asr, two),
    row("rotl",   0xfc03, 0x7003, Rotl, two),
    row("zextb",  0xfc03, 0x7400, Zext, zext_b),
    row("zexth",  0xfc03, 0x7401, Zext, zext_h),
    row("sextb",  0xfc03, 0x7402, Sext, zext_b),
    row("sexth",  0xfc03, 0x7403, Sext, zext_h),
    row("rts",    0xffff, 0x783c, Jmp, jump),
    row("jmp",    0xffc3, 0x7800, Jmp, jump),
    row("jsr",    0xffc3, 0x7bc1, Jsr, jump),
    row("revb",   0xfc03, 0x7802, Revb, from_to),
    row("mult",   0xfc03, 0x7c00, Mult, two),
    row("ld.b",   0xf800, 0x8000, LdB, near_b),
    row("ld.h",   0xf800, 0x8800, LdH, near_h),
    row("ld.w",   0xf800, 0x9000, LdW, near_w),
    row("ld.w",   0xf800, 0x9800, LdW, stack_w),
    row("st.b",   0xf800, 0xa000, StB, near_b),
    row("st.h",   0xf800, 0xa800, StH, near_h),
    row("st.w",   0xf800, 0xb000, StW, near_w),
    row("st.w",   0xf800, 0xb800, StW, stack_w),
];

// ---- operands of instructions of 32 bits ----

fn zxy(i: u32) -> Operands {
    (field(i, 0, 5), field(i, 16, 5), field(i, 21, 5), 0)
}

/// z = x op imm, with imm where y is
fn zx_bits(i: u32) -> Operands {
    (field(i, 0, 5), field(i, 16, 5), 0, field(i, 21, 5))
}

fn zx_bits_from_1(i: u32) -> Operands {
    (field(i, 0, 5), field(i, 16, 5), 0, field(i, 21, 5) + 1)
}

fn conditional(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 5))
}

/// msb << 5 | lsb
fn extracted(i: u32) -> Operands {
    (field(i, 0, 5), field(i, 16, 5), 0, field(i, 5, 5) << 5 | field(i, 21, 5))
}

/// (width - 1) << 5 | lsb
fn inserted(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 5, 5) << 5 | field(i, 0, 5))
}

fn imm12(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 12))
}

fn imm12_from_1(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 12) + 1)
}

fn far_h(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 12) * 2)
}

fn far_w(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 12) * 4)
}

/// The shift is one bit of four.
fn indexed(i: u32) -> Operands {
    (field(i, 0, 5), field(i, 16, 5), field(i, 21, 5), field(i, 5, 4).trailing_zeros())
}

/// z is the first register, imm the number of them
fn many(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 5) + 1)
}

fn vectors(i: u32) -> Operands {
    (field(i, 0, 4), field(i, 16, 5), 0, field(i, 21, 5) + 1)
}

fn vector_w(i: u32) -> Operands {
    (field(i, 0, 4), field(i, 16, 5), 0, (field(i, 21, 4) << 4 | field(i, 4, 4)) * 4)
}

fn branch16(i: u32) -> Operands {
    (0, field(i, 16, 5), 0, signed(field(i, 0, 16), 16) * 2)
}

fn branch26(i: u32) -> Operands {
    (0, 0, 0, signed(field(i, 0, 26), 26) * 2)
}

fn imm16(i: u32) -> Operands {
    (field(i, 16, 5), field(i, 16, 5), 0, field(i, 0, 16))
}

fn imm16_from_1(i: u32) -> Operands {
    (0, field(i, 16, 5), 0, field(i, 0, 16) + 1)
}

fn imm16_high(i: u32) -> Operands {
    (field(i, 16, 5), 0, 0, field(i, 0, 16) << 16)
}

fn imm16_two(i: u32) -> Operands {
    (field(i, 21, 5), field(i, 16, 5), 0, field(i, 0, 16))
}

fn literal16(i: u32) -> Operands {
    (field(i, 16, 5), 0, 0, field(i, 0, 16) * 4)
}

/// x is a register, imm the number of a control register
fn control_read(i: u32) -> Operands {
    (field(i, 0, 5), 0, 0, field(i, 21, 5) << 5 | field(i, 16, 5))
}

fn control_write(i: u32) -> Operands {
    (0, field(i, 16, 5), 0, field(i, 21, 5) << 5 | field(i, 0, 5))
}

fn flags(i: u32) -> Operands {
    (0, 0, 0, field(i, 21, 5))
}

fn trap(i: u32) -> Operands {
    (0, 0, 0, field(i, 10, 2))
}

#[rustfmt::skip]
static WORDS: &[Row] = &[
    row("trap",   0xffff_f3ff, 0xc000_2020, Trap, trap),
    row("mfcr",   0xfc00_ffe0, 0xc000_6020, Mfcr, control_read),
    row("mtcr",   0xfc00_ffe0, 0xc000_6420, Mtcr, control_write),
    row("psrclr", 0xfc1f_ffff, 0xc000_7020, Psrclr, flags),
    row("psrset", 0xfc1f_ffff, 0xc000_7420, Psrset, flags),
    row("addu",   0xfc00_ffe0, 0xc400_0020, Addu, zxy),
    row("addc",   0xfc00_ffe0, 0xc400_0040, Addc, zxy),
    row("subu",   0xfc00_ffe0, 0xc400_0080, Subu, zxy),
    row("subc",   0xfc00_ffe0, 0xc400_0100, Subc, zxy),
    row("cmphs",  0xfc00_ffff, 0xc400_0420, Cmphs, zxy),
    row("cmplt",  0xfc00_ffff, 0xc400_0440, Cmplt, zxy),
    row("cmpne",  0xfc00_ffff, 0xc400_0480, Cmpne, zxy),
    row("mvc",    0xffff_ffe0, 0xc400_0500, Mvc, zxy),
    row("mvcv",   0xffff_ffe0, 0xc400_0600, Mvcv, zxy),
    row("ixh",    0xfc00_ffe0, 0xc400_0820, Ixh, zxy),
    row("ixw",    0xfc00_ffe0, 0xc400_0840, Ixw, zxy),
    row("ixd",    0xfc00_ffe0, 0xc400_0880, Ixd, zxy),
    row("incf",   0xfc00_ffe0, 0xc400_0c20, Incf, conditional),
    row("inct",   0xfc00_ffe0, 0xc400_0c40, Inct, conditional),
    row("decf",   0xfc00_ffe0, 0xc400_0c80, Decf, conditional),
    row("dect",   0xfc00_ffe0, 0xc400_0d00, Dect, conditional),
    row("and",    0xfc00_ffe0, 0xc400_2020, And, zxy),
    row("andn",   0xfc00_ffe0, 0xc400_2040, Andn, zxy),
    row("or",     0xfc00_ffe0, 0xc400_2420, Or, zxy),
    row("xor",    0xfc00_ffe0, 0xc400_2440, Xor, zxy),
    row("nor",    0xfc00_ffe0, 0xc400_2480, Nor, zxy),
    row("bclri",  0xfc00_ffe0, 0xc400_2820, Bclri, zx_bits),
    row("bseti",  0xfc00_ffe0, 0xc400_2840, Bseti, zx_bits),
    row("btsti",  0xfc00_ffff, 0xc400_2880, Btsti, zx_bits),
    row("clrf",   0xfc1f_ffff, 0xc400_2c20, Clrf, conditional),
    row("clrt",   0xfc1f_ffff, 0xc400_2c40, Clrt, conditional),
    row("lsl",    0xfc00_ffe0, 0xc400_4020, Lsl, zxy),
    row("lsr",    0xfc00_ffe0, 0xc400_4040, Lsr, zxy),
    row("asr",    0xfc00_ffe0, 0xc400_4080, Asr, zxy),
    row("rotl",   0xfc00_ffe0, 0xc400_4100, Rotl, zxy),
    row("lsli",   0xfc00_ffe0, 0xc400_4820, Lsli, zx_bits),
    row("lsri",   0xfc00_ffe0, 0xc400_4840, Lsri, zx_bits),
    row("asri",   0xfc00_ffe0, 0xc400_4880, Asri, zx_bits),
    row("rotli",  0xfc00_ffe0, 0xc400_4900, Rotli, zx_bits),
    row("bmaski", 0xfc1f_ffe0, 0xc400_5020, Bmaski, zx_bits_from_1),
    row("zexth",  0xffe0_ffe0, 0xc400_55e0, Zext, extracted),
    row("zextb",  0xffe0_ffe0, 0xc400_54e0, Zext, extracted),
    row("zext",   0xfc00_fc00, 0xc400_5400, Zext, extracted),
    row("sexth",  0xffe0_ffe0, 0xc400_59e0, Sext, extracted),
    row("sextb",  0xffe0_ffe0, 0xc400_58e0, Sext, extracted),
    row("sext",   0xfc00_fc00, 0xc400_5800, Sext, extracted),
    row("ins",    0xfc00_fc00, 0xc400_5c00, Ins, inserted),
    row("revb",   0xffe0_ffe0, 0xc400_6080, Revb, zxy),
    row("brev",   0xffe0_ffe0, 0xc400_6200, Brev, zxy),
    row("ff1",    0xffe0_ffe0, 0xc400_7c40, Ff1, zxy),
    row("divu",   0xfc00_ffe0, 0xc400_8020, Divu, zxy),
    row("divs",   0xfc00_ffe0, 0xc400_8040, Divs, zxy),
    row("mult",   0xfc00_ffe0, 0xc400_8420, Mult, zxy),
    row("ldr.b",  0xfc00_fe00, 0xd000_0000, LdrB, indexed),
    row("ldr.h",  0xfc00_fe00, 0xd000_0400, LdrH, indexed),
    row("ldr.w",  0xfc00_fe00, 0xd000_0800, LdrW, indexed),
    row("ldr.bs", 0xfc00_fe00, 0xd000_1000, LdrBs, indexed),
    row("ldr.hs", 0xfc00_fe00, 0xd000_1400, LdrHs, indexed),
    row("ldm",    0xfc00_ffe0, 0xd000_1c20, Ldm, many),
    row("str.b",  0xfc00_fe00, 0xd400_0000, StrB, indexed),
    row("str.h",  0xfc00_fe00, 0xd400_0400, StrH, indexed),
    row("str.w",  0xfc00_fe00, 0xd400_0800, StrW, indexed),
    row("stm",    0xfc00_ffe0, 0xd400_1c20, Stm, many),
    row("ld.b",   0xfc00_f000, 0xd800_0000, LdB, imm12),
    row("ld.h",   0xfc00_f000, 0xd800_1000, LdH, far_h),
    row("ld.w",   0xfc00_f000, 0xd800_2000, LdW, far_w),
    row("ld.bs",  0xfc00_f000, 0xd800_4000, LdBs, imm12),
    row("ld.hs",  0xfc00_f000, 0xd800_5000, LdHs, far_h),
    row("st.b",   0xfc00_f000, 0xdc00_0000, StB, imm12),
    row("st.h",   0xfc00_f000, 0xdc00_1000, StH, far_h),
    row("st.w",   0xfc00_f000, 0xdc00_2000, StW, far_w),
    row("bsr",    0xfc00_0000, 0xe000_0000, Bsr, branch26),
    row("addi",   0xfc00_f000, 0xe400_0000, Addi, imm12_from_1),
    row("subi",   0xfc00_f000, 0xe400_1000, Subi, imm12_from_1),
    row("andi",   0xfc00_f000, 0xe400_2000, Andi, imm12),
    row("andni",  0xfc00_f000, 0xe400_3000, Andni, imm12),
    row("xori",   0xfc00_f000, 0xe400_4000, Xori, imm12),
    row("br",     0xffff_0000, 0xe800_0000, Br, branch16),
    row("bf",     0xffff_0000, 0xe840_0000, Bf, branch16),
    row("bt",     0xffff_0000, 0xe860_0000, Bt, branch16),
    row("rts",    0xffff_ffff, 0xe8cf_0000, Jmp, branch16),
    row("jmp",    0xffe0_ffff, 0xe8c0_0000, Jmp, branch16),
    row("jsr",    0xffe0_ffff, 0xe8e0_0000, Jsr, branch16),
    row("bez",    0xffe0_0000, 0xe900_0000, Bez, branch16),
    row("bnez",   0xffe0_0000, 0xe920_0000, Bnez, branch16),
    row("bhz",    0xffe0_0000, 0xe940_0000, Bhz, branch16),
    row("blsz",   0xffe0_0000, 0xe960_0000, Blsz, branch16),
    row("blz",    0xffe0_0000, 0xe980_0000, Blz, branch16),
    row("bhsz",   0xffe0_0000, 0xe9a0_0000, Bhsz, branch16),
    row("movi",   0xffe0_0000, 0xea00_0000, Movi, imm16),
    row("movih",  0xffe0_0000, 0xea20_0000, Movi, imm16_high),
    row("lrw",    0xffe0_0000, 0xea80_0000, Lrw, literal16),
    row("jmpi",   0xffff_0000, 0xeac0_0000, Jmpi, literal16),
    row("jsri",   0xffff_0000, 0xeae0_0000, Jsri, literal16),
    row("cmphsi", 0xffe0_0000, 0xeb00_0000, Cmphsi, imm16_from_1),
    row("cmplti", 0xffe0_0000, 0xeb20_0000, Cmplti, imm16_from_1),
    row("cmpnei", 0xffe0_0000, 0xeb40_0000, Cmpnei, imm16),
    row("ori",    0xfc00_0000, 0xec00_0000, Ori, imm16_two),
    row("fabss",  0xfff0_fff0, 0xf400_00c0, Fabss, zxy),
    row("fnegs",  0xfff0_fff0, 0xf400_00e0, Fnegs, zxy),
    row("fcmphss", 0xfe10_ffff, 0xf400_0180, Fcmphss, zxy),
    row("fcmpuos", 0xfe10_ffff, 0xf400_01e0, Fcmpuos, zxy),
    row("fmfvrl", 0xfff0_ffe0, 0xf400_1b20, Fmfvrl, zxy),
    row("fmtvrl", 0xffe0_fff0, 0xf400_1b60, Fmtvrl, vectors),
    row("fsts",   0xfe00_ff00, 0xf400_2400, Fsts, vector_w),
    row("fldms",  0xfe00_fff0, 0xf400_3000, Fldms, vectors),
    row("fstms",  0xfe00_fff0, 0xf400_3400, Fstms, vectors),
    row("mul.u32", 0xfc00_ffe0, 0xf800_8000, MulU, zxy),
    row("mula.u32", 0xfc00_ffe0, 0xf800_8080, MulaU, zxy),
    row("mul.s32", 0xfc00_ffe0, 0xf800_8200, MulS, zxy),
    row("mula.s32", 0xfc00_ffe0, 0xf800_8280, MulaS, zxy),
    row("mula.32.l", 0xfc00_ffe0, 0xf800_8440, Mula, zxy),
];

fn find(first: u16, second: u16) -> (Option<&'static Row>, u32, u8) {
    let (rows, bits, len) = match first >> 14 {
        3 => (WORDS, u32::from(first) << 16 | u32::from(second), 4),
        _ => (HALVES, u32::from(first), 2),
    };
    (rows.iter().find(|row| bits & row.mask == row.bits), bits, len)
}

/// The instruction that these two halfwords begin with.
pub fn decode(first: u16, second: u16) -> Op {
    match find(first, second) {
        (Some(row), bits, len) => {
            let (z, x, y, imm) = (row.operands)(bits);
            Op { kind: row.kind, z: z as u8, x: x as u8, y: y as u8, imm, len }
        }
        (None, _, len) => Op { kind: Unknown, len, ..Op::UNREAD },
    }
}

/// The name that the disassembler has for it, and its length.
pub fn name(first: u16, second: u16) -> (&'static str, u8) {
    let (row, _, len) = find(first, second);
    (row.map_or("unknown", |row| row.name), len)
}
