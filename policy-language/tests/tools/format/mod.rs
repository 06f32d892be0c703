//! The formatter: tables of before and after, and what it promises on any document.

mod broken;
mod mangle;
mod promises;
mod tables;

use cellwall_policy_language::format;

/// Formats a text, twice: the second time nothing may change.
#[track_caller]
fn formatted(text: &str) -> String {
    let once = format("cellwall.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let twice = format("cellwall.yaml", &once).unwrap_or_else(|error| panic!("{error}\n{once}"));
    assert_eq!(once, twice, "\nfrom\n{text}");
    once
}

#[track_caller]
fn check(before: &str, after: &str) {
    assert_eq!(formatted(before), after, "\nfrom\n{before}");
}

#[track_caller]
fn unchanged(text: &str) {
    check(text, text);
}
