//! What stands for the library's `sync`: shuttle's atomics, each access a place where another task may go on.

use std::ptr::null_mut;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::world;

/// All of these in the library are statics that own what they point to. What they still have when a schedule is over is freed:
/// the next one begins with NULL, like a program.
pub(crate) struct AtomicPtr<T>(shuttle::sync::atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    pub(crate) const fn new(pointer: *mut T) -> Self {
        Self(shuttle::sync::atomic::AtomicPtr::new(pointer))
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    pub(crate) fn swap(&'static self, new: *mut T, order: Ordering) -> *mut T {
        self.free_at_the_end();
        self.0.swap(new, order)
    }

    pub(crate) fn compare_exchange(
        &'static self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.free_at_the_end();
        self.0.compare_exchange(current, new, success, failure)
    }

    fn free_at_the_end(&'static self) {
        let free = || {
            let left = self.0.swap(null_mut(), Ordering::SeqCst);
            if !left.is_null() {
                // SAFETY: the library has allocated it for a `T`, with Rust's allocator, and every task has ended.
                drop(unsafe { Box::from_raw(left) });
            }
        };
        world::with(|w| w.statics.push(Box::new(free)));
    }
}
