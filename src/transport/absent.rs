//! What stands for a layer whose feature is switched off: nothing, and no code.

use alloc::vec::Vec;

use super::{Failure, Layer};
use crate::log::Say;

/// A layer that cannot exist.
#[derive(Debug)]
pub(super) enum Absent {}

impl Say for Absent {
    fn say(&self, _: &mut dyn FnMut(&str)) {
        match *self {}
    }
}

impl Failure for Absent {
    fn is_out_of_memory(&self) -> bool {
        match *self {}
    }

    fn is_orderly(&self) -> bool {
        match *self {}
    }
}

impl Layer for Absent {
    type Error = Absent;

    fn is_open(&self) -> bool {
        match *self {}
    }

    fn receive(&mut self, _: &[u8], _: &mut Vec<u8>, _: &mut dyn FnMut(&[u8])) -> Result<(), Absent> {
        match *self {}
    }

    fn send(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Absent> {
        match *self {}
    }

    fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }
}
