//! What std would bring: the heap, the end of a panic, the log.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_int, c_void};

use super::{FreeRtos, shim};
use crate::log::{Level, Say};
use crate::port::Port;

unsafe extern "C" {
    pub(super) fn malloc(size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    pub(super) fn free(block: *mut c_void);
    fn abort() -> !;
}

/// The SDK's heap, by way of its C library.
struct SdkHeap;

/// Alignment of every block of that heap.
const ALIGN: usize = 8;

// SAFETY: malloc, realloc and free keep the contract for alignments up to `ALIGN`; larger ones are refused.
unsafe impl GlobalAlloc for SdkHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGN {
            return core::ptr::null_mut();
        }
        // SAFETY: malloc takes any size.
        or_with_reserve(layout.size(), || unsafe { malloc(layout.size()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the block came from `alloc` or `realloc`.
        unsafe { free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `alloc` or `realloc`, whose alignment realloc keeps, and is still there if it fails.
        or_with_reserve(size, || unsafe { realloc(block.cast(), size) })
    }
}

/// Allocates so many bytes; as long as there is no memory, again with more of what the task has in reserve, which no other task gets
/// hold of in between.
#[cfg_attr(not(feature = "tls"), allow(unused))]
fn or_with_reserve(size: usize, allocate: impl Fn() -> *mut c_void) -> *mut u8 {
    let mut block = allocate();
    #[cfg(feature = "tls")]
    while block.is_null()
        && super::reserve::release(size, || {
            block = allocate();
            !block.is_null()
        })
    {}
    block.cast()
}

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: SdkHeap = SdkHeap;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: does not return.
    unsafe { abort() }
}

/// Longest line.
const LINE: usize = 192;

/// Hands a line to the SDK's log. It is put together on the stack; longer ones are cut.
pub(crate) fn log(level: Level, parts: &[&dyn Say]) {
    let (mut line, mut len) = ([0; LINE], 0);
    parts.say(&mut |text| {
        let part = text.len().min(LINE - len);
        line[len..len + part].copy_from_slice(&text.as_bytes()[..part]);
        len += part;
    });
    // SAFETY: the line is only read during the call. The SDK numbers its levels as the crate `log` does.
    unsafe { shim::wm_mqtt_port_log(level as c_int, line.as_ptr().cast(), len) };
}

/// The SDK's log needs no preparation.
pub fn init_log() {}

/// Where ring takes its random numbers from on a system that it does not know.
fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    if FreeRtos::random(bytes) { Ok(()) } else { Err(getrandom::Error::UNSUPPORTED) }
}

getrandom::register_custom_getrandom!(fill_random);
