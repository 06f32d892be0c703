//! The statements of one callee's policy, indexed by caller: guards deny, rules and grants allow.

mod chain;
mod guards;
mod kept_out;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Condition, SnapshotError,
    condition::Compiled,
    identity::{CallerIndex, IdentityIndex},
    snapshot::check_name,
};
pub(crate) use guards::Guards;
pub(crate) use rules::Rules;

/// The callers of a snapshot by what statements call them: names, and IDs of other trust domains.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) callers: BTreeMap<&'a str, CallerIndex>,
    pub(crate) foreign: BTreeMap<&'a str, CallerIndex>,
}

impl Known<'_> {
    fn numbers(&self, by: &str, names: &[String]) -> Result<BTreeSet<CallerIndex>, SnapshotError> {
        let number = |name: &String| {
            let known = self.callers.get(name.as_str()).or_else(|| self.foreign.get(name.as_str()));
            known.copied().ok_or_else(|| SnapshotError::UnknownCaller {
                by: by.to_owned(),
                caller: name.clone(),
            })
        };
        names.iter().map(number).collect()
    }
}

/// Statements in the order of their names. Parts of one name keep their order.
fn by_name<'a, T>(
    items: &'a [T],
    name: impl Fn(&'a T) -> &'a String,
) -> Result<Vec<&'a T>, SnapshotError> {
    for item in items {
        check_name(name(item))?;
    }
    let mut sorted: Vec<_> = items.iter().collect();
    sorted.sort_by_key(|item| name(item));
    Ok(sorted)
}

fn condition(
    by: &str,
    when: Option<&Condition>,
    identities: &IdentityIndex,
) -> Result<Option<Compiled>, SnapshotError> {
    let place = |variable: &str| identities.place(variable);
    let compiled = when.map(|condition| condition.compile(&place)).transpose();
    compiled.map_err(|source| SnapshotError::Condition { by: by.to_owned(), source })
}
