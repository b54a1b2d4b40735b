//! Heap in reserve, for code that ends the program where it finds no memory: rustls, in the tasks of TLS handshakes.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::FreeRtos;
use super::runtime::{free, malloc};
use crate::log;
use crate::port::Port;
use crate::transport::tls::Need;

/// The task that has it, 0: nobody.
static OWNER: AtomicUsize = AtomicUsize::new(0);
/// Its blocks; NULL when the heap has all of them back. Only the owner touches them.
static BLOCKS: AtomicPtr<Block> = AtomicPtr::new(null_mut());

/// It is not made of smaller blocks, but for the last: what is allocated must fit into one.
const LEAST: usize = 2048;

/// What a block begins with.
struct Block {
    next: *mut Self,
    /// The whole block's.
    size: usize,
}

/// The calling task's reserve, until it is dropped.
pub(super) struct Reserve(());

impl Reserve {
    /// Allocates it. `None` when there is no memory for it, or another task has one: the handshakes of all clients are one task's.
    pub(super) fn new(need: Need) -> Option<Self> {
        OWNER.compare_exchange(0, FreeRtos::current_task(), Ordering::Acquire, Ordering::Relaxed).ok()?;
        let reserve = Self(());
        more(need).then_some(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        while give_back(0) {}
        OWNER.store(0, Ordering::Release);
    }
}

/// Adds to the calling task's reserve, if it has one, in blocks that are as large as there are. `false`: there is no memory for it.
pub(super) fn more(need: Need) -> bool {
    if !is_ours() {
        return true;
    }
    let (mut left, mut size, mut least) = (need.bytes, need.bytes, need.least.into_iter());
    while left > 0 {
        let least = least.next().unwrap_or(0).max(LEAST);
        size = size.min(left).max(size_of::<Block>());
        let block = loop {
            // SAFETY: malloc takes any size.
            if let Some(block) = NonNull::new(unsafe { malloc(size) }) {
                break block.cast::<Block>();
            }
            if size <= least {
                return false;
            }
            size = least.max(size / 2);
        };
        // SAFETY: it is nobody else's, large enough and aligned for everything.
        unsafe { block.write(Block { next: BLOCKS.load(Ordering::Relaxed), size }) };
        BLOCKS.store(block.as_ptr(), Ordering::Relaxed);
        left = left.saturating_sub(size);
    }
    true
}

/// Frees the smallest block that has so many bytes, any if none has. `false`: there is no block.
fn give_back(size: usize) -> bool {
    // SAFETY: only the owner calls this, and whatever is in its list is from malloc, and not freed yet.
    unsafe {
        let (mut link, mut found) = (BLOCKS.as_ptr(), BLOCKS.as_ptr());
        while !(*link).is_null() {
            let (has, best) = ((**link).size, (**found).size);
            if has >= size && (best < size || has < best) {
                found = link;
            }
            link = &raw mut (**link).next;
        }
        let block = *found;
        if block.is_null() {
            return false;
        }
        *found = (*block).next;
        free(block.cast());
    }
    true
}

fn is_ours() -> bool {
    OWNER.load(Ordering::Relaxed) == FreeRtos::current_task()
}

/// The heap has nothing of this size for the calling task: gives it a part of its reserve back, if it has one still. `false`:
/// it has none.
pub(super) fn release(size: usize) -> bool {
    if !is_ours() {
        return false;
    }
    let released = give_back(size);
    if !released {
        // What comes now may be the end of the program.
        log::error(&[&"a TLS handshake takes more memory than it had in reserve"]);
    }
    released
}
