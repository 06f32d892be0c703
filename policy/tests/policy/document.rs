//! A document that contradicts itself, or that this release does not know, is refused whole.

use cellwall_policy::{
    CallDocument, CallError, CallerDocument, Callers, GuardDocument, IdentityError, NotADigest,
    PolicyVersion, RuleDocument, Snapshot, SnapshotDocument, SnapshotError,
};

use crate::sample::{guard, http, named, names, rule, vault};

fn check(bend: impl FnOnce(&mut SnapshotDocument), expected: SnapshotError) {
    let mut document = vault();
    bend(&mut document);
    assert_eq!(Snapshot::new(document).unwrap_err(), expected);
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    use SnapshotError::{Duplicate, Id, Name, Port, SameId, Schema, TrustDomain, UnknownCaller};
    let text = str::to_owned;
    check(|d| d.schema = 2, Schema(2));
    check(|d| d.digest = text("abc"), SnapshotError::Digest(NotADigest(text("abc"))));
    check(|d| d.issued_at = u64::MAX, SnapshotError::Date(u64::MAX));
    check(|d| d.workload = text("Vault"), Name(text("Vault")));
    check(|d| d.listens.port = 0, Port);
    check(|d| d.trust_domain = text("other.example"), TrustDomain(text("other.example")));
    check(|d| d.callers[1].name = text("checkout"), Duplicate(text("checkout")));
    check(|d| d.callers[0].id = Some(text("/{env}/payments")), SameId(text("payments")));
    check(|d| d.rules[1].name = text("checkout-tokenises"), Duplicate(text("checkout-tokenises")));
    check(|d| d.rules[1].name = text("no name"), Name(text("no name")));
    check(|d| d.guards.push(guard("vault-callers", Callers::Any, "")), {
        Duplicate(text("vault-callers"))
    });
    let unknown = |by: &str| UnknownCaller { by: text(by), caller: text("fraud") };
    check(|d| d.rules[0].from = named("fraud"), unknown("checkout-tokenises"));
    check(|d| d.guards[0].except = names("fraud"), unknown("vault-callers"));
    check(|d| d.guards[0].from = named("fraud"), unknown("vault-callers"));
    check(|d| d.destinations[0].name = text("a b"), Name(text("a b")));
    let twice = |d: &mut SnapshotDocument| d.destinations.push(d.destinations[0].clone());
    check(twice, Duplicate(text("staging/payments")));
    for id in [
        "spiffe://pay.example/cellwall/control-plane",
        "spiffe://other.example/prod/card-vault",
        "spiffe://Pay.example/prod/card-vault",
        "spiffe://pay.example",
        "prod/card-vault",
    ] {
        check(|d| d.callee = text(id), Id(text(id)));
    }
    for id in ["spiffe://other.example/a/b", "spiffe://pay.example/cellwall/x"] {
        check(|d| d.destinations[0].id = text(id), Id(text(id)));
    }
}

#[test]
fn an_identity_below_cellwall_is_refused() {
    let reserved = |name: &str| SnapshotError::Identity {
        name: name.to_owned(),
        source: IdentityError::Reserved,
    };
    let template = "spiffe://pay.example/cellwall/{workload}".to_owned();
    check(|d| d.identity = template, reserved("identity"));
    let flat = |d: &mut SnapshotDocument| {
        d.identity = "spiffe://pay.example/{workload}".to_owned();
        d.callers[0].id = Some("/cellwall/control-plane".to_owned());
    };
    check(flat, reserved("checkout"));
}

#[test]
fn calls_that_the_callee_cannot_have_are_refused() {
    let port = CallDocument::Tcp { port: 8443 };
    check(
        |d| d.rules.push(rule("tcp", Callers::Any, &[port])),
        SnapshotError::Call(CallError::Protocol { listens: "http", call: "tcp" }),
    );
    check(
        |d| d.rules.push(rule("bad", Callers::Any, &[http("CONNECT", "/a")])),
        SnapshotError::Call(CallError::Method("CONNECT".to_owned())),
    );
}

#[test]
fn an_unknown_field_anywhere_is_refused() {
    // AZ-08
    let json = serde_json::to_value(vault()).unwrap();
    assert_eq!(serde_json::from_value::<SnapshotDocument>(json.clone()).unwrap(), vault());
    for pointer in [
        "",
        "/listens",
        "/callers/0",
        "/rules/0",
        "/rules/0/calls/0/http",
        "/guards/0",
        "/destinations/0",
    ] {
        let mut bent = json.clone();
        let object = bent.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        object.insert("when".to_owned(), serde_json::Value::Bool(true));
        let error = serde_json::from_value::<SnapshotDocument>(bent).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `when`"), "{pointer}: {error}");
    }
    for (pointer, value) in
        [("/mode", "permit"), ("/listens/protocol", "quic"), ("/guards/0/from", "all")]
    {
        let mut bent = json.clone();
        *bent.pointer_mut(pointer).unwrap() = value.into();
        assert!(serde_json::from_value::<SnapshotDocument>(bent).is_err(), "{pointer}");
    }
}

#[test]
fn a_document_beyond_the_limits_is_refused_and_one_at_them_is_not() {
    // AZ-07
    let rules = |number: usize| {
        let mut document = vault();
        let one = document.rules[0].clone();
        let named = |at: usize| RuleDocument { name: format!("rule-{at}"), ..one.clone() };
        document.rules = (0..number).map(named).collect();
        document
    };
    assert!(Snapshot::new(rules(10_000)).is_ok());
    let guards = |number: usize| {
        let mut document = vault();
        let one = document.guards[0].clone();
        let named = |at: usize| GuardDocument { name: format!("guard-{at}"), ..one.clone() };
        document.guards = (0..number).map(named).collect();
        document
    };
    assert!(Snapshot::new(guards(10_000)).is_ok());
    let callers = |number: usize| {
        let mut document = vault();
        let named = |at: usize| CallerDocument { name: format!("caller-{at}"), id: None };
        document.callers.extend((document.callers.len()..number).map(named));
        document
    };
    assert!(Snapshot::new(callers(100_000)).is_ok());
    for (document, what) in [
        (rules(10_001), "rules or guards"),
        (rules(10_002), "rules or guards"),
        (guards(10_001), "rules or guards"),
        (guards(10_002), "rules or guards"),
        (callers(100_001), "callers"),
        (callers(100_002), "callers"),
    ] {
        assert_eq!(Snapshot::new(document).unwrap_err(), SnapshotError::TooMany(what));
    }
    assert_eq!(PolicyVersion(7).to_string(), "7");
}
