//! `protocol::Session` against the standard: bytes and instants in, bytes, events and deadlines out. One file for each
//! behaviour; `wire` is a codec of the other side that knows nothing of `src`.

mod decode;
mod encode;
mod forgotten;
mod handed_over;
mod handshake;
mod identifiers;
mod keep_alive;
mod limits;
mod memory;
mod receive;
mod resend;
mod sloppy;
mod support;
mod traced;
mod transmit;
mod wire;
