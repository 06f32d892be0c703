//! The engine against the naive evaluator, on random documents and calls.

pub(crate) mod naive;
pub(crate) mod random;

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{Call, Publication, RequestPath, Snapshot, Tls};
use cellwall_policy_language::{PolicySet, Sources, check};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use spiffe::SpiffeId;

use naive::{Document, Request};
use random::{Asked, Caller, WORKLOADS};

/// Documents per run; each is asked `QUESTIONS` times.
const CASES: u32 = 120;
const QUESTIONS: usize = 16;

#[expect(clippy::disallowed_methods, reason = "the one setting of a test, read at its one place")]
pub(crate) fn cases_or(usual: u32) -> u32 {
    let wanted = std::env::var("CELLWALL_PROPTEST_CASES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn cases() -> u32 {
    cases_or(CASES)
}

/// The policy of a document; `None` where the document contradicts itself.
pub(crate) fn policy(text: &str) -> Result<Option<PolicySet>, TestCaseError> {
    let checked = check(&Sources::single(text));
    for finding in &checked.findings.0 {
        // Templates without an order, rules without effect: random documents have them.
        let expected = ["CW0207", "CW0301", "CW0302", "CW0304", "CW0305", "CW0307"]
            .contains(&finding.code.as_str());
        if !expected {
            return Err(TestCaseError::fail(format!("{finding:?}")));
        }
    }
    Ok(checked.set)
}

/// The ID of a workload in a document.
pub(crate) fn id_of(document: &str, workload: usize, environment: &str) -> String {
    let name = WORKLOADS[workload].0;
    let path = if document.contains("/{env}/vm/raw-b") && name == "raw-b" {
        format!("{environment}/vm/raw-b")
    } else if document.contains("/raw/{env}/vm") && name == "raw-b" {
        format!("raw/{environment}/vm")
    } else if document.contains("example/{workload}/{env}") {
        format!("{name}/{environment}")
    } else if document.contains("example/x/{env}/{workload}") {
        format!("x/{environment}/{name}")
    } else {
        format!("{environment}/{name}")
    };
    format!("spiffe://pay.example/{path}")
}

pub(crate) fn engine(set: &PolicySet, document: &str, asked: &Asked, caller: &str) -> String {
    let callee = SpiffeId::new(id_of(document, asked.callee, asked.environment)).unwrap();
    let compiled = set.compile(&callee, &[], &Publication::default(), UNIX_EPOCH).unwrap();
    // Through the wire form, as a proxy gets it.
    let wire = serde_json::to_vec(&compiled).unwrap();
    let snapshot = Snapshot::new(serde_json::from_slice(&wire).unwrap()).unwrap();
    let path = match &asked.request {
        Request::Http(_, path) => RequestPath::parse(path).unwrap(),
        Request::Grpc(..) | Request::Tcp(_) => RequestPath::parse("/").unwrap(),
    };
    let call = match &asked.request {
        Request::Http(method, _) => Call::Http { method, path: &path },
        Request::Grpc(service, method) => Call::Grpc { service, method },
        Request::Tcp(port) => Call::Tcp { port: *port },
    };
    let caller = SpiffeId::new(caller).unwrap();
    let tls = Tls { version: "1.3", group: asked.group };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(asked.now);
    let decision = snapshot.decide(&caller, &tls, &call, now);
    format!("{} by {}", decision.verdict.as_str(), decision.by)
}

#[test]
fn the_engine_decides_as_the_naive_evaluator_does() {
    let mut runner =
        TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
    let verdicts: [Cell<u32>; 3] = Default::default();
    let used = Cell::new(0u32);
    let questions = proptest::collection::vec(random::asked(), QUESTIONS);
    runner
        .run(&(random::document(), questions), |(text, questions)| {
            let Some(set) = policy(&text)? else { return Ok(()) };
            used.set(used.get() + 1);
            let document: Document = serde_saphyr::from_str(&text).unwrap();
            for asked in questions {
                let callee = WORKLOADS[asked.callee].0;
                let caller = match &asked.caller {
                    Caller::Workload(at, environment) => id_of(&text, *at, environment),
                    Caller::Id(id) => id.clone(),
                };
                let expected = document.decide(&caller, callee, &asked);
                let answer = engine(&set, &text, &asked, &caller);
                if answer != expected {
                    let reason = format!("engine {answer}, naive {expected}: {asked:?}\n{text}");
                    return Err(TestCaseError::fail(reason));
                }
                let kind = ["allow", "deny", "audit"].iter().position(|it| answer.starts_with(it));
                let count = &verdicts[kind.unwrap()];
                count.set(count.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    // The comparison is worth something only where all answers occur.
    let [allowed, denied, audited] = verdicts.map(Cell::into_inner);
    println!("{} documents, {allowed} allow, {denied} deny, {audited} audit", used.get());
    assert!(used.get() * 4 > cases(), "{} of {} documents", used.get(), cases());
    assert!(allowed > 0 && denied > 0 && audited > 0, "{allowed} {denied} {audited}");
}
