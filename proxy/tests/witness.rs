//! The origin witness (T27) of these tests: what a workload saw, judged by the snapshots that were
//! published for it, read a second time. It shares no code with the engine, and runs in every test
//! whose workload writes down what it sees.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use cellwall_policy::{CallDocument, Callers, Mode, RuleDocument, SnapshotDocument};
use cellwall_testkit::{
    witness::{Fit, fit, takes},
    workload::{Record, Saw},
};
use serde_json::json;

/// All snapshots that a town has published.
#[derive(Clone, Default)]
pub(crate) struct Published(Arc<Mutex<Vec<SnapshotDocument>>>);

impl Published {
    pub(crate) fn add(&self, snapshot: &SnapshotDocument) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(snapshot.clone());
    }
}

/// Judges what one workload saw when its sidecar is gone.
pub(crate) struct Witness {
    pub(crate) published: Published,
    /// The workload's own log.
    pub(crate) log: PathBuf,
    /// Whose it is.
    pub(crate) callee: String,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let published = self.published.0.lock().unwrap_or_else(PoisonError::into_inner);
        // `payments-2` is another sidecar of `payments`.
        let is_its = |one: &&SnapshotDocument| {
            let rest = self.callee.strip_prefix(&one.callee);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let snapshots: Vec<_> = published.iter().filter(is_its).collect();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let records: Vec<Record> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let denied: Vec<&Record> = records
            .iter()
            .filter(|record| !snapshots.iter().any(|snapshot| allows(snapshot, record)))
            .collect();
        count(records.len(), denied.len());
        // A test that fails already says why.
        if !std::thread::panicking() {
            let first = denied.first();
            assert!(first.is_none(), "seen although no policy of the test allows it: {first:?}");
        }
    }
}

/// Says it to `cargo evidence requests 7`.
fn count(seen: usize, denied: usize) {
    #[expect(clippy::disallowed_methods, reason = "where cargo evidence counts")]
    let Ok(path) = std::env::var("CELLWALL_WITNESS") else { return };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let line = json!({"test": test, "seen": seen, "denied": denied}).to_string() + "\n";
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}

/// Whether `snapshot` lets it pass, at any time and under any condition.
fn allows(snapshot: &SnapshotDocument, record: &Record) -> bool {
    if let (Saw::Http { method, path }, []) = (&record.saw, &record.caller[..]) {
        return snapshot.probes.iter().any(|one| one.method == *method && one.path == *path);
    }
    let claimed = match (&record.saw, &record.caller[..]) {
        (Saw::Tcp { .. }, _) => None,
        (_, [caller]) => Some(caller.as_str()),
        _ => return false,
    };
    let is_in = |from: &Callers, across: bool| {
        claimed.is_none_or(|caller| is_among(snapshot, from, (caller, across)))
    };
    let kept_out = snapshot.guards.iter().filter(|one| one.mode == Mode::Enforce).any(|guard| {
        let about =
            guard.calls.is_empty() || guard.calls.iter().any(|call| is_about(call, &record.saw));
        let excepted = Callers::Named(guard.except.clone());
        let whom = match &guard.from {
            Callers::Any => true,
            Callers::Unknown => !is_in(&Callers::Any, true),
            named => claimed.is_some() && is_in(named, true),
        };
        guard.when.is_none() && about && whom && !(claimed.is_some() && is_in(&excepted, true))
    });
    let rules = snapshot.rules.iter().chain(snapshot.grants.iter().map(|grant| &grant.rule));
    let rules: Vec<&RuleDocument> = rules.collect();
    // The closest template decides, whoever's it is.
    let closest = |rule: &RuleDocument| {
        rule.calls.iter().filter_map(|call| closeness(call, &record.saw)).max()
    };
    let nearest = rules.iter().filter_map(|rule| closest(rule)).max();
    // And lets nobody in who comes with an encoded slash where it takes none.
    let is_taken = |rule: &RuleDocument| {
        let of_call = |call: &CallDocument| {
            closeness(call, &record.saw) == nearest && is_read(call, &record.saw)
        };
        nearest.is_some() && rule.calls.iter().any(of_call)
    };
    let let_in =
        rules.iter().any(|rule| is_taken(rule) && is_in(&rule.from, !rule.across.is_empty()));
    // Audit opens no encoded slash that no template takes.
    let is_encoded = matches!(&record.saw, Saw::Http { path, .. } if path.contains("%2F"));
    let is_undeclared = is_encoded && !rules.iter().any(|rule| is_taken(rule));
    !kept_out && (let_in || (snapshot.mode == Mode::Audit && !is_undeclared))
}

/// Whether `caller` is one of `from`: of the callee's own environment, unless it may be of another.
fn is_among(snapshot: &SnapshotDocument, from: &Callers, (caller, across): (&str, bool)) -> bool {
    let own = |id: &str| id.split('/').nth(3).unwrap_or_default().to_owned();
    let path = caller.splitn(4, '/').nth(3).unwrap_or_default();
    let same = own(caller) == own(&snapshot.callee) && caller.contains(&snapshot.trust_domain);
    let template = snapshot.identity.splitn(4, '/').nth(3).unwrap_or_default();
    let is_called = |name: &str| {
        let listed = snapshot.callers.iter().find(|one| one.name == name);
        let template = listed
            .and_then(|one| one.id.as_deref())
            .map_or(template, |id| id.trim_start_matches('/'));
        let mut parts = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && parts.all(|(wanted, part)| match wanted {
                "{workload}" => part == name,
                variable if variable.starts_with('{') => across || same,
                literal => literal == part,
            })
    };
    let names = |name: &String| name == caller || is_called(name);
    match from {
        Callers::Any | Callers::Unknown => snapshot.callers.iter().any(|one| is_called(&one.name)),
        Callers::Named(list) => list.iter().any(names),
    }
}

/// How close a call of a rule comes to what was seen; `None` where it is about something else.
fn closeness(call: &CallDocument, saw: &Saw) -> Option<Vec<Fit>> {
    match (call, saw) {
        (CallDocument::Http { methods, path: template }, Saw::Http { method, path }) => {
            methods.contains(method).then(|| fit(template, path))?
        }
        (CallDocument::Grpc { service, method }, Saw::Grpc { service: seen, method: called })
            if service == seen =>
        {
            match method.as_str() {
                "*" => Some(vec![Fit::Parameter]),
                named if named == called => Some(vec![Fit::Literal]),
                _ => None,
            }
        }
        (CallDocument::Tcp { .. }, Saw::Tcp { .. }) => Some(Vec::new()),
        _ => None,
    }
}

/// Whether a call of a rule takes the encoded slashes of what was seen.
fn is_read(call: &CallDocument, saw: &Saw) -> bool {
    match (call, saw) {
        (CallDocument::Http { path: template, .. }, Saw::Http { path, .. }) => {
            takes(template, path)
        }
        _ => true,
    }
}

/// The same for a guard, which is about a path with and without a slash at its end, and with each
/// encoded slash in it taken for any letter or for a slash.
fn is_about(call: &CallDocument, saw: &Saw) -> bool {
    let Saw::Http { method, path } = saw else { return closeness(call, saw).is_some() };
    let mut read = vec![path.clone()];
    while read.iter().any(|path| path.contains("%2F")) {
        let both = |path: &String| ["~", "/"].map(|it| path.replacen("%2F", it, 1));
        read = read.iter().flat_map(both).collect();
    }
    read.iter().flat_map(|path| [path.as_str(), path.strip_suffix('/').unwrap_or(path)]).any(
        |path| {
            let saw = Saw::Http { method: method.clone(), path: path.to_owned() };
            closeness(call, &saw).is_some()
        },
    )
}
