//! Memory that may be out: what Rust's library allocates without asking, done so that it can fail, and a look for what others
//! allocate without asking.

#[cfg(feature = "tls")]
use alloc::boxed::Box;
use alloc::vec::Vec;

/// There is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Looks whether there is heap for blocks of these sizes at a time, and gives it back: for code that ends the program where it
/// finds none, as rustls and tungstenite do.
pub fn look_for<const N: usize>(sizes: [usize; N]) -> Result<(), OutOfMemory> {
    let mut blocks = [const { Vec::<u8>::new() }; N];
    let found = blocks.iter_mut().zip(sizes).all(|(block, size)| block.try_reserve_exact(size).is_ok());
    // Otherwise the compiler may leave the allocations out.
    drop(core::hint::black_box(blocks));
    if found { Ok(()) } else { Err(OutOfMemory) }
}

/// Appends an item to a list.
#[cfg(feature = "tls")]
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), OutOfMemory> {
    list.try_reserve(1).map_err(|_| OutOfMemory)?;
    list.push(item);
    Ok(())
}

/// A copy of these bytes.
#[cfg(feature = "tls")]
pub(crate) fn copy(bytes: &[u8]) -> Result<Vec<u8>, OutOfMemory> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| OutOfMemory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// What `Box::new` does; an array, since only a list can be asked to fail.
#[cfg(feature = "tls")]
pub(crate) fn boxed<T>(value: T) -> Result<Box<[T; 1]>, OutOfMemory> {
    let mut list = Vec::new();
    list.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
    list.push(value);
    list.try_into().map_err(|_| OutOfMemory)
}
