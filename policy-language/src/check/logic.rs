//! Statements that do not do what they seem to.

use std::collections::BTreeSet;

use super::{Checker, alike, calls::contains};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Guard, Members, Rule, Who, WorkloadNumber},
};

/// Somebody whom a selector names.
#[derive(Clone, Copy)]
enum Caller<'a> {
    Workload(WorkloadNumber),
    /// Of another trust domain.
    Foreign(&'a str),
}

impl Checker<'_> {
    pub(super) fn logic(&mut self) {
        let mut problems = Vec::new();
        for rule in &self.parts.rules {
            problems.extend(self.shadow(rule, "rule"));
        }
        for grant in &self.parts.grants {
            problems.extend(self.shadow(&grant.rule, "grant"));
        }
        problems.extend(alike::rules(&self.parts.rules));
        problems.extend(alike::grants(&self.parts.grants));
        problems.extend(self.parts.guards.iter().filter_map(|guard| self.idle(guard)));
        problems.extend(self.isolated());
        problems.extend(self.constants());
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }

    /// A rule whose every call is denied first.
    fn shadow(&self, rule: &Rule, kind: &str) -> Option<Problem> {
        let mut by: Option<&Guard> = None;
        let mut deny = |caller| -> Option<()> {
            for callee in &rule.to {
                by = Some(self.denying(rule, caller, *callee)?);
            }
            Some(())
        };
        match &rule.from.members {
            Members::Any => {
                (0..self.parts.workloads.len())
                    .try_for_each(|number| deny(Caller::Workload(WorkloadNumber(number))))?;
            }
            Members::Some(members) => {
                members.iter().try_for_each(|number| deny(Caller::Workload(*number)))?;
            }
        }
        rule.from.foreign.iter().try_for_each(|id| deny(Caller::Foreign(id)))?;
        let guard = by?;
        let message = format!("{kind} `{}` is fully shadowed by guard `{}`", rule.name, guard.name);
        let owner = guard.stewardship.owner.as_ref();
        let whose = owner.map_or_else(String::new, |owner| format!(" (owner: {owner})"));
        let problem = Problem::error(Code::Shadowed, rule.from_place, message)
            .label("every call is denied first")
            .help("take its callers into the guard's `except`, or remove the rule")
            .related(guard.place, format!("by this guard{whose}"));
        Some(problem)
    }

    /// The guard that always denies all calls of a rule; of several that do together, the first.
    fn denying(&self, rule: &Rule, caller: Caller<'_>, callee: WorkloadNumber) -> Option<&Guard> {
        let about = || self.parts.index.guards(callee).filter_map(|at| self.parts.guards.get(at));
        let always = || about().filter(|guard| keeps_out(guard, caller));
        if let Some(guard) = always().find(|guard| guard.calls.is_empty()) {
            return Some(guard);
        }
        let mut first = None;
        for call in &rule.calls {
            let guard = always().find(|guard| contains(&guard.calls, &call.call))?;
            first.get_or_insert(guard);
        }
        first
    }

    /// A guard that denies nobody.
    fn idle(&self, guard: &Guard) -> Option<Problem> {
        let Who { members, foreign, .. } = &guard.from;
        let nobody = match members {
            // Whoever is unknown is denied by default.
            Members::Any => guard.except.len() == self.parts.workloads.len(),
            Members::Some(members) => {
                members.is_subset(&guard.except) && foreign.is_subset(&guard.except_foreign)
            }
        };
        if !nobody {
            return None;
        }
        let message = format!("guard `{}` denies nobody", guard.name);
        let problem = Problem::error(Code::GuardsNobody, guard.place, message);
        Some(problem.help("take somebody out of `except`, or remove the guard"))
    }

    /// Segments that nothing leads to and nothing leads from.
    fn isolated(&self) -> Vec<Problem> {
        // A name that was not found may be what isolates it.
        if self.problems.has_errors() {
            return Vec::new();
        }
        let rules = self.parts.rules.iter();
        let rules = rules.chain(self.parts.grants.iter().map(|grant| &grant.rule));
        let mut touched: BTreeSet<usize> = BTreeSet::new();
        let segment = |WorkloadNumber(at): &WorkloadNumber| {
            self.parts.workloads.get(*at).map(|it| it.segment)
        };
        let mut any = false;
        for rule in rules {
            any = true;
            match &rule.from.members {
                Members::Any => return Vec::new(),
                Members::Some(members) => touched.extend(members.iter().filter_map(segment)),
            }
            touched.extend(rule.to.iter().filter_map(segment));
        }
        let inhabited: BTreeSet<usize> = self.parts.workloads.iter().map(|it| it.segment).collect();
        let segments = self.parts.segments.iter().enumerate();
        segments
            .filter(|(at, segment)| {
                let closed = segment.mode.is_enforce() && !touched.contains(at);
                any && closed && inhabited.contains(at)
            })
            .map(|(_, segment)| {
                let message = format!("segment `{}` is isolated", segment.name);
                Problem::warning(Code::Isolated, segment.place, message)
                    .label("nobody may call its members, and they may call nobody")
                    .help("write a rule for them, or remove them")
            })
            .collect()
    }
}

/// Whether a guard keeps a caller out, of the calls that it is about, whatever else is so.
fn keeps_out(guard: &Guard, caller: Caller<'_>) -> bool {
    let named = match caller {
        Caller::Workload(number) => {
            guard.from.members.contain(number) && !guard.except.contains(&number)
        }
        Caller::Foreign(id) => {
            let named =
                matches!(guard.from.members, Members::Any) || guard.from.foreign.contains(id);
            named && !guard.except_foreign.contains(id)
        }
    };
    named && guard.when.is_none() && guard.mode.is_enforce()
}
