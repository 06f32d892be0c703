//! The promises of cellwalld, at the sockets of a running one.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail as tests do"
)]

mod daemon;
mod distribution;
mod durability;
mod epoch;
mod handed_on;
mod inside;
mod ledger;
mod operators;
mod policy;
mod roles;
mod secrets;
mod sidecar;
mod starting;
mod svid;
mod workload;
mod workload_api;
