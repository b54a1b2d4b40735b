//! What a program sees: the segments of its image, and a stack.

use std::fmt;

/// Why a program cannot go on.
#[derive(Debug)]
pub struct Fault(Box<str>);

impl Fault {
    #[cold]
    pub fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

#[derive(Default)]
struct Region {
    base: u32,
    bytes: Vec<u8>,
}

impl Region {
    fn get(&self, address: u32, len: u32) -> Option<&[u8]> {
        let at = address.wrapping_sub(self.base) as usize;
        self.bytes.get(at..at + len as usize)
    }

    fn get_mut(&mut self, address: u32, len: u32) -> Option<&mut [u8]> {
        let at = address.wrapping_sub(self.base) as usize;
        self.bytes.get_mut(at..at + len as usize)
    }
}

pub struct Memory {
    data: Region,
    code: Region,
    stack: Region,
    pub entry: u32,
    pub stack_top: u32,
}

const STACK: u32 = 64 * 1024;
const STACK_TOP: u32 = 0x7000_0000;
const MACHINE_CSKY: u32 = 252;

fn word(file: &[u8], at: usize, len: usize) -> Option<u32> {
    let bytes = file.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
}

impl Memory {
    /// Loads an image: a linked ELF file for C-SKY.
    pub fn load(file: &[u8]) -> Result<Self, Fault> {
        Self::segments(file).ok_or_else(|| Fault::new("not a program for C-SKY"))
    }

    fn segments(file: &[u8]) -> Option<Self> {
        if file.get(..6)? != b"\x7fELF\x01\x01" || word(file, 18, 2)? != MACHINE_CSKY {
            return None;
        }
        let stack = Region { base: STACK_TOP - STACK, bytes: vec![0; STACK as usize] };
        let (entry, stack_top) = (word(file, 24, 4)?, STACK_TOP - 64);
        let mut memory = Self { data: Region::default(), code: Region::default(), stack, entry, stack_top };
        let (table, size, count) = (word(file, 28, 4)?, word(file, 42, 2)?, word(file, 44, 2)?);
        for at in (0..count).map(|n| (table + n * size) as usize) {
            if word(file, at, 4)? != 1 {
                continue;
            }
            let [offset, base, from_file, in_memory, flags] =
                [4, 8, 16, 20, 24].map(|member| word(file, at + member, 4).unwrap_or(0));
            let offset = offset as usize;
            let mut bytes = file.get(offset..offset.checked_add(from_file as usize)?)?.to_vec();
            bytes.resize(in_memory as usize, 0);
            let place = if flags & 2 != 0 { &mut memory.data } else { &mut memory.code };
            if !place.bytes.is_empty() {
                return None;
            }
            *place = Region { base, bytes };
        }
        Some(memory)
    }

    /// The code: where it begins, and its bytes.
    pub fn code(&self) -> (u32, &[u8]) {
        (self.code.base, &self.code.bytes)
    }

    /// The bytes at an address.
    #[inline(always)]
    pub fn bytes(&self, address: u32, len: u32) -> Result<&[u8], Fault> {
        let Self { data, code, stack, .. } = self;
        match data.get(address, len).or_else(|| code.get(address, len)).or_else(|| stack.get(address, len)) {
            Some(bytes) => Ok(bytes),
            None => Err(Fault::new(format!("nothing to read at {address:#010x}"))),
        }
    }

    /// The same, to be written: not the code.
    #[inline(always)]
    pub fn bytes_mut(&mut self, address: u32, len: u32) -> Result<&mut [u8], Fault> {
        match self.data.get_mut(address, len) {
            Some(bytes) => Ok(bytes),
            None => match self.stack.get_mut(address, len) {
                Some(bytes) => Ok(bytes),
                None => Err(Fault::new(format!("nothing to write at {address:#010x}"))),
            },
        }
    }

    fn aligned(address: u32, len: u32) -> Result<(), Fault> {
        match address % len {
            0 => Ok(()),
            _ => Err(Fault::new(format!("{len} bytes at {address:#010x}, which is not aligned"))),
        }
    }

    pub fn load8(&self, address: u32) -> Result<u32, Fault> {
        Ok(u32::from(self.bytes(address, 1)?[0]))
    }

    pub fn load16(&self, address: u32) -> Result<u32, Fault> {
        Self::aligned(address, 2)?;
        let bytes = self.bytes(address, 2)?;
        Ok(u32::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    }

    pub fn load32(&self, address: u32) -> Result<u32, Fault> {
        Self::aligned(address, 4)?;
        let bytes = self.bytes(address, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub fn store8(&mut self, address: u32, value: u32) -> Result<(), Fault> {
        self.bytes_mut(address, 1)?[0] = value as u8;
        Ok(())
    }

    pub fn store16(&mut self, address: u32, value: u32) -> Result<(), Fault> {
        Self::aligned(address, 2)?;
        self.bytes_mut(address, 2)?.copy_from_slice(&(value as u16).to_le_bytes());
        Ok(())
    }

    pub fn store32(&mut self, address: u32, value: u32) -> Result<(), Fault> {
        Self::aligned(address, 4)?;
        self.bytes_mut(address, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}
