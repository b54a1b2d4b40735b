//! What is fuzzed: one module for each target, whose `run` takes bytes that libFuzzer has made up, and panics when the library does not
//! keep what it promises. Everything random is in those bytes: the same bytes do the same.

pub mod client;
pub mod config;
pub mod decoder;
mod heap;
mod pieces;
#[path = "../../tests/tls/scripted.rs"]
#[allow(dead_code)] // as the tests need it
mod scripted;
mod server;
pub mod session;
#[allow(dead_code)] // as the tests need it
mod simulation;
mod support;
pub mod tls;
pub mod upgrade;
pub mod uri;
pub mod websocket;
/// Where the tests' files look for it.
mod certificates {
    pub(crate) use crate::support::Identity;
}
#[path = "../../tests/protocol/wire.rs"]
mod wire;

/// A target.
pub type Run = fn(&[u8]);

/// All of them, by name.
pub static TARGETS: [(&str, Run); 8] = [
    ("decoder", decoder::run),
    ("session", session::run),
    ("tls", tls::run),
    ("websocket", websocket::run),
    ("upgrade", upgrade::run),
    ("uri", uri::run),
    ("config", config::run),
    ("client", client::run),
];
