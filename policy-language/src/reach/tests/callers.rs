//! Whom an edge names, and what a port is called that no rule is about.

use super::written::{BASE, bent, lines, set};

/// Three workloads, with what is said of them.
fn policy(rules: &str) -> String {
    format!(
        r#"version: cellwall/v1
identity: "spiffe://pay.example/{{env}}/{{workload}}"
workloads:
  a: {{listens: {{http: 1}}}}
  b: {{listens: {{http: 1}}}}
  c: {{listens: {{grpc: 1}}}}
segments:
  all: {{members: [a, b, c], mode: enforce}}
{rules}"#
    )
}

#[test]
fn every_workload_by_name_is_any_and_whoever_is_of_elsewhere_is_by_himself() {
    let rule = |name: &str, from: &str, to: &str, call: &str| {
        format!("  - {{name: {name}, from: {from}, to: {to}, allow: [{call}], why: w}}\n")
    };
    let abroad = |name: &str, from: &str, to: &str, call: &str| {
        rule(name, from, to, call).replace("why: w", "across: [env], why: w")
    };
    let there = "in [\"any other\"] []";
    let rules = [
        "rules:\n".to_owned(),
        rule("all", "[a, b, c]", "a", "{http: GET /}"),
        abroad("bank", "\"spiffe://bank.example/x\"", "a", "{http: GET /bank}"),
        abroad("some", "[a, b, \"spiffe://bank.example/x\"]", "b", "{http: GET /}"),
        rule("any", "any", "c", "{grpc: a.A/B}"),
    ];
    let expected = [
        format!("any -> a GET /: allow by all {there}"),
        format!("spiffe://bank.example/x -> a GET /bank: allow by bank {there}"),
        format!("a, b -> b GET /: allow by some {there}"),
        "a, b -> b GET /: allow by some in [] [(\"any other\", \"any other\")]".to_owned(),
        format!("spiffe://bank.example/x -> b GET /: allow by some {there}"),
        format!("any -> c a.A/B: allow by any {there}"),
    ];
    assert_eq!(lines(&policy(&rules.concat())), expected);
}

#[test]
fn the_only_workload_of_a_policy_is_called_by_its_name() {
    let text = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  a: {listens: {http: 1}}
segments:
  all: {members: [a], mode: enforce}
rules:
  - {name: itself, from: a, to: a, allow: [{http: GET /}], why: w}
"#;
    assert_eq!(lines(text), ["a -> a GET /: allow by itself in [\"any other\"] []"]);
}

#[test]
fn a_port_that_passes_by_audit_alone_has_its_name() {
    let text = bent(&[
        ("web: {listens: {http: 1},", "web: {listens: [{tcp: 5432}, {tcp: 5433}],"),
        ("members: [web], mode: enforce", "members: [web], mode: audit"),
    ]);
    let inside = "in [\"prod\", \"any other\"] []";
    let expected = [
        format!("web -> api GET /v1/{{rest...}}: allow by web-calls {inside}"),
        format!("any -> web tcp:5432: audit by default {inside}"),
        format!("any -> web tcp:5433: audit by default {inside}"),
    ];
    assert_eq!(lines(&text), expected);
}

#[test]
fn what_crosses_into_several_environments_is_told_once_for_each() {
    let text = bent(&[
        (
            "attest: {prod: [\"unix:uid:1001\"]}",
            "attest: {prod: [\"unix:uid:1001\"], test: [\"unix:uid:1002\"]}",
        ),
        ("why: w", "across: [env], why: w"),
    ]);
    let inside = "web -> api GET /v1/{rest...}: allow by web-calls \
                  in [\"prod\", \"test\", \"any other\"] []";
    let across = "web -> api GET /v1/{rest...}: allow by web-calls in [] \
                  [(\"prod\", \"test\"), (\"prod\", \"any other\"), (\"test\", \"prod\"), \
                  (\"test\", \"any other\"), (\"any other\", \"prod\"), (\"any other\", \"test\"), \
                  (\"any other\", \"any other\")]";
    assert_eq!(lines(&text), [inside, across]);
}

/// Each edge that differs: how, whose, what, and the environments.
fn changes(old: &str, new: &str) -> Vec<String> {
    let difference = set(new).difference(&set(old)).unwrap();
    let line = |it: &crate::Change| {
        let (sign, places) = (it.turn.sign(), &it.places.environments);
        format!("{sign} {} -> {} {} in {places:?}", it.caller, it.callee, it.call)
    };
    difference.changes.iter().map(line).collect()
}

#[test]
fn a_new_workload_is_a_caller_of_what_any_may_call() {
    let old = bent(&[("from: web", "from: any")]);
    let new = old
        .replace("workloads:\n", "workloads:\n  job: {listens: {http: 1}}\n")
        .replace("members: [web]", "members: [job, web]");
    let line = |sign| format!("{sign} job -> api GET /v1/{{rest...}} in [\"prod\", \"any other\"]");
    assert_eq!(changes(&old, &new), [line('+')]);
    assert_eq!(changes(&new, &old), [line('-')]);
    assert_eq!(changes(&new, &new), Vec::<String>::new());
}

#[test]
fn environments_of_another_template_are_others() {
    let new = BASE
        .replace("{env}/{workload}", "{env}/{region}/{workload}")
        .replace("attest: {prod:", "attest: {prod/eu:");
    let call = "web -> api GET /v1/{rest...} in";
    let expected = [
        format!("+ {call} [\"prod/eu\", \"*/eu\", \"prod/*\", \"*/*\"]"),
        format!("- {call} [\"prod\", \"any other\"]"),
    ];
    assert_eq!(changes(BASE, &new), expected);
}
