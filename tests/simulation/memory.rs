//! The program's allocator: it counts what the library allocates, and refuses it when a test says so.
//!
//! The library shares its thread with the world under it and the application over it, so both sides say when they begin.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;

use super::rng::Rng;

thread_local! {
    static IN_LIBRARY: Cell<bool> = const { Cell::new(false) };
    static PLAN: Cell<Plan> = const { Cell::new(Plan::Never) };
    static COUNTED: Cell<u64> = const { Cell::new(0) };
    static REFUSED: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<bool> = const { Cell::new(false) };
    static SHOW: Cell<bool> = const { Cell::new(false) };
}

/// Which of the library's allocations fail.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    Never,
    /// From the `first`, counted from 1, `count` of them.
    Burst {
        first: u64,
        count: u64,
    },
    /// Each with this probability.
    Permille(u64),
    /// Those of more bytes than this.
    Over(usize),
    /// Those of more bytes than this for the application: topics and payloads.
    MessagesOver(usize),
    /// Those of more bytes than this for the library itself.
    OwnOver(usize),
}

/// What is done until this is dropped is done by the library, or not.
pub(crate) struct Side {
    before: bool,
}

impl Drop for Side {
    fn drop(&mut self) {
        IN_LIBRARY.set(self.before);
    }
}

/// The library begins.
pub(crate) fn library() -> Side {
    Side { before: IN_LIBRARY.replace(true) }
}

/// The world or the application begins.
pub(crate) fn world() -> Side {
    Side { before: IN_LIBRARY.replace(false) }
}

/// From now on this happens, and counting begins anew.
pub(crate) fn plan(plan: Plan) {
    COUNTED.set(0);
    REFUSED.set(0);
    PLAN.set(plan);
}

/// The shortage is no more than this, unless there is memory again.
pub(crate) fn eases(permille: u64) {
    if !matches!(PLAN.get(), Plan::Never) {
        PLAN.set(Plan::Permille(permille));
    }
}

/// There is memory again; how many allocations were refused.
pub(crate) fn is_back() -> u64 {
    PLAN.set(Plan::Never);
    REFUSED.get()
}

/// Bytes that the library has allocated and nobody has freed.
pub(crate) fn live() -> usize {
    LIVE.get()
}

/// Shows where the allocations come from that are refused.
pub(crate) fn show_refusals() {
    SHOW.set(true);
}

/// The running task has a reserve now, out of which nothing is refused, or has none; what was before.
#[cfg(feature = "tls")]
pub(crate) fn hold(held: bool) -> bool {
    HELD.replace(held)
}

/// Whether the system is out of memory, for something small that it makes for the library.
pub(crate) fn is_out() -> bool {
    is_out_for(1, false)
}

/// The same for so many bytes, for the application or for the library itself.
pub(crate) fn is_out_for(size: usize, application: bool) -> bool {
    if !IN_LIBRARY.get() || HELD.get() {
        return false;
    }
    let number = COUNTED.get() + 1;
    COUNTED.set(number);
    let refused = match PLAN.get() {
        Plan::Never => false,
        Plan::Burst { first, count } => number >= first && number - first < count,
        Plan::Permille(n) => Rng::new(number).permille(n),
        Plan::Over(most) => size > most,
        Plan::MessagesOver(most) => application && size > most,
        Plan::OwnOver(most) => !application && size > most,
    };
    if refused {
        REFUSED.set(REFUSED.get() + 1);
        if SHOW.get() {
            let _world = world();
            eprintln!("refused:\n{}", Backtrace::force_capture());
        }
    }
    refused
}

/// The system's allocator, with a note before each block: whether it is the library's.
#[derive(Debug)]
pub(crate) struct Counting;

/// Room for the note that keeps the alignment, and the whole.
fn with_note(layout: Layout) -> Option<(usize, Layout)> {
    let note = layout.align().max(16);
    Some((note, Layout::from_size_align(layout.size().checked_add(note)?, note).ok()?))
}

// SAFETY: the blocks are those of the system's allocator, each behind a note that no caller sees. `realloc` and
// `alloc_zeroed` are the trait's own, by way of these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_out_for(layout.size(), false) {
            return std::ptr::null_mut();
        }
        let Some((note, whole)) = with_note(layout) else { return std::ptr::null_mut() };
        // SAFETY: the layout is not of size zero; the note is before its end.
        unsafe {
            let block = System.alloc(whole);
            if block.is_null() {
                return block;
            }
            block.write(u8::from(IN_LIBRARY.get()));
            if IN_LIBRARY.get() {
                LIVE.set(LIVE.get() + layout.size());
            }
            block.add(note)
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((note, whole)) = with_note(layout) else { return };
        // SAFETY: the block came from `alloc`, with this layout.
        unsafe {
            let block = block.sub(note);
            if block.read() != 0 {
                LIVE.set(LIVE.get() - layout.size());
            }
            System.dealloc(block, whole);
        }
    }
}
