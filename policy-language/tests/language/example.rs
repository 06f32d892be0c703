//! The payments example: of the manual, and the same without conditions and grants.

use std::{path::Path, time::UNIX_EPOCH};

use cellwall_policy_language::{Paint, PolicySet, Sources, Summary, check};

pub(crate) fn folder(name: &str) -> Sources {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Sources::from_dir(&tests.join(name)).unwrap()
}

/// Without conditions and grants.
pub(crate) fn example() -> PolicySet {
    let sources = folder("plain");
    let checked = check(&sources);
    assert!(checked.findings.0.is_empty(), "{}", checked.findings.render(&sources, Paint::Plain));
    checked.set.unwrap()
}

#[test]
fn the_manuals_example_loads_and_all_its_tests_pass() {
    let sources = folder("example");
    let checked = check(&sources);
    // Its root file does not say who owns the guards.
    let found: Vec<_> = checked.findings.0.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(found, ["CW0403"], "{}", checked.findings.render(&sources, Paint::Plain));
    let set = checked.set.unwrap();
    let Summary { files, workloads, segments, rules, guards, grants, tests } = set.summary();
    assert_eq!([files, workloads, segments, rules], [2, 7, 4, 8]);
    assert_eq!([guards, grants, tests], [2, 1, 13]);
    let report = set.run_tests();
    let failed: Vec<_> = report.results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((report.passed(), report.failed()), (13, 0));
}

#[test]
fn the_plain_example_loads_and_all_its_tests_pass() {
    let set = example();
    assert_eq!(
        set.summary().to_string(),
        "2 files (7 workloads, 4 segments, 8 rules, 1 guard, 11 tests)"
    );
    let report = set.run_tests();
    assert_eq!((report.passed(), report.failed()), (11, 0));
}

#[test]
fn another_environment_is_denied_by_the_boundary() {
    let text = example()
        .explain("staging/checkout -> prod/payments POST /v1/payments", UNIX_EPOCH)
        .unwrap();
    assert_eq!((text.verdict.as_str(), text.by.as_str()), ("deny", "boundary/env"));
}

#[test]
fn rules_that_no_test_allows_are_named() {
    assert_eq!(
        example().run_tests().untested_rules,
        ["checkout-tokenises", "payments-scores", "payments-posts", "core-notifies"]
    );
}

fn explained(question: &str) -> String {
    example().explain(question, UNIX_EPOCH).unwrap().to_string()
}

#[test]
fn an_explanation_names_every_reason_and_the_nearest_rule() {
    assert_eq!(
        explained("prod/fraud -> prod/ledger ledger.v1.Ledger/Post"),
        "\
DENY  by default
  caller   prod/fraud             spiffe://pay.example/prod/fraud
  callee   prod/ledger            spiffe://pay.example/prod/ledger
  call     ledger.v1.Ledger/Post

  guards   none is about ledger
  boundary env                    no   prod == prod
  rules    payments-posts         no   caller is not payments  <- nearest
           history-readers        no   call is not ledger.v1.Ledger/GetEntry or \
         ledger.v1.Ledger/ListEntries
  so       default deny (segment core: enforce)"
    );
    assert_eq!(
        explained("staging/notifier -> prod/card-vault POST /v1/tokens"),
        "\
DENY  by guard/vault-callers  (PCI 1.3.1, PAN is reachable from two workloads only)
  caller   staging/notifier       spiffe://pay.example/staging/notifier
  callee   prod/card-vault        spiffe://pay.example/prod/card-vault
  call     POST /v1/tokens

  guards   vault-callers          yes  denies any -> card-vault
  boundary env                    yes  staging != prod
  rules    checkout-tokenises     no   caller is not checkout, does not go across env
           payments-charges-token no   caller is not payments, call is not POST \
         /v1/tokens/{token}/charge, does not go across env
  so       denied by guard vault-callers, which no rule can overrule"
    );
}

#[test]
fn an_explanation_says_what_opens_a_call_and_what_audit_lets_pass() {
    let allowed = explained("prod/checkout -> prod/payments GET /v1/payments/p_1");
    assert!(allowed.starts_with("ALLOW  by checkout-initiates  (customers pay)\n"), "{allowed}");
    assert!(allowed.contains("GET /v1/payments/p_1  (template /v1/payments/{id})"), "{allowed}");
    assert!(allowed.contains("checkout-initiates     yes  allows it\n"), "{allowed}");
    assert!(allowed.ends_with("  so       allowed by checkout-initiates"), "{allowed}");
    let audited = explained("prod/checkout -> prod/notifier POST /v1/messages");
    let so = "  so       no rule allows it; it passes and is recorded (segment comms: audit)";
    assert!(audited.starts_with("AUDIT  by default\n") && audited.ends_with(so), "{audited}");
    let crossed = explained("staging/checkout -> prod/payments POST /v1/payments");
    assert!(crossed.contains("checkout-initiates     no   does not go across env\n"), "{crossed}");
    let so = "  so       denied by the boundary env: staging is not prod";
    assert!(crossed.ends_with(so), "{crossed}");
}

#[test]
fn an_explanation_names_a_more_specific_template() {
    let mut sources = folder("plain");
    let file = sources.files.get_mut("segments/payments.yaml").unwrap();
    *file = file.replace(
        "  - name: core-notifies",
        "  - name: search\n    from: fraud\n    to: payments\n    allow:\n      \
         - http: GET /v1/payments/search\n    why: fraud looks around\n  - name: core-notifies",
    );
    let set = cellwall_policy_language::load(&sources).unwrap();
    let text =
        set.explain("prod/checkout -> prod/payments GET /v1/payments/search", UNIX_EPOCH).unwrap();
    assert_eq!((text.verdict.as_str(), text.by.as_str()), ("deny", "default"));
    assert_eq!(
        text.rules[0].because,
        "the call belongs to /v1/payments/search, which is more specific"
    );
    assert!(text.rules[1].nearest);
}

#[test]
fn a_question_that_cannot_be_asked_says_why() {
    for (question, reason) in [
        ("", "expected `ENV/A -> ENV/B CALL`"),
        ("prod/checkout -> prod/payments", "expected `ENV/A -> ENV/B CALL`"),
        (
            "prod/checkot -> prod/payments POST /v1/payments",
            "unknown workload `checkot`, did you mean `checkout`?",
        ),
        ("prod/ledger -> prod/ledger-db tcp:1", "`ledger-db` listens on tcp: 5432, not on port 1"),
        (
            "prod/checkout -> prod/payments POST /a//b",
            "answered 400 before any rule: the path has an empty segment",
        ),
        ("checkout -> prod/payments POST /a", "cannot be asked"),
    ] {
        let error = example().explain(question, UNIX_EPOCH).unwrap_err();
        assert_eq!(error.to_string(), reason, "{question}");
    }
}
