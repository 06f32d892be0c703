//! Commands that need no server.

use serde_json::json;

use crate::run::{Ran, Shell};

#[test]
fn a_valid_policy_is_summed_up_in_a_line() {
    assert_eq!(
        Shell::new().run(&["policy", "validate"]),
        Ran {
            code: 0,
            stdout: "0 errors, 0 warnings in 2 files \
                     (7 workloads, 4 segments, 8 rules, 1 guard, 11 tests)\n"
                .to_owned(),
            stderr: "`cellwall policy apply policy` puts it in force\n".to_owned(),
        }
    );
}

#[test]
fn a_mistake_is_shown_with_its_path_a_caret_and_exit_code_3() {
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "from: checkout", "from: checkot");
    let expected = "\
error[CW0104]: unknown workload `checkot`
  --> policy/segments/payments.yaml:34:11
   |
34 |     from: checkot
   |           ^^^^^^^ not in `workloads`
   |
   = help: did you mean `checkout`?

1 error, 0 warnings in 2 files (7 workloads, 4 segments, 8 rules, 1 guard, 11 tests)
";
    for command in ["validate", "test"] {
        let ran = shell.run(&["policy", command, "policy/"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, expected));
        assert_eq!(ran.stderr, "`cellwall explain CW0104` says more\n");
    }
    let ran = shell.run(&["policy", "validate", "-o", "json"]);
    assert_eq!(ran.code, 3);
    let document = ran.json();
    assert_eq!(document["schema_version"], 1);
    assert_eq!((&document["errors"], &document["warnings"]), (&json!(1), &json!(0)));
    assert_eq!(
        document["findings"],
        json!([{
            "code": "CW0104",
            "severity": "error",
            "file": "policy/segments/payments.yaml",
            "line": 34,
            "column": 11,
            "end": 18,
            "message": "unknown workload `checkot`",
            "label": "not in `workloads`",
            "help": "did you mean `checkout`?",
            "related": [],
        }])
    );
}

#[test]
fn tests_of_the_policy_are_run_and_their_rules_counted() {
    let ran = Shell::new().run(&["policy", "test"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "policy/segments/payments.yaml");
    let line =
        format!("  ok   deny  {:<66} default", "prod/payments -> prod/card-vault POST /v1/tokens");
    assert_eq!(lines[5], line);
    assert_eq!(
        &lines[12..],
        [
            "coverage: 4 of 8 rules have an allow test, 6 a deny neighbour; missing: \
             checkout-tokenises, core-notifies, ledger-stores, payments-posts, payments-scores",
            "11 passed, 0 failed",
        ]
    );
}

#[test]
fn coverage_names_what_each_rule_lacks_and_ends_with_3() {
    let shell = Shell::new();
    let ran = shell.run(&["policy", "test", "--coverage"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""));
    let lines: Vec<_> = ran.stdout.lines().take(9).map(str::trim_end).collect();
    let line = |rule: &str, lacks: &str| format!("  {rule:<40} {lacks}");
    assert_eq!(
        lines,
        [
            "rules".to_owned(),
            line("checkout-initiates", "ok"),
            line("checkout-tokenises", "no allow test"),
            line("payments-charges-token", "ok"),
            line("payments-scores", "no allow test, no deny neighbour"),
            line("payments-posts", "no allow test"),
            line("history-readers", "ok"),
            line("ledger-stores", "no deny neighbour"),
            line("core-notifies", "no allow test"),
        ]
    );
    let document = shell.run(&["policy", "test", "--coverage", "-o", "json"]).json();
    assert_eq!(document["unbounded_rules"], json!(["payments-scores", "ledger-stores"]));
}

#[test]
fn a_failing_test_says_what_came_instead_and_ends_with_3() {
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "mode: audit", "mode: enforce");
    let failed = format!(
        "  FAIL audit {:<66} :104\n         expected  audit by default\n         \
         got       deny by default\n",
        "prod/checkout -> prod/notifier POST /v1/messages"
    );
    let ran = shell.run(&["policy", "test"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains(&failed), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("\n10 passed, 1 failed\n"), "{}", ran.stdout);
    let ran = shell.run(&["policy", "validate"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains(&failed), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("11 tests); 1 test failed\n"), "{}", ran.stdout);
    let ran = shell.run(&["policy", "test", "-o", "json"]);
    let document = ran.json();
    assert_eq!(ran.code, 3);
    assert_eq!((&document["passed"], &document["failed"]), (&json!(10), &json!(1)));
    assert_eq!(
        document["results"][10],
        json!({
            "file": "policy/segments/payments.yaml",
            "line": 104,
            "call": "prod/checkout -> prod/notifier POST /v1/messages",
            "expect": "audit",
            "expect_by": "default",
            "verdict": "deny",
            "by": "default",
            "passed": false,
        })
    );
}

#[test]
fn explain_answers_from_files_and_ends_with_5_when_the_answer_is_deny() {
    let shell = Shell::new();
    let ask = |question: &str| shell.run(&["explain", question, "--policy", "policy"]);
    let denied = ask("staging/checkout -> prod/payments POST /v1/payments");
    assert_eq!((denied.code, denied.stderr.as_str()), (5, ""));
    assert!(denied.stdout.starts_with("DENY  by boundary/env\n"), "{}", denied.stdout);
    let allowed = ask("prod/checkout -> prod/payments POST /v1/payments");
    assert_eq!(allowed.code, 0);
    assert!(allowed.stdout.starts_with("ALLOW  by checkout-initiates"), "{}", allowed.stdout);
    let audited = ask("prod/checkout -> prod/notifier POST /v1/messages");
    assert_eq!(audited.code, 0);
    for (question, reason) in [
        ("prod/checkout", "error: expected `ENV/A -> ENV/B CALL`\n"),
        (
            "prod/checkot -> prod/payments POST /a",
            "error: unknown workload `checkot`, did you mean `checkout`?\n",
        ),
    ] {
        let ran = ask(question);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", reason));
    }
    let question = "prod/checkout -> prod/payments DELETE /v1/payments/p_1";
    let ran = shell.run(&["explain", question, "--policy", "policy", "-o", "json"]);
    assert_eq!(ran.code, 5);
    let document = ran.json();
    assert_eq!(document["schema_version"], 1);
    assert_eq!((&document["verdict"], &document["by"]), (&json!("deny"), &json!("default")));
    assert_eq!(document["rules"][0]["nearest"], json!(true));
}

#[test]
fn explain_prints_the_page_of_a_code() {
    let shell = Shell::new();
    let ran = shell.run(&["explain", "CW0104"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with("CW0104: unknown workload\n\nA selector"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.len() <= 100), "{}", ran.stdout);
    let example = "Wrong:\n\n    guards:\n      - {name: data-stays, deny: checkot -> ledger-db, why: \
                   not its data}\n\nRight:\n\n    guards:\n      - {name: data-stays, deny: checkout \
                   -> ledger-db, why: not its data}\n";
    assert!(ran.stdout.ends_with(example), "{}", ran.stdout);
    let ran = shell.run(&["explain", "cw0104", "-o", "json"]);
    let document = ran.json();
    assert_eq!((&document["code"], &document["schema_version"]), (&json!("CW0104"), &json!(1)));
    let mended =
        "guards:\n  - {name: data-stays, deny: checkout -> ledger-db, why: not its data}\n";
    assert_eq!(document["mended"], json!(mended));
    let ran = shell.run(&["explain", "CW9999"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: there is no code CW9999\n"));
}

#[test]
fn files_that_cannot_be_read_are_an_error_with_their_path() {
    let shell = Shell::new();
    let ran = shell.run(&["policy", "validate", "nowhere"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let expected = "error: cannot read the policy: cannot read nowhere: No such file or directory \
                    (os error 2)\n";
    assert_eq!(ran.stderr, expected);
}

#[test]
fn the_version_is_text_or_a_document() {
    let shell = Shell::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(shell.run(&["version"]).stdout, format!("cellwall {version}\n"));
    let document = shell.run(&["version", "-o", "json"]).json();
    assert_eq!(document, json!({"schema_version": 1, "version": version}));
}

#[test]
fn findings_are_annotations_for_github() {
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "from: [fraud, payments]", "from: [frad, payments]");
    let ran = shell.run(&["policy", "validate", "-o", "github"]);
    let expected = "::error file=policy/segments/payments.yaml,line=62,col=12,endColumn=16,\
                    title=CW0104::unknown workload `frad`%0Adid you mean `fraud`?\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (3, expected));
    let shell = Shell::new();
    shell.edit("segments/payments.yaml", "mode: audit", "mode: enforce");
    let ran = shell.run(&["policy", "validate", "-o", "github"]);
    assert_eq!(ran.code, 3);
    assert!(
        ran.stdout.starts_with("::error file=policy/segments/payments.yaml,line=104,title=test::")
    );
}
