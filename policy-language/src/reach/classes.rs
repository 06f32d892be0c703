//! The callers of one callee, in groups that every statement of every version treats alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cellwall_policy::{Callers, SnapshotDocument};

use crate::PolicySet;

/// Some callers of one callee.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Who {
    /// These workloads.
    These(BTreeSet<Arc<str>>),
    /// Every workload but these.
    AllBut(BTreeSet<Arc<str>>),
    /// These IDs of other trust domains.
    Foreign(BTreeSet<Arc<str>>),
}

/// One kind of callers: those who are named by the same statements in every version.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) who: Who,
    /// One of them.
    pub(super) example: Arc<str>,
    pub(super) is_foreign: bool,
}

/// How some callers are treated: by which statements, and by which versions as a workload.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Treated {
    statements: Vec<usize>,
    there: Vec<bool>,
    is_foreign: bool,
}

/// The callers, in groups that every statement of every version treats alike.
pub(super) fn classes(sets: &[&PolicySet], documents: &[Option<SnapshotDocument>]) -> Vec<Class> {
    let mut named = named(documents);
    // Who is a workload of one version only is told apart from all others.
    for pair in sets.windows(2) {
        for (one, other) in pair.iter().zip(pair.iter().rev()) {
            for name in one.workloads().filter(|name| !other.by_name.contains_key(*name)) {
                named.entry(Arc::from(name)).or_default();
            }
        }
    }
    let mut groups: BTreeMap<Treated, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (name, statements) in &named {
        let there = sets.iter().map(|set| set.by_name.contains_key(&**name)).collect();
        let is_foreign = name.contains(':');
        let treated = Treated { statements: statements.clone(), there, is_foreign };
        groups.entry(treated).or_default().insert(name.clone());
    }
    let rest = sets
        .first()
        .and_then(|set| set.workloads().find(|name| !named.contains_key(*name)).map(Arc::from));
    let mut classes: Vec<Class> = groups
        .into_iter()
        .filter_map(|(Treated { is_foreign, .. }, names)| {
            let example = names.first()?.clone();
            let who = if is_foreign { Who::Foreign(names) } else { Who::These(names) };
            Some(Class { who, example, is_foreign })
        })
        .collect();
    if let Some(example) = rest {
        let names = named.into_keys().filter(|name| !name.contains(':')).collect();
        classes.push(Class { who: Who::AllBut(names), example, is_foreign: false });
    }
    classes
}

/// Whom statements name, each with the numbers of these statements.
fn named(documents: &[Option<SnapshotDocument>]) -> BTreeMap<Arc<str>, Vec<usize>> {
    let mut named: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    let mut statement = 0;
    for document in documents.iter().flatten() {
        for caller in &document.callers {
            named.entry(Arc::from(caller.name.as_str())).or_default();
        }
        for foreign in &document.foreign {
            named.entry(Arc::from(foreign.as_str())).or_default();
        }
        let rules = document.rules.iter().chain(document.grants.iter().map(|it| &it.rule));
        let mut note = |names: &[String]| {
            statement += 1;
            for name in names {
                named.entry(Arc::from(name.as_str())).or_default().push(statement);
            }
        };
        let guards = document.guards.iter();
        for from in rules.map(|rule| &rule.from).chain(guards.clone().map(|it| &it.from)) {
            if let Callers::Named(names) = from {
                note(names);
            }
        }
        for guard in guards {
            note(&guard.except);
        }
    }
    named
}

impl Who {
    /// All of some classes, of ours and of other trust domains.
    pub(super) fn of(group: &[&Class], all: &[Class]) -> Vec<Self> {
        let mut these = BTreeSet::new();
        let mut foreign = BTreeSet::new();
        let mut rest = None;
        for class in group {
            match &class.who {
                Self::These(names) => these.extend(names.iter().cloned()),
                Self::Foreign(ids) => foreign.extend(ids.iter().cloned()),
                Self::AllBut(named) => rest = Some(named),
            }
        }
        let is_whole =
            all.iter().all(|class| class.is_foreign || these_of(class).is_subset(&these));
        let mut who = Vec::new();
        match rest {
            Some(named) => who.push(Self::AllBut(named - &these)),
            None if these.is_empty() => {}
            // Every workload is named, and all of them are in.
            None if is_whole && these.len() > 1 => who.push(Self::AllBut(BTreeSet::new())),
            None => who.push(Self::These(these)),
        }
        if !foreign.is_empty() {
            who.push(Self::Foreign(foreign));
        }
        who
    }
}

fn these_of(class: &Class) -> BTreeSet<Arc<str>> {
    match &class.who {
        Who::These(names) => names.clone(),
        // Never a part of what is named.
        Who::AllBut(_) | Who::Foreign(_) => BTreeSet::from([Arc::from("*")]),
    }
}

/// The document, with those listed who stand for others: whom it does not list, `any` in a rule
/// and `audit` do not mean.
pub(super) fn with_examples(
    set: &PolicySet,
    mut document: SnapshotDocument,
    classes: &[Class],
) -> SnapshotDocument {
    let listed: BTreeSet<String> = document.callers.iter().map(|it| it.name.clone()).collect();
    for class in classes.iter().filter(|class| !class.is_foreign) {
        if listed.contains(&*class.example) {
            continue;
        }
        let number = set.by_name.get(&*class.example);
        if let Some(workload) = number.and_then(|number| set.workload(*number)) {
            document.callers.push(crate::compile::caller(workload));
        }
    }
    document
}
