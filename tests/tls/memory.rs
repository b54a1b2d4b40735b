//! What a connection keeps: this test program's allocator counts, for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::certificates::self_signed;
use crate::support::*;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much more is allocated after `work` than before.
fn kept(work: impl FnOnce()) -> isize {
    let before = LIVE.get();
    work();
    LIVE.get() - before
}

#[test]
fn a_large_record_leaves_nothing_behind() {
    for version in VERSIONS {
        let mut pair = Pair::open(&unverified(), &server(version, &self_signed(|_| {})));
        let small = pair.says(b"small");
        pair.client.receive(&small).unwrap();
        let large = pair.says(&data(16_384));
        assert_eq!(records(&large).len(), 1);
        let (begin, end) = large.split_at(3000);
        let Client { layers, out, .. } = &mut pair.client;
        // Its first part makes room for the rest at the second read, and not for more.
        let waiting = kept(|| layers.receive(begin, out, &mut |_| panic!()).unwrap());
        assert!((0..=3000).contains(&waiting), "{waiting}");
        let waiting = kept(|| layers.receive(&[], out, &mut |_| panic!()).unwrap());
        assert!((12_000..=16_384).contains(&waiting), "{waiting}");
        let mut received = 0;
        let freed = kept(|| layers.receive(end, out, &mut |plain| received += plain.len()).unwrap());
        assert_eq!(received, 16_384);
        assert!(freed <= -16_384, "{freed}");
        let mut idle = || {
            layers.receive(&[], out, &mut |_| panic!()).unwrap();
        };
        idle();
        assert_eq!(kept(idle), 0);
    }
}

#[test]
fn connections_leave_nothing_behind() {
    for version in VERSIONS {
        let (client, server) = (unverified(), server(version, &self_signed(|_| {})));
        let connect = || {
            let mut pair = Pair::open(&client, &server);
            pair.assert_works();
        };
        // The first few fill the server's memory of sessions and the client's.
        (0..400).for_each(|_| connect());
        let kept = kept(|| (0..20).for_each(|_| connect()));
        assert!(kept.abs() < 2000, "{kept}");
    }
}
