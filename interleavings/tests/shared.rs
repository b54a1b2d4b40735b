//! The library's reference count under loom, which knows what each memory ordering promises: every execution of these few tasks.

extern crate alloc;

#[allow(dead_code)]
#[path = "../../src/port/shared.rs"]
mod shared;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};
}

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::UnsafeCell;
use shared::Shared;

static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Looked at by whoever has a reference; written by the last one, who must see that the others have looked.
struct Value(UnsafeCell<u32>);

// SAFETY: loom finds out whether that is so.
unsafe impl Sync for Value {}

impl Value {
    fn look(&self) {
        // SAFETY: as above.
        assert_eq!(self.0.with(|value| unsafe { *value }), 7);
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe { *value = 0 });
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_last_of_three_drops_it_once() {
    loom::model(|| {
        DROPPED.store(0, Ordering::SeqCst);
        let shared = Shared::try_new(Value(UnsafeCell::new(7))).expect("memory");
        let tasks = [shared.clone(), shared.clone()].map(|shared| {
            loom::thread::spawn(move || {
                let another = shared.clone();
                drop(shared);
                another.look();
            })
        });
        shared.look();
        drop(shared);
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
    });
}
