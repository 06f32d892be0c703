//! Why a call that was made was decided as it was, from what is recorded of it.

use std::{collections::BTreeSet, time::SystemTime};

use cellwall_policy::{
    By, CallDocument, Decision, Protocol, Snapshot, SnapshotDocument, canonical_id, is_grpc_name,
    wire_method,
};
use spiffe::SpiffeId;

use super::{Case, ExplainError, ExplainedSide, Explanation};
use crate::{CompileError, PolicySet, question::Asked, trial::ask};

/// A value for a parameter of a path template that nobody writes as a literal.
const ANY: &str = "~";

/// More segments than a template has, so that a path can be found that only a tail matches.
const MAX_SEGMENTS: usize = 34;

/// A call as it is recorded: without its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PastCall {
    /// The caller's SPIFFE ID, canonical.
    pub caller: String,
    /// The callee's SPIFFE ID, canonical.
    pub callee: String,
    /// What was called.
    pub call: DecidedCall,
    /// When, by the callee's clock.
    pub at: SystemTime,
}

/// What was called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DecidedCall {
    /// An HTTP request.
    Http {
        /// Its method.
        method: String,
        /// The template that it belonged to; `None` when none matched its path and method.
        route: Option<String>,
    },
    /// A gRPC request: `pkg.Service/Method`.
    Grpc(String),
    /// A connection to this declared port; `None` where none was recorded.
    Tcp(Option<u16>),
}

/// Whose decision is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deciding {
    /// That of these documents: what they matched is known.
    These,
    /// That of others.
    Others,
}

impl PolicySet {
    /// Says why a call was decided as it was, by these documents, which decided it.
    ///
    /// # Errors
    ///
    /// [`ExplainError`] when the callee is no workload of these documents or does not speak this,
    /// when an ID is none, and when the documents can say it only of a path.
    pub fn explain_past(&self, past: &PastCall) -> Result<Explanation, ExplainError> {
        self.past(past, Deciding::These)
    }

    /// Says how these documents would decide a call that others decided.
    ///
    /// # Errors
    ///
    /// As [`PolicySet::explain_past`]; that no template of others matched says nothing of the
    /// templates here.
    pub fn explain_past_anew(&self, past: &PastCall) -> Result<Explanation, ExplainError> {
        self.past(past, Deciding::Others)
    }

    fn past(&self, past: &PastCall, deciding: Deciding) -> Result<Explanation, ExplainError> {
        let id = |text: &str| {
            canonical_id(text).ok_or_else(|| ExplainError::Question(format!("`{text}` is no ID")))
        };
        let (caller_id, callee_id) = (id(&past.caller)?, id(&past.callee)?);
        let unknown = || CompileError::UnknownCallee(past.callee.clone());
        let (callee, environment) = self.find(&callee_id).ok_or_else(unknown)?;
        let document = self.compiler().compile(callee, &environment)?;
        let paths = Paths::of(&past.call, &document);
        let snapshot = Snapshot::new(document).map_err(CompileError::from)?;
        let (call, decision) = past.call.asked(&snapshot, &caller_id, past.at)?;
        if deciding == Deciding::Others && paths.may_decide(&decision.by) {
            return Err(ExplainError::Path);
        }
        self.reasoned(&Case {
            caller: self.find(&caller_id).map(|(number, _)| number),
            callee,
            sides: (self.side_of(&caller_id), self.side_of(&callee_id)),
            call: &call,
            call_text: &past.call.text(),
            decision: &decision,
            now: past.at,
        })
    }

    /// A side by its ID: without a name if the policy knows none.
    fn side_of(&self, id: &SpiffeId) -> ExplainedSide {
        let (workload, environment) = match self.identify(id) {
            Some((workload, environment)) => (workload.to_owned(), environment),
            None => (String::new(), self.template.read(id).map_or_else(String::new, |it| it.1)),
        };
        ExplainedSide { workload, environment, spiffe_id: id.to_string() }
    }
}

/// What a document says of the paths of a call whose path was not recorded.
struct Paths {
    /// A rule may be about it.
    ruled: bool,
    /// A guard may.
    guarded: bool,
    /// The guards that look at no path.
    whole: BTreeSet<String>,
}

impl Paths {
    fn of(call: &DecidedCall, document: &SnapshotDocument) -> Self {
        let rules = document.rules.iter().chain(document.grants.iter().map(|it| &it.rule));
        let whole = document.guards.iter().filter(|guard| guard.calls.is_empty());
        Self {
            ruled: call.may_be_of(rules.flat_map(|rule| &rule.calls)),
            guarded: call.may_be_of(document.guards.iter().flat_map(|guard| &guard.calls)),
            whole: whole.map(|guard| guard.name.clone()).collect(),
        }
    }

    /// Whether with another path something else might decide.
    fn may_decide(&self, by: &By) -> bool {
        match by {
            By::Guard(name) => self.guarded && !self.whole.contains(&**name),
            By::Boundary(_) => self.guarded,
            By::Rule(_) | By::Grant(_) | By::Default => self.guarded || self.ruled,
        }
    }
}

impl DecidedCall {
    /// A connection, by the route that is recorded of it: `tcp:5432`, or none.
    pub fn tcp(route: Option<&str>) -> Self {
        Self::Tcp(route.and_then(|route| route.strip_prefix("tcp:")?.parse().ok()))
    }

    /// The call as people read it.
    fn text(&self) -> String {
        match self {
            Self::Http { method, route: Some(route) } => format!("{method} {route}"),
            Self::Http { method, route: None } => {
                format!("{method}, on a path that no template with this method matches")
            }
            Self::Grpc(method) => method.clone(),
            Self::Tcp(port) => match port {
                Some(port) => format!("tcp:{port}"),
                None => "tcp".to_owned(),
            },
        }
    }

    /// Whether its path, which is not recorded, may be that of one of these calls.
    fn may_be_of<'a>(&self, mut calls: impl Iterator<Item = &'a CallDocument>) -> bool {
        let Self::Http { method, route: None } = self else { return false };
        calls.any(|call| match call {
            CallDocument::Http { methods, .. } => {
                methods.contains(method) || methods.iter().any(|it| it == wire_method(method))
            }
            CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => false,
        })
    }

    /// A call that the snapshot answers as it answers the one that is recorded.
    fn asked(
        &self,
        snapshot: &Snapshot,
        caller: &SpiffeId,
        now: SystemTime,
    ) -> Result<(Asked, Decision), ExplainError> {
        let protocol = match self {
            Self::Http { .. } => Protocol::Http,
            Self::Grpc(_) => Protocol::Grpc,
            Self::Tcp(_) => Protocol::Tcp,
        };
        if !snapshot.listens().iter().any(|listener| listener.protocol == protocol) {
            let workload = snapshot.workload().to_string();
            return Err(ExplainError::Protocol { workload, asked: protocol.as_str() });
        }
        match self {
            Self::Http { method, route: Some(route) } => {
                let path = example(route);
                answered(snapshot, (caller, now), Asked::Http { method: method.clone(), path })
                    .ok_or(ExplainError::Path)
            }
            Self::Http { method, route: None } => unmatched(snapshot, (caller, now), method),
            Self::Grpc(text) => {
                let asked = grpc(text).ok_or_else(|| {
                    ExplainError::Question("not `pkg.Service/Method`: no rule can name it".into())
                })?;
                answered(snapshot, (caller, now), asked).ok_or(ExplainError::Path)
            }
            Self::Tcp(port) => {
                answered(snapshot, (caller, now), tcp(snapshot, *port)).ok_or(ExplainError::Path)
            }
        }
    }
}

fn answered(
    snapshot: &Snapshot,
    (caller, now): (&SpiffeId, SystemTime),
    asked: Asked,
) -> Option<(Asked, Decision)> {
    let decision = ask(snapshot, caller, &asked, now)?;
    Some((asked, decision))
}

/// A path of the template.
pub(super) fn example(template: &str) -> String {
    let segments = template.split('/').map(|it| if it.starts_with('{') { ANY } else { it });
    segments.collect::<Vec<_>>().join("/")
}

/// A path that no template matches, with as many segments as it takes. What is unmatched because
/// of its literals is as much unmatched with others in their place, so one of these stands for it.
fn unmatched(
    snapshot: &Snapshot,
    who: (&SpiffeId, SystemTime),
    method: &str,
) -> Result<(Asked, Decision), ExplainError> {
    let paths = std::iter::once("/".to_owned())
        .chain((1..=MAX_SEGMENTS).map(|segments| format!("/{ANY}").repeat(segments)));
    let mut answers = paths.filter_map(|path| {
        answered(snapshot, who, Asked::Http { method: method.to_owned(), path })
    });
    answers.find(|(_, decision)| decision.route.is_none()).ok_or(ExplainError::Path)
}

/// The port that is recorded, or the one that there is.
fn tcp(snapshot: &Snapshot, port: Option<u16>) -> Asked {
    let declared = snapshot.listens().iter().find(|it| it.protocol == Protocol::Tcp);
    Asked::Tcp { port: port.or_else(|| Some(declared?.port)).unwrap_or_default() }
}

fn grpc(text: &str) -> Option<Asked> {
    let (service, method) = text.split_once('/')?;
    let named = is_grpc_name(service) && is_grpc_name(method) && !method.contains('.');
    named.then(|| Asked::Grpc { service: service.to_owned(), method: method.to_owned() })
}
