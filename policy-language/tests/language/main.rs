//! What the language promises, on documents as people write them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod example;
