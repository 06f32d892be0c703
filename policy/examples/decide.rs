//! What a decision costs: `decide RULES CALLS`. Prints nanoseconds per decision; under callgrind, two
//! runs that differ in `CALLS` alone give the instructions.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a measurement")]

use std::{
    hint::black_box,
    time::{Instant, UNIX_EPOCH},
};

use cellwall_policy::{
    Call, CallDocument, CallerDocument, Callers, IdentityHeader, ListensDocument, Mode, Protocol,
    RequestPath, RuleDocument, Snapshot, SnapshotDocument, Tls, Verdict,
};
use spiffe::SpiffeId;

/// Callers that are asked about in turn: as many as call one workload at a time.
const ASKED: usize = 16;

/// Paths that a workload serves.
const TEMPLATES: usize = 1_000;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut number = || numbers.next().expect("RULES CALLS").expect("a number");
    let (rules, calls) = (number(), number());
    let snapshot = Snapshot::new(document(rules)).expect("a valid snapshot");
    let asked: Vec<(SpiffeId, String)> = (0..ASKED)
        .map(|one| one * rules / ASKED)
        .map(|one| {
            let id = format!("spiffe://pay.example/prod/caller-{one}");
            (SpiffeId::new(id).expect("an ID"), format!("/v1/r{}/accounts/a_1", one % TEMPLATES))
        })
        .collect();
    let tls = Tls::default();
    let started = Instant::now();
    let mut allowed = 0_usize;
    for (id, path) in asked.iter().cycle().take(calls) {
        let path = RequestPath::parse(black_box(path)).expect("a path");
        let call = Call::Http { method: "GET", path: &path };
        let decision = snapshot.decide(black_box(id), &tls, &call, UNIX_EPOCH);
        allowed += usize::from(decision.verdict == Verdict::Allow);
    }
    let took = started.elapsed();
    assert_eq!(allowed, calls, "every one of these calls has a rule");
    if calls > 0 {
        println!("{:.1}", took.as_secs_f64() * 1e9 / f64::from(u32::try_from(calls).expect("few")));
    }
}

/// As many rules as callers, each for a path of its own.
fn document(rules: usize) -> SnapshotDocument {
    let name = |one: usize| format!("caller-{one}");
    SnapshotDocument {
        schema: cellwall_policy::SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: "spiffe://pay.example/prod/payments".to_owned(),
        workload: "payments".to_owned(),
        epoch: 1,
        version: 1,
        digest: cellwall_policy::Digest::default().to_string(),
        issued_at: 1,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Http, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: (0..rules).map(|one| CallerDocument { name: name(one), id: None }).collect(),
        rules: (0..rules)
            .map(|one| RuleDocument {
                name: format!("rule-{one}"),
                from: Callers::Named(vec![name(one)]),
                calls: vec![CallDocument::Http {
                    methods: vec!["GET".to_owned()],
                    path: format!("/v1/r{}/accounts/{{id}}", one % TEMPLATES),
                }],
                ..RuleDocument::default()
            })
            .collect(),
        foreign: Vec::new(),
        grants: Vec::new(),
        guards: Vec::new(),
        probes: Vec::new(),
        destinations: Vec::new(),
    }
}
