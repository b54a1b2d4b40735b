//! The simulation of the library's tests: a client, its application, the network and a broker on one clock, in one thread.

#[path = "../../tests/simulation/app.rs"]
mod app;
#[path = "../../tests/simulation/broker.rs"]
mod broker;
#[path = "../../tests/simulation/events.rs"]
mod events;
#[path = "../../tests/simulation/hostile.rs"]
mod hostile;
#[path = "../../tests/simulation/hosts.rs"]
mod hosts;
#[path = "../../tests/simulation/logged.rs"]
mod logged;
#[path = "../../tests/simulation/manners.rs"]
mod manners;
#[path = "../../tests/simulation/memory.rs"]
pub(crate) mod memory;
#[path = "../../tests/simulation/net.rs"]
mod net;
#[path = "../../tests/simulation/port.rs"]
mod port;
#[path = "../../tests/simulation/promises.rs"]
mod promises;
#[path = "../../tests/simulation/rng.rs"]
mod rng;
#[path = "../../tests/simulation/scenario.rs"]
pub(crate) mod scenario;
#[path = "../../tests/simulation/stage.rs"]
mod stage;
#[cfg(feature = "tls")]
#[path = "../../tests/simulation/tls.rs"]
mod tls;
#[path = "../../tests/simulation/websocket.rs"]
mod websocket;
#[path = "../../tests/simulation/world.rs"]
mod world;

use crate::wire;
