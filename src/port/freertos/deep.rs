//! Tasks with a deep stack, which is given back by whoever joins them: that of a task that deletes itself is left to the idle
//! task, which a busy system does not run.

use core::alloc::Layout;
use core::ffi::c_void;
use core::mem::{ManuallyDrop, forget};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use alloc::alloc::{alloc, dealloc};
use freertos_rust::{FreeRtosTaskHandle, Semaphore, freertos_rs_delete_task, freertos_rs_suspend_task};

use super::{FOREVER, config, shim, start};
use crate::port::{Join, Task};

/// A task that was started.
pub struct DeepTask {
    task: FreeRtosTaskHandle,
    end: NonNull<End>,
}

// SAFETY: a handle of FreeRTOS may be used from any task, and so may what is behind `end`.
unsafe impl Send for DeepTask {}

/// How the task ends, in a block with what it runs. The block is freed by who joins it, or by the task if nobody does.
struct End {
    /// Given when the task does nothing any more.
    done: Semaphore,
    is_detached: AtomicBool,
    block: Layout,
}

#[repr(C)] // `end` is where the block begins
struct Body<T> {
    end: End,
    task: ManuallyDrop<T>,
}

impl DeepTask {
    pub(super) fn spawn<T: Task>(task: T) -> Option<Self> {
        let block = Layout::new::<Body<T>>();
        let end = End { done: Semaphore::new_binary().ok()?, is_detached: AtomicBool::new(false), block };
        // SAFETY: the layout is not of size zero, there is an `End` in it.
        let body = NonNull::new(unsafe { alloc(block) })?.cast::<Body<T>>();
        // SAFETY: freshly allocated with this layout; the new task gets it, or it is given back.
        unsafe {
            body.write(Body { end, task: ManuallyDrop::new(task) });
            match start(b"mqtt tls", config().handshake_stack, run::<T>, body.as_ptr().cast()) {
                Some(task) => Some(Self { task, end: body.cast() }),
                None => {
                    finish(body);
                    free(body.cast());
                    None
                }
            }
        }
    }
}

impl Join for DeepTask {
    fn join(self) {
        // SAFETY: the block is there until it is freed here, since nobody has dropped this. The task does nothing any more
        // when it has given `done`, and is deleted once.
        unsafe {
            while self.end.as_ref().done.take(FOREVER).is_err() {}
            freertos_rs_delete_task(self.task);
            free(self.end);
        }
        forget(self);
    }
}

impl Drop for DeepTask {
    /// Only by the task itself: it looks at this behind its last turn.
    fn drop(&mut self) {
        // SAFETY: the block is there while the task takes turns.
        unsafe { self.end.as_ref() }.is_detached.store(true, Ordering::Relaxed);
    }
}

extern "C" fn run<T: Task>(body: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` has given the body to this function, and its end to who joins the task, who touches nothing before `done`
    // is given.
    unsafe {
        let body = NonNull::new_unchecked(body.cast::<Body<T>>());
        while (*body.as_ptr()).task.turn() {}
        finish(body);
        shim::wm_mqtt_port_net_task_ends();
        let end = body.cast::<End>();
        if end.as_ref().is_detached.load(Ordering::Relaxed) {
            free(end);
            freertos_rs_delete_task(ptr::null());
        }
        end.as_ref().done.give();
        loop {
            freertos_rs_suspend_task(ptr::null());
        }
    }
}

/// Drops what a task runs.
///
/// # Safety
///
/// It is there, and not dropped yet.
unsafe fn finish<T>(body: NonNull<Body<T>>) {
    // SAFETY: as the caller says.
    unsafe { ManuallyDrop::drop(&mut (*body.as_ptr()).task) };
}

/// Frees the block of a task.
///
/// # Safety
///
/// Nobody uses it any more, and what the task runs is dropped.
unsafe fn free(end: NonNull<End>) {
    // SAFETY: it was allocated with this layout.
    unsafe {
        let block = end.as_ref().block;
        end.drop_in_place();
        dealloc(end.as_ptr().cast(), block);
    }
}
