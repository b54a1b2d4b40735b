//! Heap in reserve, for code that ends the program where it finds no memory: rustls, in the tasks of TLS handshakes and in the MQTT
//! task.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::FreeRtos;
use super::runtime::{free, malloc};
use super::shim::{vTaskSuspendAll, xTaskResumeAll};
use crate::log;
use crate::port::Port;
use crate::transport::tls::{Held, Need};

/// What one task has in reserve.
struct Place {
    /// That task, 0: nobody.
    owner: AtomicUsize,
    /// NULL when the heap has all of them back. Only the owner touches them.
    blocks: AtomicPtr<Block>,
}

/// For the MQTT task and that of the handshakes.
static PLACES: [Place; 2] = [const { Place { owner: AtomicUsize::new(0), blocks: AtomicPtr::new(null_mut()) } }; 2];

/// It is not made of smaller blocks, but for the last: what is allocated must fit into one.
const LEAST: usize = 2048;

/// What a block begins with.
struct Block {
    next: *mut Self,
    /// The whole block's.
    size: usize,
}

/// Puts so much in reserve for the calling task, which has none yet. `None`: there is no memory for it.
pub(super) fn begin(need: Need) -> Option<Held> {
    let task = FreeRtos::current_task();
    let take = |place: &&Place| place.owner.compare_exchange(0, task, Ordering::Acquire, Ordering::Relaxed).is_ok();
    PLACES.iter().find(take)?;
    let held = Held::new(end);
    more(need).then_some(held)
}

/// The heap gets the calling task's reserve back.
fn end() {
    let Some(place) = ours() else { return };
    while place.give_back(0) {}
    place.owner.store(0, Ordering::Release);
}

fn ours() -> Option<&'static Place> {
    let task = FreeRtos::current_task();
    PLACES.iter().find(|place| place.owner.load(Ordering::Relaxed) == task)
}

/// Adds to the calling task's reserve, if it has one, in blocks that are as large as there are. `false`: there is no memory for it.
pub(super) fn more(need: Need) -> bool {
    let Some(Place { blocks, .. }) = ours() else { return true };
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
        unsafe { block.write(Block { next: blocks.load(Ordering::Relaxed), size }) };
        blocks.store(block.as_ptr(), Ordering::Relaxed);
        left = left.saturating_sub(size);
    }
    true
}

impl Place {
    /// Frees the smallest block that has so many bytes, any if none has. `false`: there is no block.
    fn give_back(&self, size: usize) -> bool {
        // SAFETY: only the owner calls this, and whatever is in its list is from malloc, and not freed yet.
        unsafe {
            let (mut link, mut found) = (self.blocks.as_ptr(), self.blocks.as_ptr());
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
}

/// The heap has nothing of this size for the calling task: gives it a part of its reserve back, if it has one still, and
/// allocates before another task can. `false`: it has none.
pub(super) fn release(size: usize, allocate: impl FnOnce()) -> bool {
    let Some(place) = ours() else { return false };
    // SAFETY: nothing in between blocks; the heap itself keeps other tasks out by the same means.
    let released = unsafe {
        vTaskSuspendAll();
        let released = place.give_back(size);
        if released {
            allocate();
        }
        xTaskResumeAll();
        released
    };
    if !released {
        // What comes now may be the end of the program.
        log::error(&[&"TLS takes more memory than it had in reserve"]);
    }
    released
}
