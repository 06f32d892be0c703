//! What a decision costs here and with Cedar, on the same policy and the same requests: both in
//! turn, round after round. Cedar's request and entities are made before the clock starts.

use std::{fmt::Write as _, hint::black_box, str::FromStr, time::Instant, time::UNIX_EPOCH};

use anyhow::Context as _;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet as CedarSet, Request, Schema,
};
use cellwall_policy::{Call, RequestPath, Snapshot, Tls, Verdict};
use cellwall_policy_language::{Sources, load};
use serde_json::{Value, json};
use spiffe::SpiffeId;

/// Different callers, and different requests that are asked in turn.
const CALLERS: usize = 10;
const ASKED: usize = 10;
/// Decisions of the engine for each of Cedar's in one round: it has to be long enough for the clock.
const REPEATED: usize = 1_000;
const ROUNDS: usize = 15;

/// Prints a line of evidence.
pub(super) fn run() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for rules in [10, 100, 1_000] {
        rows.push(Case::new(rules)?.measured(rules)?);
    }
    println!("evidence: {}", json!({ "rounds": ROUNDS, "rows": rows }));
    Ok(())
}

struct Case {
    snapshot: Snapshot,
    policies: CedarSet,
    entities: Entities,
    asked: Vec<(SpiffeId, String, Request)>,
}

impl Case {
    fn new(rules: usize) -> anyhow::Result<Self> {
        let set = load(&Sources::single(document(rules))).map_err(|it| anyhow::anyhow!("{it:?}"))?;
        let callee = "spiffe://pay.example/prod/payments";
        let publication = Default::default();
        let compiled = set.compile(&SpiffeId::new(callee)?, &[], &publication, UNIX_EPOCH)?;
        let cedar = set.cedar()?;
        let policies = CedarSet::from_str(&cedar.policies)?;
        let schema = Schema::from_json_value(cedar.schema.clone())?;
        let name = |number: usize| format!("caller-{number}");
        let mut known: Vec<Value> =
            (0..CALLERS).filter_map(|it| set.cedar_entity(&name(it), "prod")).collect();
        known.extend(set.cedar_entity("payments", "prod"));
        let uid = |kind: &str, id: &str| EntityUid::from_json(json!({"type": kind, "id": id}));
        let mut asked = Vec::new();
        for rule in (0..ASKED).map(|it| it * rules / ASKED) {
            let caller = format!("spiffe://pay.example/prod/{}", name(rule % CALLERS));
            let template = format!("/v1/r{rule}/accounts/{{id}}");
            let action = cedar.actions.iter().find(|it| it.templates.first() == Some(&template));
            let action = &action.with_context(|| format!("no action for {template}"))?.action;
            let context = json!({"now": 0, "tls_version": "1.3", "tls_group": "X25519MLKEM768"});
            let request = Request::new(
                uid("Workload", &caller)?,
                uid("Action", action)?,
                uid("Workload", callee)?,
                Context::from_json_value(context, None)?,
                Some(&schema),
            )?;
            let path = format!("/v1/r{rule}/accounts/a_1");
            asked.push((SpiffeId::new(&caller)?, path, request));
        }
        let entities = Entities::from_json_value(known.into(), Some(&schema))?;
        Ok(Self { snapshot: Snapshot::new(compiled)?, policies, entities, asked })
    }

    fn measured(&self, rules: usize) -> anyhow::Result<Value> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let authorizer = Authorizer::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let mut allowed = 0;
            for (caller, path, _) in self.asked.iter().cycle().take(REPEATED * ASKED) {
                let path = RequestPath::parse(black_box(path))?;
                let call = Call::Http { method: "GET", path: &path };
                let decision = self.snapshot.decide(caller, &Tls::default(), &call, UNIX_EPOCH);
                allowed += usize::from(decision.verdict == Verdict::Allow);
            }
            ours.push(started.elapsed().as_secs_f64() * 1e9 / (REPEATED * ASKED) as f64);
            anyhow::ensure!(allowed == REPEATED * ASKED, "the engine allows {allowed}");
            let started = Instant::now();
            let mut allowed = 0;
            for (_, _, request) in &self.asked {
                let answer =
                    authorizer.is_authorized(black_box(request), &self.policies, &self.entities);
                allowed += usize::from(answer.decision() == Decision::Allow);
            }
            theirs.push(started.elapsed().as_secs_f64() * 1e9 / ASKED as f64);
            anyhow::ensure!(allowed == ASKED, "Cedar allows {allowed}");
        }
        for times in [&mut ours, &mut theirs] {
            times.sort_by(f64::total_cmp);
        }
        let median = |times: &[f64]| times.get(times.len() / 2).copied().unwrap_or_default().round();
        let best = |times: &[f64]| times.first().copied().unwrap_or_default().round();
        Ok(json!({
            "rules": rules,
            "engine_best_ns": best(&ours), "engine_median_ns": median(&ours),
            "cedar_best_ns": best(&theirs), "cedar_median_ns": median(&theirs),
            "ratio_of_medians": (median(&theirs) / median(&ours)).round(),
        }))
    }
}

/// Each rule lets one caller make one call of `payments`.
fn document(rules: usize) -> String {
    let mut text = "version: cellwall/v1\nidentity: \"spiffe://pay.example/{env}/{workload}\"\n\
                    workloads:\n  payments: {listens: {http: 8443}}\n"
        .to_owned();
    let names: Vec<String> = (0..CALLERS).map(|it| format!("caller-{it}")).collect();
    for name in &names {
        let _ = writeln!(text, "  {name}: {{listens: {{http: 8443}}}}");
    }
    let _ = writeln!(
        text,
        "segments:\n  all: {{members: [payments, {}], mode: enforce}}\nrules:",
        names.join(", ")
    );
    for rule in 0..rules {
        let _ = writeln!(
            text,
            "  - name: r{rule}\n    from: caller-{}\n    to: payments\n    allow:\n      - http: GET \
             /v1/r{rule}/accounts/{{id}}\n    why: made up",
            rule % CALLERS
        );
    }
    text
}
