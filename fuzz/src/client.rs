//! The whole client, as the C functions use it, in the simulated world: the bytes choose the world and its broker, which calls tasks
//! and callbacks make on which handle, what happens to network, event queue, memory and tasks, what the server says that no
//! broker should, and how much time goes by in between. What is promised is looked after at every step, and at the end.

use crate::simulation::scenario;

/// A scenario that bytes choose.
pub fn run(data: &[u8]) {
    scenario::run_bytes(data);
}

/// One that a seed chooses: how many connections, messages and simulated milliseconds there were.
pub fn run_seed(seed: u64) -> [u64; 3] {
    scenario::run(seed)
}
