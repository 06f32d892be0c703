//! The environments that policies can tell apart.
//!
//! A condition compares a variable of an ID with texts that stand in the documents and with other
//! variables, a boundary compares it with itself on the other side; nothing else looks at it. So of
//! the values that no document compares it with, it only matters which are the same. Two of them
//! for each variable, or for each that is compared with it, show every way in which they can be:
//! one environment needs one for each variable, and its neighbour on a path as many others.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::values::{Compared, Variable};
use crate::PolicySet;

/// The most environments that are told apart: each may call each.
const MAX_ENVIRONMENTS: usize = 256;

/// Values of variables that conditions compare can be combined to more environments than are
/// looked at.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("conditions tell {told} environments apart, and the most is {MAX_ENVIRONMENTS}")]
pub struct TooManyEnvironments {
    told: usize,
}

/// Which values stand for themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Values {
    /// Those that a condition compares a variable with.
    Compared,
    /// Those, and the ones that `attest` and tests write.
    Written,
}

/// Environments: together they stand for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environments {
    /// The variables' values joined by `/`. Those that the documents write come first, and last
    /// those that differ from one before only in which unwritten values they have.
    pub(crate) names: Vec<String>,
    /// How many of them a callee has to be looked at in.
    pub(crate) callees: usize,
    /// Those that have an unwritten value.
    others: BTreeSet<String>,
    /// The values that stand for all that no document writes.
    unwritten: BTreeSet<String>,
    /// Of each name, in which group each variable is, and which unwritten value it has.
    slots: Vec<Vec<Slot>>,
}

/// The value of one variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Slot {
    /// The variables that it may be compared with have the same.
    group: usize,
    /// The number of the unwritten value; `None`: a text that is written.
    unwritten: Option<usize>,
}

impl Environments {
    /// Those of all versions.
    ///
    /// # Errors
    ///
    /// [`TooManyEnvironments`] when conditions tell too many apart. That documents write more is
    /// none: then what they write, and no condition looks at, is an unwritten value as well.
    pub(crate) fn of(sets: &[&PolicySet]) -> Result<Self, TooManyEnvironments> {
        Self::with(sets, Values::Written).or_else(|_| Self::with(sets, Values::Compared))
    }

    /// Those of all versions, with these values standing for themselves.
    pub(crate) fn with(sets: &[&PolicySet], values: Values) -> Result<Self, TooManyEnvironments> {
        let mut compared = Vec::new();
        for set in sets {
            let mut variables = Compared::of(&set.compiler());
            if values == Values::Written {
                written(set).for_each(|name| variables.also(name));
            }
            compared.push(variables);
        }
        Self::combined(compared)
    }

    /// Every combination of these values.
    pub(crate) fn combined(compared: Vec<Compared>) -> Result<Self, TooManyEnvironments> {
        // An ID of one version and one of another are in the same environment by the places of
        // the values, whatever the variables are called.
        let mut joined: BTreeMap<usize, Compared> = BTreeMap::new();
        for one in compared {
            joined.entry(one.count()).or_default().join(one);
        }
        let shapes: Vec<Vec<Variable>> = joined.into_values().map(Compared::grouped).collect();
        let count = |shape: &Vec<Variable>| {
            shape.iter().fold(1usize, |product, one| product.saturating_mul(one.count()))
        };
        let told = shapes.iter().map(count).fold(0, usize::saturating_add);
        if told > MAX_ENVIRONMENTS {
            return Err(TooManyEnvironments { told });
        }
        let known: BTreeSet<&String> = shapes.iter().flatten().flat_map(|it| &it.values).collect();
        let mut unwritten = "other".to_owned();
        while known.iter().any(|known| known.starts_with(&unwritten)) {
            unwritten.push_str("-x");
        }
        let mut found: Vec<(String, Vec<Slot>)> = Vec::new();
        for shape in &shapes {
            found.extend(combinations(shape, &unwritten));
        }
        found.sort_by_cached_key(|(name, slots)| {
            let others = slots.iter().filter(|slot| slot.unwritten.is_some()).count();
            (!is_first(slots), others, name.clone())
        });
        let mut environments = Self {
            callees: found.iter().filter(|(_, slots)| is_first(slots)).count(),
            ..Self::default()
        };
        let most = shapes.iter().flatten().map(|it| it.unwritten).max().unwrap_or_default();
        environments.unwritten.extend((0..most).map(|number| value(&unwritten, number)));
        for (name, slots) in found {
            if slots.iter().any(|slot| slot.unwritten.is_some()) {
                environments.others.insert(name.clone());
            }
            environments.names.push(name);
            environments.slots.push(slots);
        }
        Ok(environments)
    }

    /// Those whose values the documents write.
    pub(crate) fn written(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| !self.others.contains(*name))
    }

    /// Whether no two of them before are to each other as these: only which unwritten values they
    /// have may differ.
    pub(crate) fn are_first(&self, callee: usize, caller: usize) -> bool {
        let slots = |at| self.slots.get(at).into_iter().flatten();
        is_first(slots(callee).chain(slots(caller)))
    }

    /// How one is called.
    pub(crate) fn label(&self, name: &str) -> String {
        if !name.contains('/') {
            let is_known = !self.unwritten.contains(name);
            return if is_known { name.to_owned() } else { "any other".to_owned() };
        }
        let values = name.split('/').map(|it| if self.unwritten.contains(it) { "*" } else { it });
        values.collect::<Vec<_>>().join("/")
    }
}

/// The environments that `attest` and tests write.
fn written(set: &PolicySet) -> impl Iterator<Item = &str> {
    let sides = set.tests.iter().flat_map(|test| [&test.question.caller, &test.question.callee]);
    let entries = set.entries.iter().map(|entry| entry.environment.as_str());
    entries.chain(sides.map(|side| side.environment.as_str()))
}

/// An unwritten value.
fn value(base: &str, number: usize) -> String {
    if number == 0 { base.to_owned() } else { format!("{base}-y{number}") }
}

fn combinations(shape: &[Variable], unwritten: &str) -> Vec<(String, Vec<Slot>)> {
    let mut combined: Vec<(String, Vec<Slot>)> = vec![(String::new(), Vec::new())];
    for variable in shape {
        let written = variable.values.iter().map(|text| (text.clone(), None));
        let others = (0..variable.unwritten).map(|at| (value(unwritten, at), Some(at)));
        let each: Vec<_> = written.chain(others).collect();
        let longer = combined.iter().flat_map(|(head, slots)| {
            each.iter().map(move |(text, unwritten)| {
                let slash = if slots.is_empty() { "" } else { "/" };
                let mut slots = slots.clone();
                slots.push(Slot { group: variable.group, unwritten: *unwritten });
                (format!("{head}{slash}{text}"), slots)
            })
        });
        combined = longer.collect();
    }
    combined
}

/// Whether each unwritten value of a group comes after those that are numbered before it.
fn is_first<'a>(slots: impl IntoIterator<Item = &'a Slot>) -> bool {
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    slots.into_iter().all(|slot| {
        let Some(number) = slot.unwritten else { return true };
        let next = next.entry(slot.group).or_default();
        let fits = number <= *next;
        *next = (*next).max(number + 1);
        fits
    })
}
