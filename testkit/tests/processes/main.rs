//! The kit on the real programs: build them first, as `cargo check-all` does.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests")]

mod compared;
mod decisions;
mod fleet;
mod load;
mod mesh;
mod outage;
mod pair;
