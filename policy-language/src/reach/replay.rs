//! Recorded calls, asked again under two versions.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use cellwall_policy::{CallDocument, Protocol, Snapshot, Tls, Verdict, canonical_id};
use spiffe::SpiffeId;

use super::{
    calls::{Declared, Kind},
    classes::{Class, Who, classes, with_examples},
    survey::Answer,
    templates::TooManyKinds,
};
use crate::{PolicySet, question::Side};

/// A call as it is recorded: without its path.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The caller's SPIFFE ID.
    pub caller: &'a str,
    /// The callee's SPIFFE ID.
    pub callee: &'a str,
    /// What was called.
    pub call: Ask<'a>,
    /// What was answered, if that is recorded: `allow`, `deny` or `audit`.
    pub verdict: Option<&'a str>,
    /// When, as far as it matters to grants.
    pub at: SystemTime,
}

/// What was called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Ask<'a> {
    /// A request, with the template that it belonged to.
    Http {
        /// The method.
        method: &'a str,
        /// The template, if one matched.
        route: Option<&'a str>,
    },
    /// `pkg.Service/Method`.
    Grpc(&'a str),
    /// A connection to the declared port, if that is recorded.
    Tcp(Option<u16>),
    /// A call that no template matched.
    Unmatched,
}

/// What both versions say to a recorded call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome<T> {
    /// Both are sure.
    Judged {
        /// The answer of the old version.
        was: T,
        /// The answer of the new version.
        now: T,
    },
    /// It cannot be said, because of this.
    Unsure(&'static str),
}

/// Why nothing can be said of a callee's calls.
const TOO_MANY: &str = "the callee has too many kinds of calls";

/// Both versions, ready to be asked about recorded calls.
#[derive(Debug)]
pub struct Judge<'a> {
    sets: [&'a PolicySet; 2],
    callees: HashMap<String, Result<Callee, &'static str>>,
}

/// One callee in one environment.
#[derive(Debug)]
struct Callee {
    declared: Declared,
    kinds: Vec<Kind>,
    /// The same with one template more, by its method and text.
    more: HashMap<String, Result<Vec<Kind>, TooManyKinds>>,
    snapshots: Vec<Snapshot>,
    /// Whom to ask as, for callers that stand in the documents.
    examples: HashMap<Arc<str>, Arc<str>>,
    /// Whom to ask as for every other workload.
    rest: Option<Arc<str>>,
}

impl<'a> Judge<'a> {
    /// Of two versions.
    pub fn new(old: &'a PolicySet, new: &'a PolicySet) -> Self {
        Self { sets: [old, new], callees: HashMap::new() }
    }

    /// What the two say to a call: verdict and decider of each.
    pub fn judge(&mut self, recorded: &Recorded<'_>) -> Outcome<(Verdict, String)> {
        if !self.callees.contains_key(recorded.callee) {
            let callee = self.callee(recorded.callee);
            self.callees.insert(recorded.callee.to_owned(), callee);
        }
        let callee = match self.callees.get_mut(recorded.callee) {
            Some(Ok(callee)) => callee,
            Some(Err(reason)) => return Outcome::Unsure(reason),
            None => return Outcome::Unsure("the callee is not known"),
        };
        let Some(caller) = canonical_id(recorded.caller) else {
            return Outcome::Unsure("the caller is not recorded");
        };
        if let Some(reason) = callee.refuses(&recorded.call) {
            return Outcome::Unsure(reason);
        }
        let ids: Vec<SpiffeId> =
            self.sets.iter().map(|set| callee.asked_as(set, &caller)).collect();
        callee.learn(&recorded.call);
        match callee.kinds(&recorded.call) {
            Ok(kinds) => callee.decided(kinds, &ids, recorded),
            Err(TooManyKinds) => Outcome::Unsure(TOO_MANY),
        }
    }

    fn callee(&self, id: &str) -> Result<Callee, &'static str> {
        let id = canonical_id(id).ok_or("the callee is not recorded")?;
        let mut documents = Vec::new();
        let mut name = "";
        for set in &self.sets {
            let (number, environment) =
                set.find(&id).ok_or("the callee is no workload of both versions")?;
            name = set.workload(number).map_or(name, |workload| workload.name.as_str());
            let document = set.compiler().compile_named(number, &environment);
            documents.push(Some(document.map_err(|_| "the callee has no policy")?));
        }
        let classes = classes(&self.sets, &documents);
        let mut snapshots = Vec::new();
        for (set, document) in
            self.sets.iter().zip(documents).filter_map(|(set, it)| Some((set, it?)))
        {
            let snapshot = Snapshot::new(with_examples(set, document, &classes));
            snapshots.push(snapshot.map_err(|_| "the callee has no policy")?);
        }
        let declared = Declared::of(&self.sets, name);
        let mut callee = Callee {
            kinds: declared.kinds().map_err(|_| TOO_MANY)?,
            more: HashMap::new(),
            declared,
            snapshots,
            examples: HashMap::new(),
            rest: None,
        };
        for Class { who, example, .. } in classes {
            match who {
                Who::These(names) => {
                    callee.examples.extend(names.into_iter().map(|name| (name, example.clone())));
                }
                Who::AllBut(_) => callee.rest = Some(example),
                Who::Foreign(_) => {}
            }
        }
        Ok(callee)
    }
}

impl Callee {
    /// Why a call cannot be asked about: the protocol is another now.
    fn refuses(&self, call: &Ask<'_>) -> Option<&'static str> {
        let protocol = match call {
            Ask::Http { .. } => Protocol::Http,
            Ask::Grpc(_) => Protocol::Grpc,
            Ask::Tcp(_) => Protocol::Tcp,
            Ask::Unmatched => return None,
        };
        let speaks = |snapshot: &Snapshot| {
            snapshot.listens().iter().any(|listener| listener.protocol == protocol)
        };
        let all = self.snapshots.iter().all(speaks);
        (!all).then_some("the callee does not speak this protocol in both versions")
    }

    /// The ID to ask with: that of a caller whom the version treats alike.
    fn asked_as(&self, set: &PolicySet, caller: &SpiffeId) -> SpiffeId {
        let alike = || {
            let (name, environment) = set.identify(caller)?;
            let example = self.examples.get(name).or(self.rest.as_ref())?;
            let side = Side { environment, workload: example.to_string(), range: 0..0 };
            Some(set.side(&side).ok()?.1)
        };
        alike().unwrap_or_else(|| caller.clone())
    }

    /// Learns the template of a call, where neither version has it.
    fn learn(&mut self, call: &Ask<'_>) {
        let Ask::Http { method, route: Some(route) } = call else { return };
        let known = self.kinds.iter().any(|kind| kind.templates.iter().any(|it| it == route));
        let key = format!("{method} {route}");
        if known || self.more.contains_key(&key) {
            return;
        }
        let (methods, path) = (vec![(*method).to_owned()], (*route).to_owned());
        let more = self.declared.with(&CallDocument::Http { methods, path });
        self.more.insert(key, more.kinds());
    }

    /// The kinds that a call may be one of.
    fn kinds(&self, call: &Ask<'_>) -> Result<&[Kind], TooManyKinds> {
        let Ask::Http { method, route: Some(route) } = call else { return Ok(&self.kinds) };
        match self.more.get(&format!("{method} {route}")) {
            Some(more) => more.as_deref().map_err(|error| *error),
            None => Ok(&self.kinds),
        }
    }

    /// Asks about every kind of call that the record may be one of.
    fn decided(
        &self,
        kinds: &[Kind],
        ids: &[SpiffeId],
        recorded: &Recorded<'_>,
    ) -> Outcome<(Verdict, String)> {
        let mut candidates = Vec::new();
        for kind in self.candidates(kinds, &recorded.call) {
            let ask = |(snapshot, id): (&Snapshot, &SpiffeId)| {
                let call = kind.example.call();
                let decision = snapshot.decide(id, &Tls::default(), &call, recorded.at);
                Answer { verdict: decision.verdict, by: decision.by }
            };
            let both: Vec<_> = self.snapshots.iter().zip(ids).map(ask).collect();
            candidates.extend(<[Answer; 2]>::try_from(both));
        }
        // What the old version answers otherwise is another kind of call.
        let as_recorded = |[was, _]: &[Answer; 2]| Some(was.verdict.as_str()) == recorded.verdict;
        if candidates.iter().any(as_recorded) {
            candidates.retain(as_recorded);
        }
        let verdicts = |[was, now]: &[Answer; 2]| (was.verdict, now.verdict);
        let Some(first) = candidates.first() else {
            return Outcome::Unsure("the call has no template in either version");
        };
        if candidates.iter().any(|other| verdicts(other) != verdicts(first)) {
            return Outcome::Unsure("the path is not recorded, and it decides");
        }
        let [was, now] = first.clone().map(|answer| (answer.verdict, answer.by.to_string()));
        Outcome::Judged { was, now }
    }

    /// The kinds that a record may be of: those that its template owns in the old version, or if
    /// it owns none there, those that it matches.
    fn candidates<'k>(&self, kinds: &'k [Kind], call: &Ask<'_>) -> Vec<&'k Kind> {
        let old = |kind: &Kind| {
            let snapshot = self.snapshots.first()?;
            let call = kind.example.call();
            let now = SystemTime::UNIX_EPOCH;
            snapshot.decide(snapshot.callee(), &Tls::default(), &call, now).route
        };
        match call {
            Ask::Http { method, route } => {
                let method = |kind: &&Kind| kind.example.method() == Some(*method);
                let matching: Vec<&Kind> = match route {
                    Some(route) => {
                        let of = |kind: &&Kind| kind.templates.iter().any(|it| it == route);
                        kinds.iter().filter(method).filter(of).collect()
                    }
                    None => {
                        let free = |kind: &&Kind| kind.is_other() || method(kind);
                        let is_http = |kind: &&Kind| kind.protocol == Protocol::Http;
                        return kinds
                            .iter()
                            .filter(is_http)
                            .filter(free)
                            .filter(|kind| old(kind).is_none())
                            .collect();
                    }
                };
                let owned: Vec<&Kind> = matching
                    .iter()
                    .copied()
                    .filter(|kind| old(kind).as_deref() == *route)
                    .collect();
                if owned.is_empty() { matching } else { owned }
            }
            // What a ledger has of a service's methods that nothing else named.
            Ask::Grpc(text) if text.ends_with("/*") => {
                let of = |kind: &&Kind| kind.templates.iter().any(|it| it == text);
                let matching: Vec<&Kind> = kinds.iter().filter(of).collect();
                let is_owned = |kind: &&Kind| old(kind).as_deref() == Some(*text);
                let owned: Vec<&Kind> = matching.iter().copied().filter(is_owned).collect();
                if owned.is_empty() { matching } else { owned }
            }
            Ask::Grpc(text) => kinds.iter().filter(|kind| kind.is_grpc(text, kinds)).collect(),
            Ask::Tcp(port) => {
                let of = |kind: &&Kind| {
                    let text = port.map(|port| format!("tcp:{port}"));
                    kind.protocol == Protocol::Tcp
                        && text.is_none_or(|it| kind.templates.contains(&it))
                };
                kinds.iter().filter(of).collect()
            }
            Ask::Unmatched => kinds.iter().filter(|kind| old(kind).is_none()).collect(),
        }
    }
}
