//! The engine against the naive evaluator, on random documents and calls.

pub(crate) mod naive;
pub(crate) mod random;

use std::{
    cell::Cell,
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{Call, Publication, RequestPath, Snapshot, Tls};
use cellwall_policy_language::{PolicySet, Sources, check};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use spiffe::SpiffeId;

use naive::{Document, Request};
use random::{Asked, Caller, WORKLOADS};

/// Documents per run; each is asked `QUESTIONS` times.
const CASES: u32 = 80;
const QUESTIONS: usize = 24;

#[expect(clippy::disallowed_methods, reason = "settings of tests, read at their one place")]
fn setting<T: FromStr>(name: &str, usual: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

pub(crate) fn cases_or(usual: u32) -> u32 {
    setting("CELLWALL_PROPTEST_CASES", usual)
}

/// The policy of a document; `None` where the document contradicts itself.
pub(crate) fn policy(text: &str) -> Result<Option<PolicySet>, TestCaseError> {
    let checked = check(&Sources::single(text));
    for finding in &checked.findings.0 {
        // Templates without an order, rules without effect, segments without members: random
        // documents have them.
        let expected = ["CW0103", "CW0207", "CW0301", "CW0302", "CW0304", "CW0305", "CW0307"]
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

/// The policies of one document as proxies get them, each compiled once.
pub(crate) struct Fleet<'a> {
    set: &'a PolicySet,
    document: &'a str,
    snapshots: BTreeMap<(usize, &'static str), Snapshot>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(set: &'a PolicySet, document: &'a str) -> Self {
        Self { set, document, snapshots: BTreeMap::new() }
    }

    /// `VERDICT by BY`.
    pub(crate) fn answer(&mut self, asked: &Asked, caller: &str) -> String {
        let callee = (asked.callee, asked.environment);
        let snapshot = self.snapshots.entry(callee).or_insert_with(|| {
            let id = SpiffeId::new(id_of(self.document, asked.callee, asked.environment)).unwrap();
            let publication = Publication::default();
            let compiled = self.set.compile(&id, &[], &publication, UNIX_EPOCH).unwrap();
            // Through the wire form.
            let wire = serde_json::to_vec(&compiled).unwrap();
            Snapshot::new(serde_json::from_slice(&wire).unwrap()).unwrap()
        });
        let path = match &asked.request {
            Request::Http(_, path) => RequestPath::tolerating(path, snapshot.tolerates()),
            Request::Grpc(..) | Request::Tcp(_) => RequestPath::parse("/"),
        };
        let Ok(path) = path else { return naive::REFUSED.to_owned() };
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
}

/// Runs a property on valid random documents, each with questions about it.
pub(crate) fn on_random_documents(
    cases: u32,
    questions: usize,
    property: impl Fn(&PolicySet, &str, &[Asked]) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_global_rejects: cases.saturating_mul(8).saturating_add(1_000),
        ..Config::default()
    };
    let questions = proptest::collection::vec(random::asked(), questions);
    let outcome =
        TestRunner::new(config).run(
            &(random::document(), questions),
            |(text, asked)| match policy(&text)? {
                Some(set) => property(&set, &text, &asked),
                None => Err(TestCaseError::reject("contradicts itself")),
            },
        );
    outcome.unwrap();
}

#[test]
fn the_engine_decides_as_the_naive_evaluator_does() {
    let verdicts: [Cell<u64>; 4] = Default::default();
    let cases = cases_or(CASES);
    on_random_documents(
        cases,
        setting("CELLWALL_PROPTEST_QUESTIONS", QUESTIONS),
        |set, text, asked| {
            let document: Document = serde_saphyr::from_str(text).unwrap();
            let mut fleet = Fleet::new(set, text);
            for asked in asked {
                let callee = WORKLOADS[asked.callee].0;
                let caller = match &asked.caller {
                    Caller::Workload(at, environment) => id_of(text, *at, environment),
                    Caller::Id(id) => id.clone(),
                };
                let expected = document.decide(&caller, callee, asked);
                let answer = fleet.answer(asked, &caller);
                if answer != expected {
                    let reason = format!("engine {answer}, naive {expected}: {asked:?}\n{text}");
                    return Err(TestCaseError::fail(reason));
                }
                let kind = ["allow", "deny", "audit", naive::REFUSED];
                let kind = kind.iter().position(|it| answer.starts_with(it));
                let count = &verdicts[kind.unwrap()];
                count.set(count.get() + 1);
            }
            Ok(())
        },
    );
    // The comparison is worth something only where all answers occur.
    let [allowed, denied, audited, refused] = verdicts.map(Cell::into_inner);
    println!(
        "evidence: {{\"policies\": {cases}, \"allow\": {allowed}, \"deny\": {denied}, \"audit\": {audited}, \
         \"refused\": {refused}, \
         \"different\": 0}}"
    );
    assert!(
        allowed > 0 && denied > 0 && audited > 0 && refused > 0,
        "{allowed} {denied} {audited} {refused}"
    );
}
