//! The way of `examples/board_check` to the computations.

use core::ffi::{c_char, c_uint};
use core::ptr;

use crate::checks::{CHECKS, products};

/// All results of a product, in one number.
#[unsafe(no_mangle)]
pub extern "C" fn wm_mqtt_check_product(product: extern "C" fn(u32, u32, u64) -> u64) -> u64 {
    products::results(|a, b, sum| product(a, b, sum))
}

/// Does a computation: its name, and what comes out in `result`; NULL behind the last.
///
/// # Safety
///
/// `result` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wm_mqtt_check(number: c_uint, result: *mut u64) -> *const c_char {
    let Some((name, check)) = CHECKS.get(number as usize) else { return ptr::null() };
    // SAFETY: the caller's promise.
    unsafe { result.write(check()) };
    name.as_ptr()
}
