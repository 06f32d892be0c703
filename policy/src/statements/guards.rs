//! The guards of one callee, indexed by caller.

use std::{collections::HashMap, sync::Arc};

use super::{
    Known, by_name,
    chain::{Chain, ChainBuilder, Chains},
    condition,
};
use crate::{
    By, Call, Callers, GuardDocument, ListensDocument, Mode, SnapshotError, Truth,
    calls::{Matching, MatchingBuilder},
    condition::{Compiled, Facts},
    identity::{CallerIndex, IdentityIndex},
};

/// Who is denied, whatever is allowed.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// In the order of their names.
    clauses: Vec<Clause>,
    chains: Chains,
    known: HashMap<CallerIndex, Chain>,
    /// The guards against whoever the snapshot does not know.
    unknown: Chain,
    calls: Matching,
}

/// What guards say of a call.
#[derive(Debug, Default)]
pub(crate) struct Against<'a> {
    /// The guard that denies it.
    pub(crate) denying: Option<&'a By>,
    /// The guard in `audit` that would.
    pub(crate) auditing: Option<&'a By>,
}

/// A guard, or a part of one.
#[derive(Debug)]
struct Clause {
    by: By,
    /// The number of its set of calls; `None`: every call.
    calls: Option<u32>,
    when: Option<Compiled>,
    mode: Mode,
}

impl Guards {
    /// Indexes `guards`.
    pub(crate) fn build(
        guards: &[GuardDocument],
        listens: &[ListensDocument],
        known: &Known<'_>,
        identities: &IdentityIndex,
    ) -> Result<Self, SnapshotError> {
        let mut built = Self::default();
        let mut chains = ChainBuilder::new();
        let mut calls = MatchingBuilder::default();
        let mut sets: HashMap<String, u32> = HashMap::new();
        let too_many = || SnapshotError::TooMany("guards");
        for guard in by_name(guards, |guard| &guard.name)? {
            let name = guard.name.as_str();
            let set = match guard.calls.as_slice() {
                [] => None,
                some => Some(match sets.get(&format!("{some:?}")) {
                    Some(set) => *set,
                    None => {
                        let set = calls.add(some, listens)?;
                        sets.insert(format!("{some:?}"), set);
                        set
                    }
                }),
            };
            let number = u32::try_from(built.clauses.len()).map_err(|_| too_many())?;
            built.clauses.push(Clause {
                by: By::Guard(Arc::from(name)),
                calls: set,
                when: condition(name, guard.when.as_ref(), identities)?,
                mode: guard.mode,
            });
            let Self { clauses, known: lists, unknown, .. } = &mut built;
            let covers = |old: u32| covers(clauses, old, number);
            let except = known.numbers(name, &guard.except)?;
            let kept_out = match &guard.from {
                Callers::Any => {
                    known.callers.values().chain(known.foreign.values()).copied().collect()
                }
                Callers::Unknown => [].into(),
                Callers::Named(names) => known.numbers(name, names)?,
            };
            // AZ-02: whoever is unknown is no exception.
            if matches!(guard.from, Callers::Any | Callers::Unknown) {
                *unknown = chains.extend(*unknown, number, covers).ok_or_else(too_many)?;
            }
            for caller in kept_out.difference(&except) {
                let list = lists.entry(*caller).or_default();
                *list = chains.extend(*list, number, covers).ok_or_else(too_many)?;
            }
        }
        let used = built.known.values_mut().chain([&mut built.unknown]);
        built.chains = chains.finish(used);
        built.calls = calls.finish()?;
        Ok(built)
    }

    /// What the guards say of a call. Of several the first by name.
    pub(crate) fn against(
        &self,
        caller: Option<CallerIndex>,
        call: &Call<'_>,
        facts: &Facts<'_>,
    ) -> Against<'_> {
        let chain = match caller {
            Some(caller) => self.known.get(&caller).copied().unwrap_or_default(),
            None => self.unknown,
        };
        let mut against = Against::default();
        let mut sets = None;
        for number in self.chains.get(chain) {
            let Some(clause) = clause(&self.clauses, *number) else { continue };
            if let Some(set) = clause.calls {
                let sets = *sets.get_or_insert_with(|| self.calls.sets(call));
                if sets.binary_search(&set).is_err() {
                    continue;
                }
            }
            // AZ-02: what cannot be said does not open a guard.
            if clause.when.as_ref().is_some_and(|when| when.judge(facts) == Truth::Fails) {
                continue;
            }
            match clause.mode {
                Mode::Enforce => {
                    against.denying = Some(&clause.by);
                    return against;
                }
                Mode::Audit => {
                    against.auditing.get_or_insert(&clause.by);
                }
            }
        }
        against
    }
}

fn clause(clauses: &[Clause], number: u32) -> Option<&Clause> {
    clauses.get(usize::try_from(number).ok()?)
}

/// Whether a guard never decides beside one that stands before it.
fn covers(clauses: &[Clause], old: u32, new: u32) -> bool {
    let (Some(old), Some(new)) = (clause(clauses, old), clause(clauses, new)) else { return false };
    let is_wider =
        old.calls.is_none() && old.when.is_none() || old.calls == new.calls && old.when == new.when;
    is_wider && (old.mode == Mode::Enforce || new.mode == Mode::Audit)
}
