//! Documents: whatever the text, there are findings with places, or a policy that compiles.

use std::time::UNIX_EPOCH;

use cellwall_policy::{Publication, Snapshot};
use cellwall_policy_language::{Finding, Findings, Paint, Sources, check};

/// The longest text that is worth the time.
const MAX_TEXT: usize = 32 * 1024;

/// Reads a text as a policy of one file.
pub(crate) fn policy_documents(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > MAX_TEXT {
        return;
    }
    let sources = Sources::single(text);
    let checked = check(&sources);
    placed(&checked.findings, &sources);
    // Twice the same.
    assert_eq!(check(&sources).findings, checked.findings);
    assert_eq!(checked.set.is_some(), checked.findings.errors() == 0);
    let Some(set) = checked.set else { return };
    let report = set.run_tests();
    assert_eq!(report.passed() + report.failed(), report.results.len());
    for entry in set.entries() {
        assert!(set.identify(&entry.id).is_some(), "{}", entry.id);
        let document = set
            .compile(&entry.id, &[], &Publication::default(), UNIX_EPOCH)
            .unwrap_or_else(|error| panic!("{}: {error}", entry.id));
        // Through the wire form, as a proxy gets it.
        let wire = serde_json::to_vec(&document).unwrap();
        let snapshot = Snapshot::new(serde_json::from_slice(&wire).unwrap());
        snapshot.unwrap_or_else(|error| panic!("{}: {error}", entry.id));
    }
}

/// Every finding has a place inside of a file, and can be shown.
pub(super) fn placed(findings: &Findings, sources: &Sources) {
    for finding in &findings.0 {
        let Finding { file, line, column, end, related, .. } = finding;
        inside(sources, file, *line, *column..*end);
        for related in related {
            inside(sources, &related.file, related.line, related.column..related.end);
        }
        assert!(!finding.message.is_empty());
    }
    let _ = findings.render(sources, Paint::Plain);
    let json = serde_json::to_string(findings).unwrap();
    assert_eq!(serde_json::from_str::<Findings>(&json).unwrap(), *findings);
}

fn inside(sources: &Sources, file: &str, line: usize, columns: std::ops::Range<usize>) {
    let text = sources.files.get(file).unwrap_or_else(|| panic!("no file {file}"));
    let lines: Vec<_> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&line), "line {line} of {}", lines.len());
    let width = lines[line - 1].chars().count();
    // A caret may stand behind the last character.
    let fits = 1 <= columns.start && columns.start < columns.end && columns.end <= width + 2;
    assert!(fits, "columns {columns:?} of {width} in line {line}");
}
