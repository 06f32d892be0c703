//! Rules and guards that do not do what they seem to.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Guard, Members, Rule, WorkloadNumber},
};

impl Checker<'_> {
    pub(super) fn logic(&mut self) {
        let mut problems = Vec::new();
        for rule in &self.parts.rules {
            problems.extend(self.shadow(rule));
        }
        problems.extend(self.duplicates());
        for guard in &self.parts.guards {
            let denied = self.each(&guard.from);
            if denied.is_subset(&guard.except) {
                let message = format!("guard `{}` denies nobody", guard.name);
                let problem = Problem::error(Code::GuardsNobody, guard.place, message)
                    .help("take somebody out of `except`, or remove the guard");
                problems.push(problem);
            }
        }
        for problem in problems {
            self.problems.push(problem);
        }
    }

    /// A rule whose every caller is denied first.
    fn shadow(&self, rule: &Rule) -> Option<Problem> {
        let mut by: Option<&Guard> = None;
        for caller in self.each(&rule.from) {
            for callee in &rule.to {
                by = Some(
                    self.parts.guards.iter().find(|guard| guard.always_denies(caller, *callee))?,
                );
            }
        }
        let guard = by?;
        let message = format!("rule `{}` is fully shadowed by guard `{}`", rule.name, guard.name);
        let problem = Problem::error(Code::Shadowed, rule.from_place, message)
            .label("every call is denied first")
            .related(guard.place, "by this guard");
        Some(problem)
    }

    /// Rules that allow the same callers the same calls.
    fn duplicates(&self) -> Vec<Problem> {
        let mut known: BTreeMap<Allowed, &Rule> = BTreeMap::new();
        let mut problems = Vec::new();
        for rule in &self.parts.rules {
            let callers = match &rule.from.members {
                Members::Any => None,
                Members::Some(members) => Some(members.clone()),
            };
            let calls = rule.calls.iter().map(|item| format!("{:?}", item.call)).collect();
            let allowed = Allowed { callers, callees: rule.to.clone(), calls };
            match known.get(&allowed) {
                Some(first) => {
                    let message = format!("rule `{}` says what `{}` says", rule.name, first.name);
                    let problem = Problem::warning(Code::DuplicateRule, rule.place, message);
                    problems.push(problem.related(first.place, "the other one"));
                }
                None => {
                    known.insert(allowed, rule);
                }
            }
        }
        problems
    }
}

/// What a rule allows, to compare.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Allowed {
    /// `None` is `any`.
    callers: Option<BTreeSet<WorkloadNumber>>,
    callees: BTreeSet<WorkloadNumber>,
    calls: BTreeSet<String>,
}
