//! What is said of kinds of calls and callers, against the engine asked about each call, caller,
//! environment, connection and time by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, UNIX_EPOCH},
};

use cellwall_policy::{Decision, RequestPath, Snapshot, Tls, Tolerated, Verdict, canonical_id};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestCaseError, TestRunner},
};
use spiffe::SpiffeId;

use super::super::{
    calls::{Declared, Example, Kind},
    classes::Who,
    survey::{About, Pair, Row, Versions},
};
use crate::{PolicySet, Sources, check, question::Side};

/// The generator of documents makes requests of this type, which are not of use here.
mod naive {
    #[derive(Clone, Debug)]
    #[expect(dead_code, reason = "only the documents of the generator are used")]
    pub(super) enum Request {
        Http(String, String),
        Grpc(String, String),
        Tcp(u16),
    }
}

#[path = "../../../tests/language/oracle/random.rs"]
#[expect(dead_code, reason = "only the documents of the generator are used")]
mod random;

/// Pairs of valid documents that are compared per run, of so many times more that are drawn.
const PAIRS: u32 = 4;
const DRAWN: u32 = 12;
/// Where caller and callee are: in written environments and others, on one side and on two.
const ENVIRONMENTS: [(&str, &str); 6] = [
    ("prod", "prod"),
    ("staging", "staging"),
    ("zz", "zz"),
    ("staging", "prod"),
    ("prod", "zz"),
    ("zz", "zzz"),
];
const GROUPS: [&str; 2] = ["X25519MLKEM768", "X25519"];

#[expect(clippy::disallowed_methods, reason = "the one setting of a test, read at its one place")]
fn pairs() -> u32 {
    let wanted = std::env::var("CELLWALL_REACH_PAIRS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(PAIRS)
}

fn read(path: &str) -> RequestPath<'static> {
    RequestPath::tolerating(path, Tolerated::EncodedSlash).unwrap().into_owned()
}

/// Every path of up to two segments, and some deeper ones and some with an encoded slash; a method
/// that nobody names.
fn requests() -> Vec<Example> {
    let mut paths = vec!["/".to_owned()];
    let segments = ["a", "b", "c"];
    for one in segments {
        paths.extend([format!("/{one}"), format!("/{one}/")]);
        for two in segments {
            paths.extend([format!("/{one}/{two}"), format!("/{one}/{two}/")]);
            paths.push(format!("/{one}/{two}/c"));
        }
    }
    let mut requests = Vec::new();
    for path in &paths {
        for method in ["GET", "PATCH", "GET+v", "GET+w"] {
            let path = read(path);
            requests.push(Example::Http { method: method.to_owned(), path });
        }
    }
    let mut encoded = Vec::new();
    for one in segments {
        encoded.extend([format!("/{one}%2Fb"), format!("/{one}%2Fb/"), format!("/b/{one}%2Fb/a")]);
        encoded.extend(segments.map(|two| format!("/{one}/{two}%2Fa")));
        encoded.extend(segments.map(|two| format!("/{one}%2Fb/{two}%2Fa")));
        encoded.push(format!("/{one}%2Fb/b%2Fa/c"));
    }
    // Two places where a parameter of `/{x}/a/{y}` may begin, and two slashes behind them.
    encoded.push("/b%2Fa%2Fa%2Fb%2Fc".to_owned());
    for path in &encoded {
        for method in ["GET", "GET+v"] {
            requests.push(Example::Http { method: method.to_owned(), path: read(path) });
        }
    }
    for service in ["a.A", "b.B", "c.C"] {
        for method in ["Get", "Put", "Other"] {
            let (service, method) = (service.to_owned(), method.to_owned());
            requests.push(Example::Grpc { service, method });
        }
    }
    requests.extend([5432, 5433, 5434, 8080].map(|port| Example::Tcp { port }));
    requests
}

/// One call, asked by itself.
struct Call<'a> {
    callee: &'a str,
    caller: &'a str,
    /// Of caller and callee.
    environments: (&'a str, &'a str),
    request: &'a Example,
    group: &'static str,
    now: u64,
}

fn id(set: &PolicySet, name: &str, environment: &str) -> Option<SpiffeId> {
    if name.contains(':') {
        return canonical_id(name);
    }
    let side = Side { environment: environment.to_owned(), workload: name.to_owned(), range: 0..0 };
    Some(set.side(&side).ok()?.1)
}

fn asked(set: &PolicySet, snapshots: &mut Snapshots, call: &Call<'_>) -> Option<Decision> {
    let (from, to) = call.environments;
    let caller = id(set, call.caller, from)?;
    let callee = id(set, call.callee, to)?;
    let snapshot = snapshots.entry(callee.to_string()).or_insert_with(|| {
        let compiled = set.compile(&callee, &[], &Default::default(), UNIX_EPOCH).unwrap();
        Snapshot::new(compiled).unwrap()
    });
    let tls = Tls { version: "1.3", group: call.group };
    let now = UNIX_EPOCH + Duration::from_secs(call.now);
    Some(snapshot.decide(&caller, &tls, &call.request.call(), now))
}

type Snapshots = BTreeMap<String, Snapshot>;

/// The number of the kind that a request is of; `None` where no version speaks its protocol.
fn kind_of(
    versions: &Versions<'_>,
    about: &About,
    callee: &str,
    request: &Example,
) -> Option<usize> {
    let declared = Declared::of(&versions.sets, callee);
    let of = |wanted: &dyn Fn(&Kind) -> bool| about.kinds.iter().position(wanted);
    match request {
        Example::Http { method: wanted, path } => {
            let matching = declared.matching(wanted, path.as_str());
            let is_encoded = path.split().is_some();
            // No audit lets pass what nobody names, nor what no rule can own.
            let is_unnamed = wanted.contains('+') && matching.iter().all(Vec::is_empty);
            if is_unnamed || is_encoded && matching[0].is_empty() {
                return None;
            }
            of(&|kind| match &kind.example {
                Example::Http { path, .. } if path.split().is_some() != is_encoded => false,
                Example::Http { method, .. } => {
                    [&kind.templates, &kind.refusing, &kind.but_for_slash] == matching.each_ref()
                        && (kind.is_other() || method == wanted)
                }
                Example::Grpc { .. } | Example::Tcp { .. } => false,
            })
        }
        Example::Grpc { service, method } => {
            let grpc = |kind: &Kind| matches!(kind.example, Example::Grpc { .. });
            let first =
                |text: String| of(&|kind| grpc(kind) && kind.templates.first() == Some(&text));
            let own = first(format!("{service}/{method}"));
            own.or_else(|| first(format!("{service}/*")))
                .or_else(|| of(&|kind| grpc(kind) && kind.templates.is_empty()))
        }
        Example::Tcp { port } => {
            of(&|kind| matches!(kind.example, Example::Tcp { port: known } if known == *port))
        }
    }
}

/// Where both sides are, by the numbers of the survey.
fn pair(versions: &Versions<'_>, caller: &str, (from, to): (&str, &str)) -> Pair {
    let names = &versions.environments.names;
    let is_other = |it: &String| versions.environments.label(it) == "any other";
    let number = |name: &str| {
        names.iter().position(|it| it == name).or_else(|| names.iter().position(is_other)).unwrap()
    };
    let mut pair = Pair { caller: number(from), callee: number(to) };
    if from != to && pair.caller == pair.callee {
        // Two that nobody writes, and not the same.
        pair.caller = names.iter().rposition(is_other).unwrap();
    }
    if caller.contains(':') {
        pair.caller = pair.callee;
    }
    pair
}

/// What the survey says: `deny`, or the verdict and by whom.
fn surveyed(about: &About, row: Option<&Row>, version: usize, call: &Call<'_>) -> String {
    let Some(row) = row else { return "deny".to_owned() };
    let moments = &about.moments;
    let connections = &moments.connections;
    let connection = connections
        .iter()
        .position(|tls| tls.group == call.group)
        .or_else(|| connections.iter().position(|tls| tls.group == "other"))
        .unwrap_or(0);
    let time = moments.times.iter().rposition(|time| *time <= call.now).unwrap();
    let answer = &row.answers[version][connection * moments.times.len() + time];
    match answer.verdict {
        Verdict::Deny => "deny".to_owned(),
        verdict => format!("{} by {}", verdict.as_str(), answer.by),
    }
}

/// How many calls were asked about, how many passed, and whether any is answered otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    asked: u64,
    passed: u64,
    differs: bool,
}

/// Compares everything about two versions.
fn compare(old: &PolicySet, new: &PolicySet) -> Result<Compared, String> {
    let versions = Versions::new(&[old, new]).unwrap();
    let mut callers: BTreeSet<&str> = old.workloads().chain(new.workloads()).collect();
    callers.extend([random::PARTNER, "spiffe://other.example/x"]);
    let requests = requests();
    let mut compared = Compared::default();
    let mut snapshots = [Snapshots::new(), Snapshots::new()];
    for callee in versions.callees() {
        let about = versions.about(callee).unwrap();
        let turns = &about.moments.times;
        let turns: BTreeSet<u64> =
            turns.iter().flat_map(|at| [at.saturating_sub(1), *at]).collect();
        let kinds: Vec<Option<usize>> =
            requests.iter().map(|request| kind_of(&versions, &about, callee, request)).collect();
        for caller in &callers {
            for environments in ENVIRONMENTS {
                // An ID of another trust domain has no environment.
                if caller.contains(':') && environments.0 != environments.1 {
                    continue;
                }
                let pair = pair(&versions, caller, environments);
                let is_one = |who: &Who| match who {
                    Who::These(names) | Who::Foreign(names) => names.contains(*caller),
                    Who::AllBut(names) => !names.contains(*caller) && !caller.contains(':'),
                };
                for (request, kind) in requests.iter().zip(&kinds) {
                    let is_about = |row: &&Row| {
                        Some(row.kind) == *kind && row.pair == pair && is_one(&row.who)
                    };
                    let rows: Vec<&Row> = about.rows.iter().filter(is_about).collect();
                    assert!(rows.len() < 2, "{rows:?}");
                    for (group, now) in
                        GROUPS.iter().flat_map(|it| turns.iter().map(move |at| (it, at)))
                    {
                        let call = Call { callee, caller, environments, request, group, now: *now };
                        let mut both = Vec::new();
                        for (at, (set, known)) in [old, new].iter().zip(&mut snapshots).enumerate()
                        {
                            let engine = match asked(set, known, &call) {
                                Some(decision) if decision.verdict != Verdict::Deny => {
                                    compared.passed += 1;
                                    format!("{} by {}", decision.verdict.as_str(), decision.by)
                                }
                                _ => "deny".to_owned(),
                            };
                            let survey = surveyed(&about, rows.first().copied(), at, &call);
                            if engine != survey {
                                return Err(format!(
                                    "engine {engine}, survey {survey}, version {at}: {caller} -> \
                                     {callee} {environments:?} {request:?} {group} {now}"
                                ));
                            }
                            both.push(engine);
                            compared.asked += 1;
                        }
                        compared.differs |= both[0] != both[1];
                    }
                }
            }
        }
    }
    Ok(compared)
}

#[test]
fn what_is_said_of_kinds_of_calls_holds_for_each_call() {
    let config = Config { cases: DRAWN * pairs(), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let (used, asked, passed) =
        (std::cell::Cell::new(0u64), std::cell::Cell::new(0u64), std::cell::Cell::new(0u64));
    let documents = (random::document(), random::document());
    let documents = documents.prop_map(|(one, other)| [one, other]);
    runner
        .run(&documents, |texts| {
            if used.get() >= u64::from(pairs()) {
                return Ok(());
            }
            let sets: Vec<_> = texts.iter().map(|text| check(&Sources::single(text)).set).collect();
            let [Some(old), Some(new)] = sets.as_slice() else { return Ok(()) };
            used.set(used.get() + 1);
            let fail = |reason: String| {
                TestCaseError::fail(format!("{reason}\n{}\n---\n{}", texts[0], texts[1]))
            };
            let compared = compare(old, new).map_err(fail)?;
            asked.set(asked.get() + compared.asked);
            passed.set(passed.get() + compared.passed);
            let difference = new.difference(old).unwrap();
            let differs = compared.differs;
            if differs == difference.changes.is_empty() {
                return Err(fail(format!("differs {differs}: {:?}", difference.changes)));
            }
            Ok(())
        })
        .unwrap();
    let (used, asked, passed) = (used.get(), asked.get(), passed.get());
    println!("evidence: {{\"pairs\":{used},\"calls\":{asked},\"passed\":{passed}}}");
    assert!(used > 0, "no pair of valid documents");
    assert!(passed > 0 && passed < asked, "{passed} of {asked}");
}

/// A policy in which `b` may make `rules` to `a`, less what `guards` are about.
fn written(rules: &str, guards: &str) -> PolicySet {
    let text = format!(
        "version: cellwall/v1
identity: \"spiffe://pay.example/{{env}}/{{workload}}\"
workloads:
  a: {{listens: {{http: 1}}}}
  b: {{listens: {{http: 1}}}}
segments:
  all: {{members: [a, b], mode: enforce}}
rules:
  - {{name: r, from: b, to: a, allow: [{rules}], why: w}}
guards:
  - {{name: g, deny: any -> a, calls: [{guards}], why: w}}
"
    );
    super::written::set(&text)
}

#[test]
fn what_is_said_of_kinds_of_calls_holds_where_templates_stand_in_each_others_way() {
    let all = r#"{http: "GET /{rest%2F...}"}"#;
    let elsewhere = "{http: GET /c/c/c/c}";
    for (rules, guards) in [
        // A segment of a guard that has an encoded slash, and one in its tail.
        (all, r#"{http: "GET /{x}"}"#),
        (all, r#"{http: "GET /{x%2F}"}"#),
        (all, r#"{http: "GET /a/{y...}"}"#),
        (all, r#"{http: "GET /{x}/a/{y}"}"#),
        // A template that takes one encoded slash, and not two others.
        (r#"{http: "GET /{x}/{y}/{z%2F}"}, {http: "GET /{x%2F}"}"#, elsewhere),
        // One that keeps a path from a wider one.
        (r#"{http: "GET /{rest%2F...}"}, {http: "GET /b/{x}/a"}"#, elsewhere),
        // One that keeps an upgrade from a wider one.
        (r#"{http: "GET /{rest...}", upgrade: v}, {http: GET /a}"#, elsewhere),
    ] {
        let set = written(rules, guards);
        let compared = compare(&set, &set).unwrap_or_else(|reason| panic!("{rules}: {reason}"));
        assert!(compared.passed > 0 && compared.passed < compared.asked, "{rules}");
    }
}
