//! What std would bring: the heap, the end of a panic, the log.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_int, c_void};
use core::fmt::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{FreeRtos, shim};
use crate::port::Port;

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
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
        unsafe { malloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the block came from `alloc` or `realloc`.
        unsafe { free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block came from `alloc` or `realloc`, whose alignment realloc keeps.
        unsafe { realloc(block.cast(), size) }.cast()
    }
}

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: SdkHeap = SdkHeap;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: does not return.
    unsafe { shim::wm_mqtt_port_abort() }
}

/// Longest line.
const LINE: usize = 192;

/// A log line on the stack; longer ones are cut.
struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

struct SdkLog;

impl Log for SdkLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Not what crates under us log.
        metadata.target() == "mqtt"
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level: c_int = match record.level() {
            Level::Error => 1,
            Level::Warn => 2,
            Level::Info => 3,
            Level::Debug => 4,
            Level::Trace => 5,
        };
        let mut line = Line { bytes: [0; LINE], len: 0 };
        // A line that is cut is better than none.
        let _ = line.write_fmt(*record.args());
        // SAFETY: the line is only read during the call.
        unsafe { shim::wm_mqtt_port_log(level, line.bytes.as_ptr().cast(), line.len) };
    }

    fn flush(&self) {}
}

/// Sends this library's log records to the SDK's log.
pub fn init_log() {
    if log::set_logger(&SdkLog).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Where ring takes its random numbers from on a system that it does not know.
fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    if FreeRtos::random(bytes) { Ok(()) } else { Err(getrandom::Error::UNSUPPORTED) }
}

getrandom::register_custom_getrandom!(fill_random);
