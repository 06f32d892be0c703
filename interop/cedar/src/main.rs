//! Random policies and calls: the compiled engine decides as Cedar does on the export.
//!
//! `cargo run --release -- 1000 100` compares 100 calls of each of 1,000 valid documents, and prints
//! a line of evidence. Exit code 1 and the first difference, if there is one.
//! `cargo run --release -- cost` measures what a decision costs with either.

/// What a random call asks.
mod naive {
    #[derive(Clone, Debug)]
    pub(super) enum Request {
        Http(String, String),
        Grpc(String, String),
        Tcp(u16),
    }
}

mod actions;
mod cost;

#[path = "../../../policy-language/tests/language/oracle/random.rs"]
mod random;

use std::{
    str::FromStr,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet as CedarSet, Request, Schema,
    ValidationMode, Validator,
};
use cellwall_policy::{Call, Mode, RequestPath, Snapshot, Tls, Verdict};
use cellwall_policy_language::{Cedar, CedarAction, PolicySet, Sources, check};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use random::{Asked, Caller, WORKLOADS};
use serde_json::{Value, json};
use spiffe::SpiffeId;

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    policies: u64,
    calls: u64,
    allowed: u64,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("cost") {
        return cost::run();
    }
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let policies = numbers.next().transpose()?.unwrap_or(200);
    let calls = numbers.next().transpose()?.unwrap_or(100);
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let mut compared = Compared::default();
    let mut drawn = 0u64;
    while compared.policies < policies {
        let text = draw(&mut runner, random::document())?;
        drawn += 1;
        if drawn > 1000 && compared.policies == 0 {
            bail!("no document of {drawn} is valid");
        }
        let Some(set) = check(&Sources::single(&text)).set else { continue };
        let cedar = set.cedar()?;
        let oracle = Oracle::new(&cedar).with_context(|| text.clone())?;
        for _ in 0..calls {
            let asked = draw(&mut runner, random::asked())?;
            let question = Question::of(&text, asked)?;
            let (engine, cedar) = (question.engine(&set)?, oracle.decide(&set, &question)?);
            if engine != cedar {
                bail!("engine {engine}, Cedar {cedar}: {question:?}\n{text}\n{}", oracle.text);
            }
            compared.calls += 1;
            compared.allowed += u64::from(engine);
        }
        compared.policies += 1;
    }
    let Compared { policies, calls, allowed } = compared;
    println!("evidence: {}", json!({"policies": policies, "calls": calls, "allowed": allowed}));
    Ok(())
}

fn draw<T: std::fmt::Debug>(
    runner: &mut TestRunner,
    strategy: impl Strategy<Value = T>,
) -> anyhow::Result<T> {
    let tree = strategy.new_tree(runner);
    Ok(tree.map_err(|reason| anyhow::anyhow!("nothing drawn: {reason}"))?.current())
}

/// A call between two IDs.
#[derive(Debug)]
struct Question {
    asked: Asked,
    caller: String,
    callee: String,
}

impl Question {
    fn of(text: &str, asked: Asked) -> anyhow::Result<Self> {
        let callee = id_of(text, asked.callee, asked.environment)?;
        let caller = match &asked.caller {
            Caller::Workload(at, environment) => id_of(text, *at, environment)?,
            Caller::Id(id) => id.clone(),
        };
        Ok(Self { asked, caller, callee })
    }

    /// Whether the engine allows it, with nothing in audit.
    fn engine(&self, set: &PolicySet) -> anyhow::Result<bool> {
        let callee = SpiffeId::new(&self.callee)?;
        let mut document = set.compile(&callee, &[], &Default::default(), UNIX_EPOCH)?;
        document.mode = Mode::Enforce;
        document.guards.retain(|guard| guard.mode == Mode::Enforce);
        let snapshot = Snapshot::new(document)?;
        let tls = Tls { version: "1.3", group: self.asked.group };
        let now = UNIX_EPOCH + Duration::from_secs(self.asked.now);
        let path = match &self.asked.request {
            naive::Request::Http(_, path) => path.as_str(),
            naive::Request::Grpc(..) | naive::Request::Tcp(_) => "/",
        };
        // What the callee does not tolerate is refused before any policy.
        let Ok(path) = RequestPath::tolerating(path, snapshot.tolerates()) else {
            return Ok(false);
        };
        let call = match &self.asked.request {
            naive::Request::Http(method, _) => Call::Http { method, path: &path },
            naive::Request::Grpc(service, method) => Call::Grpc { service, method },
            naive::Request::Tcp(port) => Call::Tcp { port: *port },
        };
        let caller = SpiffeId::new(&self.caller)?;
        Ok(snapshot.decide(&caller, &tls, &call, now).verdict == Verdict::Allow)
    }
}

/// Cedar, ready to be asked.
struct Oracle {
    policies: CedarSet,
    schema: Schema,
    actions: Vec<CedarAction>,
    text: String,
}

impl Oracle {
    fn new(cedar: &Cedar) -> anyhow::Result<Self> {
        let policies = CedarSet::from_str(&cedar.policies)?;
        let schema = Schema::from_json_value(cedar.schema.clone())?;
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            bail!("the export is not valid: {error}\n{}", cedar.policies);
        }
        // What the documents write must be a whole document for Cedar.
        Entities::from_json_value(cedar.entities.clone(), Some(&schema))?;
        Ok(Self { policies, schema, actions: cedar.actions.clone(), text: cedar.policies.clone() })
    }

    fn decide(&self, set: &PolicySet, question: &Question) -> anyhow::Result<bool> {
        let Some(action) = actions::action(&question.asked, &self.actions) else { return Ok(false) };
        let sides = [&question.caller, &question.callee];
        let mut entities: Vec<Value> = sides.map(|id| entity(set, id)).into();
        if question.caller == question.callee {
            entities.truncate(1);
        }
        let entities = Entities::from_json_value(entities.into(), Some(&self.schema))?;
        let uid = |kind: &str, id: &str| EntityUid::from_json(json!({"type": kind, "id": id}));
        let context = Context::from_json_value(
            json!({
                "now": question.asked.now,
                "tls_version": "1.3",
                "tls_group": question.asked.group,
            }),
            None,
        )?;
        let request = Request::new(
            uid("Workload", &question.caller)?,
            uid("Action", &action.action)?,
            uid("Workload", &question.callee)?,
            context,
            Some(&self.schema),
        )?;
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            bail!("Cedar cannot evaluate the export: {error}\n{}", self.text);
        }
        Ok(answer.decision() == Decision::Allow)
    }
}

/// A caller or callee, as Cedar knows it. Whoever is no workload has an ID, and where it is of our
/// trust domain the environment that stands in it.
fn entity(set: &PolicySet, id: &str) -> Value {
    let parsed = SpiffeId::new(id).ok();
    let known = parsed.as_ref().and_then(|id| set.identify(id));
    if let Some((workload, environment)) = known
        && let Some(entity) = set.cedar_entity(workload, &environment)
    {
        return entity;
    }
    let mut attributes = json!({"id": id});
    if let Some(environment) = parsed.as_ref().and_then(|id| set.cedar_environment(id)) {
        attributes["var.env"] = environment.into();
    }
    json!({"uid": {"type": "Workload", "id": id}, "attrs": attributes, "parents": []})
}

/// The ID of a workload in a document.
fn id_of(document: &str, workload: usize, environment: &str) -> anyhow::Result<String> {
    let (name, _) = *WORKLOADS.get(workload).context("no such workload")?;
    let path = match name {
        "raw-b" if document.contains("/{env}/vm/raw-b") => format!("{environment}/vm/raw-b"),
        "raw-b" if document.contains("/raw/{env}/vm") => format!("raw/{environment}/vm"),
        _ if document.contains("example/{workload}/{env}") => format!("{name}/{environment}"),
        _ if document.contains("example/x/{env}/{workload}") => format!("x/{environment}/{name}"),
        _ => format!("{environment}/{name}"),
    };
    Ok(format!("spiffe://pay.example/{path}"))
}
