//! What the variables of an ID are compared with.

use std::collections::BTreeSet;

use cellwall_policy::is_path_segment;

use crate::{
    compile::Compiler,
    condition::{Attribute, Condition, Fact, Term},
};

/// What documents compare each variable of their template with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compared {
    /// Of each variable, in the template's order, the values.
    values: Vec<BTreeSet<String>>,
    /// Variables that are compared with each other.
    beside: BTreeSet<(usize, usize)>,
}

/// One variable of a template.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// The values that something is compared with.
    pub(crate) values: BTreeSet<String>,
    /// How many more stand for all others.
    pub(crate) unwritten: usize,
    /// The same for all that may be compared with each other.
    pub(crate) group: usize,
}

/// What was found in conditions, by the numbers of variables.
struct Found<'a> {
    names: Vec<&'a str>,
    compared: Compared,
    /// Variables beside something that the documents know of each workload.
    facts: BTreeSet<(usize, Fact)>,
}

impl Compared {
    /// What one policy's conditions compare variables with.
    pub(crate) fn of(parts: &Compiler<'_>) -> Self {
        let names: Vec<&str> = parts.template.variables().collect();
        let values = vec![BTreeSet::new(); names.len()];
        let compared = Self { values, beside: BTreeSet::new() };
        let mut found = Found { names, compared, facts: BTreeSet::new() };
        let rules = parts.rules.iter().chain(parts.grants.iter().map(|grant| &grant.rule));
        let conditions = rules.filter_map(|rule| rule.when.as_ref());
        let guards = parts.guards.iter().filter_map(|guard| guard.when.as_ref());
        for when in conditions.chain(guards) {
            found.look_into(&when.condition);
        }
        // A variable beside a label has the label's values.
        for (at, fact) in std::mem::take(&mut found.facts) {
            for workload in parts.workloads {
                found.compared.add(at, workload.fact(&fact, parts.segments).unwrap_or_default());
            }
        }
        found.compared
    }

    /// How many variables there are.
    pub(crate) const fn count(&self) -> usize {
        self.values.len()
    }

    /// The values of an environment as well, if it has one for each variable.
    pub(crate) fn also(&mut self, environment: &str) {
        let values: Vec<&str> = environment.split('/').filter(|it| !it.is_empty()).collect();
        if values.len() == self.count() {
            values.into_iter().enumerate().for_each(|(at, value)| self.add(at, value));
        }
    }

    /// What another policy compares as many variables with, as well.
    pub(crate) fn join(&mut self, other: Self) {
        self.values.resize(other.count(), BTreeSet::new());
        for (values, more) in self.values.iter_mut().zip(other.values) {
            values.extend(more);
        }
        self.beside.extend(other.beside);
    }

    /// The variables, where those that are compared with each other have the same values.
    pub(crate) fn grouped(self) -> Vec<Variable> {
        let mut groups: Vec<usize> = (0..self.count()).collect();
        for (one, other) in &self.beside {
            let (Some(from), Some(to)) = (groups.get(*one).copied(), groups.get(*other).copied())
            else {
                continue;
            };
            groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
        let variable = |group: &usize| {
            let members = || self.values.iter().zip(&groups).filter(|(_, it)| *it == group);
            Variable {
                values: members().flat_map(|(values, _)| values).cloned().collect(),
                unwritten: 2 * members().count(),
                group: *group,
            }
        };
        groups.iter().map(variable).collect()
    }

    fn add(&mut self, at: usize, value: &str) {
        // No ID has any other.
        if is_path_segment(value)
            && let Some(values) = self.values.get_mut(at)
        {
            values.insert(value.to_owned());
        }
    }
}

impl Variable {
    /// How many values are tried.
    pub(crate) fn count(&self) -> usize {
        self.values.len() + self.unwritten
    }
}

impl Found<'_> {
    fn look_into(&mut self, condition: &Condition) {
        match condition {
            Condition::Not(inner) => self.look_into(inner),
            Condition::And(one, other) | Condition::Or(one, other) => {
                self.look_into(one);
                self.look_into(other);
            }
            Condition::Equal(one, other) => {
                self.beside(one, other);
                self.beside(other, one);
            }
            Condition::In(one, texts) => {
                let Some(at) = self.variable(one) else { return };
                texts.iter().for_each(|text| self.compared.add(at, text));
            }
        }
    }

    fn beside(&mut self, one: &Term, other: &Term) {
        let Some(at) = self.variable(one) else { return };
        match other {
            Term::Text(text) => self.compared.add(at, text),
            Term::Attribute(Attribute::Tls(fact)) => {
                fact.values().iter().for_each(|text| self.compared.add(at, text));
            }
            Term::Attribute(Attribute::Caller(fact) | Attribute::Callee(fact)) => {
                match self.variable(other) {
                    Some(beside) => self.compared.beside.extend([(at, beside)]),
                    None => self.facts.extend([(at, fact.clone())]),
                }
            }
        }
    }

    fn variable(&self, term: &Term) -> Option<usize> {
        match term {
            Term::Attribute(
                Attribute::Caller(Fact::Variable(name)) | Attribute::Callee(Fact::Variable(name)),
            ) => self.names.iter().position(|known| known == name),
            Term::Attribute(_) | Term::Text(_) => None,
        }
    }
}
