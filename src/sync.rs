//! Atomics, under one name: in `interleavings/` it is a model's.

pub(crate) use core::sync::atomic::*;
