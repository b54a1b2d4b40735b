//! From a broker's URI to a stream of bytes. TLS and WebSocket layers will stand here, sans-IO like everything above.
#![forbid(unsafe_code)]

pub mod uri;
