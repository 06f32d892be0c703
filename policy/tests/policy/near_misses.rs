//! Callers that are almost the allowed one: no ID at all, or denied (AZ-04).

use std::{collections::BTreeMap, time::SystemTime};

use cellwall_policy::{
    Call, CallerDocument, RequestPath, Snapshot, SnapshotDocument, Tls, Verdict, canonical_id,
};
use cellwall_testkit::near_miss::near_misses;

use crate::sample::open_vault;

/// Without guards, and with a caller whose ID has a dot and a segment more.
fn document() -> SnapshotDocument {
    let mut document = open_vault();
    document.callers.retain(|caller| caller.id.is_none());
    let id = Some("/{env}/vm/ledger.db-1".to_owned());
    document.callers.push(CallerDocument { name: "ledger-db".to_owned(), id });
    document
}

/// The allowed callers, and a call that each may make.
const ALLOWED: [(&str, &str); 3] = [
    ("spiffe://pay.example/prod/checkout", "/v1/tokens"),
    ("spiffe://pay.example/prod/payments", "/v1/tokens/t_9/charge"),
    ("spiffe://pay.example/prod/vm/ledger.db-1", "/v1/tokens/t_9/charge"),
];

#[test]
fn whoever_is_almost_an_allowed_caller_is_denied_or_nobody() {
    let snapshot = Snapshot::new(document()).unwrap();
    let verdict = |id: &str, path: &str| {
        let id = canonical_id(id)?; // SPID-03: what is spelled another way is nobody
        let path = RequestPath::parse(path).unwrap();
        let call = Call::Http { method: "POST", path: &path };
        Some(snapshot.decide(&id, &Tls::default(), &call, SystemTime::UNIX_EPOCH).verdict)
    };
    let mut counts = BTreeMap::<(&str, &str), u32>::new();
    let (mut cases, mut allowed) = (0, Vec::new());
    for (id, path) in ALLOWED {
        assert_eq!(verdict(id, path), Some(Verdict::Allow), "control: {id}");
        for miss in near_misses(id) {
            cases += 1;
            let outcome = match verdict(&miss.id, path) {
                None => "not_an_id",
                Some(Verdict::Deny) => "denied",
                Some(Verdict::Allow | Verdict::Audit) => {
                    allowed.push(miss.id);
                    continue;
                }
            };
            *counts.entry((outcome, miss.trick)).or_default() += 1;
        }
    }
    assert_eq!(allowed, Vec::<String>::new());
    assert!(cases >= 200, "{cases}");
    let of = |outcome: &str| {
        let found = counts.iter().filter(|((what, _), _)| *what == outcome);
        found.map(|((_, trick), count)| (*trick, *count)).collect::<BTreeMap<_, _>>()
    };
    let (denied, nobody) = (of("denied"), of("not_an_id"));
    let figures = serde_json::json!({
        "cases": cases, "allowed": allowed.len(),
        "denied": denied.values().sum::<u32>(), "not_an_id": nobody.values().sum::<u32>(),
        "denied_by_trick": denied, "not_an_id_by_trick": nobody,
    });
    println!("evidence: {figures}");
}
