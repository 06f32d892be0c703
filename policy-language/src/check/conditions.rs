//! `when`: parsed, looked up, and tried on everybody whom it is about.

use std::{cell::Cell, collections::BTreeSet};

use super::{Checker, Parts};
use crate::{
    codes::Code,
    condition::{Constant, Everybody, Fact, Facts, Outcomes, Profile, Scope, parse},
    finding::Problem,
    model::{Guard, Members, Rule, When, Who, Workload, WorkloadNumber},
    syntax::Text,
};

/// How many times conditions are tried, and workloads looked at for them, in one set. What is
/// beyond is not warned of.
const MAX_TRIES: usize = 2_000_000;
/// The same for one condition.
const MAX_TRIES_EACH: usize = 100_000;

/// What a statement with a condition does.
#[derive(Clone, Copy)]
enum Kind {
    Rule,
    Guard,
}

impl Checker<'_> {
    /// Reads a condition. An error after a mistake in it, which is noted.
    pub(super) fn when(&mut self, text: Option<&Text>) -> Result<Option<When>, ()> {
        let Some(text) = text else { return Ok(None) };
        let expression = match parse(&text.value) {
            Ok(expression) => expression,
            Err(refusal) => {
                let place = self.inside(text, &refusal.range);
                let problem = Problem::error(Code::BadCondition, place, refusal.message);
                self.problems.push(problem.help(refusal.help));
                return Err(());
            }
        };
        // Without a template every variable would look unknown.
        let Some(template) = &self.parts.template else { return Err(()) };
        let scope = Scope {
            variables: template.variables().collect(),
            labels: &self.parts.labels,
            workloads: &self.parts.by_name,
            segments: &self.parts.members,
            suggestions: Cell::new(self.suggestions),
        };
        let typed = scope.check(&expression);
        self.suggestions = scope.suggestions.get();
        for mistake in &typed.mistakes {
            let place = self.inside(text, &mistake.range);
            let mut problem = Problem::error(mistake.code, place, mistake.message.clone());
            if let Some(help) = &mistake.help {
                problem = problem.help(help);
            }
            if let Some((place, label)) = mistake.related {
                problem = problem.related(place, label);
            }
            self.problems.push(problem);
        }
        for Constant { range, holds } in &typed.constants {
            let place = self.inside(text, range);
            let message = if *holds { "this always holds" } else { "this never holds" };
            let problem = Problem::warning(Code::ConstantCondition, place, message)
                .label("both sides are texts")
                .help("compare an attribute: `caller.NAME`, `callee.NAME` or `tls.NAME`");
            self.problems.push(problem);
        }
        match typed.condition.filter(|_| typed.mistakes.is_empty()) {
            Some(condition) => {
                Ok(Some(When { condition, text: text.value.clone(), place: text.place }))
            }
            None => Err(()),
        }
    }

    /// Conditions that are the same for everybody (CW0307).
    pub(super) fn constants(&self) -> Vec<Problem> {
        let mut left = MAX_TRIES;
        let Parts { rules, grants, guards, .. } = &self.parts;
        let rules = rules.iter().chain(grants.iter().map(|grant| &grant.rule));
        let mut problems: Vec<_> =
            rules.filter_map(|rule| self.constant_rule(rule, &mut left)).collect();
        problems.extend(guards.iter().filter_map(|guard| self.constant_guard(guard, &mut left)));
        problems
    }

    fn constant_rule(&self, rule: &Rule, left: &mut usize) -> Option<Problem> {
        let when = rule.when.as_ref()?;
        let facts = when.condition.facts();
        let callees = Members::Some(rule.to.clone());
        let mut callers = self.profiles(&rule.from.members, &facts.caller, left)?;
        let foreign = !rule.from.foreign.is_empty();
        if foreign {
            callers.insert(vec![None; facts.caller.len()]);
        }
        let everybody = Everybody {
            callers,
            callees: self.profiles(&callees, &facts.callee, left)?,
            across: Some(&rule.across),
            foreign,
        };
        let outcomes = outcomes(when, &facts, &everybody, left)?;
        constant(when, outcomes, Kind::Rule)
    }

    fn constant_guard(&self, guard: &Guard, left: &mut usize) -> Option<Problem> {
        let when = guard.when.as_ref()?;
        let facts = when.condition.facts();
        let Who { members, foreign, .. } = &guard.from;
        let is_any = matches!(members, Members::Any);
        let mut callers = match members {
            Members::Any => self.profiles(members, &facts.caller, left)?,
            Members::Some(some) => {
                let some = Members::Some(some.difference(&guard.except).copied().collect());
                self.profiles(&some, &facts.caller, left)?
            }
        };
        // Everyone is also whoever is unknown.
        if is_any || !foreign.is_empty() {
            callers.insert(vec![None; facts.caller.len()]);
        }
        let everybody = Everybody {
            callers,
            callees: self.profiles(&guard.to.members, &facts.callee, left)?,
            across: None,
            foreign: is_any || !foreign.is_empty(),
        };
        let outcomes = outcomes(when, &facts, &everybody, left)?;
        constant(when, outcomes, Kind::Guard)
    }

    /// The different values that members have of some facts. `None` where there are too many to
    /// look at.
    fn profiles(
        &self,
        members: &Members,
        facts: &[&Fact],
        left: &mut usize,
    ) -> Option<BTreeSet<Profile<'_>>> {
        let count = match members {
            Members::Any => self.parts.workloads.len(),
            Members::Some(members) => members.len(),
        };
        if facts.is_empty() {
            return Some((0..count.min(1)).map(|_| Vec::new()).collect());
        }
        *left = left.checked_sub(count)?;
        Some(match members {
            Members::Any => self.parts.workloads.iter().map(|it| self.profile(it, facts)).collect(),
            Members::Some(members) => members
                .iter()
                .filter_map(|WorkloadNumber(number)| self.parts.workloads.get(*number))
                .map(|workload| self.profile(workload, facts))
                .collect(),
        })
    }

    fn profile<'s>(&'s self, workload: &'s Workload, facts: &[&Fact]) -> Profile<'s> {
        let value = |fact: &&Fact| match fact {
            Fact::Workload => Some(workload.name.as_str()),
            Fact::Segment => {
                self.parts.segments.get(workload.segment).map(|segment| segment.name.as_str())
            }
            Fact::Label(label) => workload.labels.get(label).map(String::as_str),
            Fact::Variable(_) => None,
        };
        facts.iter().map(value).collect()
    }
}

/// Tries a condition, within what is left of all tries.
fn outcomes(
    when: &When,
    facts: &Facts<'_>,
    everybody: &Everybody<'_>,
    left: &mut usize,
) -> Option<Outcomes> {
    // Nothing but texts: said at the comparison.
    when.condition.attributes().first()?;
    let allowed = (*left).min(MAX_TRIES_EACH);
    let mut rest = allowed;
    let outcomes = when.condition.outcomes(facts, everybody, &mut rest);
    *left -= allowed - rest;
    outcomes
}

/// A condition that makes no difference.
fn constant(when: &When, outcomes: Outcomes, kind: Kind) -> Option<Problem> {
    let Outcomes { holds, fails, unknown } = outcomes;
    let (always, never) = match kind {
        // What cannot be said is no yes, and does not open a guard.
        Kind::Rule => (holds && !fails && !unknown, !holds && (fails || unknown)),
        Kind::Guard => ((holds || unknown) && !fails, !holds && !unknown && fails),
    };
    let (message, help) = match (kind, always, never) {
        (_, true, _) => ("this condition always holds", "leave `when` out, or say what was meant"),
        (Kind::Rule, _, true) => (
            "this condition never holds, so nothing is allowed",
            "nobody whom `from` and `to` name fits it",
        ),
        (Kind::Guard, _, true) => {
            ("this condition never holds, so nobody is denied", "nobody whom `deny` names fits it")
        }
        _ => return None,
    };
    Some(Problem::warning(Code::ConstantCondition, when.place, message).help(help))
}

#[cfg(test)]
mod tests {
    use cellwall_policy::TlsFact;

    use super::{Everybody, When, outcomes};
    use crate::{
        condition::{Attribute, Condition, Term},
        place::{FileNumber, Place},
    };

    #[test]
    fn each_try_is_counted_off_what_is_left() {
        let version = Term::Attribute(Attribute::Tls(TlsFact::Version));
        let condition = Condition::Equal(version, Term::Text("1.3".to_owned()));
        let place = Place::new(FileNumber(0), 0, 0);
        let when = When { condition, text: String::new(), place };
        let one = || [Vec::new()].into();
        let everybody = Everybody { callers: one(), callees: one(), across: None, foreign: false };
        // Three tries each: nothing, what is named, another.
        for (mut left, is_tried, rest) in [(10, true, 7), (3, true, 0), (2, false, 2)] {
            let tried = outcomes(&when, &when.condition.facts(), &everybody, &mut left);
            assert_eq!((tried.is_some(), left), (is_tried, rest));
        }
    }
}
