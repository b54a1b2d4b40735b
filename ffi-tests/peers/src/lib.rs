//! What the C tests and the demo talk to: a relay that adds TLS and WebSocket to a broker that only speaks TCP, the
//! certificates for it, a server that misbehaves, and a proxy that behaves as bad networks do.

pub mod bad;
pub mod certificates;
pub mod chaos;
mod connection;
mod layers;
pub mod relay;
pub mod report;
pub mod tls;
pub mod websocket;
