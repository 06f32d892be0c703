//! A document that contradicts itself, or that this release does not know, is refused whole.

use cellwall_policy::{
    CallDocument, CallError, CallerDocument, Callers, Condition::Equal, ConditionError,
    GuardDocument, IdentityError, IdentityHeader, Mode, NotADigest, Operand, PolicyVersion,
    ProbeDocument, RuleDocument, Snapshot, SnapshotDocument, SnapshotError,
};

use crate::sample::{grant, http, named, names, rule, vault};

fn check(bend: impl FnOnce(&mut SnapshotDocument), expected: SnapshotError) {
    let mut document = vault();
    bend(&mut document);
    assert_eq!(Snapshot::new(document).unwrap_err(), expected);
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    use SnapshotError::{
        Across, Condition, Duplicate, Id, IdentityHeaders, Listeners, Name, Probe, SameId, Schema,
        TrustDomain, UnknownCaller,
    };
    let text = str::to_owned;
    check(|d| d.schema = 1, Schema(1));
    check(|d| d.digest = text("abc"), SnapshotError::Digest(NotADigest(text("abc"))));
    check(|d| d.issued_at = u64::MAX, SnapshotError::Date(u64::MAX));
    check(|d| d.workload = text("Vault"), Name(text("Vault")));
    check(|d| d.listens[0].port = 0, Listeners);
    check(|d| d.listens.clear(), Listeners);
    check(|d| d.identity_headers.clear(), IdentityHeaders);
    check(|d| d.identity_headers.extend(IdentityHeader::ALL), IdentityHeaders);
    check(|d| d.listens.push(d.listens[0]), Listeners);
    check(|d| d.trust_domain = text("other.example"), TrustDomain(text("other.example")));
    check(|d| d.callers[1].name = text("checkout"), Duplicate(text("checkout")));
    check(|d| d.callers[0].id = Some(text("/{env}/payments")), SameId(text("payments")));
    check(|d| d.rules[1].name = text("no name"), Name(text("no name")));
    check(|d| d.grants.push(grant("no grant", named("checkout"))), Name(text("no grant")));
    check(|d| d.rules[0].across = names("env tier"), Across(text("checkout-tokenises")));
    let zone = |d: &mut SnapshotDocument| {
        d.guards[0].when = Some(Equal(Operand::Caller(text("zone")), Operand::Text(text("a"))));
    };
    let source = ConditionError::Variable(text("zone"));
    check(zone, Condition { by: text("vault-callers"), source });
    for (method, path) in [("get", "/livez"), ("GET", "livez"), ("GET", "/%61"), ("CONNECT", "/")] {
        let probe = ProbeDocument { method: text(method), path: text(path) };
        check(|d| d.probes.push(probe), Probe(format!("{method} {path}")));
    }
    for foreign in [
        "spiffe://pay.example/prod/checkout",
        "spiffe://Partner.example/a",
        "spiffe://partner.example/cellwall/x",
        "partner",
    ] {
        check(|d| d.foreign.push(text(foreign)), Id(text(foreign)));
    }
    let partner = text("spiffe://partner.example/a");
    let twice = vec![partner.clone(), partner.clone()];
    check(|d| d.foreign = twice, Id(partner));
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
fn a_document_is_written_as_it_is_read() {
    let mut document = vault();
    for mode in [Mode::Enforce, Mode::Audit] {
        document.mode = mode;
        document.guards[0].mode = mode;
        let written = serde_json::to_value(&document).unwrap();
        assert_eq!(written["mode"], mode.as_str());
        let of_guard = (mode == Mode::Audit).then(|| mode.as_str().into());
        assert_eq!(written["guards"][0].get("mode").cloned(), of_guard);
        let read: SnapshotDocument = serde_json::from_value(written).unwrap();
        assert_eq!(read, document);
    }
}

#[test]
fn a_document_says_in_which_headers_a_workload_reads_who_calls_only_where_it_is_not_the_usual_one()
{
    // AZ-08: an older proxy refuses a key that it does not know, and reads everything else as before
    let usual = serde_json::to_value(vault()).unwrap();
    assert_eq!(usual.get("identity_headers"), None);
    let read: SnapshotDocument = serde_json::from_value(usual).unwrap();
    assert_eq!(read.identity_headers, IdentityHeader::USUAL);
    let mut both = vault();
    both.identity_headers = IdentityHeader::ALL.to_vec();
    let mut written = serde_json::to_value(&both).unwrap();
    let names = serde_json::json!(["x-spiffe-id", "x-forwarded-client-cert"]);
    assert_eq!(written["identity_headers"], names);
    assert_eq!(serde_json::json!(IdentityHeader::ALL.map(IdentityHeader::as_str)), names);
    assert_eq!(serde_json::from_value::<SnapshotDocument>(written.clone()).unwrap(), both);
    let snapshot = Snapshot::new(both).unwrap();
    assert_eq!(snapshot.introduction().headers(), IdentityHeader::ALL);
    assert_eq!(snapshot.introduction().callee(), "spiffe://pay.example/prod/card-vault");
    written["identity_headers"] = serde_json::json!(["x-user"]);
    let refused = serde_json::from_value::<SnapshotDocument>(written).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "unknown variant `x-user`, expected `x-spiffe-id` or `x-forwarded-client-cert`"
    );
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
        SnapshotError::Call(CallError::Protocol("tcp")),
    );
    check(
        |d| d.rules.push(rule("bad", Callers::Any, &[http("CONNECT", "/a")])),
        SnapshotError::Call(CallError::Method("CONNECT".to_owned())),
    );
}

#[test]
fn an_unknown_field_anywhere_is_refused() {
    // AZ-08
    let mut whole = vault();
    whole.grants.push(grant("INC-1", named("checkout")));
    whole.probes.push(ProbeDocument { method: "GET".to_owned(), path: "/livez".to_owned() });
    let json = serde_json::to_value(&whole).unwrap();
    assert_eq!(serde_json::from_value::<SnapshotDocument>(json.clone()).unwrap(), whole);
    for pointer in [
        "",
        "/listens/0",
        "/callers/0",
        "/rules/0",
        "/rules/0/calls/0/http",
        "/grants/0",
        "/grants/0/rule",
        "/guards/0",
        "/probes/0",
        "/destinations/0",
    ] {
        let mut bent = json.clone();
        let object = bent.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        object.insert("headers".to_owned(), serde_json::Value::Bool(true));
        let error = serde_json::from_value::<SnapshotDocument>(bent).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `headers`"), "{pointer}: {error}");
    }
    for (pointer, value) in
        [("/mode", "permit"), ("/listens/0/protocol", "quic"), ("/guards/0/from", "all")]
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
    let mut granted = rules(9_999);
    granted.grants.push(grant("INC-1", named("checkout")));
    assert!(Snapshot::new(granted.clone()).is_ok());
    granted.grants.push(grant("INC-2", named("checkout")));
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
        (granted, "rules or guards"),
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
