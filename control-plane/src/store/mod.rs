//! What survives a restart: SQLite in one file, written by one thread, many writes to one commit.

mod audit;
mod database;
mod issuances;
mod ledger;
mod policies;
mod sealing;
mod trust_domain;
mod writer;

pub use database::DatabaseError;
pub use issuances::{IssuanceRow, Recorded};
pub use ledger::{
    DecisionRow, EdgeRow, EdgeTotals, Kept, LedgerReader, ReadError, ReportRow, StoredDecision,
    Trimmed,
};
pub use policies::PolicyRow;
pub use sealing::{SealingKey, SealingKeyError, Unsealable, hex};
pub use trust_domain::{Founded, Founding};
pub use writer::{Store, StoreError, StoreThread};
