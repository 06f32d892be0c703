//! What `mtls` promises, tried from both sides with real handshakes.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod binding;
mod corpus;
mod kit;
mod material;
mod session;
