//! Documents to try things on: those of the tests of the language, and those that people wrote.

use std::{fs, path::Path};

use proptest::{strategy::Strategy, test_runner::Config};

use crate::oracle;

/// Documents with every kind of statement.
pub(crate) fn random() -> impl Strategy<Value = String> {
    oracle::document()
}

/// What people have written: for the demo, for the manual.
pub(crate) fn real() -> Vec<String> {
    let files = [
        "../deploy/demo/policy/cellwall.yaml",
        "../deploy/demo/policy/segments/payments.yaml",
        "tests/example/cellwall.yaml",
        "tests/example/segments/payments.yaml",
    ];
    files.map(file).into()
}

/// A file by its path from the crate.
pub(crate) fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// `usual` cases per run, where nobody says otherwise.
#[expect(clippy::disallowed_methods, reason = "the one setting of a test, read at its one place")]
pub(crate) fn config(usual: u32) -> Config {
    let wanted = std::env::var("CELLWALL_PROPTEST_CASES").ok();
    let cases = wanted.and_then(|text| text.parse().ok()).unwrap_or(usual);
    Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() }
}
