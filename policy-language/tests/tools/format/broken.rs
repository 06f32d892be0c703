//! What is no document is not formatted, and said so with its place.

use cellwall_policy_language::{FormatError, Paint, Sources, format};

#[test]
fn what_is_no_document_is_a_finding_with_a_caret() {
    for (text, place) in [
        ("rules: [a\n", "CW0001 1:8"),
        ("a: b: c\n", "CW0001 1:5"),
        ("rules:\n\t- name: a\n", "CW0001 2:1"),
        ("a: &x b\n", "CW0001 1:7"),
        ("a: b\n---\nc: d\n", "CW0001 2:1"),
        ("a: \"b\n", "CW0001 2:1"),
    ] {
        let error = format("some.yaml", text).unwrap_err();
        let FormatError::Syntax(findings) = error else { panic!("{error}") };
        let found: Vec<_> =
            findings.0.iter().map(|it| format!("{} {}:{}", it.code, it.line, it.column)).collect();
        assert_eq!(found, [place], "{text}");
        let mut sources = Sources::single("");
        sources.files.insert("some.yaml".to_owned(), text.to_owned());
        let shown = findings.render(&sources, Paint::Plain);
        assert!(shown.contains("--> some.yaml:") && shown.contains('^'), "{shown}");
    }
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let longest = "#".repeat(1024 * 1024);
    assert_eq!(format("some.yaml", &longest).unwrap(), longest);
    let error = format("some.yaml", &"#".repeat(1024 * 1024 + 1)).unwrap_err();
    let FormatError::Syntax(findings) = error else { panic!("{error}") };
    assert_eq!(findings.0[0].code, "CW0010");
}
