//! What the language promises, on documents as people write them.
#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "helpers of tests may fail as tests do"
)]

mod codes;
mod codes_page;
mod compiled;
mod cookbook;
mod demo;
mod due;
mod example;
mod files;
mod findings;
mod loosened;
mod manual;
mod mutilated;
mod not_yet;
mod oracle;
mod past;
mod rendered;
mod sample;
mod scale;
mod suggested;
mod whole;
