//! `transport`'s TLS layer against rustls in memory (every byte in the test's hands) and OpenSSL over sockets. One file
//! for each behaviour; with feature `tls12` all of it in both versions.
#![cfg(feature = "tls")]

mod authorities;
mod certificates;
mod choices;
mod common_name;
mod der;
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
mod pem;
mod pinned;
mod records;
mod reserve;
mod resumption;
mod scripted;
mod setup;
mod signatures;
mod support;
mod two_tasks;
mod unverified;
mod verification;
mod version_1;
