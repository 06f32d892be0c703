//! docs/policy.md against the language: its codes, its keys, its examples.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use cellwall_policy::TlsFact;
use cellwall_policy_language::{CODE_PAGES, CodePage, Sources, check, format, schema};

use crate::sample::lines;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// A page of the documentation.
pub(crate) fn page(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn manual() -> String {
    page("policy.md")
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = manual();
    let fence = format!("```{language}\n");
    let parts = text.split(fence.as_str()).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// What a block of the manual stands in, by key: what the block says itself is left out.
const AROUND: [(&str, &str); 3] = [
    ("identity:", "identity: \"spiffe://pay.example/{env}/{workload}\"\n"),
    (
        "workloads:",
        "workloads:\n  checkout: {listens: {http: 8443}}\n  payments: {listens: {http: 8443}, labels: \
         {tier: core}}\n  card-vault: {listens: {http: 8443}}\n  notifier: {listens: {http: 8443}}\n",
    ),
    (
        "segments:",
        "segments:\n  all: {members: [checkout, payments, card-vault, notifier], mode: enforce}\n",
    ),
];

fn in_a_policy(block: &str) -> String {
    let missing = AROUND.iter().filter(|(key, _)| !block.lines().any(|line| line.starts_with(key)));
    let around: String = missing.map(|(_, text)| *text).collect();
    format!("version: cellwall/v1\n{around}{block}")
}

/// `CELLWALL_BLESS=1` writes the rows of new codes; what stands behind a title is ours to say.
#[test]
fn the_manual_lists_every_code_with_its_title() {
    let text = manual();
    let kept: Vec<&str> = text.lines().filter(|line| line.starts_with("| CW")).collect();
    let row = |page: &CodePage| {
        let head = format!("| {} | {}", page.code, page.title);
        let known = kept.iter().find(|row| row.starts_with(&head));
        known.map_or_else(|| head.clone() + " |", |row| (*row).to_owned())
    };
    let rows: Vec<String> = CODE_PAGES.iter().map(row).collect();
    if std::env::var_os("CELLWALL_BLESS").is_some() {
        let blessed = text.replace(&kept.join("\n"), &rows.join("\n"));
        std::fs::write(path("policy.md"), blessed).unwrap();
    } else {
        assert_eq!(kept, rows, "CELLWALL_BLESS=1 writes them anew");
    }
}

/// The keys of all mappings of a schema.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.extend(properties.keys().cloned());
    }
    let inner = schema.as_object().into_iter().flat_map(|it| it.values());
    inner.chain(schema.as_array().into_iter().flatten()).for_each(|it| keys(it, found));
}

#[test]
fn the_manual_names_every_key() {
    let mut missing = BTreeSet::new();
    keys(&serde_json::from_str(&schema()).unwrap(), &mut missing);
    assert!(missing.len() > 40, "{missing:?}");
    let manual = manual();
    let rows = manual.lines().filter(|line| line.starts_with("| `"));
    for word in rows.flat_map(|row| row.split(|it: char| !it.is_alphanumeric() && it != '_')) {
        missing.remove(word);
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn each_example_of_the_manual_is_policy_and_passes_its_tests() {
    let blocks = blocks("yaml");
    assert!(blocks.len() > 8, "{}", blocks.len());
    for block in blocks {
        let whole = format!("version: cellwall/v1\n\n{block}");
        let formatted = format("cellwall.yaml", &whole).unwrap().replace("\n\n", "\n");
        assert_eq!(formatted, whole.replace("\n\n", "\n"));
        let checked = check(&Sources::single(in_a_policy(&block)));
        assert_eq!(lines(&checked), Vec::<String>::new(), "{block}");
        let report = checked.set.unwrap().run_tests();
        let failed: Vec<_> = report.results.iter().filter(|result| !result.passed).collect();
        assert_eq!(failed.len(), 0, "{block}\n{failed:#?}");
    }
}

#[test]
fn the_manual_names_every_fact_of_a_connection_and_its_values() {
    let row = |name: &str| {
        let head = format!("| `{name}` |");
        manual().lines().find(|line| line.starts_with(&head)).map(str::to_owned).unwrap()
    };
    for (name, fact) in [("tls.version", TlsFact::Version), ("tls.group", TlsFact::Group)] {
        for value in fact.values() {
            assert!(row(name).contains(&format!("`{value}`")), "{name} {value}");
            let guard = format!(
                "guards:\n  - name: odd\n    deny: any -> any\n    when: {name} != \"{value}\"\n    \
                 why: x\n"
            );
            assert_eq!(lines(&check(&Sources::single(in_a_policy(&guard)))), Vec::<String>::new());
        }
    }
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
