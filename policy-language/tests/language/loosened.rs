//! Templates that take an encoded slash, from the documents to what is said of them.

use std::{collections::BTreeSet, time::UNIX_EPOCH};

use cellwall_policy::{CallDocument, Publication, Snapshot, Tolerated};
use cellwall_policy_language::{PolicySet, TooManyKinds};
use spiffe::SpiffeId;

use crate::sample::{BASE, bent, checked, lines, set};

/// The base, where everybody may look at things by names with slashes.
fn loosened(guard: &str) -> PolicySet {
    let text = bent("GET /v1/things/{id}", "GET /v1/things/{id%2F}");
    set(&text.replacen("guards:\n", &format!("guards:\n{guard}"), 1))
}

const SECRETS: &str = "  - name: secrets
    deny: any -> web
    calls: [{http: \"GET /v1/things/secret/{rest...}\"}]
    why: nobody looks at those
";

#[test]
fn callers_are_told_what_a_callee_tolerates_and_nothing_where_it_is_nothing() {
    let tolerated = |set: &PolicySet, callee: &str| {
        let names = ["web".to_owned(), "rpc".to_owned()];
        let id = SpiffeId::new(callee).unwrap();
        let document = set.compile(&id, &names, &Publication::default(), UNIX_EPOCH).unwrap();
        let each: Vec<_> = document.destinations.iter().map(|it| it.tolerates).collect();
        (each, Snapshot::new(document).unwrap().tolerates())
    };
    let (web, rpc) = ("spiffe://pay.example/prod/web", "spiffe://pay.example/prod/rpc");
    let nothing = Tolerated::Nothing;
    // In the order of their names.
    let said = (vec![nothing, Tolerated::EncodedSlash], nothing);
    assert_eq!(tolerated(&loosened(""), rpc), said);
    assert_eq!(tolerated(&loosened(""), web).1, Tolerated::EncodedSlash);
    assert_eq!(tolerated(&set(BASE), rpc), (vec![nothing, nothing], nothing));
}

#[test]
fn what_is_explained_is_what_the_sidecar_answers() {
    let explained = |set: &PolicySet, path: &str| match set
        .explain(&format!("prod/rpc -> prod/web GET {path}"), UNIX_EPOCH)
    {
        Ok(said) => format!("{} by {}", said.verdict, said.by),
        Err(error) => error.to_string(),
    };
    let (free, guarded) = (loosened(""), loosened(SECRETS));
    for (set, path, answer) in [
        (&free, "/v1/things/a%2Fb", "allow by all-look"),
        (&free, "/v1/things/secret%2Fb", "allow by all-look"),
        (&guarded, "/v1/things/a%2Fb", "allow by all-look"),
        (&guarded, "/v1/things/secret%2Fb", "deny by guard/secrets"),
        (&guarded, "/v1/things/secret", "allow by all-look"),
    ] {
        assert_eq!(explained(set, path), answer, "{path}");
    }
    let refused =
        "answered 400 before any rule: the path encodes a byte that servers read differently";
    assert_eq!(explained(&set(BASE), "/v1/things/a%2Fb"), refused);
}

#[test]
fn a_guard_that_one_reading_meets_is_named_among_the_edges() {
    let calls = |set: &PolicySet| {
        let edges = set.edges().unwrap().edges.into_iter();
        edges.filter(|edge| edge.callee == "web").map(|edge| edge.call).collect::<Vec<_>>()
    };
    let guarded = "GET /v1/things/{id%2F} but /v1/things/secret/{rest...} and %2F within";
    assert_eq!(calls(&loosened(SECRETS)), [guarded]);
    assert_eq!(calls(&loosened("")), ["GET /v1/things/{id%2F}"]);
}

#[test]
fn a_guard_that_only_a_mixed_reading_meets_is_known_to_every_tool() {
    // The first `%2F` is a part of its segment, the second is not.
    let mixed = "  - name: secrets
    deny: any -> web
    calls: [{http: \"GET /v1/trees/{id}/secret/{rest...}\"}]
    why: nobody looks at those
";
    let text = bent("GET /v1/things/{id}", "GET /v1/trees/{rest%2F...}");
    let set = set(&text.replacen("guards:\n", &format!("guards:\n{mixed}"), 1));
    let explained = |path: &str| {
        let said = set.explain(&format!("prod/rpc -> prod/web GET {path}"), UNIX_EPOCH).unwrap();
        format!("{} by {}", said.verdict, said.by)
    };
    for (path, answer) in [
        ("/v1/trees/a%2Fb/others%2Fx", "allow by all-look"),
        ("/v1/trees/a%2Fb/secret%2Fx", "deny by guard/secrets"),
        ("/v1/trees/a%2Fb%2Fsecret%2Fx", "deny by guard/secrets"),
    ] {
        assert_eq!(explained(path), answer, "{path}");
    }
    let edges = set.edges().unwrap().edges.into_iter();
    let calls: Vec<_> = edges.filter(|edge| edge.callee == "web").map(|edge| edge.call).collect();
    let guard = "/v1/trees/{id}/secret/{rest...}";
    let but = format!("GET /v1/trees/{{rest%2F...}} but {guard}, {guard} and %2F within");
    assert_eq!(calls, [but]);
}

/// `web`, which opens `rules` to all, less what a guard of `guards` is about.
fn web(rules: &[String], guards: &[String]) -> String {
    let calls = |paths: &[String]| {
        let each = paths.iter().map(|path| format!("      - http: \"GET {path}\"\n"));
        each.collect::<String>()
    };
    format!(
        "version: cellwall/v1
identity: \"spiffe://pay.example/{{env}}/{{workload}}\"
workloads:
  web: {{listens: {{http: 8080}}}}
segments:
  all: {{members: [web], mode: enforce}}
rules:
  - name: looks
    from: any
    to: web
    allow:
{}    why: w
guards:
  - name: closed
    deny: any -> web
    calls:
{}    why: w
",
        calls(rules),
        calls(guards)
    )
}

#[test]
fn a_caller_is_told_of_every_template_that_a_reading_of_an_idempotent_call_may_belong_to() {
    let text = BASE.replacen(
        "      - http: GET /v1/things/{id}\n",
        "      - {http: \"GET /v1/things/{id%2F}\", idempotent: method}
      - http: GET /v1/{a}/{b}/{c}
      - http: GET /v1/{rest...}
      - http: GET /v2/{a}/{b}
      - http: POST /v1/things/{a}/{b}
      - {http: \"POST /v3/{a%2F}/x/{rest%2F...}\", idempotent: {header: Idempotency-Key}}
      - http: POST /v3/p/q/{rest...}
",
        1,
    );
    let id = SpiffeId::new("spiffe://pay.example/prod/rpc").unwrap();
    let names = ["web".to_owned()];
    let document = set(&text).compile(&id, &names, &Publication::default(), UNIX_EPOCH).unwrap();
    let declared = document.destinations.iter().flat_map(|it| &it.idempotent);
    let paths: Vec<_> = declared
        .map(|it| match &it.call {
            CallDocument::Http { path, .. } => (path.as_str(), it.by.is_some()),
            other => panic!("{other:?}"),
        })
        .collect();
    let told = [
        ("/v1/{a}/{b}/{c}", false),
        ("/v1/{rest...}", false),
        ("/v1/things/{id%2F}", true),
        ("/v3/p/q/{rest...}", false),
        ("/v3/{a%2F}/x/{rest%2F...}", true),
    ];
    assert_eq!(paths.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(told));
}

#[test]
fn templates_whose_readings_multiply_are_refused_soon_and_not_looked_at() {
    let rest = ["/{rest%2F...}".to_owned()];
    let interleaved = |many: usize| -> Vec<String> {
        let segment = |at, it| if at == it { "/x".to_owned() } else { format!("/{{p{it}}}") };
        (0..many).map(|at| (0..many).map(|it| segment(at, it)).collect()).collect()
    };
    let found = |guards: &[String]| lines(&checked(&web(&rest, guards)));
    let told = "CW0010 4:3-6 `web` cannot be looked at: its path templates tell apart more kinds of \
                paths than can be looked at";
    assert_eq!(found(&interleaved(14)), [told]);
    assert_eq!(found(&interleaved(4)), [""; 0]);
    // Each of the two can be looked at, and both together cannot.
    let plain = set(&web(&["/{rest...}".to_owned()], &interleaved(12)));
    let loose = set(&web(&rest, &["/v1/secret".to_owned()]));
    let error = loose.difference(&plain).unwrap_err();
    assert_eq!(error.to_string(), TooManyKinds.to_string());
}

#[test]
fn as_many_templates_as_there_may_be_are_looked_at_beside_an_encoded_slash() {
    let rules: Vec<_> = (0..1024).map(|at| format!("/v1/{{id%2F}}/a{at}")).collect();
    let set = set(&web(&rules, &["/v1/secret/{rest...}".to_owned()]));
    assert_eq!(set.edges().unwrap().edges.len(), 1024);
}

#[test]
fn what_is_loosened_opens_an_edge_of_a_plan() {
    let (old, new) = (set(BASE), loosened(""));
    let difference = new.difference(&old).unwrap();
    let changes: Vec<_> = difference
        .changes
        .iter()
        .map(|change| format!("{} {} {}", change.turn.sign(), change.callee, change.call))
        .collect();
    assert_eq!(changes, ["+ web GET /v1/things/{id%2F} as %2F within"]);
}
