//! docs/policy.md against the language: its codes, its keys, its examples.

use cellwall_policy_language::{Sources, check, code_page};

use crate::sample::lines;

fn manual() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    std::fs::read_to_string(path).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = manual();
    let fence = format!("```{language}\n");
    let parts = text.split(fence.as_str()).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_code_of_the_manual_is_one_of_the_language() {
    let text = manual();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let codes: Vec<_> = rows.filter(|code| code.starts_with("CW")).collect();
    assert!(codes.len() > 30, "{codes:?}");
    for code in codes {
        assert!(code_page(code).is_some(), "{code}");
    }
}

#[test]
fn the_manuals_examples_are_policy() {
    let around = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  checkout: {listens: {http: 8443}}
  payments: {listens: {http: 8443}, labels: {tier: core}}
  card-vault: {listens: {http: 8443}}
  notifier: {listens: {http: 8443}}
segments:
  all: {members: [checkout, payments, card-vault, notifier], mode: enforce}
"#;
    let examples = blocks("yaml").concat();
    let checked = check(&Sources::single(format!("{around}{examples}")));
    assert_eq!(lines(&checked), Vec::<String>::new());
    let report = checked.set.unwrap().run_tests();
    assert_eq!((report.passed(), report.failed()), (2, 0));
}

#[test]
fn the_manuals_explanation_is_what_explain_prints() {
    let question = "prod/fraud -> prod/ledger ledger.v1.Ledger/Post";
    let text = crate::example::example()
        .explain(question, std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .to_string();
    assert!(manual().contains(&text), "{text}");
}
