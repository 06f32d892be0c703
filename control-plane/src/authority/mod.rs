//! The certificate authority: founds a trust domain and issues X509-SVIDs in it.

mod ca;
mod check;
mod csr;
mod issue;
mod leaf;
mod own;
#[cfg(test)]
mod tests;

pub use ca::{Ca, CaError, NewCa};
pub use check::{Defect, Expected};
pub use csr::{CsrError, PublicKey};
pub use issue::{Authority, IssueError, Subject};
pub use leaf::{BACKDATED, LeafError, Validity};
pub use own::{Material, OwnIdentity, OwnSvidError};
