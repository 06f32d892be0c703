//! What a change of policy touches beside edges, and who must say yes to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    change::{Change, ModeChange},
    edges::Callers,
    idempotent,
};
use crate::{
    PolicySet,
    model::{Approval, Governance, Guard, Never, Through, When},
    question::Asked,
};

/// Guards and invariants of two versions.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Governed {
    /// Guards.
    pub guards: Statements,
    /// `never`.
    pub never: Statements,
    /// Calls that are declared idempotent, and those that take some of their requests from them, as
    /// `CALLEE CALL` and `CALLEE CALL (once)`.
    pub idempotent: Statements,
    /// Keys of the root file that say something else: `approvals`, `operators`, `limits`.
    pub governance: Vec<&'static str>,
}

/// The names of statements, by what became of them.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Statements {
    /// They say the same.
    pub hold: Vec<String>,
    /// New ones.
    pub added: Vec<String>,
    /// Ones that are gone.
    pub removed: Vec<String>,
    /// They say something else.
    pub changed: Vec<String>,
}

/// A yes that is needed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Needed {
    /// The key of `approvals`: `default`, `guards`, `segment/NAME`.
    pub by: String,
    /// From whom.
    pub from: Vec<String>,
    /// How many.
    pub count: u64,
    /// What is touched.
    pub touches: Vec<String>,
}

/// A test that asserts a call to be allowed, and its answer.
#[derive(Debug)]
pub(super) struct Tested {
    caller: String,
    callee: String,
    call: String,
}

impl Governed {
    pub(super) fn of(old: &PolicySet, new: &PolicySet) -> Self {
        let guards = |set: &PolicySet| -> BTreeMap<String, String> {
            set.guards.iter().map(|guard| (guard.name.clone(), guard_text(set, guard))).collect()
        };
        let never = |set: &PolicySet| -> BTreeMap<String, String> {
            set.never.iter().map(|never| (never.name.clone(), never_text(never))).collect()
        };
        let (was, now): (&Governance, &Governance) = (&old.governance, &new.governance);
        let limits = |it: &Governance| (it.grant_max, it.svid_ttl);
        let mut governance = Vec::new();
        let differs = [
            ("approvals", was.approvals != now.approvals),
            ("operators", was.operators != now.operators),
            ("limits", limits(was) != limits(now)),
        ];
        governance.extend(differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key));
        Self {
            guards: Statements::of(&guards(old), &guards(new)),
            never: Statements::of(&never(old), &never(new)),
            idempotent: Statements::of(&idempotent::declared(old), &idempotent::declared(new)),
            governance,
        }
    }

    /// Whether nothing of it differs.
    pub fn is_same(&self) -> bool {
        let same = [&self.guards, &self.never, &self.idempotent].iter().all(|it| it.is_same());
        same && self.governance.is_empty()
    }

    /// Who must say yes: by the version in force, which a change must not rewrite for itself.
    pub(super) fn approvals(
        &self,
        (old, new): (&PolicySet, &PolicySet),
        changes: &[Change],
        modes: &[ModeChange],
    ) -> Vec<Needed> {
        let in_force = &old.governance.approvals;
        let approvals = if in_force.is_empty() { &new.governance.approvals } else { in_force };
        let mut touched: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut touch = |key: String, what: String| {
            let key = if approvals.contains_key(&key) { key } else { "default".to_owned() };
            touched.entry(key).or_default().insert(what);
        };
        let declared = self.idempotent.differing().map(idempotent::callee);
        for callee in changes.iter().map(|change| change.callee.as_str()).chain(declared) {
            for set in [old, new] {
                let workload = set.by_name.get(callee).and_then(|number| set.workload(*number));
                if let Some(segment) = workload.and_then(|it| set.segments.get(it.segment)) {
                    let segment = format!("segment/{}", segment.name);
                    touch(segment.clone(), segment);
                }
            }
        }
        for mode in modes {
            let segment = format!("segment/{}", mode.segment);
            touch(segment.clone(), segment);
        }
        if !self.guards.is_same() || !self.never.is_same() {
            touch("guards".to_owned(), "guards".to_owned());
        }
        for key in &self.governance {
            // Who may say yes is the operators' affair, whatever else is.
            let by = if *key == "limits" { "default" } else { "operators" };
            touch(by.to_owned(), (*key).to_owned());
        }
        let needed = |(by, touches): (String, BTreeSet<String>)| {
            let Approval { from, count } = approvals.get(&by)?.clone();
            Some(Needed { by, from, count, touches: touches.into_iter().collect() })
        };
        touched.into_iter().filter_map(needed).collect()
    }
}

impl Statements {
    fn of(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Self {
        let mut statements = Self::default();
        for (name, text) in new {
            let list = match old.get(name) {
                None => &mut statements.added,
                Some(known) if known == text => &mut statements.hold,
                Some(_) => &mut statements.changed,
            };
            list.push(name.clone());
        }
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        statements.removed.extend(gone.cloned());
        statements
    }

    /// The names of those that came, went, or say something else.
    fn differing(&self) -> impl Iterator<Item = &str> {
        [&self.added, &self.removed, &self.changed].into_iter().flatten().map(String::as_str)
    }

    /// Whether none came, went, or says something else.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// All that a guard says, but for why.
fn guard_text(set: &PolicySet, guard: &Guard) -> String {
    let Guard { from, to, except, except_foreign, calls, when, mode, .. } = guard;
    let name = |number| set.workload(number).map(|workload| workload.name.as_str());
    let except: Vec<_> = except.iter().filter_map(|number| name(*number)).collect();
    let calls: Vec<_> = calls.iter().map(|item| &item.call).collect();
    let when = when.as_ref().map(|When { condition, .. }| condition);
    let (from, to) = (&from.text, &to.text);
    format!("{from} -> {to} {except:?} {except_foreign:?} {calls:?} {when:?} {mode:?}")
}

fn never_text(never: &Never) -> String {
    let through = match never.through {
        Through::Any => "any",
        Through::None => "none",
    };
    format!("{} -> {} {through}", never.from.text, never.to.text)
}

impl PolicySet {
    /// The tests that assert a call to be allowed and pass, each with the template it belongs to.
    pub(super) fn tested(&self) -> Vec<Tested> {
        let tested = |test: &crate::model::Test| {
            let answer = self.answer(&test.question, test.at).ok()?;
            let allowed = cellwall_policy::Verdict::Allow;
            if test.expect != allowed || answer.decision.verdict != allowed {
                return None;
            }
            let route = answer.decision.route?;
            let call = match &test.question.call {
                Asked::Http { method, .. } => format!("{method} {route}"),
                Asked::Grpc { .. } | Asked::Tcp { .. } => route.to_string(),
            };
            let (caller, callee) = (&test.question.caller, &test.question.callee);
            Some(Tested { caller: caller.workload.clone(), callee: callee.workload.clone(), call })
        };
        self.tests.iter().filter_map(tested).collect()
    }
}

impl Tested {
    /// Whether it is about the edge.
    pub(super) fn covers(&self, change: &Change) -> bool {
        let Change { caller, callee, call, .. } = change;
        // What is told apart further begins with the name of its template.
        let is_call =
            call.strip_prefix(&self.call).is_some_and(|it| it.is_empty() || it.starts_with(' '));
        *callee == self.callee && is_call && Callers::contain(caller, &self.caller)
    }
}
