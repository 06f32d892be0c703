//! What `mtls` promises, tried from both sides with real handshakes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod corpus;
mod kit;
mod material;
mod session;
