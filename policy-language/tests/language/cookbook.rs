//! docs/cookbook.md against the language: its policies, its explanation.

use cellwall_policy_language::{PolicySet, Sources, check, format};

use crate::{manual::page, sample::lines};

/// The page's policies, each with the heading that it stands under.
fn policies() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for section in page("cookbook.md").split("\n## ").skip(1) {
        let head = section.lines().next().unwrap();
        let blocks = section.split("```yaml\n").skip(1).map(|it| it.split("```").next().unwrap());
        let whole = blocks.filter(|block| block.starts_with("version:"));
        found.extend(whole.map(|block| (head.to_owned(), block.to_owned())));
    }
    found
}

fn loaded(head: &str, text: &str) -> PolicySet {
    let checked = check(&Sources::single(text));
    assert_eq!(lines(&checked), Vec::<String>::new(), "{head}");
    checked.set.unwrap()
}

#[test]
fn every_policy_of_the_cookbook_is_formatted_has_no_findings_and_passes_its_tests() {
    let policies = policies();
    assert_eq!(policies.len(), 12);
    for (head, text) in policies {
        assert_eq!(format("cellwall.yaml", &text).unwrap(), text, "{head}");
        let report = loaded(&head, &text).run_tests();
        let failed: Vec<_> = report.results.iter().filter(|result| !result.passed).collect();
        assert_eq!(failed.len(), 0, "{head}: {failed:#?}");
        // A test cannot ask as a workload of another trust domain.
        let bare = report.untested_rules.iter().chain(&report.unbounded_rules);
        let bare: Vec<_> = bare.filter(|rule| *rule != "bank-sends-payouts").collect();
        assert_eq!(bare, Vec::<&String>::new(), "{head}");
    }
}

#[test]
fn the_cookbooks_denial_is_explained_and_mended_as_printed() {
    let (head, text) = policies().pop().unwrap();
    let sources = Sources::single(text);
    let set = loaded(&head, &sources.files[&sources.root]);
    let question = "prod/fraud -> prod/ledger ledger.v1.Ledger/Post";
    let now = std::time::SystemTime::UNIX_EPOCH;
    let mut explanation = set.explain(question, now).unwrap();
    let mut fix = set.fix(&sources, &explanation).unwrap();
    let mended = fix.apply(&sources);
    // As the command line shows it.
    fix.file = "policy/cellwall.yaml".to_owned();
    explanation.fix = Some(fix);
    let printed = explanation.to_string();
    assert!(page("cookbook.md").contains(&printed), "{printed}");
    let answer = loaded(&head, &mended.files[&mended.root]).explain(question, now).unwrap();
    assert_eq!(answer.verdict, "allow");
}
