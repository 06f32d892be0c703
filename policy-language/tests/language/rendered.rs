//! Findings as they are printed.

use cellwall_policy_language::{Findings, Paint, Sources, check};

use crate::sample::bent;

#[test]
fn a_finding_shows_its_line_a_caret_and_what_to_do() {
    let sources = Sources::single(bent("    from: web", "    from: wbe"));
    let text = check(&sources).findings.render(&sources, Paint::Plain);
    assert_eq!(
        text,
        "\
error[CW0104]: unknown workload `wbe`
  --> cellwall.yaml:14:11
   |
14 |     from: wbe
   |           ^^^ not in `workloads`
   |
   = help: did you mean `web`?

"
    );
}

#[test]
fn a_finding_shows_the_other_place_also_in_another_file() {
    let root = bent("identity:", "include: [more.yaml]\nidentity:");
    let mut sources = Sources::single(root);
    let more = "version: cellwall/v1\nrules:\n  - name: ä\n    from: rpc\n    to: db\n    \
                allow: [{http: GET /}]\n    why: ü\n";
    sources.files.insert("more.yaml".to_owned(), more.replace("name: ä", "name: web-reads"));
    let findings = check(&sources).findings;
    let text = findings.render(&sources, Paint::Plain);
    assert_eq!(
        text,
        "\
error[CW0101]: two rules are called `web-reads`
  --> more.yaml:3:11
   |
 3 |   - name: web-reads
   |           ^^^^^^^^^
   |
  ::: cellwall.yaml:14:11
   |
14 |   - name: web-reads
   |           --------- the other one
   |
   = help: rename one of the two: names are unique over all files

error[CW0203]: `http` call on a `tcp` port
 --> more.yaml:6:20
  |
6 |     allow: [{http: GET /}]
  |                    ^^^^^ can never match on `db`
  |
 ::: cellwall.yaml:7:18
  |
7 |   db: {listens: {tcp: 5432}, labels: {tier: data}, id: \"/{env}/vm/db\"}
  |                  --------- declared here
  |
  = help: write a `tcp` call, or declare `listens: {http: 5432}`

"
    );
    // As JSON and back, as the control plane sends them.
    let json = serde_json::to_string(&findings).unwrap();
    assert_eq!(serde_json::from_str::<Findings>(&json).unwrap(), findings);
    assert!(findings.render(&sources, Paint::Ansi).contains("\u{1b}["));
}

#[test]
fn columns_count_characters_and_findings_without_their_source_still_print() {
    let sources = Sources::single(bent("    why: to show", "    wey: grün und schön, bäh: x"));
    let findings = check(&sources).findings;
    let found: Vec<_> =
        findings.0.iter().map(|it| (it.code.as_str(), it.line, it.column)).collect();
    assert_eq!(found, [("CW0001", 16, 29)]);
    let text = findings.render(&Sources::default(), Paint::Plain);
    assert!(text.starts_with("error[CW0001]: "), "{text}");
}
