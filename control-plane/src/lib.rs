//! cellwalld: the identity vault, the policy book and their distribution.

pub mod audit;
pub mod store;
