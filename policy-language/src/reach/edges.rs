//! The edges of one version: who may call whom, with what, where, and until when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use cellwall_policy::SnapshotDocument;
use serde::Serialize;

use super::{
    alike::{Alike, Group},
    classes::Who,
    environments::{Environments, Values},
    moments::Moments,
    survey::{Answer, Pair, Versions},
};
use crate::{CompileError, PolicySet};

/// How many names of a set of callers are spelled out for people.
const SHOWN: usize = 4;

/// Everything that may pass, and where.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Edges {
    /// The form of this document: 1.
    pub schema_version: u32,
    /// The environments that were looked at. `any other` stands for all that no document writes.
    pub environments: Vec<String>,
    /// The edges, by callee.
    pub edges: Vec<Edge>,
}

/// Calls that may pass.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Edge {
    /// Who may make them.
    pub caller: Callers,
    /// Whom they go to.
    pub callee: String,
    /// What is called: `POST /v1/payments`, `pkg.Service/Method`, `tcp:5432`, `any other call`.
    pub call: String,
    /// The answer.
    #[serde(flatten)]
    pub passage: Passage,
    /// Where both sides are.
    #[serde(flatten)]
    pub places: Places,
}

/// Some callers of one callee.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Callers {
    /// These workloads.
    Workloads(Vec<String>),
    /// Every workload but these.
    AllBut(Vec<String>),
    /// These workloads of other trust domains, by their IDs.
    Foreign(Vec<String>),
}

/// An answer that lets calls pass, and when it is given.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Passage {
    /// `allow` or `audit`.
    pub verdict: String,
    /// What decides so.
    pub by: String,
    /// What the connection must be like, if it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The first second, in Unix seconds, if it is for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<u64>,
    /// The second at which it is over, in Unix seconds, if it is for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// Where the two sides of a call are.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Places {
    /// The environments that both sides are in.
    pub environments: Vec<String>,
    /// The environments of caller and callee, where a boundary is crossed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub across: Vec<(String, String)>,
}

impl PolicySet {
    /// Every edge, found by asking the compiled policy of every callee.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a callee has no policy, which loading would have found.
    pub fn edges(&self) -> Result<Edges, CompileError> {
        let versions = Versions::new(&[self])?;
        let mut edges = Vec::new();
        for callee in versions.callees() {
            let about = versions.about(callee)?;
            let labels = about.labels();
            let mut found: BTreeMap<_, Alike<_, _>> = BTreeMap::new();
            for row in &about.rows {
                let Some(call) = labels.get(&row.kind) else { continue };
                let Some(answers) = row.answers.first() else { continue };
                let same = found.entry((call.clone(), row.who.clone())).or_default();
                same.add(answers.as_slice(), row.pair);
            }
            for ((call, who), answered) in found {
                for Group { key: answers, members } in answered.0 {
                    let pairs = members.into_iter().collect();
                    for places in versions.environments.places(&pairs) {
                        let edge = |passage| Edge {
                            caller: Callers::from(&who),
                            callee: callee.to_owned(),
                            call: call.clone(),
                            passage,
                            places: places.clone(),
                        };
                        edges.extend(passages(answers, &about.moments).into_iter().map(edge));
                    }
                }
            }
        }
        let names = versions.environments.labels();
        Ok(Edges { schema_version: 1, environments: names, edges })
    }
}

impl PolicySet {
    /// What each callee enforces, in each environment that the documents write.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a callee has no policy, which loading would have found.
    pub fn compiled(&self) -> Result<Vec<SnapshotDocument>, CompileError> {
        let environments = Environments::with(&[self], Values::Written)?;
        let mut documents = Vec::new();
        for environment in environments.written() {
            for number in 0..self.workloads.len() {
                let number = crate::model::WorkloadNumber(number);
                documents.push(self.compiler().compile(number, environment)?);
            }
        }
        Ok(documents)
    }
}

/// What passes of some answers, moment by moment: for each group of connections what always
/// passes, and what does for a while.
pub(crate) fn passages(answers: &[Answer], moments: &Moments) -> Vec<Passage> {
    let times = moments.times.len().max(1);
    let mut groups: Alike<&[Answer], usize> = Alike::default();
    for (at, answers) in answers.chunks(times).enumerate() {
        groups.add(answers, at);
    }
    let mut passages = Vec::new();
    for Group { key: answers, members: connections } in groups.0 {
        let Some(always) = answers.first() else { continue };
        let when = moments.condition(&connections);
        let passage = |answer: &Answer, starts, expires| Passage {
            verdict: answer.verdict.as_str().to_owned(),
            by: answer.by.to_string(),
            when: when.clone(),
            starts,
            expires,
        };
        if always.passes() {
            passages.push(passage(always, None, None));
        }
        let mut at = 0;
        while let Some(answer) = answers.get(at) {
            let same = answers.iter().skip(at).take_while(|it| *it == answer).count();
            let time = |at: usize| moments.times.get(at).copied();
            if answer != always && answer.passes() {
                passages.push(passage(answer, time(at), time(at + same)));
            }
            at += same;
        }
    }
    passages.sort();
    passages
}

impl Environments {
    /// What each environment is called.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.names.iter().take(self.callees).map(|name| self.label(name)).collect()
    }

    /// Inside of environments, and across boundaries.
    pub(crate) fn places(&self, pairs: &BTreeSet<Pair>) -> Vec<Places> {
        let name = |at: usize| self.names.get(at).map_or_else(String::new, |name| self.label(name));
        let (inside, outside): (Vec<&Pair>, Vec<&Pair>) =
            pairs.iter().partition(|pair| pair.caller == pair.callee);
        let mut places = Vec::new();
        if !inside.is_empty() {
            let environments = inside.iter().map(|pair| name(pair.callee)).collect();
            places.push(Places { environments, across: Vec::new() });
        }
        if !outside.is_empty() {
            let mut across: Vec<_> =
                outside.iter().map(|pair| (name(pair.caller), name(pair.callee))).collect();
            across.dedup();
            places.push(Places { environments: Vec::new(), across });
        }
        places
    }
}

impl Callers {
    /// Whether a workload, or an ID of another trust domain, is one of them.
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Self::Workloads(names) | Self::Foreign(names) => names.iter().any(|it| it == name),
            Self::AllBut(names) => !name.contains(':') && names.iter().all(|it| it != name),
        }
    }
}

impl From<&Who> for Callers {
    fn from(who: &Who) -> Self {
        let texts = |names: &BTreeSet<Arc<str>>| names.iter().map(|it| it.to_string()).collect();
        match who {
            Who::These(names) => Self::Workloads(texts(names)),
            Who::AllBut(names) => Self::AllBut(texts(names)),
            Who::Foreign(ids) => Self::Foreign(texts(ids)),
        }
    }
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = match self {
            Self::AllBut(names) if names.is_empty() => return f.write_str("any"),
            Self::AllBut(names) => {
                f.write_str("any but ")?;
                names
            }
            Self::Workloads(names) | Self::Foreign(names) => names,
        };
        let shown = if names.len() > SHOWN { SHOWN - 1 } else { SHOWN };
        for (at, name) in names.iter().take(shown).enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            f.write_str(name)?;
        }
        match names.len().checked_sub(shown) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        ["a", "b", "c", "d", "e", "f"].iter().take(count).map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn callers_are_spelled_out_until_they_are_too_many() {
        for (count, expected) in [
            (1, "a"),
            (2, "a, b"),
            (3, "a, b, c"),
            (4, "a, b, c, d"),
            (5, "a, b, c and 2 more"),
            (6, "a, b, c and 3 more"),
        ] {
            assert_eq!(Callers::Workloads(names(count)).to_string(), expected);
            assert_eq!(Callers::Foreign(names(count)).to_string(), expected);
            assert_eq!(Callers::AllBut(names(count)).to_string(), format!("any but {expected}"));
        }
        assert_eq!(Callers::AllBut(Vec::new()).to_string(), "any");
    }

    #[test]
    fn every_workload_but_some_is_nobody_of_another_trust_domain() {
        let (some, but) = (Callers::Workloads(names(2)), Callers::AllBut(names(2)));
        let foreign = Callers::Foreign(vec!["spiffe://bank.example/x".to_owned()]);
        for (name, expected) in [
            ("a", [true, false, false]),
            ("c", [false, true, false]),
            ("spiffe://bank.example/x", [false, false, true]),
        ] {
            assert_eq!([&some, &but, &foreign].map(|it| it.contain(name)), expected, "{name}");
        }
    }
}
