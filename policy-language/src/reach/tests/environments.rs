//! What is said of environments, against the engine asked in every environment by itself.

use std::{collections::BTreeSet, time::UNIX_EPOCH};

use cellwall_policy::{Call, RequestPath, Snapshot, Tls, Verdict};
use proptest::prelude::*;

use crate::{PolicySet, Sources, check, load, question::Side};

const VALUES: [&str; 7] = ["prod", "eu", "blue-1", "x1", "x2", "x3", "x4"];

/// A policy of two boundary variables, where `a` calls `b` and `b` calls `c`.
fn policy(rules: &[Crossing; 2], never: &str) -> String {
    let mut text = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{region}/{workload}"
workloads:
  a: {listens: {http: 1}, labels: {home: eu}}
  b: {listens: {http: 1}, labels: {home: prod}}
  c: {listens: {http: 1}, labels: {home: prod}}
segments:
  all: {members: [a, b, c], mode: enforce}
rules:
"#
    .to_owned();
    for (Crossing { across, when }, (from, to)) in rules.iter().zip([("a", "b"), ("b", "c")]) {
        let across = match across.join(", ") {
            none if none.is_empty() => none,
            some => format!("    across: [{some}]\n"),
        };
        text.push_str(&format!(
            "  - name: {from}-{to}\n    from: {from}\n    to: {to}\n{across}    \
             allow: [{{http: GET /}}]\n    when: '{when}'\n    why: w\n"
        ));
    }
    text + never
}

/// What one rule says of environments.
#[derive(Clone, Debug)]
struct Crossing {
    across: Vec<&'static str>,
    when: String,
}

fn crossing() -> impl Strategy<Value = Crossing> {
    let across = proptest::sample::subsequence(vec!["env", "region"], 0..=2);
    (across, condition()).prop_map(|(across, when)| Crossing { across, when })
}

/// A condition over the variables of both sides.
fn condition() -> impl Strategy<Value = String> {
    let variable = || {
        proptest::sample::select(vec!["caller.env", "caller.region", "callee.env", "callee.region"])
    };
    let texts = vec!["\"prod\"", "\"eu\"", "\"blue-1\"", "caller.home", "callee.home"];
    let other = prop_oneof![
        3 => variable().prop_map(str::to_owned),
        2 => proptest::sample::select(texts).prop_map(str::to_owned),
    ];
    let equal = (variable(), proptest::sample::select(vec!["==", "!=", "!="]), other);
    let equal = equal.prop_map(|(one, sign, other)| format!("{one} {sign} {other}"));
    let listed = variable().prop_map(|one| format!("!({one} in [\"prod\", \"eu\"])"));
    let leaf = prop_oneof![4 => equal, 1 => listed];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let signs = proptest::sample::select(vec!["&&", "&&", "||"]);
        (inner.clone(), signs, inner)
            .prop_map(|(one, sign, other)| format!("({one} {sign} {other})"))
    })
}

fn environments() -> Vec<String> {
    let each = |one| VALUES.map(|other| format!("{one}/{other}"));
    VALUES.iter().flat_map(each).collect()
}

/// The environments between which `from` may call `to`, by the engine asked about each pair.
fn passing(set: &PolicySet, from: &str, to: &str) -> BTreeSet<(String, String)> {
    let id = |name: &str, environment: &str| {
        let (environment, workload) = (environment.to_owned(), name.to_owned());
        set.side(&Side { environment, workload, range: 0..0 }).ok().unwrap().1
    };
    let path = RequestPath::parse("/").unwrap();
    let mut pairs = BTreeSet::new();
    for there in environments() {
        let document = set.compile(&id(to, &there), &[], &Default::default(), UNIX_EPOCH).unwrap();
        let snapshot = Snapshot::new(document).unwrap();
        for here in environments() {
            let call = Call::Http { method: "GET", path: &path };
            let decision = snapshot.decide(&id(from, &here), &Tls::default(), &call, UNIX_EPOCH);
            if decision.verdict != Verdict::Deny {
                pairs.insert((here, there.clone()));
            }
        }
    }
    pairs
}

/// The codes of the errors of a document.
fn errors(text: String) -> Vec<String> {
    let findings = check(&Sources::single(text)).findings.0;
    let errors = findings.iter().filter(|it| it.severity == crate::Severity::Error);
    errors.map(|it| it.code.to_string()).collect()
}

fn never(from: &str, to: &str, through: &str) -> String {
    format!("never:\n  - {{name: n, from: {from}, to: {to}, through: {through}, why: w}}\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_passes_between_two_environments_of_all_is_found(
        rules in [crossing(), crossing()],
        others in [crossing(), crossing()],
    ) {
        let set = load(&Sources::single(policy(&rules, "")));
        // A condition that always holds, or never, is refused.
        prop_assume!(set.is_ok());
        let set = set.unwrap();
        let (first, second) = (passing(&set, "a", "b"), passing(&set, "b", "c"));
        let expected = |is_broken: bool| if is_broken { vec!["CW0306".to_owned()] } else { Vec::new() };
        let direct = errors(policy(&rules, &never("a", "b", "none")));
        prop_assert_eq!(direct, expected(!first.is_empty()), "a -> b {:?}", first);
        let between = |(_, to): &(String, String)| second.iter().any(|(from, _)| from == to);
        let path = errors(policy(&rules, &never("a", "c", "any")));
        prop_assert_eq!(path, expected(first.iter().any(between)));
        let edges = set.edges().unwrap().edges;
        prop_assert_eq!(edges.iter().any(|edge| edge.callee == "b"), !first.is_empty());
        let Ok(other) = load(&Sources::single(policy(&others, ""))) else { return Ok(()) };
        let is_same = first == passing(&other, "a", "b") && second == passing(&other, "b", "c");
        let changes = other.difference(&set).unwrap().changes;
        prop_assert_eq!(changes.is_empty(), is_same, "{:?}", changes);
    }
}

/// A policy of one variable, compared with as many values as are given.
fn many(values: usize, never: &str) -> String {
    let values: Vec<String> = (0..values).map(|at| format!("\"e{at}\"")).collect();
    let rules = [
        Crossing { across: Vec::new(), when: format!("callee.env in [{}]", values.join(", ")) },
        Crossing { across: Vec::new(), when: "caller.env == \"e0\"".to_owned() },
    ];
    policy(&rules, never)
}

#[test]
fn as_many_environments_as_the_limit_are_told_apart_and_one_more_is_refused() {
    // Of the region, two values that nobody writes; of the other variable, two more than written.
    assert_eq!(errors(many(126, "")), Vec::<String>::new());
    assert_eq!(errors(many(126, &never("a", "b", "none"))), ["CW0306"]);
    assert_eq!(errors(many(127, "")), ["CW0010"]);
}

#[test]
fn an_environment_of_many_tests_is_looked_at_like_one_that_nobody_writes() {
    let tests: String = (0..300)
        .map(|at| format!("  - {{expect: deny, call: e{at}/x/c -> e{at}/x/a GET /}}\n"))
        .collect();
    let when = |text: &str| Crossing { across: Vec::new(), when: text.to_owned() };
    let rules = [when("callee.env == \"prod\""), when("caller.env == \"eu\"")];
    let with = |never: &str| policy(&rules, &format!("tests:\n{tests}{never}"));
    assert_eq!(errors(with(&never("a", "b", "any"))), ["CW0306"]);
    assert_eq!(errors(with(&never("a", "c", "any"))), Vec::<String>::new());
    let set = load(&Sources::single(with(""))).unwrap();
    let edges = set.edges().unwrap();
    assert_eq!(edges.environments, ["eu/*", "prod/*", "*/*"]);
    assert_eq!(edges.edges.len(), 2);
}

#[test]
fn what_passes_in_few_environments_is_found() {
    let distinct = "caller.env != callee.env && caller.region != callee.region && \
                    caller.env != caller.region && callee.env != callee.region && \
                    caller.env != callee.region && caller.region != callee.env";
    for (across, when) in [
        (vec!["region"], "caller.region != callee.region"),
        (vec!["env"], "caller.env != callee.env && !(caller.env in [\"eu\"])"),
        (vec![], "caller.env != caller.region"),
        (vec![], "callee.env == callee.region"),
        (vec![], "caller.env == caller.home"),
        (vec![], "callee.env == \"blue-1\""),
        (vec![], "callee.env == callee.workload"),
        (vec!["env", "region"], distinct),
    ] {
        let rule = |when: &str| Crossing { across: across.clone(), when: when.to_owned() };
        let rules = [rule(when), rule("caller.home == \"prod\"")];
        assert_eq!(errors(policy(&rules, &never("a", "b", "none"))), ["CW0306"], "{when}");
        let set = load(&Sources::single(policy(&rules, ""))).unwrap();
        let edges = set.edges().unwrap().edges;
        assert!(edges.iter().any(|edge| edge.callee == "b"), "{when}: {edges:?}");
    }
}
