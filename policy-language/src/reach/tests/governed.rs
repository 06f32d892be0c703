//! What a change touches beside edges, and which tests are about the edges it touches.

use super::written::{BASE, bent, set};
use crate::{Governed, Statements, Turn};

const GOVERNED: &str = r#"guards:
  - {name: a, deny: any -> api, calls: [{http: GET /a}], why: w}
  - {name: b, deny: web -> api, calls: [{http: GET /b}], why: w}
  - {name: c, deny: any -> api, calls: [{http: GET /c}], why: w}
never:
  - {name: x, from: api, to: web, through: none, why: w}
  - {name: y, from: api, to: web, why: w}
approvals:
  default: {from: [p], count: 1}
  guards: {from: [g], count: 2}
"#;

/// The policy with its guards, changed in these ways.
fn governed(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(format!("{BASE}{GOVERNED}"), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn statements(hold: &str, added: &str, removed: &str, changed: &str) -> Statements {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let [hold, added, removed, changed] = [hold, added, removed, changed].map(names);
    Statements { hold, added, removed, changed }
}

#[test]
fn guards_and_invariants_are_the_same_or_come_go_and_change() {
    let all = (statements("a b c", "", "", ""), statements("x y", "", "", ""));
    let with_guards = |guards| (guards, all.1.clone());
    let with_never = |never| (all.0.clone(), never);
    let gone = "  - {name: b, deny: web -> api, calls: [{http: GET /b}], why: w}\n";
    for (from, to, expected) in [
        ("GET /a}], why: w", "GET /a}], why: because", all.clone()),
        ("GET /a", "GET /a/b", with_guards(statements("b c", "", "", "a"))),
        ("{name: c, deny: any", "{name: c, deny: web", with_guards(statements("a b", "", "", "c"))),
        ("GET /b}]", "GET /b}], mode: audit", with_guards(statements("a c", "", "", "b"))),
        ("GET /c}]", "GET /c}], except: web", with_guards(statements("a b", "", "", "c"))),
        ("{name: c,", "{name: d,", with_guards(statements("a b", "d", "c", ""))),
        (
            "guards:\n",
            &format!("guards:\n{}", gone.replace("name: b", "name: d")),
            with_guards(statements("a b c", "d", "", "")),
        ),
        (gone, "", with_guards(statements("a c", "", "b", ""))),
        (", through: none", "", with_never(statements("y", "", "", "x"))),
        (
            "to: web, why: w",
            "to: api, through: none, why: w",
            with_never(statements("x", "", "", "y")),
        ),
        ("{name: y", "{name: z", with_never(statements("x", "z", "y", ""))),
    ] {
        let difference = set(&governed(&[(from, to)])).difference(&set(&governed(&[]))).unwrap();
        let is_same = expected == all;
        let (guards, never) = expected;
        let expected = Governed { guards, never, ..Governed::default() };
        assert_eq!(difference.statements, expected, "{from} -> {to}");
        assert_eq!(difference.statements.is_same(), is_same, "{from} -> {to}");
        assert_eq!(difference.is_empty(), is_same, "{from} -> {to}");
        // One kind of statement is enough for those who answer for guards to be asked.
        let needed: Vec<_> = difference.approvals.iter().map(|it| it.by.as_str()).collect();
        assert_eq!(needed.contains(&"guards"), !is_same, "{from} -> {to}");
    }
}

#[test]
fn a_difference_of_edges_of_a_mode_or_of_approvers_alone_is_one() {
    let differs = |text: &str| !set(text).difference(&set(&governed(&[]))).unwrap().is_empty();
    for (from, to, expected) in [
        ("GET /v1/{rest...}", "GET /v1/{other}", true),
        ("members: [api], mode: enforce", "members: [api], mode: audit", true),
        ("count: 2", "count: 1", true),
        ("GET /v1/{rest...}\"}], why: w", "GET /v1/{rest...}\"}], why: v", false),
    ] {
        assert_eq!(differs(&governed(&[(from, to)])), expected, "{from} -> {to}");
    }
}

#[test]
fn a_test_that_fails_or_asserts_no_allowed_call_is_about_no_edge() {
    let old = set(BASE);
    let rule = "why: w}\n  - {name: v2, from: web, to: api, allow: [{http: GET /v2}], why: w}";
    let with = |test: &str| {
        let text = format!("{}tests:\n  - {test}\n", bent(&[("why: w}", rule)]));
        let changes = set(&text).difference(&old).unwrap().changes;
        changes.iter().map(|it| (it.turn, it.tested)).collect::<Vec<_>>()
    };
    for (test, tested) in [
        ("{expect: allow, call: prod/web -> prod/api GET /v2}", true),
        ("{expect: deny, call: prod/web -> prod/api GET /v2}", false),
        ("{expect: allow, call: prod/api -> prod/api GET /v2}", false),
        ("{expect: allow, call: test/web -> prod/api GET /v2}", false),
    ] {
        assert_eq!(with(test), [(Turn::Opened, tested)], "{test}");
    }
}
