//! The statements about one callee, and what of a call they look at.

use std::collections::BTreeSet;

use cellwall_policy::CallDocument;

use crate::{
    PolicySet,
    condition::{Attribute, Condition, Fact},
    model::{Guard, Rule, WorkloadNumber},
};

/// The statements about one callee.
pub(super) struct Statements<'a> {
    pub(super) rules: Vec<&'a Rule>,
    pub(super) guards: Vec<&'a Guard>,
    /// The seconds at which grants begin and end.
    pub(super) turns: BTreeSet<u64>,
}

impl<'a> Statements<'a> {
    pub(super) fn about(set: &'a PolicySet, callee: WorkloadNumber) -> Self {
        let rules = set.index.rules(callee).filter_map(|at| set.rules.get(at));
        let grants = || set.index.grants(callee).filter_map(|at| set.grants.get(at));
        Self {
            rules: rules.chain(grants().map(|grant| &grant.rule)).collect(),
            guards: set.index.guards(callee).filter_map(|at| set.guards.get(at)).collect(),
            turns: grants().flat_map(|grant| [grant.starts, grant.expires]).collect(),
        }
    }

    /// What rules and grants allow.
    pub(super) fn allowed(&self) -> impl Iterator<Item = &'a CallDocument> {
        self.rules.iter().flat_map(|rule| &rule.calls).map(|item| &item.call)
    }

    /// What guards deny.
    pub(super) fn denied(&self) -> impl Iterator<Item = &'a CallDocument> {
        self.guards.iter().flat_map(|guard| &guard.calls).map(|item| &item.call)
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &'a Condition> {
        let rules = self.rules.iter().filter_map(|rule| rule.when.as_ref());
        let guards = self.guards.iter().filter_map(|guard| guard.when.as_ref());
        rules.chain(guards).map(|when| &when.condition)
    }

    /// Whether a condition looks at a variable.
    pub(super) fn tell_environments_apart(&self) -> bool {
        self.conditions().flat_map(Condition::attributes).any(|attribute| match attribute {
            Attribute::Caller(fact) | Attribute::Callee(fact) => matches!(fact, Fact::Variable(_)),
            Attribute::Tls(_) => false,
        })
    }
}
