//! The environments that a policy can tell apart.

use std::collections::BTreeSet;

use crate::{
    PolicySet,
    condition::{Attribute, Condition, Fact, Term},
    model::When,
};

/// The most values of one variable, and the most environments, that are looked at.
const MAX_VALUES: usize = 48;

/// Environments, and whether each is a name that the documents write.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Environments {
    /// The variables' values joined by `/`.
    pub(crate) names: Vec<String>,
    /// Those that stand for all that no document writes.
    pub(crate) others: BTreeSet<String>,
    /// Values that stand for all that no document writes.
    unknown: BTreeSet<String>,
    /// One more that nobody writes, for callers from there.
    pub(crate) outside: Option<String>,
}

impl Environments {
    /// Those of all versions: what `attest`, tests and conditions write, and for all the rest one
    /// that nobody writes, beside a second one to call it from.
    pub(crate) fn of(sets: &[&PolicySet]) -> Self {
        let mut written = BTreeSet::new();
        let mut environments = Self::default();
        for set in sets {
            written.extend(set.entries.iter().map(|entry| entry.environment.clone()));
            let sides =
                set.tests.iter().flat_map(|test| [&test.question.caller, &test.question.callee]);
            written.extend(sides.map(|side| side.environment.clone()));
        }
        let mut others = BTreeSet::new();
        for set in sets {
            let variables: Vec<&str> = set.template.variables().collect();
            let fits = |name: &&String| {
                name.split('/').filter(|it| !it.is_empty()).count() == variables.len()
            };
            let mut values: Vec<BTreeSet<String>> = vec![BTreeSet::new(); variables.len()];
            for name in written.iter().filter(fits) {
                for (values, value) in values.iter_mut().zip(name.split('/')) {
                    values.insert(value.to_owned());
                }
            }
            for other in sets {
                compared(other, &variables, &mut values);
            }
            let unknown = combine(&values, &mut written, &mut others);
            if !variables.is_empty() {
                environments.outside =
                    Some(vec![format!("{unknown}-y"); variables.len()].join("/"));
                environments.unknown.extend([format!("{unknown}-y"), unknown]);
            }
        }
        written.extend(others.iter().cloned());
        environments.names = written.into_iter().collect();
        // What is written comes first.
        environments.names.sort_by_key(|name| (others.contains(name), name.clone()));
        environments.others = others;
        environments
    }

    /// How one is called.
    pub(crate) fn label(&self, name: &str) -> String {
        if !name.contains('/') {
            let is_known = !self.unknown.contains(name);
            return if is_known { name.to_owned() } else { "any other".to_owned() };
        }
        let values = name.split('/').map(|it| if self.unknown.contains(it) { "*" } else { it });
        values.collect::<Vec<_>>().join("/")
    }
}

/// Adds every combination of the values, with one for all other values of each variable.
fn combine(
    values: &[BTreeSet<String>],
    written: &mut BTreeSet<String>,
    others: &mut BTreeSet<String>,
) -> String {
    let known: BTreeSet<&String> = values.iter().flatten().collect();
    let mut unknown = "other".to_owned();
    while known.iter().any(|known| known.starts_with(&unknown)) {
        unknown.push_str("-x");
    }
    let mut combined: Vec<(Vec<String>, bool)> = vec![(Vec::new(), false)];
    for values in values {
        let each: Vec<_> =
            values.iter().map(|value| (value, false)).chain([(&unknown, true)]).collect();
        let longer = combined.iter().flat_map(|(head, is_other)| {
            each.iter().map(move |(value, unknown)| {
                let mut head = head.clone();
                head.push((*value).clone());
                (head, *is_other || *unknown)
            })
        });
        combined = longer.take(MAX_VALUES * MAX_VALUES).collect();
    }
    for (values, is_other) in combined {
        let name = values.join("/");
        if is_other {
            others.insert(name);
        } else {
            written.insert(name);
        }
    }
    unknown
}

/// The texts that conditions compare variables with.
fn compared(set: &PolicySet, variables: &[&str], values: &mut [BTreeSet<String>]) {
    for when in conditions(set) {
        let mut found = Vec::new();
        pairs(&when.condition, &mut found);
        for (variable, texts) in found {
            let at = variables.iter().position(|name| *name == variable);
            let Some(values) = at.and_then(|at| values.get_mut(at)) else { continue };
            for text in texts {
                if values.len() < MAX_VALUES && cellwall_policy::is_name(&text) {
                    values.insert(text);
                }
            }
        }
        // A variable beside a label has the label's values.
        for (variable, fact) in beside(&when.condition) {
            let at = variables.iter().position(|name| *name == variable);
            let Some(values) = at.and_then(|at| values.get_mut(at)) else { continue };
            for workload in &set.workloads {
                let text = workload.fact(&fact, &set.segments);
                if values.len() < MAX_VALUES {
                    values.extend(text.map(str::to_owned));
                }
            }
        }
    }
}

/// The conditions of all statements.
pub(crate) fn conditions(set: &PolicySet) -> impl Iterator<Item = &When> {
    let rules = set.rules.iter().filter_map(|rule| rule.when.as_ref());
    let grants = set.grants.iter().filter_map(|grant| grant.rule.when.as_ref());
    rules.chain(grants).chain(set.guards.iter().filter_map(|guard| guard.when.as_ref()))
}

fn variable(term: &Term) -> Option<&str> {
    match term {
        Term::Attribute(
            Attribute::Caller(Fact::Variable(name)) | Attribute::Callee(Fact::Variable(name)),
        ) => Some(name),
        Term::Attribute(_) | Term::Text(_) => None,
    }
}

fn pairs<'a>(condition: &'a Condition, found: &mut Vec<(&'a str, Vec<String>)>) {
    match condition {
        Condition::Not(inner) => pairs(inner, found),
        Condition::And(one, other) | Condition::Or(one, other) => {
            pairs(one, found);
            pairs(other, found);
        }
        Condition::Equal(one, other) => {
            for (one, other) in [(one, other), (other, one)] {
                if let (Some(name), Term::Text(text)) = (variable(one), other) {
                    found.push((name, vec![text.clone()]));
                }
            }
        }
        Condition::In(one, texts) => found.extend(variable(one).map(|name| (name, texts.clone()))),
    }
}

fn beside(condition: &Condition) -> Vec<(&str, Fact)> {
    match condition {
        Condition::Not(inner) => beside(inner),
        Condition::And(one, other) | Condition::Or(one, other) => {
            [beside(one), beside(other)].concat()
        }
        Condition::Equal(one, other) => {
            let mut found = Vec::new();
            for (one, other) in [(one, other), (other, one)] {
                if let (
                    Some(name),
                    Term::Attribute(Attribute::Caller(fact) | Attribute::Callee(fact)),
                ) = (variable(one), other)
                {
                    found.push((name, fact.clone()));
                }
            }
            found
        }
        Condition::In(..) => Vec::new(),
    }
}
