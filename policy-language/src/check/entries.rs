//! `attest`: which process earns which identity.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::is_name;

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::Entry,
    place::Place,
    syntax::{Text, WorkloadItem},
};

/// The most selectors of one entry: a process has few properties, and each set of them is compared.
const MAX_SELECTORS: usize = 8;
/// The longest path of an executable: what Linux allows.
const MAX_PATH_BYTES: usize = 4096;

/// An entry, and where it stands.
struct Earned<'a> {
    place: Place,
    name: String,
    selectors: BTreeSet<&'a str>,
}

impl Checker<'_> {
    pub(super) fn entries(&mut self, items: &[WorkloadItem]) {
        let mut known: BTreeMap<BTreeSet<&str>, usize> = BTreeMap::new();
        let mut earned: Vec<Earned<'_>> = Vec::new();
        for item in items {
            for (environment, texts) in &item.attest {
                let selectors = self.selectors(environment, texts);
                let entry = self.entry(item, environment, selectors.as_ref());
                let (Some(entry), Some(selectors)) = (entry, selectors) else { continue };
                let name = format!("{}/{}", entry.environment, entry.workload);
                self.parts.entries.push(entry);
                if let Some(other) = known.get(&selectors).and_then(|at| earned.get(*at)) {
                    let message = format!("`{name}` has the selectors of `{}`", other.name);
                    let problem = Problem::error(Code::SameSelectors, environment.place, message)
                        .related(other.place, "the other one");
                    self.problems.push(problem);
                    continue;
                }
                known.insert(selectors.clone(), earned.len());
                earned.push(Earned { place: environment.place, name, selectors });
            }
        }
        self.contained(&known, &earned);
    }

    /// Warns where a process that matches one entry matches another one too: an entry whose
    /// selectors are a part of the other's.
    fn contained(&mut self, known: &BTreeMap<BTreeSet<&str>, usize>, entries: &[Earned<'_>]) {
        for entry in entries {
            let selectors: Vec<&str> = entry.selectors.iter().copied().collect();
            let whole = (1usize << selectors.len().min(MAX_SELECTORS)) - 1;
            for part in 1..whole {
                let chosen = selectors.iter().enumerate().filter(|(at, _)| part >> at & 1 == 1);
                let chosen: BTreeSet<&str> = chosen.map(|(_, selector)| *selector).collect();
                let Some(other) = known.get(&chosen).and_then(|at| entries.get(*at)) else {
                    continue;
                };
                let message = format!("a process of `{}` also earns `{}`", entry.name, other.name);
                let problem = Problem::warning(Code::SameSelectors, entry.place, message)
                    .related(other.place, "has a part of the same selectors");
                self.problems.push(problem);
            }
        }
    }

    fn entry(
        &mut self,
        item: &WorkloadItem,
        environment: &Text,
        selectors: Option<&BTreeSet<&str>>,
    ) -> Option<Entry> {
        let named = self.environment(environment);
        let number = self.parts.by_name.get(&item.name.value)?;
        let shape = self.parts.workloads.get(number.0)?.shape.as_ref()?;
        let template = self.parts.template.as_ref()?;
        match template.id(shape, &environment.value) {
            Ok(id) => selectors.filter(|_| named).map(|selectors| Entry {
                workload: item.name.value.clone(),
                environment: environment.value.clone(),
                id,
                selectors: selectors.iter().map(|&selector| selector.to_owned()).collect(),
            }),
            Err(error) => {
                if named {
                    self.bad_identity(environment.place, &error);
                }
                None
            }
        }
    }

    /// Whether each value of an environment is a name.
    pub(super) fn environment(&mut self, text: &Text) -> bool {
        let named = text.value.is_empty() || text.value.split('/').all(is_name);
        if !named {
            let message = format!("`{}` is not an environment", text.value);
            let problem = Problem::error(Code::BadEnvironment, text.place, message)
                .help("an environment is a name, or names joined by `/`");
            self.problems.push(problem);
        }
        named
    }

    /// The selectors of an entry; `None` when one is none, or none narrows it.
    fn selectors<'t>(
        &mut self,
        environment: &Text,
        texts: &'t [Text],
    ) -> Option<BTreeSet<&'t str>> {
        let mut set = BTreeSet::new();
        let mut narrow = false;
        let mut legal = true;
        for text in texts {
            match selector(&text.value) {
                Some(narrowing) => {
                    narrow |= narrowing == Narrowing::Narrow;
                    set.insert(text.value.as_str());
                }
                None => {
                    legal = false;
                    let message = format!("`{}` is not a selector of a process", text.value);
                    let problem = Problem::error(Code::BadSelector, text.place, message).help(
                        "known are `unix:uid:N`, `unix:gid:N` and `unix:path:/absolute/path`",
                    );
                    self.problems.push(problem);
                }
            }
        }
        if set.len() > MAX_SELECTORS {
            legal = false;
            let message = format!("an entry of more than {MAX_SELECTORS} selectors");
            self.problems.push(Problem::error(Code::TooMuch, environment.place, message));
        }
        // ATT-06
        if legal && !narrow {
            let message = "an entry without a selector that narrows it";
            let problem = Problem::error(Code::WideEntry, environment.place, message)
                .help("add `unix:path:/absolute/path`, or `unix:uid:N` of a user other than root");
            self.problems.push(problem);
        }
        (legal && narrow).then_some(set)
    }
}

/// Whether a selector names few enough processes to stand alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Narrowing {
    Narrow,
    Wide,
}

/// `None` for what is no selector.
fn selector(text: &str) -> Option<Narrowing> {
    let (kind, value) = text.strip_prefix("unix:")?.split_once(':')?;
    match kind {
        "uid" => {
            number(value).map(|uid| if uid == 0 { Narrowing::Wide } else { Narrowing::Narrow })
        }
        "gid" => number(value).map(|_| Narrowing::Wide),
        "path" => is_absolute(value).then_some(Narrowing::Narrow),
        _ => None,
    }
}

/// A decimal number without sign or leading zeros.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_absolute(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.len() <= MAX_PATH_BYTES
        && path.strip_prefix('/').is_some_and(|parts| parts.split('/').all(part))
}
