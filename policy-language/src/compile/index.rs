//! Which statements are about which callee, so that none looks at all of them.

use std::collections::BTreeMap;

use crate::model::{Grant, Guard, Members, Rule, WorkloadNumber};

/// The numbers of the statements about each callee.
#[derive(Debug, Default)]
pub(crate) struct Index {
    rules: BTreeMap<WorkloadNumber, Vec<usize>>,
    grants: BTreeMap<WorkloadNumber, Vec<usize>>,
    guards: BTreeMap<WorkloadNumber, Vec<usize>>,
    /// The guards about every callee.
    guards_of_all: Vec<usize>,
}

impl Index {
    pub(crate) fn new(rules: &[Rule], grants: &[Grant], guards: &[Guard]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            for callee in &rule.to {
                index.rules.entry(*callee).or_default().push(at);
            }
        }
        for (at, grant) in grants.iter().enumerate() {
            for callee in &grant.rule.to {
                index.grants.entry(*callee).or_default().push(at);
            }
        }
        for (at, guard) in guards.iter().enumerate() {
            match &guard.to.members {
                Members::Any => index.guards_of_all.push(at),
                Members::Some(callees) => {
                    for callee in callees {
                        index.guards.entry(*callee).or_default().push(at);
                    }
                }
            }
        }
        index
    }

    /// The rules about a callee.
    pub(crate) fn rules(&self, callee: WorkloadNumber) -> impl Iterator<Item = usize> {
        self.rules.get(&callee).into_iter().flatten().copied()
    }

    /// The grants about a callee.
    pub(crate) fn grants(&self, callee: WorkloadNumber) -> impl Iterator<Item = usize> {
        self.grants.get(&callee).into_iter().flatten().copied()
    }

    /// The guards about a callee.
    pub(crate) fn guards(&self, callee: WorkloadNumber) -> impl Iterator<Item = usize> {
        self.guards.get(&callee).into_iter().flatten().chain(&self.guards_of_all).copied()
    }
}
