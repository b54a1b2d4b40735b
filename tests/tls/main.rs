//! `transport`'s TLS layer against rustls in memory (every byte in the test's hands) and OpenSSL over sockets. One file
//! for each behaviour; with feature `tls12` all of it in both versions.
#![cfg(feature = "tls")]

mod certificates;
mod choices;
mod ending;
mod handshake;
mod hostile;
mod identity;
mod limits;
mod memory;
mod names;
mod need;
mod openssl;
mod peers;
mod pinned;
mod records;
mod resumption;
mod scripted;
mod setup;
mod support;
mod unverified;
mod verification;
