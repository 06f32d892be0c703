//! Rules that say what others say (CW0302).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    codes::Code,
    finding::Problem,
    model::{Grant, Members, Rule, WorkloadNumber},
};

/// What a rule allows, to compare.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Allowed<'a> {
    // What differs most comes first, what is long comes last.
    calls: BTreeSet<String>,
    when: Option<String>,
    /// A grant's.
    term: Option<(u64, u64)>,
    across: &'a BTreeSet<String>,
    foreign: &'a BTreeSet<String>,
    callees: &'a BTreeSet<WorkloadNumber>,
    /// `None` is `any`.
    callers: Option<&'a BTreeSet<WorkloadNumber>>,
}

/// Rules that allow the same callers the same calls.
pub(super) fn rules(rules: &[Rule]) -> Vec<Problem> {
    alike("rule", rules.iter().map(|rule| (rule, None)))
}

/// Grants that do, for the same time.
pub(super) fn grants(grants: &[Grant]) -> Vec<Problem> {
    alike("grant", grants.iter().map(|it| (&it.rule, Some((it.starts, it.expires)))))
}

fn alike<'a>(
    kind: &str,
    rules: impl Iterator<Item = (&'a Rule, Option<(u64, u64)>)>,
) -> Vec<Problem> {
    let mut known: BTreeMap<Allowed<'_>, &Rule> = BTreeMap::new();
    let mut problems = Vec::new();
    for (rule, term) in rules {
        let allowed = Allowed {
            callers: match &rule.from.members {
                Members::Any => None,
                Members::Some(members) => Some(members),
            },
            foreign: &rule.from.foreign,
            callees: &rule.to,
            calls: rule.calls.iter().map(|item| format!("{:?}", item.call)).collect(),
            when: rule.when.as_ref().map(|when| format!("{:?}", when.condition)),
            across: &rule.across,
            term,
        };
        match known.get(&allowed) {
            Some(first) => {
                let message = format!("{kind} `{}` says what `{}` says", rule.name, first.name);
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
