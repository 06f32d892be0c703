//! A small policy that each test bends to its case.

use std::time::SystemTime;

use cellwall_policy::{
    Call, CallDocument, CallerDocument, Callers, Decision, DestinationDocument, Digest,
    GrantDocument, GuardDocument, IdentityHeader, ListensDocument, Mode, Protocol, RequestPath,
    RuleDocument, SCHEMA, Snapshot, SnapshotDocument, Tls, Tolerated,
};
use spiffe::SpiffeId;

pub(crate) fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn named(text: &str) -> Callers {
    Callers::Named(names(text))
}

pub(crate) fn http(method: &str, path: &str) -> CallDocument {
    CallDocument::Http { methods: vec![method.to_owned()], path: path.to_owned() }
}

pub(crate) fn rule(name: &str, from: Callers, calls: &[CallDocument]) -> RuleDocument {
    RuleDocument { name: name.to_owned(), from, calls: calls.to_vec(), ..RuleDocument::default() }
}

pub(crate) fn guard(name: &str, from: Callers, except: &str) -> GuardDocument {
    GuardDocument {
        name: name.to_owned(),
        from,
        except: names(except),
        calls: Vec::new(),
        when: None,
        mode: Mode::Enforce,
    }
}

/// From 1,000 to 2,000 seconds after 1970: `POST /v1/tokens`.
pub(crate) fn grant(name: &str, from: Callers) -> GrantDocument {
    let rule = rule(name, from, &[http("POST", "/v1/tokens")]);
    GrantDocument { rule, starts: 1_000, expires: 2_000 }
}

/// `card-vault` of prod: `checkout` and `payments` may call it, a guard keeps all others out.
pub(crate) fn vault() -> SnapshotDocument {
    SnapshotDocument {
        schema: SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: "spiffe://pay.example/prod/card-vault".to_owned(),
        workload: "card-vault".to_owned(),
        epoch: 3,
        version: 42,
        digest: Digest::of(b"documents").to_string(),
        issued_at: 1_790_000_000,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Http, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: vec![
            CallerDocument { name: "checkout".to_owned(), id: None },
            CallerDocument { name: "payments".to_owned(), id: None },
            CallerDocument {
                name: "ledger-db".to_owned(),
                id: Some("/{env}/vm/ledger-db".to_owned()),
            },
        ],
        foreign: Vec::new(),
        rules: vec![
            rule("checkout-tokenises", named("checkout"), &[http("POST", "/v1/tokens")]),
            rule(
                "payments-charges-token",
                named("payments ledger-db"),
                &[http("POST", "/v1/tokens/{token}/charge")],
            ),
        ],
        grants: Vec::new(),
        guards: vec![guard("vault-callers", Callers::Any, "checkout payments")],
        probes: Vec::new(),
        destinations: vec![DestinationDocument {
            name: "staging/payments".to_owned(),
            id: "spiffe://pay.example/staging/payments".to_owned(),
            protocol: Protocol::Http,
            tolerates: Tolerated::Nothing,
            idempotent: Vec::new(),
        }],
    }
}

/// The same without the guard.
pub(crate) fn open_vault() -> SnapshotDocument {
    SnapshotDocument { guards: Vec::new(), ..vault() }
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

pub(crate) fn ask(document: &SnapshotDocument, caller: &str, call: &Call<'_>) -> Decision {
    let snapshot = Snapshot::new(document.clone()).unwrap();
    snapshot.decide(&id(caller), &Tls::default(), call, SystemTime::UNIX_EPOCH)
}

/// `VERDICT by BY` for an HTTP call by `spiffe://pay.example/CALLER`.
pub(crate) fn answer(
    document: &SnapshotDocument,
    caller: &str,
    method: &str,
    path: &str,
) -> String {
    let tolerated = Snapshot::new(document.clone()).unwrap().tolerates();
    let path = RequestPath::tolerating(path, tolerated).unwrap();
    let caller = format!("spiffe://pay.example/{caller}");
    let decision = ask(document, &caller, &Call::Http { method, path: &path });
    format!("{} by {}", decision.verdict.as_str(), decision.by)
}
