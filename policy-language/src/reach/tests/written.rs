//! Edges and differences of documents as people write them.

use std::time::UNIX_EPOCH;

use cellwall_policy::Verdict;

use crate::{
    Ask, Edge, Edges, Judge, Outcome, PolicySet, Recorded, Sources, Statements, Turn, check,
};

pub(super) const BASE: &str = r#"version: cellwall/v1
identity: "spiffe://pay.example/{env}/{workload}"
workloads:
  web: {listens: {http: 1}, attest: {prod: ["unix:uid:1001"]}}
  api: {listens: {http: 1}}
segments:
  front: {members: [web], mode: enforce}
  back: {members: [api], mode: enforce}
rules:
  - {name: web-calls, from: web, to: api, allow: [{http: "GET /v1/{rest...}"}], why: w}
"#;

pub(super) fn set(text: &str) -> PolicySet {
    let checked = check(&Sources::single(text));
    checked.set.unwrap_or_else(|| panic!("{:?}", checked.findings))
}

pub(super) fn bent(pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

pub(super) fn line(edge: &Edge) -> String {
    let Edge { caller, callee, call, passage, places } = edge;
    let mut line = format!("{caller} -> {callee} {call}: {} by {}", passage.verdict, passage.by);
    for (word, text) in [
        ("when", passage.when.clone()),
        ("from", passage.starts.map(|it| it.to_string())),
        ("until", passage.expires.map(|it| it.to_string())),
    ] {
        line.extend(text.map(|text| format!(" {word} {text}")));
    }
    format!("{line} in {:?} {:?}", places.environments, places.across)
}

pub(super) fn lines(text: &str) -> Vec<String> {
    let Edges { edges, .. } = set(text).edges().unwrap();
    edges.iter().map(line).collect()
}

#[test]
fn an_edge_is_told_with_its_environments() {
    let expected =
        r#"web -> api GET /v1/{rest...}: allow by web-calls in ["prod", "any other"] []"#;
    assert_eq!(lines(BASE), [expected]);
}

#[test]
fn a_template_within_another_that_a_guard_closes_is_taken_out() {
    let guard =
        "guards:\n  - {name: g, deny: any -> api, calls: [{http: \"GET /v1/x/{id}\"}], why: w}\n";
    let expected = "web -> api GET /v1/{rest...} but /v1/x/{id}: allow by web-calls \
                    in [\"prod\", \"any other\"] []";
    assert_eq!(lines(&format!("{BASE}{guard}")), [expected]);
    let audit = guard.replace("why", "mode: audit, why");
    let audited = "web -> api GET /v1/{rest...} as /v1/x/{id}: audit by guard/g \
                   in [\"prod\", \"any other\"] []";
    assert_eq!(lines(&format!("{BASE}{audit}")), [audited, expected]);
}

#[test]
fn a_guard_closes_a_path_also_but_for_the_slash_at_its_end() {
    let guard = |path: &str| {
        format!(
            "guards:\n  - {{name: g, deny: any -> api, calls: [{{http: \"GET {path}\"}}], why: w}}\n"
        )
    };
    let inside = "in [\"prod\", \"any other\"] []";
    // Nothing opens `/v1/x/1/`, the guard closes `/v1/x/1`.
    let expected =
        format!("web -> api GET /v1/{{rest...}} but /v1/x/{{id}}/: allow by web-calls {inside}");
    assert_eq!(lines(&format!("{BASE}{}", guard("/v1/x/{id}/"))), [expected]);
    // What is about both is named once, however it is written.
    let audit = bent(&[
        ("members: [api], mode: enforce", "members: [api], mode: audit"),
        ("from: web", "from: any"),
    ]);
    let allowed = format!("any -> api GET /v1/{{rest...}}: allow by web-calls {inside}");
    let other =
        |less: &str| format!("any -> api any other call but {less}: audit by default {inside}");
    assert_eq!(lines(&format!("{audit}{}", guard("/x"))), [allowed.clone(), other("GET /x")]);
    let both = guard("/x").replace("/x\"}", "/x\"}, {http: \"GET /x/\"}");
    assert_eq!(lines(&format!("{audit}{both}")), [allowed, other("GET /x, GET /x/")]);
    // A guard of every path but `/` leaves `/`, and what has another method.
    let all = guard("/{rest...}").replace("calls", "except: [web], calls");
    let expected = [
        format!("web -> api GET /v1/{{rest...}}: allow by web-calls {inside}"),
        format!("web -> api any other call as GET /{{rest...}}: audit by default {inside}"),
        other("GET /{rest...}"),
    ];
    assert_eq!(lines(&format!("{audit}{all}")), expected);
}

#[test]
fn a_condition_of_the_connection_stays_with_the_edge() {
    let text = bent(&[("why: w", "when: 'tls.group == \"X25519MLKEM768\"', why: w")]);
    let expected = "web -> api GET /v1/{rest...}: allow by web-calls when \
                    tls.group == \"X25519MLKEM768\" in [\"prod\", \"any other\"] []";
    assert_eq!(lines(&text), [expected]);
    let text = bent(&[("why: w", "when: 'tls.group != \"X25519\"', why: w")]);
    let expected = "web -> api GET /v1/{rest...}: allow by web-calls when \
                    tls.group != \"X25519\" in [\"prod\", \"any other\"] []";
    assert_eq!(lines(&text), [expected]);
}

#[test]
fn a_grant_is_an_edge_for_a_while() {
    let grant = "grants:\n  - name: INC-1\n    from: api\n    to: web\n    allow: [{http: GET /a}]\n    \
                 starts: 1970-01-01T00:16:40Z\n    expires: 1970-01-01T00:33:20Z\n    why: w\n    \
                 approved_by: [x@y.example, z@y.example]\n";
    let expected = "api -> web GET /a: allow by grant/INC-1 from 1000 until 2000 \
                    in [\"prod\", \"any other\"] []";
    let web = r#"web -> api GET /v1/{rest...}: allow by web-calls in ["prod", "any other"] []"#;
    assert_eq!(lines(&format!("{BASE}{grant}")), [web, expected]);
}

#[test]
fn an_environment_that_differs_is_told_apart() {
    let text = bent(&[("why: w", "when: 'caller.env in [\"staging\"]', why: w")]);
    let expected = "web -> api GET /v1/{rest...}: allow by web-calls in [\"staging\"] []";
    assert_eq!(lines(&text), [expected]);
}

#[test]
fn what_crosses_a_boundary_is_told_with_both_sides() {
    let when = "across: [env], when: 'callee.env == \"prod\"', why: w";
    let found = lines(&bent(&[("why: w", when)]));
    let across = r#"[("any other", "prod")]"#;
    let inside = "web -> api GET /v1/{rest...}: allow by web-calls in [\"prod\"] []";
    let outside = format!("web -> api GET /v1/{{rest...}}: allow by web-calls in [] {across}");
    assert_eq!(found, [inside.to_owned(), outside]);
}

#[test]
fn a_difference_is_opened_closed_decided_otherwise_or_a_mode() {
    let old = set(BASE);
    let turns = |text: &str| {
        let difference = set(text).difference(&old).unwrap();
        let turns: Vec<_> =
            difference.changes.iter().map(|it| (it.turn, it.call.clone(), it.tested)).collect();
        turns
    };
    assert_eq!(turns(BASE), []);
    let call = "GET /v1/{rest...}".to_owned();
    assert_eq!(turns(&bent(&[("web-calls", "renamed")])), [(Turn::Changed, call, false)]);
    let narrow = bent(&[("GET /v1/{rest...}", "GET /v1/{id}")]);
    let less = "GET /v1/{rest...} but /v1/{id}".to_owned();
    assert_eq!(turns(&narrow).len(), 1, "{:?} {less}", turns(&narrow));
    assert_eq!(turns(&narrow)[0].0, Turn::Closed);
    let audit = bent(&[("members: [api], mode: enforce", "members: [api], mode: audit")]);
    let found: Vec<_> = turns(&audit).into_iter().map(|(turn, ..)| turn).collect();
    assert_eq!(found, [Turn::Mode, Turn::Mode]);
    let tests = "tests:\n  - {expect: allow, call: prod/web -> prod/api GET /v2}\n";
    let more = format!(
        "{}{tests}",
        bent(&[(
            "why: w}",
            "why: w}\n  - {name: v2, from: web, to: api, allow: [{http: GET /v2}], why: w}"
        )])
    );
    assert_eq!(turns(&more), [(Turn::Opened, "GET /v2".to_owned(), true)]);
}

#[test]
fn approvals_are_those_of_the_version_in_force() {
    let approvals =
        "approvals:\n  default: {from: [p], count: 1}\n  segment/back: {from: [s], count: 2}\n";
    let old = set(&format!("{BASE}{approvals}"));
    let weaker = approvals.replace("count: 2", "count: 1");
    let new = set(&format!("{}{weaker}", bent(&[("from: web", "from: [web, api]")])));
    let needed = new.difference(&old).unwrap().approvals;
    let needed: Vec<_> =
        needed.into_iter().map(|it| (it.by, it.count, it.touches.join(","))).collect();
    let expected = [
        ("default".to_owned(), 1, "approvals".to_owned()),
        ("segment/back".to_owned(), 2, "segment/back".to_owned()),
    ];
    assert_eq!(needed, expected);
}

#[test]
fn who_may_say_yes_is_for_the_operators_own_approvers() {
    let base = format!(
        "{BASE}approvals:\n  default: {{from: [p], count: 1}}\n  operators: {{from: [o], count: 1}}\n"
    );
    let old = set(&base);
    let all = base.replace("[p]", "[q]")
        + "operators:\n  viewer: [group/all]\nlimits:\n  grant_max: 2h\n";
    let needed = set(&all).difference(&old).unwrap().approvals;
    let needed: Vec<_> = needed.into_iter().map(|it| (it.by, it.touches.join(","))).collect();
    let expected = [("default", "limits"), ("operators", "approvals,operators")];
    assert_eq!(needed, expected.map(|(by, touches)| (by.to_owned(), touches.to_owned())));
}

#[test]
fn a_call_that_may_be_made_twice_is_a_change_that_its_segment_approves() {
    let approvals =
        "approvals:\n  default: {from: [p], count: 1}\n  segment/back: {from: [s], count: 2}\n";
    let old = set(&format!("{BASE}{approvals}"));
    let declared = bent(&[("rest...}\"}", "rest...}\", idempotent: method}")]);
    let new = set(&format!("{declared}{approvals}"));
    let key = declared.replace("method}", "{header: Idempotency-Key}}");
    let by_key = set(&format!("{key}{approvals}"));
    let name = "api GET /v1/{rest...}".to_owned();
    let needed = |old: &PolicySet, new: &PolicySet| {
        let difference = new.difference(old).unwrap();
        assert_eq!((difference.is_empty(), difference.changes), (false, Vec::new()));
        let touches = difference.approvals.into_iter().map(|it| (it.by, it.count));
        (touches.collect::<Vec<_>>(), difference.statements.idempotent)
    };
    let segment = vec![("segment/back".to_owned(), 2)];
    let none = Statements::default();
    let added = Statements { added: vec![name.clone()], ..none.clone() };
    let removed = Statements { removed: vec![name.clone()], ..none.clone() };
    let changed = Statements { changed: vec![name], ..none };
    assert_eq!(needed(&old, &new), (segment.clone(), added));
    assert_eq!(needed(&new, &old), (segment.clone(), removed));
    assert_eq!(needed(&new, &by_key), (segment, changed));
    assert!(new.difference(&new).unwrap().is_empty());
}

#[test]
fn a_call_that_is_made_once_beside_a_declared_one_is_not_made_twice_unseen() {
    let approvals =
        "approvals:\n  default: {from: [p], count: 1}\n  segment/back: {from: [s], count: 2}\n";
    let with = |declared: &str, next: &str| {
        let calls = format!("rest...}}\"{declared}}}{next}");
        set(&format!("{}{approvals}", bent(&[("rest...}\"}", &calls)])))
    };
    let (method, next) = (", idempotent: method", ", {http: GET /v1/next}");
    // The same rule allows it with it and without it.
    let difference = with(method, "").difference(&with(method, next)).unwrap();
    let hold = vec!["api GET /v1/{rest...}".to_owned()];
    let removed = vec!["api GET /v1/next (once)".to_owned()];
    let expected = Statements { hold, removed, ..Statements::default() };
    assert_eq!((difference.changes, difference.statements.idempotent), (Vec::new(), expected));
    let needed = difference.approvals.into_iter().map(|it| (it.by, it.count));
    assert_eq!(needed.collect::<Vec<_>>(), [("segment/back".to_owned(), 2)]);
    // Where nothing wider is declared nobody is told of it.
    assert!(with("", "").difference(&with("", next)).unwrap().is_empty());
}

#[test]
fn a_recorded_request_is_of_no_kind_that_has_another_method() {
    let audit = bent(&[("members: [api], mode: enforce", "members: [api], mode: audit")]);
    let guard = "guards:\n  - {name: g, deny: any -> api, calls: [{http: POST /x}], why: w}\n";
    let (old, new) = (set(&format!("{audit}{guard}")), set(&format!("{BASE}{guard}")));
    let mut judge = Judge::new(&old, &new);
    let mut judged = |method| {
        judge.judge(&Recorded {
            caller: "spiffe://pay.example/prod/web",
            callee: "spiffe://pay.example/prod/api",
            call: Ask::Http { method, route: None },
            verdict: None,
            at: UNIX_EPOCH,
        })
    };
    let default = |verdict| (verdict, "default".to_owned());
    let (was, now) = (default(Verdict::Audit), default(Verdict::Deny));
    assert_eq!(judged("PUT"), Outcome::Judged { was, now });
    assert_eq!(judged("POST"), Outcome::Unsure("the path is not recorded, and it decides"));
}

#[test]
fn a_rule_without_a_call_of_its_own_is_no_policy_of_cedar() {
    let rule = |name: &str, path: &str| {
        format!(
            "  - {{name: {name}, from: web, to: api, allow: [{{http: \"GET {path}\"}}], why: w}}\n"
        )
    };
    let (one, more, all) =
        (rule("one", "/{x}"), rule("more", "/{x}/{y...}"), rule("all", "/{z...}"));
    let text = BASE.replacen("rules:\n", &format!("rules:\n{one}{more}{all}"), 1);
    let policies = set(&text).cedar().unwrap().policies;
    assert!(
        policies.contains("\n// permit all: other calls are more specific than all of its own.\n")
    );
    assert!(policies.contains("@id(\"permit one\")") && policies.contains("@id(\"permit more\")"));
    assert!(!policies.contains("action in []"), "{policies}");
}

#[test]
fn a_guard_in_cedar_is_about_its_methods_and_what_their_requests_ask_to_go_on_in() {
    let calls = r#"{http: "GET,POST /x", upgrade: v}, {http: "GET /{name%2F}/y"}"#;
    let guard = r#"{http: GET /x}, {http: "GET /{name%2F}/y"}"#;
    let text = bent(&[(r#"{http: "GET /v1/{rest...}"}"#, calls)]);
    let text =
        format!("{text}guards:\n  - {{name: g, deny: any -> api, calls: [{guard}], why: w}}\n");
    let cedar = set(&text).cedar().unwrap();
    let (_, forbid) = cedar.policies.split_once("@id(\"forbid g\")").unwrap();
    for (example, is_forbidden) in [("GET /x", true), ("GET+v /x", true), ("POST /x", false)] {
        let of = |it: &&crate::CedarAction| it.callee == "api" && it.example == example;
        let action = &cedar.actions.iter().find(of).unwrap().action;
        assert_eq!(forbid.contains(&format!("{action:?}")), is_forbidden, "{example}");
    }
    // What matches as it is sent is not told once more.
    let owned = |it: &&crate::CedarAction| it.example.contains("%2F") && !it.templates.is_empty();
    let encoded = cedar.actions.iter().find(owned).unwrap();
    assert!(encoded.but_for_slash.is_empty(), "{encoded:?}");
}
