//! The device port's reserve over a small heap, which another task takes all of whenever it runs.

use core::cell::RefCell;
use core::ffi::c_void;
use std::vec::Vec;

use super::host::Host as FreeRtos;
use crate::transport::tls::{BLOCK_HEADER, Need};

#[path = "freertos/reserve.rs"]
mod reserve;

/// Bytes of the heap.
const HEAP: usize = 8192;
/// What it rounds up to.
const ALIGN: usize = 8;

/// The heap's blocks, in order: size with what is added, and whether it is free.
struct Heap {
    memory: Vec<u64>,
    blocks: Vec<(usize, bool)>,
}

std::thread_local! {
    static HEAP_OF_TEST: RefCell<Heap> =
        RefCell::new(Heap { memory: std::vec![0; HEAP / 8], blocks: std::vec![(HEAP, true)] });
}

impl Heap {
    fn allocate(&mut self, size: usize) -> Option<usize> {
        let whole = size.next_multiple_of(ALIGN) + BLOCK_HEADER;
        let at = self.blocks.iter().position(|(len, is_free)| *is_free && *len >= whole)?;
        let left = self.blocks[at].0 - whole;
        self.blocks[at] = (whole, false);
        if left > 0 {
            self.blocks.insert(at + 1, (left, true));
        }
        Some(self.blocks[..at].iter().map(|(len, _)| len).sum::<usize>() + BLOCK_HEADER)
    }

    fn free(&mut self, place: usize) {
        let mut begin = 0;
        let at = self.blocks.iter().position(|(len, _)| {
            begin += len;
            begin > place
        });
        self.blocks[at.unwrap()].1 = true;
        self.blocks.dedup_by(|behind, before| {
            let merges = behind.1 && before.1;
            before.0 += if merges { behind.0 } else { 0 };
            merges
        });
    }
}

mod runtime {
    use super::*;

    pub(super) unsafe fn malloc(size: usize) -> *mut c_void {
        HEAP_OF_TEST.with_borrow_mut(|heap| match heap.allocate(size) {
            Some(place) => heap.memory.as_mut_ptr().cast::<u8>().wrapping_add(place).cast(),
            None => core::ptr::null_mut(),
        })
    }

    pub(super) unsafe fn free(block: *mut c_void) {
        HEAP_OF_TEST.with_borrow_mut(|heap| heap.free(block.addr() - heap.memory.as_ptr().addr()));
    }
}

/// Another task takes all that there is.
fn others_run() {
    for size in [4096, 256, 8, 1] {
        // SAFETY: takes any size.
        while unsafe { !runtime::malloc(size).is_null() } {}
    }
}

#[allow(non_snake_case)]
mod shim {
    pub(super) unsafe fn vTaskSuspendAll() {}

    pub(super) unsafe fn xTaskResumeAll() -> core::ffi::c_int {
        super::others_run();
        1
    }
}

/// As the port allocates.
fn allocate(size: usize) -> bool {
    // SAFETY: takes any size.
    let new = || unsafe { runtime::malloc(size) };
    let mut block = new();
    while block.is_null()
        && reserve::release(size, || {
            block = new();
            !block.is_null()
        })
    {}
    !block.is_null()
}

#[test]
fn what_is_in_reserve_is_for_one_task_alone() {
    for sizes in [&[32_usize][..], &[1, 500, 33], &[1000, 8, 8, 100]] {
        HEAP_OF_TEST.with_borrow_mut(|heap| heap.blocks = std::vec![(HEAP, true)]);
        let held = reserve::begin(Need::whole(4000)).expect("memory");
        others_run();
        let mut left = 4000 + BLOCK_HEADER;
        for size in sizes.iter().cycle() {
            // With what the heap adds.
            let whole = size.next_multiple_of(ALIGN) + BLOCK_HEADER;
            if whole > left {
                break;
            }
            assert!(allocate(*size), "{sizes:?}: another task has what was in reserve, {left} bytes of it");
            left -= whole;
        }
        assert!(!allocate(left + BLOCK_HEADER));
        drop(held);
    }
}
