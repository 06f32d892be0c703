//! The rules and guards of one callee, indexed by caller.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    Callers, GuardDocument, RuleDocument, SnapshotError,
    calls::{CallBuilder, RouteIndex},
    identity::CallerIndex,
    snapshot::check_name,
};

/// The most pairs of caller and route that the rules of one snapshot allow.
const MAX_ALLOWED: usize = 4_000_000;

/// What is allowed, to whom.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// In the order of the names, so that the lesser number is the lesser name.
    names: Vec<Arc<str>>,
    allowed: HashMap<(CallerIndex, RouteIndex), u32>,
    allowed_to_all: HashMap<RouteIndex, u32>,
}

/// Who is denied, whatever is allowed.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    known: HashMap<CallerIndex, Arc<str>>,
    /// The guard against whoever the snapshot does not know.
    unknown: Option<Arc<str>>,
}

impl Rules {
    /// Indexes `rules`, and declares what they allow.
    pub(crate) fn build(
        rules: &[RuleDocument],
        callers: &BTreeMap<&str, CallerIndex>,
        calls: &mut CallBuilder,
    ) -> Result<Self, SnapshotError> {
        let mut built = Self::default();
        for (number, (name, rule)) in (0..).zip(by_name(rules, |rule| &rule.name)?) {
            built.names.push(Arc::from(name));
            let mut routes = Vec::new();
            for call in &rule.calls {
                routes.extend(calls.declare(call)?);
            }
            match &rule.from {
                Callers::Any => {
                    for route in routes {
                        built.allowed_to_all.entry(route).or_insert(number);
                    }
                }
                Callers::Named(names) => {
                    for caller in numbers(name, names, callers)? {
                        for route in &routes {
                            built.allowed.entry((caller, *route)).or_insert(number);
                        }
                    }
                }
            }
            if built.allowed.len() > MAX_ALLOWED {
                return Err(SnapshotError::TooMany("allowed calls"));
            }
        }
        Ok(built)
    }

    /// The rule that lets a caller use a route. Of several the first by name, so that the answer
    /// does not depend on the order of the document (AZ-02).
    pub(crate) fn allowing(&self, caller: CallerIndex, route: RouteIndex) -> Option<&Arc<str>> {
        let named = self.allowed.get(&(caller, route));
        let any = self.allowed_to_all.get(&route);
        let rule = named.into_iter().chain(any).min()?;
        self.names.get(usize::try_from(*rule).ok()?)
    }
}

impl Guards {
    /// Indexes `guards`.
    pub(crate) fn build(
        guards: &[GuardDocument],
        callers: &BTreeMap<&str, CallerIndex>,
    ) -> Result<Self, SnapshotError> {
        let mut built = Self::default();
        for (name, guard) in by_name(guards, |guard| &guard.name)? {
            let text: Arc<str> = Arc::from(name);
            let except = numbers(name, &guard.except, callers)?;
            let kept_out = match &guard.from {
                Callers::Any => {
                    // AZ-02: whoever is unknown is no exception.
                    built.unknown.get_or_insert_with(|| text.clone());
                    callers.values().copied().collect()
                }
                Callers::Named(names) => numbers(name, names, callers)?,
            };
            for caller in kept_out.difference(&except) {
                built.known.entry(*caller).or_insert_with(|| text.clone());
            }
        }
        Ok(built)
    }

    /// The guard that keeps a caller out. Of several the first by name.
    pub(crate) fn against(&self, caller: Option<CallerIndex>) -> Option<&Arc<str>> {
        match caller {
            Some(caller) => self.known.get(&caller),
            None => self.unknown.as_ref(),
        }
    }
}

/// Rules or guards in the order of their names, each name once.
fn by_name<'a, T>(
    items: &'a [T],
    name: impl Fn(&'a T) -> &'a String,
) -> Result<BTreeMap<&'a str, &'a T>, SnapshotError> {
    let mut sorted = BTreeMap::new();
    for item in items {
        if sorted.insert(check_name(name(item))?, item).is_some() {
            return Err(SnapshotError::Duplicate(name(item).clone()));
        }
    }
    Ok(sorted)
}

fn numbers(
    by: &str,
    names: &[String],
    callers: &BTreeMap<&str, CallerIndex>,
) -> Result<BTreeSet<CallerIndex>, SnapshotError> {
    let number = |name: &String| {
        callers
            .get(name.as_str())
            .copied()
            .ok_or_else(|| SnapshotError::UnknownCaller { by: by.to_owned(), caller: name.clone() })
    };
    names.iter().map(number).collect()
}
