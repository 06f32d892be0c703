//! The kit on the real programs: build them first, as `cargo check-all` does.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod mesh;
mod outage;
mod pair;
