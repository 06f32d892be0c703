//! The rules and grants of one callee, indexed by caller and call.

use std::{
    hash::Hash,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Known, by_name,
    chain::{Chain, ChainBuilder, Chains},
    condition,
};
use crate::{
    By, Callers, GrantDocument, RuleDocument, SnapshotError, Truth,
    calls::{CallBuilder, RouteIndex},
    condition::{Compiled, Facts},
    identity::{CallerIndex, IdentityIndex, Reading, Variables},
    lookup::Lookup,
    snapshot::check_grant_name,
};

/// The most pairs of caller and route that the rules of one snapshot allow.
const MAX_ALLOWED: usize = 4_000_000;

/// What is allowed, to whom.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Rules in the order of their names, then grants in the order of theirs: the lesser number is
    /// the one that a decision names.
    clauses: Vec<Clause>,
    chains: Chains,
    allowed: Lookup<(CallerIndex, RouteIndex), Chain>,
    /// For each workload that the snapshot lists, whatever its trust domain's others are.
    allowed_to_all: Lookup<RouteIndex, Chain>,
    /// Callers with this number or a larger one are of other trust domains.
    first_foreign: usize,
}

/// What allows a call.
#[derive(Debug)]
pub(crate) struct Allowing<'a> {
    pub(crate) by: &'a By,
    /// When it is over.
    pub(crate) until: Option<SystemTime>,
}

/// A rule, a grant, or a part of one.
#[derive(Debug)]
struct Clause {
    by: By,
    when: Option<Compiled>,
    across: Variables,
    term: Option<Term>,
}

/// From `starts`, and no longer when `expires` has come.
#[derive(Debug)]
struct Term {
    starts: SystemTime,
    expires: SystemTime,
}

/// Fills the indexes.
struct Builder<'a> {
    known: &'a Known<'a>,
    identities: &'a IdentityIndex,
    calls: &'a mut CallBuilder,
    chains: ChainBuilder,
    rules: Rules,
}

impl Rules {
    /// Indexes rules and grants, and declares what they allow.
    pub(crate) fn build(
        (rules, grants): (&[RuleDocument], &[GrantDocument]),
        known: &Known<'_>,
        identities: &IdentityIndex,
        calls: &mut CallBuilder,
    ) -> Result<Self, SnapshotError> {
        let rules_built = Self { first_foreign: known.callers.len(), ..Self::default() };
        let chains = ChainBuilder::new();
        let mut builder = Builder { known, identities, calls, chains, rules: rules_built };
        for rule in by_name(rules, |rule| &rule.name)? {
            builder.add(rule, By::Rule(Arc::from(rule.name.as_str())), None)?;
        }
        let mut sorted: Vec<_> = grants.iter().collect();
        sorted.sort_by_key(|grant| &grant.rule.name);
        for grant in sorted {
            let name = check_grant_name(&grant.rule.name)?;
            let term = Term { starts: date(grant.starts)?, expires: date(grant.expires)? };
            builder.add(&grant.rule, By::Grant(Arc::from(name)), Some(term))?;
        }
        let Builder { chains, mut rules, .. } = builder;
        let used = rules.allowed.values_mut().chain(rules.allowed_to_all.values_mut());
        rules.chains = chains.finish(used);
        Ok(rules)
    }

    /// What lets a caller use a route: of several rules the first by name, so that the answer does
    /// not depend on the order of the document (AZ-02); else of several grants.
    pub(crate) fn allowing(
        &self,
        (caller, route): (CallerIndex, RouteIndex),
        reading: &Reading,
        facts: &Facts<'_>,
        now: SystemTime,
    ) -> Option<Allowing<'_>> {
        let holds = |number: &&u32| {
            self.clause(**number).is_some_and(|clause| clause.allows(reading, facts, now))
        };
        let first = |chain: &Chain| self.chains.get(*chain).iter().find(holds).copied();
        let named = self.allowed.get(&(caller, route)).and_then(first);
        // A workload of another trust domain is not one of ours, and `any` does not mean it.
        let any = self.allowed_to_all.get(&route).filter(|_| caller.at() < self.first_foreign);
        let clause = self.clause(named.into_iter().chain(any.and_then(first)).min()?)?;
        let until = clause.term.as_ref().map(|term| term.expires);
        Some(Allowing { by: &clause.by, until })
    }

    fn clause(&self, number: u32) -> Option<&Clause> {
        self.clauses.get(usize::try_from(number).ok()?)
    }
}

impl Clause {
    fn allows(&self, reading: &Reading, facts: &Facts<'_>, now: SystemTime) -> bool {
        self.across.contain(reading.crossed)
            && self.term.as_ref().is_none_or(|term| term.starts <= now && now < term.expires)
            // What cannot be said is no yes.
            && self.when.as_ref().is_none_or(|when| when.judge(facts) == Truth::Holds)
    }

    /// Whether whatever `other` allows is allowed by this one, and this one is named for it.
    const fn covers(&self, other: &Self) -> bool {
        self.when.is_none() && self.term.is_none() && self.across.contain(other.across)
    }
}

impl Builder<'_> {
    fn add(
        &mut self,
        rule: &RuleDocument,
        by: By,
        term: Option<Term>,
    ) -> Result<(), SnapshotError> {
        let across = self.identities.variables(&rule.across);
        let across = across.ok_or_else(|| SnapshotError::Across(rule.name.clone()))?;
        let when = condition(&rule.name, rule.when.as_ref(), self.identities)?;
        let too_many = || SnapshotError::TooMany("rules");
        let number = u32::try_from(self.rules.clauses.len()).map_err(|_| too_many())?;
        self.rules.clauses.push(Clause { by, when, across, term });
        let mut routes = Vec::new();
        for call in &rule.calls {
            routes.extend(self.calls.declare(call)?);
        }
        let Rules { clauses, allowed, allowed_to_all, .. } = &mut self.rules;
        let mut chains = Extend { chains: &mut self.chains, clauses, number };
        match &rule.from {
            Callers::Unknown => {}
            Callers::Any => {
                for route in routes {
                    chains.extend(allowed_to_all, route).ok_or_else(too_many)?;
                }
            }
            Callers::Named(names) => {
                for caller in self.known.numbers(&rule.name, names)? {
                    for route in &routes {
                        chains.extend(allowed, (caller, *route)).ok_or_else(too_many)?;
                    }
                }
            }
        }
        if self.rules.allowed.len() > MAX_ALLOWED {
            return Err(SnapshotError::TooMany("allowed calls"));
        }
        Ok(())
    }
}

/// Adds one clause to lists.
struct Extend<'a> {
    chains: &'a mut ChainBuilder,
    clauses: &'a [Clause],
    number: u32,
}

impl Extend<'_> {
    fn extend<K: Eq + Hash>(&mut self, lists: &mut Lookup<K, Chain>, key: K) -> Option<()> {
        let clause = |number: u32| self.clauses.get(usize::try_from(number).ok()?);
        let new = clause(self.number)?;
        let covers = |known| clause(known).is_some_and(|known| known.covers(new));
        let chain = lists.entry(key).or_default();
        *chain = self.chains.extend(*chain, self.number, covers)?;
        Some(())
    }
}

fn date(seconds: u64) -> Result<SystemTime, SnapshotError> {
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    date.ok_or(SnapshotError::Date(seconds))
}
