//! Memory from C's heap, which the application frees with `free()` (contract section 2).

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;

use crate::protocol::Buffer;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
}

/// A block of C's heap that is filled once and always NUL-terminated.
#[derive(Debug)]
pub struct CBuffer {
    block: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: the block belongs to this value alone, and C's heap serves every thread.
unsafe impl Send for CBuffer {}

impl CBuffer {
    /// The block, NUL-terminated; it stays ours.
    pub fn as_ptr(&self) -> *mut c_char {
        self.block.as_ptr().cast()
    }

    /// Gives the block away, NUL-terminated: whoever takes it calls `free()`.
    pub fn into_raw(self) -> *mut c_char {
        let block = self.block;
        core::mem::forget(self);
        block.as_ptr().cast()
    }
}

impl Buffer for CBuffer {
    fn allocate(capacity: usize) -> Option<Self> {
        // SAFETY: malloc takes any size; a NULL is handled.
        let block = NonNull::new(unsafe { malloc(capacity.checked_add(1)?) })?.cast::<u8>();
        // SAFETY: the block has at least one byte.
        unsafe { block.write(0) };
        Some(Self { block, capacity, len: 0 })
    }

    fn append(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.capacity - self.len)];
        // SAFETY: `len + bytes.len() <= capacity`, and the block is one byte larger than `capacity`; `bytes` is
        // somebody else's memory, since ours has no slice while it is borrowed mutably.
        unsafe {
            let end = self.block.add(self.len);
            end.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
            end.add(bytes.len()).write(0);
        }
        self.len += bytes.len();
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the block are written.
        unsafe { core::slice::from_raw_parts(self.block.as_ptr(), self.len) }
    }
}

impl Drop for CBuffer {
    fn drop(&mut self) {
        // SAFETY: the block came from malloc and was not given away.
        unsafe { free(self.block.as_ptr().cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_terminated_and_never_overflows() {
        let mut buffer = CBuffer::allocate(3).unwrap();
        assert_eq!(buffer.as_slice(), b"");
        buffer.append(b"ab");
        buffer.append(b"cdef");
        assert_eq!(buffer.as_slice(), b"abc");
        let raw = buffer.into_raw();
        // SAFETY: given to us NUL-terminated, freed once.
        unsafe {
            assert_eq!(std::ffi::CStr::from_ptr(raw).to_bytes(), b"abc");
            free(raw.cast());
        }
    }
}
