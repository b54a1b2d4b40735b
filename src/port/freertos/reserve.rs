//! Heap in reserve, for code that ends the program where it finds no memory: rustls, in the tasks of TLS handshakes.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::FreeRtos;
use super::runtime::{free, malloc};
use crate::log;
use crate::port::Port;

/// So many steps of handshakes may compute at a time. One more has no reserve, and fails.
const STEPS: usize = 4;

static ENTRIES: [Entry; STEPS] =
    [const { Entry { task: AtomicUsize::new(0), block: AtomicPtr::new(null_mut()) } }; STEPS];

/// A task's reserve. Only that task touches the block.
struct Entry {
    /// 0: nobody's.
    task: AtomicUsize,
    /// NULL when the heap has it back.
    block: AtomicPtr<c_void>,
}

impl Entry {
    fn take_block(&self) -> *mut c_void {
        let block = self.block.load(Ordering::Relaxed);
        self.block.store(null_mut(), Ordering::Relaxed);
        block
    }
}

/// The calling task's reserve, until it is dropped.
pub(super) struct Reserve(&'static Entry);

impl Reserve {
    /// Allocates it, in one block; `None` when there is no memory for it.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let task = FreeRtos::current_task();
        let claim = |entry: &&Entry| entry.task.compare_exchange(0, task, Ordering::Acquire, Ordering::Relaxed).is_ok();
        let reserve = Self(ENTRIES.iter().find(claim)?);
        // SAFETY: malloc takes any size.
        let block = unsafe { malloc(bytes.max(1)) };
        reserve.0.block.store(block, Ordering::Relaxed);
        (!block.is_null()).then_some(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // SAFETY: NULL, or from malloc and freed once: it is not there any more.
        unsafe { free(self.0.take_block()) };
        self.0.task.store(0, Ordering::Release);
    }
}

/// The heap has nothing for the calling task: gives its reserve back, if it has one still. `false`: it has none.
pub(super) fn release() -> bool {
    let task = FreeRtos::current_task();
    let Some(entry) = ENTRIES.iter().find(|entry| entry.task.load(Ordering::Relaxed) == task) else { return false };
    let block = entry.take_block();
    if block.is_null() {
        // What comes now may be the end of the program.
        log::error(&[&"a TLS handshake takes more memory than it had in reserve"]);
        return false;
    }
    // SAFETY: from malloc, and freed once: it is not there any more.
    unsafe { free(block) };
    true
}
