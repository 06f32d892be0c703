//! Invariants over the graph of what may pass.

use crate::{Sources, check};

const BASE: &str = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  a: {listens: {http: 1}}
  b: {listens: {http: 1}}
  c: {listens: {http: 1}}
  d: {listens: {http: 1}}
segments:
  all: {members: [a, b, c], mode: enforce}
  far: {members: [d], mode: enforce}
rules:
  - {name: a-b, from: a, to: b, allow: [{http: GET /b}], why: w}
  - {name: b-c, from: b, to: c, allow: [{http: GET /c}], why: w}
  - {name: c-d, from: c, to: d, allow: [{http: GET /d}], why: w}
"#;

/// The messages of a policy with an invariant, and more.
fn messages(never: &str, more: &str, bend: (&str, &str)) -> Vec<String> {
    assert!(BASE.contains(bend.0), "{}", bend.0);
    let text = BASE.replacen(bend.0, bend.1, 1);
    let text = format!("{text}{more}never:\n  - {{name: n, {never}, why: w}}\n");
    let checked = check(&Sources::single(text));
    let findings = &checked.findings.0;
    let errors = findings.iter().filter(|it| it.severity == crate::Severity::Error);
    let errors: Vec<_> = errors.map(|it| format!("{} {}", it.code, it.message)).collect();
    assert_eq!(checked.set.is_some(), errors.is_empty());
    errors
}

fn at(line: usize) -> String {
    format!("cellwall.yaml:{line}")
}

#[test]
fn a_path_over_others_is_shown_with_the_rule_of_each_step() {
    let found = messages("from: a, to: d", "", ("", ""));
    let path = format!(
        "a -> b (rule a-b, {}) -> c (rule b-c, {}) -> d (rule c-d, {})",
        at(12),
        at(13),
        at(14)
    );
    assert_eq!(found, [format!("CW0306 `n` is broken: {path}")]);
}

#[test]
fn through_none_means_direct_calls_only() {
    assert_eq!(messages("from: a, to: d, through: none", "", ("", "")), Vec::<String>::new());
    let found = messages("from: c, to: d, through: none", "", ("", ""));
    assert_eq!(found, [format!("CW0306 `n` is broken: c -> d (rule c-d, {})", at(14))]);
}

#[test]
fn a_path_goes_along_calls_and_not_against_them() {
    assert_eq!(messages("from: d, to: a", "", ("", "")), Vec::<String>::new());
}

#[test]
fn a_guard_in_force_breaks_a_path_and_one_in_audit_does_not() {
    let guard = "guards:\n  - {name: g, deny: b -> c, why: w}\n";
    // The rule that the guard denies whole is a finding of its own.
    let found = messages("from: a, to: d", guard, ("from: b, to: c", "from: [b, d], to: c"));
    assert_eq!(found, Vec::<String>::new());
    let guard = "guards:\n  - {name: g, deny: b -> c, mode: audit, why: w}\n";
    let found = messages("from: b, to: c", guard, ("", ""));
    assert_eq!(found, [format!("CW0306 `n` is broken: b -> c (guard g in audit, {})", at(16))]);
}

#[test]
fn a_grant_at_any_time_is_a_step() {
    let grant = "grants:\n  - name: INC-1\n    from: d\n    to: a\n    allow: [{http: GET /a}]\n    \
                 starts: 2026-03-02T10:00:00Z\n    expires: 2026-03-02T11:00:00Z\n    why: w\n    \
                 approved_by: [x@y.example, z@y.example]\n";
    let found = messages("from: d, to: a", grant, ("", ""));
    assert_eq!(found, [format!("CW0306 `n` is broken: d -> a (grant INC-1, {})", at(16))]);
}

#[test]
fn what_passes_in_audit_is_a_step() {
    let bend = ("members: [d], mode: enforce", "members: [d], mode: audit");
    let found = messages("from: a, to: d", "", bend);
    assert_eq!(found, [format!("CW0306 `n` is broken: a -> d (segment far in audit, {})", at(10))]);
}

#[test]
fn a_condition_that_may_hold_counts_as_holding() {
    let bend = (
        "to: b, allow: [{http: GET /b}]",
        "to: b, allow: [{http: GET /b}], when: 'tls.group == \"X25519\"'",
    );
    let found = messages("from: a, to: b", "", bend);
    assert_eq!(found, [format!("CW0306 `n` is broken: a -> b (rule a-b, {})", at(12))]);
}

#[test]
fn a_path_stays_in_its_environment() {
    // b calls only in prod, a only in staging: no path of both.
    let text = BASE
        .replacen(
            "why: w}\n  - {name: b-c",
            "when: 'caller.env == \"staging\"', why: w}\n  - {name: b-c",
            1,
        )
        .replacen(
            "why: w}\n  - {name: c-d",
            "when: 'caller.env == \"prod\"', why: w}\n  - {name: c-d",
            1,
        );
    let text = format!("{text}never:\n  - {{name: n, from: a, to: c, why: w}}\n");
    let found: Vec<_> = check(&Sources::single(&text)).findings.0;
    assert_eq!(found, Vec::new());
    let across = text.replacen("to: c, allow", "to: c, across: [env], allow", 1);
    let across = across.replacen("caller.env == \"prod\"", "callee.env == \"prod\"", 1);
    let found: Vec<_> = check(&Sources::single(across)).findings.0;
    let told: Vec<_> = found.iter().map(|it| (it.code.as_str(), it.label.as_str())).collect();
    assert_eq!(told, [("CW0306", "a reaches c; why: w")]);
}

#[test]
fn another_trust_domain_is_a_start_and_never_on_the_way() {
    let bend = ("from: a, to: b", "from: spiffe://partner.example/x, across: [env], to: b");
    let found = messages("from: spiffe://partner.example/x, to: c", "", bend);
    let path = format!(
        "spiffe://partner.example/x -> b (rule a-b, {}) -> c (rule b-c, {})",
        at(12),
        at(13)
    );
    assert_eq!(found, [format!("CW0306 `n` is broken: {path}")]);
}

#[test]
fn who_is_on_both_sides_does_not_reach_itself() {
    let never = "from: [a, c], to: [a, c], through: none";
    assert_eq!(messages(never, "", ("", "")), Vec::<String>::new());
    let found = messages("from: [a, c], to: [a, c]", "", ("", ""));
    let path = format!("a -> b (rule a-b, {}) -> c (rule b-c, {})", at(12), at(13));
    assert_eq!(found, [format!("CW0306 `n` is broken: {path}")]);
}
