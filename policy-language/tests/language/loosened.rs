//! Templates that take an encoded slash, from the documents to what is said of them.

use std::time::UNIX_EPOCH;

use cellwall_policy::{Publication, Snapshot, Tolerated};
use cellwall_policy_language::PolicySet;
use spiffe::SpiffeId;

use crate::sample::{BASE, bent, set};

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
