//! cellwalld: the identity vault, the policy book and their distribution.

pub mod audit;
pub mod authority;
pub mod report;
pub mod store;
