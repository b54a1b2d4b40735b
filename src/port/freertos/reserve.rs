//! Heap in reserve, for code that ends the program where it finds no memory: rustls, in the tasks of TLS handshakes.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::FreeRtos;
use super::runtime::{free, malloc};
use crate::log;
use crate::port::Port;

/// The task that has it, 0: nobody.
static OWNER: AtomicUsize = AtomicUsize::new(0);
/// The block; NULL when the heap has it back. Only its owner touches it.
static BLOCK: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// The calling task's reserve, until it is dropped.
pub(super) struct Reserve(());

impl Reserve {
    /// Allocates it, in one block; `None` when there is no memory for it, or another task has one: the handshakes of all
    /// clients are one task's.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        OWNER.compare_exchange(0, FreeRtos::current_task(), Ordering::Acquire, Ordering::Relaxed).ok()?;
        let reserve = Self(());
        // SAFETY: malloc takes any size.
        let block = unsafe { malloc(bytes.max(1)) };
        BLOCK.store(block, Ordering::Relaxed);
        (!block.is_null()).then_some(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // SAFETY: NULL, or from malloc and freed once: it is not there any more.
        unsafe { free(take_block()) };
        OWNER.store(0, Ordering::Release);
    }
}

fn take_block() -> *mut c_void {
    let block = BLOCK.load(Ordering::Relaxed);
    BLOCK.store(null_mut(), Ordering::Relaxed);
    block
}

/// The heap has nothing for the calling task: gives its reserve back, if it has one still. `false`: it has none.
pub(super) fn release() -> bool {
    if OWNER.load(Ordering::Relaxed) != FreeRtos::current_task() {
        return false;
    }
    let block = take_block();
    if block.is_null() {
        // What comes now may be the end of the program.
        log::error(&[&"a TLS handshake takes more memory than it had in reserve"]);
        return false;
    }
    // SAFETY: from malloc, and freed once: it is not there any more.
    unsafe { free(block) };
    true
}
