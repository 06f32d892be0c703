//! What a decision costs as rules, callers and conditions grow: every case in turn, round after
//! round, so that whatever else the machine does meets all of them alike. Prints one line of JSON
//! with nanoseconds for each case, of its best and its median round.
//! `cargo run --release -p cellwall-policy --example cost [ROUNDS]`
#![expect(clippy::expect_used, reason = "a measurement")]

use std::{
    hint::black_box,
    time::{Instant, UNIX_EPOCH},
};

use cellwall_policy::{
    Call, CallDocument, CallerDocument, Callers, Condition, Digest, IdentityHeader,
    ListensDocument, Mode, Operand, Protocol, RequestPath, RuleDocument, SCHEMA, Snapshot,
    SnapshotDocument, Tls, TlsFact, Verdict,
};
use spiffe::SpiffeId;

/// Different path templates of one callee.
const TEMPLATES: usize = 500;
/// Different questions that are asked in turn.
const ASKED: usize = 64;
/// Decisions of one round.
const DECISIONS: usize = 20_000;
const ROUNDS: usize = 15;

struct Case {
    rules: usize,
    callers: usize,
    when: bool,
    snapshot: Snapshot,
    asked: Vec<(SpiffeId, String)>,
    rounds: Vec<f64>,
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |text| text.parse().expect("rounds"));
    let mut cases = Vec::new();
    for when in [false, true] {
        for (rules, callers) in
            [(10, 10), (1_000, 10), (10_000, 10), (10, 10_000), (1_000, 10_000), (10_000, 10_000)]
        {
            cases.push(Case::new(rules, callers, when));
        }
    }
    for _ in 0..rounds {
        for case in &mut cases {
            case.round();
        }
    }
    let figures: Vec<_> = cases.iter_mut().map(Case::figures).collect();
    println!(
        "{}",
        serde_json::json!({ "rounds": rounds, "decisions": DECISIONS, "cases": figures })
    );
}

impl Case {
    fn new(rules: usize, callers: usize, when: bool) -> Self {
        let snapshot = Snapshot::new(document(rules, callers, when)).expect("a valid snapshot");
        let asked = (0..ASKED)
            .map(|one| one * rules / ASKED)
            .map(|rule| {
                let id = format!("spiffe://pay.example/prod/caller-{}", rule % callers);
                let path = format!("/v1/r{}/accounts/a_1/rules/{}", rule % TEMPLATES, rule);
                (SpiffeId::new(id).expect("an ID"), path)
            })
            .collect();
        Self { rules, callers, when, snapshot, asked, rounds: Vec::new() }
    }

    fn round(&mut self) {
        let tls = Tls::default();
        let started = Instant::now();
        let mut allowed = 0_usize;
        for (id, path) in self.asked.iter().cycle().take(DECISIONS) {
            let path = RequestPath::parse(black_box(path)).expect("a path");
            let call = Call::Http { method: "GET", path: &path };
            let decision = self.snapshot.decide(black_box(id), &tls, &call, UNIX_EPOCH);
            allowed += usize::from(decision.verdict == Verdict::Allow);
        }
        let took = started.elapsed().as_secs_f64() * 1e9 / DECISIONS as f64;
        assert_eq!(allowed, DECISIONS, "every one of these calls has a rule");
        self.rounds.push(took);
    }

    fn figures(&mut self) -> serde_json::Value {
        self.rounds.sort_by(f64::total_cmp);
        let at = |part: usize| self.rounds.get(self.rounds.len() * part / 2).copied();
        serde_json::json!({
            "rules": self.rules,
            "callers": self.callers,
            "when": self.when,
            "best_ns": at(0).map(f64::round),
            "median_ns": at(1).map(f64::round),
        })
    }
}

/// Each rule lets one caller make one call; with `when` only over a post-quantum key exchange.
fn document(rules: usize, callers: usize, when: bool) -> SnapshotDocument {
    let name = |one: usize| format!("caller-{one}");
    let group = Operand::Text("X25519MLKEM768".to_owned());
    let strict = Condition::Equal(Operand::Tls(TlsFact::Group), group);
    let rule = |one: usize| RuleDocument {
        name: format!("rule-{one}"),
        from: Callers::Named(vec![name(one % callers)]),
        calls: vec![CallDocument::Http {
            methods: vec!["GET".to_owned()],
            path: format!("/v1/r{}/accounts/{{id}}/rules/{{rule}}", one % TEMPLATES),
        }],
        when: when.then(|| strict.clone()),
        across: Vec::new(),
    };
    SnapshotDocument {
        schema: SCHEMA,
        trust_domain: "pay.example".to_owned(),
        callee: "spiffe://pay.example/prod/payments".to_owned(),
        workload: "payments".to_owned(),
        epoch: 1,
        version: 1,
        digest: Digest::default().to_string(),
        issued_at: 1,
        max_age_seconds: 86_400,
        identity_headers: IdentityHeader::USUAL.to_vec(),
        mode: Mode::Enforce,
        listens: vec![ListensDocument::of(Protocol::Http, 8443)],
        identity: "spiffe://pay.example/{env}/{workload}".to_owned(),
        callers: (0..callers).map(|one| CallerDocument { name: name(one), id: None }).collect(),
        foreign: Vec::new(),
        rules: (0..rules).map(rule).collect(),
        grants: Vec::new(),
        guards: Vec::new(),
        probes: Vec::new(),
        destinations: Vec::new(),
    }
}
