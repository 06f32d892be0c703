//! What the engine answers about one callee: each kind of call, from each kind of caller, in each
//! environment, at each moment, under each version of the policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cellwall_policy::{By, Protocol, Snapshot, Verdict};
use spiffe::SpiffeId;

use super::{
    alike::{Alike, Group},
    calls::{Declared, Kind},
    classes::{Class, Who, classes, with_examples},
    environments::{Environments, Values},
    moments::Moments,
    statements::Statements,
};
use crate::{CompileError, PolicySet, model::WorkloadNumber, question::Side};

/// An answer, without what differs by request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) by: By,
}

/// Where both sides are: numbers of environments.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Pair {
    pub(crate) caller: usize,
    pub(crate) callee: usize,
}

/// What some callers get for one kind of call between two environments.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The number of the kind.
    pub(crate) kind: usize,
    pub(crate) pair: Pair,
    pub(crate) who: Who,
    /// For each version, for each moment.
    pub(crate) answers: Vec<Vec<Answer>>,
}

/// Everything about one callee. Rows where nothing ever passes are left out.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) moments: Moments,
    pub(crate) kinds: Vec<Kind>,
    /// The name of the template that owns each kind, for each version.
    pub(crate) owners: Vec<Vec<Option<Arc<str>>>>,
    pub(crate) rows: Vec<Row>,
}

/// Versions that are looked at together.
#[derive(Debug)]
pub(crate) struct Versions<'a> {
    pub(crate) sets: Vec<&'a PolicySet>,
    pub(crate) environments: Environments,
    pairs: Pairs,
}

/// Which pairs of environments are asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pairs {
    /// One for all that are to each other in the same way.
    First,
    /// Each, so that they can be joined to paths.
    Every,
}

impl Answer {
    pub(crate) fn passes(&self) -> bool {
        self.verdict != Verdict::Deny
    }
}

impl<'a> Versions<'a> {
    /// Of these policies, the newest last.
    ///
    /// # Errors
    ///
    /// [`CompileError::Environments`] when they tell too many environments apart.
    pub(crate) fn new(sets: &[&'a PolicySet]) -> Result<Self, CompileError> {
        let environments = Environments::of(sets)?;
        Ok(Self { environments, sets: sets.to_vec(), pairs: Pairs::First })
    }

    /// Of one policy, to follow paths from environment to environment.
    ///
    /// # Errors
    ///
    /// [`CompileError::Environments`] when it tells too many environments apart.
    pub(crate) fn of_paths(set: &'a PolicySet) -> Result<Self, CompileError> {
        let environments = Environments::with(&[set], Values::Compared)?;
        Ok(Self { environments, sets: vec![set], pairs: Pairs::Every })
    }

    /// The names of all callees.
    pub(crate) fn callees(&self) -> BTreeSet<&'a str> {
        self.sets.iter().flat_map(|set| set.workloads()).collect()
    }

    /// Asks everything there is to ask about one callee.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a version has no policy for it; a policy that is valid has one.
    pub(crate) fn about(&self, callee: &str) -> Result<About, CompileError> {
        let numbers: Vec<Option<WorkloadNumber>> =
            self.sets.iter().map(|set| set.by_name.get(callee).copied()).collect();
        let statements: Vec<Option<Statements<'_>>> = self
            .sets
            .iter()
            .zip(&numbers)
            .map(|(set, number)| Some(Statements::about(set, (*number)?)))
            .collect();
        let known = || statements.iter().flatten();
        let kinds = Declared::of(&self.sets, callee).kinds()?;
        let moments = Moments::of(
            known().flat_map(Statements::conditions),
            known().flat_map(|it| it.turns.iter().copied()),
        );
        let mut about = About {
            owners: vec![vec![None; self.sets.len()]; kinds.len()],
            moments,
            kinds,
            rows: Vec::new(),
        };
        let differs = known().any(Statements::tell_environments_apart);
        let crosses = known().any(|it| it.rules.iter().any(|rule| !rule.across.is_empty()));
        for environment in self.callees_environments() {
            let mut callers = if crosses { self.outside(environment) } else { Vec::new() };
            if environment > 0 && !differs && self.fit_alike(environment) {
                let pair = Pair { caller: environment, callee: environment };
                let same = |row: &Row| Row { pair, ..row.clone() };
                let zero = |row: &&Row| row.pair == Pair { caller: 0, callee: 0 };
                let rows: Vec<Row> = about.rows.iter().filter(zero).map(same).collect();
                about.rows.extend(rows);
            } else {
                callers.push(environment);
            }
            if !callers.is_empty() {
                self.ask(&numbers, (environment, &callers), &mut about)?;
            }
        }
        Ok(about)
    }

    /// The environments that a callee is looked at in.
    fn callees_environments(&self) -> std::ops::Range<usize> {
        0..match self.pairs {
            Pairs::First => self.environments.callees,
            Pairs::Every => self.environments.names.len(),
        }
    }

    /// The environments of callers from beyond a boundary.
    fn outside(&self, callee: usize) -> Vec<usize> {
        let is_asked = |caller: &usize| match self.pairs {
            Pairs::First => self.environments.are_first(callee, *caller),
            Pairs::Every => true,
        };
        let others = (0..self.environments.names.len()).filter(|caller| *caller != callee);
        others.filter(is_asked).collect()
    }

    /// Whether an environment is one of each version where the first is.
    fn fit_alike(&self, environment: usize) -> bool {
        let parts = |at: usize| {
            let name = self.environments.names.get(at).map_or("", String::as_str);
            name.split('/').filter(|part| !part.is_empty()).count()
        };
        parts(environment) == parts(0)
    }

    /// Asks about one environment of the callee.
    fn ask(
        &self,
        numbers: &[Option<WorkloadNumber>],
        (environment, callers): (usize, &[usize]),
        about: &mut About,
    ) -> Result<(), CompileError> {
        let name = self.environments.names.get(environment).map_or("", String::as_str);
        let mut documents = Vec::new();
        for (set, number) in self.sets.iter().zip(numbers) {
            documents.push(match number {
                Some(number) => set.compiler().compiled_at(*number, name)?,
                None => None,
            });
        }
        let classes = classes(&self.sets, &documents);
        let mut snapshots = Vec::new();
        for (set, document) in self.sets.iter().zip(documents) {
            snapshots.push(match document {
                Some(document) => Some(Snapshot::new(with_examples(set, document, &classes))?),
                None => None,
            });
        }
        for caller in callers {
            let pair = Pair { caller: *caller, callee: environment };
            self.ask_pair(&snapshots, &classes, pair, about);
        }
        Ok(())
    }

    fn ask_pair(
        &self,
        snapshots: &[Option<Snapshot>],
        classes: &[Class],
        pair: Pair,
        about: &mut About,
    ) {
        let mut found: BTreeMap<usize, Alike<_, _>> = BTreeMap::new();
        for class in classes {
            // A foreign ID has no environment: it is asked about once.
            if class.is_foreign && pair.caller != pair.callee {
                continue;
            }
            let ids: Vec<Option<SpiffeId>> =
                self.sets.iter().map(|set| self.id(set, class, pair.caller)).collect();
            for (at, kind) in about.kinds.iter().enumerate() {
                let mut answers = Vec::new();
                for (version, (snapshot, id)) in snapshots.iter().zip(&ids).enumerate() {
                    let asked = snapshot.as_ref().zip(id.as_ref());
                    let mut owner = None;
                    let each = about.moments.each().map(|(tls, now)| {
                        let Some((snapshot, id)) = asked else { return Answer::nobody() };
                        let decision = snapshot.decide(id, tls, &kind.example.call(), now);
                        owner = decision.route;
                        Answer { verdict: decision.verdict, by: decision.by }
                    });
                    answers.push(each.collect::<Vec<_>>());
                    let place = about.owners.get_mut(at).and_then(|it| it.get_mut(version));
                    if let (Some(owner), Some(place)) = (owner, place) {
                        *place = Some(owner);
                    }
                }
                if answers.iter().flatten().any(Answer::passes) {
                    found.entry(at).or_default().add(answers, class);
                }
            }
        }
        for (kind, answered) in found {
            for Group { key: answers, members } in answered.0 {
                for who in Who::of(&members, classes) {
                    about.rows.push(Row { kind, pair, who, answers: answers.clone() });
                }
            }
        }
    }

    fn id(&self, set: &PolicySet, class: &Class, environment: usize) -> Option<SpiffeId> {
        if class.is_foreign {
            return cellwall_policy::canonical_id(&class.example);
        }
        let side = Side {
            environment: self.environments.names.get(environment)?.clone(),
            workload: class.example.to_string(),
            range: 0..0,
        };
        Some(set.side(&side).ok()?.1)
    }
}

impl Answer {
    /// What somebody gets who has no ID, or from a callee that is not there.
    const fn nobody() -> Self {
        Self { verdict: Verdict::Deny, by: By::Default }
    }
}

/// The word for a call that no statement names.
pub(crate) fn any_other(protocol: Protocol, is_only: bool) -> String {
    if is_only {
        "any other call".to_owned()
    } else {
        format!("any other {} call", protocol.as_str())
    }
}
