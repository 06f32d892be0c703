//! Which guards are about whom, and which of those can decide.
//!
//! Most callers are told apart by no guard and share one list. Each of the others has a list of its
//! own, made in one walk over its guards.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use super::chain::{Chain, Chains};
use crate::{Mode, SnapshotError, identity::CallerIndex, lookup::Lookup};

/// The most guards in the lists of all callers that guards name or except, together (AZ-07).
const MAX_PAIRS: usize = 16_000_000;

/// What a guard is about: equal numbers are about the same calls under the same condition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Scope(u32);

/// Numbers what guards are about.
#[derive(Debug)]
pub(super) struct Scopes<K>(HashMap<K, Scope>);

/// Guards by whom they keep out, each list ascending.
#[derive(Debug, Default)]
pub(super) struct KeptOut {
    /// Of each guard.
    about: Vec<(Scope, Mode)>,
    any: Vec<u32>,
    unknown: Vec<u32>,
    apart: BTreeMap<CallerIndex, Apart>,
}

/// What tells a caller apart from those whom only guards against anyone keep out.
#[derive(Debug, Default, Eq, Hash, PartialEq)]
struct Apart {
    named: Vec<u32>,
    excepted: Vec<u32>,
}

/// The guards of each caller.
#[derive(Debug, Default)]
pub(super) struct Lists {
    chains: Chains,
    /// Of whom guards name or except.
    apart: Lookup<CallerIndex, Chain>,
    /// Of everyone else whom the snapshot lists.
    others: Chain,
    /// Of whoever it does not list.
    unknown: Chain,
}

impl Lists {
    /// The guards against a caller, by number; `None` is whoever the snapshot does not list.
    pub(super) fn of(&self, caller: Option<CallerIndex>) -> &[u32] {
        let chain = match caller {
            Some(caller) => self.apart.get(&caller).copied().unwrap_or(self.others),
            None => self.unknown,
        };
        self.chains.get(chain)
    }
}

impl Scope {
    /// Every call, always.
    const EVERYTHING: Self = Self(0);
}

impl<K: Eq + Hash> Scopes<K> {
    /// `everything` is every call, always.
    pub(super) fn new(everything: K) -> Self {
        Self(HashMap::from([(everything, Scope::EVERYTHING)]))
    }

    pub(super) fn number(&mut self, about: K) -> Option<Scope> {
        let next = Scope(u32::try_from(self.0.len()).ok()?);
        Some(*self.0.entry(about).or_insert(next))
    }
}

impl KeptOut {
    /// Adds a guard, and gives its number.
    pub(super) fn add(&mut self, scope: Scope, mode: Mode) -> Option<u32> {
        let number = u32::try_from(self.about.len()).ok()?;
        self.about.push((scope, mode));
        Some(number)
    }

    /// The guard is against anyone, also whom the snapshot does not list, but these.
    pub(super) fn anyone_but<'a>(
        &mut self,
        guard: u32,
        except: impl IntoIterator<Item = &'a CallerIndex>,
    ) {
        self.any.push(guard);
        // AZ-02: whoever is unknown is no exception.
        self.unknown.push(guard);
        for caller in except {
            self.apart.entry(*caller).or_default().excepted.push(guard);
        }
    }

    /// The guard is against whom the snapshot does not list.
    pub(super) fn strangers(&mut self, guard: u32) {
        self.unknown.push(guard);
    }

    /// The guard is against these.
    pub(super) fn these<'a>(
        &mut self,
        guard: u32,
        callers: impl IntoIterator<Item = &'a CallerIndex>,
    ) {
        for caller in callers {
            self.apart.entry(*caller).or_default().named.push(guard);
        }
    }

    /// The lists, without the guards that never decide in them.
    pub(super) fn lists(self) -> Result<Lists, SnapshotError> {
        let Self { about, any, unknown, apart } = self;
        let too_many = || SnapshotError::TooMany("pairs of caller and guard");
        let mut callers: HashMap<Apart, Vec<CallerIndex>> = HashMap::new();
        for (caller, apart) in apart {
            callers.entry(apart).or_default().push(caller);
        }
        let pairs = callers.keys().map(|apart| any.len().saturating_add(apart.named.len()));
        if pairs.fold(0, usize::saturating_add) > MAX_PAIRS {
            return Err(too_many());
        }
        let mut chains = Chains::default();
        let mut list = |guards: Vec<u32>| {
            chains.push(deciding(&about, guards).into_boxed_slice()).ok_or_else(too_many)
        };
        let (others, unknown) = (list(any.clone())?, list(unknown)?);
        let mut known = Lookup::default();
        for (Apart { named, excepted }, callers) in callers {
            let against = any.iter().filter(|guard| excepted.binary_search(guard).is_err());
            let mut guards: Vec<u32> = against.copied().chain(named).collect();
            guards.sort_unstable();
            let chain = list(guards)?;
            known.extend(callers.into_iter().map(|caller| (caller, chain)));
        }
        Ok(Lists { chains, apart: known, others, unknown })
    }
}

/// Leaves out the guards that never decide beside one that stands before them.
fn deciding(about: &[(Scope, Mode)], mut guards: Vec<u32>) -> Vec<u32> {
    let mut before: HashMap<Scope, Mode> = HashMap::with_capacity(guards.len());
    guards.retain(|guard| {
        let about = usize::try_from(*guard).ok().and_then(|at| about.get(at));
        let Some((scope, mode)) = about else { return true };
        let is_covered_by = |scope: &Scope| {
            let covers = |wide: &Mode| *wide == Mode::Enforce || *mode == Mode::Audit;
            before.get(scope).is_some_and(covers)
        };
        if is_covered_by(&Scope::EVERYTHING) || is_covered_by(scope) {
            return false;
        }
        // What was there is in audit, and this one is not.
        before.insert(*scope, *mode);
        true
    });
    guards
}
