//! What the crate promises to the proxy and the control plane.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod decide;
mod document;
mod guards;
mod idempotent;
mod loosened;
mod near_misses;
mod sample;
mod signed;
mod statements;
mod tampered;
mod upgrades;
