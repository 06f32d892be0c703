//! The program itself: what it prints, where, and with which exit code.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may fail as tests do"
)]

mod broken;
mod decisions;
mod formatting;
mod load;
mod offline;
mod pipes;
mod reach;
mod run;
mod server;
mod typed;
