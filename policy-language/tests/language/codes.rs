//! The pages of the codes: each shows a mistake that has this code, and how to mend it.

use cellwall_policy_language::{CODE_PAGES, Sources, check, parse_instant};

/// What stands in a document where an example does not say it.
const AROUND: [(&str, &str); 4] = [
    ("version:", "version: cellwall/v1\n"),
    ("identity:", "identity: \"spiffe://pay.example/{env}/{workload}\"\n"),
    (
        "workloads:",
        "workloads:
  checkout: {listens: {http: 8443}, labels: {tier: edge}}
  payments: {listens: {http: 8443}, labels: {tier: core}}
  ledger: {listens: {grpc: 9443}, labels: {tier: core}}
  ledger-db: {listens: {tcp: 5432}, labels: {tier: data}}
",
    ),
    (
        "segments:",
        "segments:
  edge: {members: [checkout], mode: audit}
  core: {members: [payments, ledger, ledger-db], mode: enforce}
",
    ),
];

/// The codes that are found in a document with `part` in it, and whether it can be used. Codes of
/// days that have come are looked for where they are the topic.
fn found(code: &str, part: &str) -> (Vec<String>, bool) {
    let has = |key: &str| part.lines().any(|line| line.starts_with(key));
    let around = AROUND.iter().filter(|(key, _)| !has(key)).map(|(_, text)| *text);
    let mut sources = Sources::single(around.chain([part]).collect::<String>());
    if has("include:") {
        sources.files.insert("segments/a.yaml".to_owned(), "version: cellwall/v1\n".to_owned());
    }
    let checked = check(&sources);
    let now = parse_instant("2030-01-01T00:00:00Z").unwrap();
    let is_day = ["CW0402", "CW0405"].contains(&code);
    let due = checked.set.as_ref().filter(|_| is_day).map(|set| set.due(now)).unwrap_or_default();
    let mut codes: Vec<_> =
        checked.findings.0.into_iter().chain(due.0).map(|finding| finding.code).collect();
    codes.dedup();
    (codes, checked.set.is_some())
}

#[test]
fn each_page_fits_a_terminal() {
    for page in CODE_PAGES {
        for line in page.example.lines().chain(page.mended.lines()).chain([page.title]) {
            assert!(line.len() <= 96, "{} {line}", page.code);
        }
    }
}

#[test]
fn each_example_has_its_mistake_and_no_other() {
    for page in CODE_PAGES {
        let (codes, _) = found(page.code, page.example);
        assert_eq!(codes, [page.code], "{}", page.example);
    }
}

#[test]
fn each_mended_example_can_be_used_and_has_no_finding() {
    for page in CODE_PAGES {
        assert_eq!(
            found(page.code, page.mended),
            (Vec::new(), true),
            "{} {}",
            page.code,
            page.mended
        );
    }
}
