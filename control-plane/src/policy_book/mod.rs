//! The policy book: numbered versions, one of them in force.

mod apply;
mod edition;

pub use apply::{Applied, ApplyError, Proposal};
pub use edition::{Edition, Policy, PolicyBook, PolicyBookError};
