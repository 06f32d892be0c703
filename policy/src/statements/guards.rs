//! The guards of one callee, indexed by caller.

use std::{collections::HashMap, sync::Arc};

use super::{
    Known, by_name, condition,
    kept_out::{KeptOut, Lists, Scopes},
};
use crate::{
    By, Call, CallDocument, CallError, Callers, GuardDocument, ListensDocument, Mode,
    SnapshotError, Truth,
    calls::{Matching, MatchingBuilder},
    condition::{Compiled, Facts},
    identity::{CallerIndex, IdentityIndex},
};

/// Who is denied, whatever is allowed.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// In the order of their names.
    clauses: Vec<Clause>,
    /// By number.
    lists: Lists,
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

/// The sets of calls that guards are about, each once.
#[derive(Debug, Default)]
struct Sets {
    calls: MatchingBuilder,
    numbers: HashMap<String, u32>,
}

impl Guards {
    /// Indexes `guards`.
    pub(crate) fn build(
        guards: &[GuardDocument],
        listens: &[ListensDocument],
        known: &Known<'_>,
        identities: &IdentityIndex,
    ) -> Result<Self, SnapshotError> {
        let mut clauses = Vec::new();
        let mut sets = Sets::default();
        let mut scopes = Scopes::new((None, None));
        let mut kept_out = KeptOut::default();
        let too_many = || SnapshotError::TooMany("guards");
        for guard in by_name(guards, |guard| &guard.name)? {
            let name = guard.name.as_str();
            let calls = sets.number(&guard.calls, listens)?;
            clauses.push(Clause {
                by: By::Guard(Arc::from(name)),
                calls,
                when: condition(name, guard.when.as_ref(), identities)?,
                mode: guard.mode,
            });
            let scope = scopes.number((calls, guard.when.as_ref())).ok_or_else(too_many)?;
            let number = kept_out.add(scope, guard.mode).ok_or_else(too_many)?;
            let except = known.numbers(name, &guard.except)?;
            match &guard.from {
                Callers::Any => kept_out.anyone_but(number, &except),
                Callers::Unknown => kept_out.strangers(number),
                Callers::Named(names) => {
                    kept_out.these(number, known.numbers(name, names)?.difference(&except));
                }
            }
        }
        Ok(Self { clauses, lists: kept_out.lists()?, calls: sets.calls.finish()? })
    }

    /// What the guards say of a call. Of several the first by name.
    pub(crate) fn against(
        &self,
        caller: Option<CallerIndex>,
        call: &Call<'_>,
        facts: &Facts<'_>,
    ) -> Against<'_> {
        let mut against = Against::default();
        let mut sets = None;
        for number in self.lists.of(caller) {
            let clause = usize::try_from(*number).ok().and_then(|at| self.clauses.get(at));
            let Some(clause) = clause else { continue };
            if let Some(set) = clause.calls
                && !sets.get_or_insert_with(|| self.calls.sets(call)).has(set)
            {
                continue;
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

impl Sets {
    /// The number of a set; `None` for every call.
    fn number(
        &mut self,
        calls: &[CallDocument],
        listens: &[ListensDocument],
    ) -> Result<Option<u32>, CallError> {
        if calls.is_empty() {
            return Ok(None);
        }
        let text = format!("{calls:?}");
        let set = match self.numbers.get(&text) {
            Some(set) => *set,
            None => self.calls.add(calls, listens)?,
        };
        self.numbers.insert(text, set);
        Ok(Some(set))
    }
}
