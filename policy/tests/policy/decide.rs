//! The decision: its order, its defaults, its near misses.

use std::{sync::Arc, time::SystemTime};

use cellwall_policy::{
    By, Call, CallDocument, Callers, Decision, ListensDocument, Mode, PolicyVersion, Protocol,
    RequestPath, Snapshot, SnapshotDocument, Tls, Verdict,
};
use proptest::prelude::*;

use crate::sample::{answer, ask, guard, http, id, named, open_vault, rule, vault};

const TCP: Call<'_> = Call::Tcp { port: 8443 };

/// Caller, method, path, answer.
type Case = (&'static str, &'static str, &'static str, &'static str);

fn check(document: &SnapshotDocument, cases: &[Case]) {
    for (caller, method, path, expected) in cases {
        assert_eq!(answer(document, caller, method, path), *expected, "{caller} {method} {path}");
    }
}

#[test]
fn a_rule_allows_its_callers_its_calls_and_nothing_else() {
    check(
        &open_vault(),
        &[
            ("prod/checkout", "POST", "/v1/tokens", "allow by checkout-tokenises"),
            ("prod/payments", "POST", "/v1/tokens/t_9/charge", "allow by payments-charges-token"),
            ("prod/vm/ledger-db", "POST", "/v1/tokens/t/charge", "allow by payments-charges-token"),
            ("prod/payments", "POST", "/v1/tokens", "deny by default"),
            ("prod/checkout", "GET", "/v1/tokens", "deny by default"),
            ("prod/checkout", "POST", "/v1/tokens/", "deny by default"),
            ("prod/checkout", "POST", "/v1/tokens/t_9/charge", "deny by default"),
            ("prod/payments", "POST", "/v1/tokens/t_9/t_8/charge", "deny by default"),
        ],
    );
}

#[test]
fn near_misses_of_an_allowed_id_are_denied() {
    // AZ-04, SPID-09
    check(
        &open_vault(),
        &[
            ("prod/Checkout", "POST", "/v1/tokens", "deny by default"),
            ("prod/checkou", "POST", "/v1/tokens", "deny by default"),
            ("prod/checkout2", "POST", "/v1/tokens", "deny by default"),
            ("prod/checkout/a", "POST", "/v1/tokens", "deny by default"),
            ("prod/a/checkout", "POST", "/v1/tokens", "deny by default"),
            ("prod", "POST", "/v1/tokens", "deny by default"),
            ("prod/ledger-db", "POST", "/v1/tokens/t/charge", "deny by default"),
            ("prod/vm/payments", "POST", "/v1/tokens/t/charge", "deny by default"),
            ("checkout", "POST", "/v1/tokens", "deny by boundary/env"),
            ("Prod/checkout", "POST", "/v1/tokens", "deny by boundary/env"),
            ("prod1/checkout", "POST", "/v1/tokens", "deny by boundary/env"),
        ],
    );
}

#[test]
fn an_environment_never_reaches_another_whatever_the_rules_say() {
    let mut document = open_vault();
    document.rules.push(rule("everyone", Callers::Any, &[http("GET", "/{rest...}")]));
    check(
        &document,
        &[
            ("prod/checkout", "GET", "/a", "allow by everyone"),
            ("staging/checkout", "GET", "/a", "deny by boundary/env"),
            ("staging/checkout", "POST", "/v1/tokens", "deny by boundary/env"),
            ("staging/vm/ledger-db", "GET", "/a", "deny by boundary/env"),
            ("staging/unknown", "GET", "/a", "deny by boundary/env"),
        ],
    );
}

#[test]
fn every_variable_but_workload_is_a_boundary_and_the_first_that_differs_is_named() {
    let mut document = open_vault();
    document.identity = "spiffe://pay.example/{region}/{env}/{workload}".to_owned();
    document.callee = "spiffe://pay.example/eu/prod/card-vault".to_owned();
    document.callers.pop();
    document.rules[1].from = named("payments");
    check(
        &document,
        &[
            ("eu/prod/checkout", "POST", "/v1/tokens", "allow by checkout-tokenises"),
            ("eu/staging/checkout", "POST", "/v1/tokens", "deny by boundary/env"),
            ("us/prod/checkout", "POST", "/v1/tokens", "deny by boundary/region"),
            ("us/staging/checkout", "POST", "/v1/tokens", "deny by boundary/region"),
            ("prod/eu/checkout", "POST", "/v1/tokens", "deny by boundary/region"),
        ],
    );
    assert_eq!(&**Snapshot::new(document).unwrap().environment(), "eu/prod");
}

#[test]
fn without_variables_there_is_no_boundary_and_the_default_holds() {
    let mut document = open_vault();
    document.identity = "spiffe://pay.example/{workload}".to_owned();
    document.callee = "spiffe://pay.example/card-vault".to_owned();
    document.callers.pop();
    document.rules[1].from = named("payments");
    document.mode = Mode::Audit;
    check(
        &document,
        &[
            ("checkout", "POST", "/v1/tokens", "allow by checkout-tokenises"),
            ("checkout", "GET", "/v1/tokens", "audit by default"),
            ("prod/checkout", "POST", "/v1/tokens", "deny by default"),
            ("cellwall/control-plane", "POST", "/v1/tokens", "deny by default"),
        ],
    );
    assert_eq!(&**Snapshot::new(document).unwrap().environment(), "");
}

#[test]
fn a_guard_beats_every_rule_and_comes_before_the_boundary() {
    // AZ-02: also for whoever the snapshot does not know.
    let mut document = vault();
    document.rules.push(rule("everyone", Callers::Any, &[http("GET", "/{rest...}")]));
    check(
        &document,
        &[
            ("prod/checkout", "GET", "/a", "allow by everyone"),
            ("prod/vm/ledger-db", "GET", "/a", "deny by guard/vault-callers"),
            ("prod/vm/ledger-db", "POST", "/v1/tokens/t/charge", "deny by guard/vault-callers"),
            ("prod/unknown", "GET", "/a", "deny by guard/vault-callers"),
            ("staging/unknown", "GET", "/a", "deny by guard/vault-callers"),
            ("staging/vm/ledger-db", "GET", "/a", "deny by guard/vault-callers"),
            ("staging/checkout", "GET", "/a", "deny by boundary/env"),
        ],
    );
    document.guards = vec![guard("no-checkout", named("checkout"), "")];
    check(
        &document,
        &[
            ("prod/checkout", "GET", "/a", "deny by guard/no-checkout"),
            ("staging/checkout", "GET", "/a", "deny by guard/no-checkout"),
            ("prod/payments", "GET", "/a", "allow by everyone"),
            ("prod/unknown", "GET", "/a", "deny by default"),
        ],
    );
}

#[test]
fn audit_softens_the_default_for_known_callers_and_nothing_else() {
    let mut document = SnapshotDocument { mode: Mode::Audit, ..vault() };
    document.guards = vec![guard("no-payments", named("payments"), "")];
    check(
        &document,
        &[
            ("prod/checkout", "POST", "/v1/tokens", "allow by checkout-tokenises"),
            ("prod/checkout", "GET", "/a", "audit by default"),
            ("prod/payments", "GET", "/a", "deny by guard/no-payments"),
            ("staging/checkout", "GET", "/a", "deny by boundary/env"),
            ("prod/unknown", "GET", "/a", "deny by default"),
            ("cellwall/control-plane", "GET", "/a", "deny by boundary/env"),
        ],
    );
    let other = ask(&document, "spiffe://other.example/prod/checkout", &TCP);
    assert_eq!((other.verdict, other.by.to_string()), (Verdict::Deny, "boundary/env".to_owned()));
}

#[test]
fn a_call_in_another_protocol_is_denied_even_in_audit() {
    // AZ-03
    let path = RequestPath::parse("/v1/tokens").unwrap();
    let web = Call::Http { method: "POST", path: &path };
    let rpc = Call::Grpc { service: "v1", method: "tokens" };
    let callee = |protocol, call: CallDocument| SnapshotDocument {
        listens: vec![ListensDocument::of(protocol, 8443)],
        mode: Mode::Audit,
        rules: vec![rule("all", Callers::Any, &[call])],
        ..open_vault()
    };
    let everything = CallDocument::Grpc { service: "v1".to_owned(), method: "*".to_owned() };
    for (document, allowed) in [
        (callee(Protocol::Http, http("POST", "/{rest...}")), web),
        (callee(Protocol::Grpc, everything), rpc),
        (callee(Protocol::Tcp, CallDocument::Tcp { port: 8443 }), TCP),
    ] {
        for call in [web, rpc, TCP] {
            let decision = ask(&document, "spiffe://pay.example/prod/checkout", &call);
            let expected = if call.protocol() == allowed.protocol() {
                (Verdict::Allow, By::Rule("all".into()))
            } else {
                (Verdict::Deny, By::Default)
            };
            assert_eq!((decision.verdict, decision.by), expected, "{call:?}");
        }
    }
}

#[test]
fn a_rule_for_a_template_never_opens_a_more_specific_one() {
    let mut document = open_vault();
    document.rules = vec![
        rule("by-token", named("checkout"), &[http("POST", "/v1/tokens/{t}")]),
        rule("export", named("payments"), &[http("POST", "/v1/tokens/export")]),
    ];
    check(
        &document,
        &[
            ("prod/checkout", "POST", "/v1/tokens/t_9", "allow by by-token"),
            ("prod/checkout", "POST", "/v1/tokens/export", "deny by default"),
            ("prod/payments", "POST", "/v1/tokens/export", "allow by export"),
            ("prod/payments", "POST", "/v1/tokens/t_9", "deny by default"),
        ],
    );
}

#[test]
fn a_decision_names_its_route_and_version_and_needs_no_second_asking() {
    let path = RequestPath::parse("/v1/tokens/4111/charge").unwrap();
    let call = Call::Http { method: "POST", path: &path };
    assert_eq!(
        ask(&vault(), "spiffe://pay.example/prod/payments", &call),
        Decision {
            verdict: Verdict::Allow,
            by: By::Rule(Arc::from("payments-charges-token")),
            route: Some(Arc::from("/v1/tokens/{token}/charge")),
            version: PolicyVersion(42),
            until: None,
        }
    );
    let path = RequestPath::parse("/nothing").unwrap();
    let call = Call::Http { method: "POST", path: &path };
    let denied = ask(&vault(), "spiffe://pay.example/prod/payments", &call);
    assert_eq!((denied.verdict, denied.route), (Verdict::Deny, None));
}

#[test]
fn a_snapshot_names_callers_and_destinations_that_it_knows() {
    let snapshot = Snapshot::new(vault()).unwrap();
    let name = |text| snapshot.workload_of(&id(text)).map(|name| &**name);
    assert_eq!(name("spiffe://pay.example/prod/vm/ledger-db"), Some("ledger-db"));
    assert_eq!(name("spiffe://pay.example/staging/checkout"), Some("checkout"));
    assert_eq!(name("spiffe://pay.example/prod/unknown"), None);
    let destination = snapshot.destination("staging/payments").unwrap();
    assert_eq!(*destination.id, id("spiffe://pay.example/staging/payments"));
    assert_eq!(&*destination.id_text, "spiffe://pay.example/staging/payments");
    assert_eq!(destination.protocol, Protocol::Http);
    assert!(destination.idempotent.is_none());
    assert!(snapshot.destination("payments").is_none());
    assert_eq!((&**snapshot.workload(), &**snapshot.environment()), ("card-vault", "prod"));
    assert_eq!(snapshot.listens(), vault().listens);
    assert_eq!(snapshot.callee(), &id("spiffe://pay.example/prod/card-vault"));
    assert_eq!(&**snapshot.callee_text(), "spiffe://pay.example/prod/card-vault");
}

#[test]
fn deciding_allocates_nothing() {
    let mut document = open_vault();
    document.rules.push(rule("rest", Callers::Any, &[http("GET", "/{rest...}")]));
    document.guards = vec![guard("no-payments", named("payments"), "")];
    let snapshot = Snapshot::new(document).unwrap();
    let paths = ["/v1/tokens", "/a/b/c", "/"].map(|path| RequestPath::parse(path).unwrap());
    let callers = ["prod/checkout", "prod/vm/ledger-db", "prod/payments", "staging/checkout", "x"]
        .map(|caller| id(&format!("spiffe://pay.example/{caller}")));
    let now = SystemTime::UNIX_EPOCH;
    let info = allocation_counter::measure(|| {
        for caller in &callers {
            for path in &paths {
                for method in ["GET", "POST"] {
                    let call = Call::Http { method, path };
                    drop(snapshot.decide(caller, &Tls::default(), &call, now));
                }
            }
        }
    });
    assert_eq!(info.count_total, 0);
    let info = allocation_counter::measure(|| drop(RequestPath::parse("/v1/tokens/t_9/charge")));
    assert_eq!(info.count_total, 0);
}

fn calls() -> impl Strategy<Value = Vec<CallDocument>> {
    let path = "(/([ab]|\\{p\\})){1}(/c)?";
    prop::collection::vec((prop::sample::select(vec!["GET", "PUT"]), path), 1..4)
        .prop_map(|calls| calls.iter().map(|(method, path)| http(method, path)).collect())
}

fn some_callers() -> impl Strategy<Value = Callers> {
    prop_oneof![
        1 => Just(Callers::Any),
        4 => prop::sample::subsequence(vec!["checkout", "payments", "ledger-db"], 1..3)
            .prop_map(|names| named(&names.join(" "))),
    ]
}

proptest! {
    /// AZ-02: the order of rules and guards changes nothing, not even the name that is given.
    #[test]
    fn shuffling_rules_and_guards_changes_no_decision(
        (rules, shuffled) in prop::collection::vec((some_callers(), calls()), 1..6)
            .prop_flat_map(|rules| {
                let rules: Vec<_> = rules
                    .into_iter()
                    .enumerate()
                    .map(|(at, (from, calls))| rule(&format!("r{at}"), from, &calls))
                    .collect();
                (Just(rules.clone()), Just(rules).prop_shuffle())
            }),
        (guards, turned) in prop::collection::vec(some_callers(), 0..3).prop_flat_map(|guards| {
            let guards: Vec<_> = guards
                .into_iter()
                .enumerate()
                .map(|(at, from)| guard(&format!("g{at}"), from, "payments"))
                .collect();
            (Just(guards.clone()), Just(guards).prop_shuffle())
        }),
        caller in prop::sample::select(vec!["checkout", "payments", "vm/ledger-db", "unknown"]),
        path in "/[abx](/c)?",
    ) {
        let one = Snapshot::new(SnapshotDocument { rules, guards, ..vault() });
        let two = Snapshot::new(SnapshotDocument { rules: shuffled, guards: turned, ..vault() });
        prop_assert_eq!(one.is_ok(), two.is_ok());
        if let (Ok(one), Ok(two)) = (one, two) {
            let path = RequestPath::parse(&path).unwrap();
            let call = Call::Http { method: "GET", path: &path };
            let caller = id(&format!("spiffe://pay.example/prod/{caller}"));
            let now = SystemTime::UNIX_EPOCH;
            let tls = Tls::default();
            let two = two.decide(&caller, &tls, &call, now);
            prop_assert_eq!(one.decide(&caller, &tls, &call, now), two);
        }
    }
}
