//! Memory: what is taken of it, and where topics and payloads go.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use wm_mqtt_client::protocol::Buffer;

use crate::simulation::memory::Counting as Simulated;

/// Counts what is taken, for each thread, as the device's heap does: in steps of 8 bytes, with 8 more for each block. Behind it is the
/// allocator of the simulation.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    /// The most of that since [`peak`] has begun.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// Which allocation for a topic or payload fails, counted down; 0: none.
    static FAIL: Cell<u32> = const { Cell::new(0) };
}

fn on_device(layout: Layout) -> isize {
    layout.size().next_multiple_of(8) as isize + 8
}

// SAFETY: the simulation's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + on_device(layout));
        PEAK.set(PEAK.get().max(TAKEN.get()));
        // SAFETY: the same contract.
        unsafe { Simulated.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.set(TAKEN.get() - on_device(layout));
        // SAFETY: the same contract.
        unsafe { Simulated.dealloc(pointer, layout) }
    }
}

/// What is allocated at most while `work` runs, beside what was before. A block that grows is there twice meanwhile.
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = TAKEN.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// From now on the `n`th allocation for a topic or payload fails; 0: none.
pub(crate) fn fail_allocation(n: u32) {
    FAIL.set(n);
}

/// Memory that knows its bounds.
#[derive(Debug)]
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    room: usize,
}

impl Buffer for Bytes {
    fn allocate(len: usize) -> Option<Self> {
        let countdown = FAIL.get();
        FAIL.set(countdown.saturating_sub(1));
        // As many as have come are kept: a server may announce 256 MB.
        (countdown != 1).then_some(Self { bytes: Vec::new(), room: len })
    }

    fn append(&mut self, bytes: &[u8]) {
        self.room = self.room.checked_sub(bytes.len()).expect("not more than was allocated");
        self.bytes.extend(bytes);
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}
