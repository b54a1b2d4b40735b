//! What the C tests and the demo talk to: a relay that adds TLS and WebSocket to a broker that only speaks TCP, the
//! certificates for it, and a server that misbehaves.

pub mod bad;
pub mod certificates;
mod connection;
mod layers;
pub mod relay;
pub mod report;
pub mod tls;
pub mod websocket;
