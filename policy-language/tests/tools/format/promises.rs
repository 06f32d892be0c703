//! Whatever the document: nothing is said that was not said before, and a second run changes nothing.

use std::cell::Cell;

use cellwall_policy_language::{FormatError, Sources, check, format};
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};

use super::mangle::{Choices, mangle, shuffle};
use crate::documents::{config, random, real};

/// Documents per run, where nobody says otherwise.
const CASES: u32 = 16;

fn fail(reason: impl Into<String>) -> TestCaseError {
    TestCaseError::fail(reason.into())
}

/// What a document says, by a reader that is not the formatter's own; keys without their order.
fn said(text: &str) -> Result<serde_json::Value, TestCaseError> {
    serde_saphyr::from_str(text).map_err(|error| fail(format!("{error}\n{text}")))
}

/// Codes and messages, without places, in no order.
fn found(text: &str) -> Vec<String> {
    let checked = check(&Sources::single(text));
    let mut found: Vec<_> =
        checked.findings.0.iter().map(|it| format!("{} {}", it.code, it.message)).collect();
    found.sort();
    found
}

/// The comments, each with the number of sections that have begun above it.
fn comments(text: &str) -> Vec<(usize, String)> {
    let mut section = 0;
    let mut comments = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let at = line.find('#').filter(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
        section += usize::from(line.starts_with(|first: char| first.is_ascii_lowercase()));
        comments.extend(at.map(|at| (section, line[at..].trim_end().to_owned())));
    }
    comments
}

/// Whether comments may change places, because keys do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keys {
    InOrder,
    Shuffled,
}

fn hold(text: &str, keys: Keys) -> Result<String, TestCaseError> {
    let formatted = |text: &str| {
        format("cellwall.yaml", text).map_err(|error| fail(format!("{error}\n{text}")))
    };
    let once = formatted(text)?;
    let twice = formatted(&once)?;
    prop_assert_eq!(&once, &twice, "not the same twice, from\n{}", text);
    prop_assert_eq!(said(text)?, said(&once)?, "says something else, from\n{}", text);
    prop_assert_eq!(found(text), found(&once), "other findings, from\n{}", text);
    let (mut before, mut after) = (comments(text), comments(&once));
    if keys == Keys::Shuffled {
        before.sort();
        after.sort();
    }
    prop_assert_eq!(before, after, "other comments, from\n{}\nto\n{}", text, once);
    for line in once.lines() {
        prop_assert_eq!(line, line.trim_end(), "white space at the end, from\n{}", text);
    }
    let blank = once.contains("\n\n\n") || !once.ends_with('\n') || once.ends_with("\n\n");
    prop_assert!(!blank, "blank lines, from\n{}\nto\n{}", text, once);
    Ok(once)
}

fn run<S: Strategy<Value = String>>(documents: S) {
    let config = config(CASES);
    let cases = config.cases;
    let mut runner = TestRunner::new(config);
    let changed = Cell::new(0u32);
    let choices = proptest::collection::vec(any::<u8>(), 0..1500);
    runner
        .run(&(documents, choices), |(text, bytes)| {
            let plain = hold(&text, Keys::InOrder)?;
            let mut choices = Choices::new(bytes);
            let mangled = mangle(&plain, &mut choices);
            changed.set(changed.get() + u32::from(mangled != plain));
            let tidy = hold(&mangled, Keys::InOrder)?;
            prop_assert_eq!(said(&plain)?, said(&tidy)?, "mangled: {}", mangled);
            let shuffled = shuffle(&text, "  ", &mut choices);
            prop_assert_eq!(said(&text)?, said(&shuffled)?, "shuffled: {}", shuffled);
            hold(&mangle(&shuffled, &mut choices), Keys::Shuffled)?;
            Ok(())
        })
        .unwrap();
    assert!(changed.get() * 2 > cases, "{} of {cases} were mangled", changed.get());
}

#[test]
fn random_documents_say_the_same_when_formatted() {
    run(random());
}

#[test]
fn real_documents_say_the_same_when_formatted() {
    run(proptest::sample::select(real()));
}

#[test]
fn any_text_is_formatted_or_refused_and_says_the_same() {
    let mut runner = TestRunner::new(config(CASES));
    let words = proptest::sample::select(vec![
        "a", "b: ", ": ", "- ", "\n", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ",", ", ", "# c",
        " # d\n", "\"", "'", "\"x\"", "|\n", ">-\n", "|+\n", "? ", "&x ", "*x", "!t ", "---\n",
        "\t", "\r\n", "rules:\n", "name: ", "why: ", "\\", "~", "1", "\u{feff}", "\u{85}", "ä",
    ]);
    let texts = proptest::collection::vec(words, 0..40).prop_map(|words| words.concat());
    runner
        .run(&texts, |text| {
            let once = match format("a.yaml", &text) {
                Ok(once) => once,
                Err(FormatError::Syntax(_)) => return Ok(()),
                Err(FormatError::Unsure) => return Err(fail(text)),
            };
            let twice = format("a.yaml", &once).map_err(|error| fail(format!("{error}")))?;
            prop_assert_eq!(once, twice);
            Ok(())
        })
        .unwrap();
}
