//! What helps people to write documents: the formatter and the editors' schema; and the corpora of the
//! fuzzers.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "helpers of tests may fail as tests do"
)]

mod corpora;
mod documents;
mod format;
#[expect(dead_code, reason = "only the documents are of use here, no calls")]
mod oracle;
mod schema;
