//! Real documents with lines and words taken out, doubled and exchanged.

use std::{path::Path, time::UNIX_EPOCH};

use cellwall_policy_language::{CODE_PAGES, Finding, Paint, Sources, check};
use proptest::{prelude::*, sample::Index, test_runner::Config};

use crate::{oracle::cases_or, sample::BASE};

/// One change to a text.
#[derive(Clone, Debug)]
enum Change {
    DeleteLine(Index),
    DoubleLine(Index),
    /// Puts a line where another one is.
    CopyLine(Index, Index),
    DeleteWord(Index),
    /// Puts a word where another one is.
    CopyWord(Index, Index),
    /// Puts something else where a word is.
    Word(Index, &'static str),
    Indent(Index),
}

/// What people write by mistake, and what nobody writes.
const WORDS: &[&str] = &[
    "any",
    "[]",
    "{}",
    "[any]",
    "segment/",
    "segment/core",
    "spiffe://partner.example/x",
    "spiffe://pay.example/prod/checkout",
    "->",
    "any -> any",
    "true",
    "null",
    "0",
    "-1",
    "65536",
    "1e9",
    "8h",
    "0s",
    "2026-09-01",
    "2026-03-02T10:00:00Z",
    "noon",
    "\"\"",
    "'",
    "\"",
    "&a",
    "*a",
    "!x",
    "|",
    ">",
    "- ",
    "---",
    "\u{0}",
    "\t",
    "ä",
    "caller.env == \"prod\"",
    "caller.",
    "((((((((",
    "!!!!",
    "a@b",
    "group/x",
    "GET /{x}/{x...}/",
    "a.B/*",
    "audit",
    "<<",
    "{tier: core}",
    "version",
    "rules",
    "guards",
    "when",
    "name",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Change::DeleteLine),
        at().prop_map(Change::DoubleLine),
        (at(), at()).prop_map(|(from, to)| Change::CopyLine(from, to)),
        at().prop_map(Change::DeleteWord),
        (at(), at()).prop_map(|(from, to)| Change::CopyWord(from, to)),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, word)| Change::Word(at, word)),
        at().prop_map(Change::Indent),
    ]
}

/// Where the words of a text are: whatever has no blanks and brackets.
fn words(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, char) in text.char_indices().chain([(text.len(), ' ')]) {
        let inside = !char.is_whitespace() && !"[]{},".contains(char);
        match (start, inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn changed(text: &str, change: &Change) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let found = words(text);
    if lines.is_empty() || found.is_empty() {
        return text.to_owned();
    }
    let word = |at: &Index, new: &str| {
        let mut text = text.to_owned();
        text.replace_range(at.get(&found).clone(), new);
        text
    };
    match change {
        Change::DeleteLine(at) => {
            lines.remove(at.index(lines.len()));
        }
        Change::DoubleLine(at) => {
            let at = at.index(lines.len());
            lines.insert(at, lines[at]);
        }
        Change::CopyLine(from, to) => {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            lines[to] = lines[from];
        }
        Change::DeleteWord(at) => return word(at, ""),
        Change::CopyWord(from, to) => return word(to, &text[from.get(&found).clone()]),
        Change::Word(at, new) => return word(at, new),
        Change::Indent(at) => {
            let at = at.index(lines.len());
            lines.insert(at, "  ");
        }
    }
    lines.concat()
}

/// The example of the manual in one file, the base, and a document for each code.
fn originals() -> Vec<Sources> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut originals = vec![
        Sources::from_dir(&folder.join("example")).unwrap(),
        Sources::from_dir(&folder.join("plain")).unwrap(),
        Sources::single(BASE),
    ];
    let head = BASE.split("roles:").next().unwrap();
    originals.extend(CODE_PAGES.iter().map(|it| Sources::single(format!("{head}{}", it.mended))));
    originals
}

/// Whether a place is one of a file.
fn is_in(sources: &Sources, file: &str, line: usize, column: usize, end: usize) -> bool {
    let Some(text) = sources.files.get(file) else { return false };
    let line = text.split('\n').nth(line.wrapping_sub(1));
    let width = line.map(|line| line.chars().count());
    // The end of a line, and of a file, is a place too.
    width.is_some_and(|width| 0 < column && column <= width + 1 && column < end && end <= width + 2)
}

fn is_placed(sources: &Sources, it: &Finding) -> bool {
    let related = it.related.iter().all(|it| is_in(sources, &it.file, it.line, it.column, it.end));
    related && is_in(sources, &it.file, it.line, it.column, it.end)
}

proptest! {
    #![proptest_config(Config { cases: cases_or(400), failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_mutilated_policy_has_findings_with_places_or_can_be_used(
        original in any::<Index>(),
        file in any::<Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let originals = originals();
        let mut sources = original.get(&originals).clone();
        let names: Vec<_> = sources.files.keys().cloned().collect();
        let text = sources.files.get_mut(file.get(&names)).unwrap();
        for change in &changes {
            *text = changed(text, change);
        }
        let checked = check(&sources);
        for finding in &checked.findings.0 {
            prop_assert!(is_placed(&sources, finding), "{finding:?}\n{sources:?}");
            prop_assert!(!finding.message.is_empty() && CODE_PAGES.iter().any(|it| it.code == finding.code));
        }
        prop_assert_eq!(&check(&sources).findings, &checked.findings);
        prop_assert_eq!(checked.set.is_none(), checked.findings.errors() > 0);
        checked.findings.render(&sources, Paint::Plain);
        if let Some(set) = checked.set {
            prop_assert_eq!(set.run_tests().results.len(), set.summary().tests);
            set.due(UNIX_EPOCH);
        }
    }
}
