//! Heap in reserve, for code that ends the program where it finds no memory: rustls, in the tasks of TLS handshakes and in the MQTT
//! task.

use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::FreeRtos;
use super::runtime::{free, malloc};
use super::shim::{vTaskSuspendAll, xTaskResumeAll};
use crate::log;
use crate::port::Port;
use crate::transport::tls::{BLOCK_HEADER, Held, Need};

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

/// Bytes of the heap that a block of so many takes, at most: what the heap adds to it and rounds up to.
const fn taken(size: usize) -> usize {
    size.next_multiple_of(8).saturating_add(BLOCK_HEADER)
}

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
    while place.give_back(0).is_some() {}
    place.owner.store(0, Ordering::Release);
}

fn ours() -> Option<&'static Place> {
    let task = FreeRtos::current_task();
    PLACES.iter().find(|place| place.owner.load(Ordering::Relaxed) == task)
}

/// Adds to the calling task's reserve, if it has one, in blocks that are as large as there are. `false`: there is no memory for it.
pub(super) fn more(need: Need) -> bool {
    let Some(place) = ours() else { return true };
    let (mut left, mut size, mut least) = (need.bytes, need.bytes, need.least.into_iter());
    while left > 0 {
        let least = least.next().unwrap_or(0).max(LEAST);
        size = size.min(left).max(size_of::<Block>());
        while !place.take(size) {
            if size <= least {
                return false;
            }
            size = least.max(size / 2);
        }
        left = left.saturating_sub(size);
    }
    true
}

impl Place {
    /// Adds a block of this size, in which a [`Block`] has room. `false`: the heap has none.
    fn take(&self, size: usize) -> bool {
        // SAFETY: malloc takes any size.
        let Some(block) = NonNull::new(unsafe { malloc(size) }) else { return false };
        let block = block.cast::<Block>();
        // SAFETY: it is nobody else's, large enough and aligned for everything.
        unsafe { block.write(Block { next: self.blocks.load(Ordering::Relaxed), size }) };
        self.blocks.store(block.as_ptr(), Ordering::Relaxed);
        true
    }

    /// Frees the smallest block that has so many bytes, any if none has; its size. `None`: there is no block.
    fn give_back(&self, size: usize) -> Option<usize> {
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
                return None;
            }
            let has = (*block).size;
            *found = (*block).next;
            free(block.cast());
            Some(has)
        }
    }
}

/// The heap has nothing of this size for the calling task: gives it a part of its reserve back, if it has one still, and
/// allocates before another task can; whether `allocate` has found something, it says. What that leaves of the part is in reserve
/// again. `false`: it has none.
pub(super) fn release(size: usize, allocate: impl FnOnce() -> bool) -> bool {
    let Some(place) = ours() else { return false };
    // SAFETY: nothing in between blocks; the heap itself keeps other tasks out by the same means.
    let released = unsafe {
        vTaskSuspendAll();
        let released = place.give_back(size);
        if let Some(has) = released
            && allocate()
        {
            let left = has.saturating_sub(taken(size));
            let _ = left >= size_of::<Block>() && place.take(left);
        }
        xTaskResumeAll();
        released.is_some()
    };
    if !released {
        // What comes now may be the end of the program.
        log::error(&[&"TLS takes more memory than it had in reserve"]);
    }
    released
}
