//! `client` and `protocol` in a simulated world: a virtual clock, network, event queue and broker, all from one seed.
//!
//! `SIM_SEEDS=5000 cargo test --test simulation random` tries more seeds, `SIM_SEED=17` one, `SIM_TRACE=1` prints what
//! happens.

mod app;
mod broker;
mod events;
mod hostile;
mod hosts;
mod logged;
mod manners;
mod memory;
mod net;
mod port;
mod promises;
mod random;
mod rng;
mod scenario;
mod stage;
#[cfg(feature = "tls")]
mod tls;
mod websocket;
mod world;

mod addresses;
mod beside;
mod calls;
mod connecting;
mod directed;
mod ending;
mod event_queue;
#[cfg(feature = "tls")]
mod handshakes;
mod idle;
mod limits;
mod network;
mod out_of_memory;
mod shortage;
mod silence;
mod task_end;
mod turns;
mod wanted;

#[path = "../protocol/wire.rs"]
mod wire;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
