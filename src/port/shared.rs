//! A reference count whose creation can fail, unlike that of `alloc::sync::Arc` in stable Rust.

use alloc::alloc::{Layout, alloc, dealloc};
use core::ops::Deref;
use core::ptr::NonNull;

use crate::sync::{AtomicUsize, Ordering};

struct Inner<T> {
    count: AtomicUsize,
    value: T,
}

/// Shared ownership of a `T`, for use from any task. No weak references, no cycles.
pub struct Shared<T>(NonNull<Inner<T>>);

// SAFETY: a `Shared` gives `&T` to whoever holds it and drops the `T` in whichever task lets go of the last one, so it
// may cross tasks exactly when `T` may be used from several and sent to another.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above; `&Shared<T>` gives no more than a clone of it would.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves `value` to the heap; `None` when there is no memory for it.
    pub fn try_new(value: T) -> Option<Self> {
        Self::try_new_with(|| Some(value))
    }

    /// Moves what `make` returns to the heap, if it returns something; `None` too when there is no memory for it. It is
    /// made after the memory is there: this way it is on the stack once, not several times.
    pub fn try_new_with(make: impl FnOnce() -> Option<T>) -> Option<Self> {
        // SAFETY: the layout is not of size zero, it holds a counter.
        let inner = NonNull::new(unsafe { alloc(Layout::new::<Inner<T>>()) })?.cast::<Inner<T>>();
        let Some(value) = make() else {
            // SAFETY: allocated above with this layout, and nobody has it.
            unsafe { dealloc(inner.as_ptr().cast(), Layout::new::<Inner<T>>()) };
            return None;
        };
        // SAFETY: freshly allocated with this layout, so valid for a write.
        unsafe { inner.write(Inner { count: AtomicUsize::new(1), value }) };
        Some(Self(inner))
    }

    /// Whether both are the same object.
    pub fn same(a: &Self, b: &Self) -> bool {
        a.0 == b.0
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: the object lives while a `Shared` counts on it.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        add_one(&self.inner().count);
        Self(self.0)
    }
}

/// Not inlined on the device: 28 bytes of flash less.
#[cfg_attr(feature = "freertos", inline(never))]
fn add_one(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.inner().count.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // What the others did with the object comes before its end. Not a fence: ThreadSanitizer does not know those.
        self.inner().count.load(Ordering::Acquire);
        // SAFETY: this was the last reference, so nobody else reads the object or frees it; the layout is that of
        // `try_new`.
        unsafe {
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), Layout::new::<Inner<T>>());
        }
    }
}
