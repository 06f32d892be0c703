//! A set of documents, looked up and checked: what every question is answered from.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{IdentityTemplate, Mode, Shape, Verdict};
use serde::Serialize;
use spiffe::SpiffeId;

use crate::{
    Findings,
    place::Place,
    question::Question,
    syntax::{CallItem, Listener},
};

/// A workload's number in its set.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct WorkloadNumber(pub(crate) usize);

/// Policies as people wrote them: valid, all names looked up.
#[derive(Debug)]
pub struct PolicySet {
    pub(crate) template: IdentityTemplate,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) by_name: BTreeMap<String, WorkloadNumber>,
    pub(crate) by_shape: BTreeMap<Shape, WorkloadNumber>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) tests: Vec<Test>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) warnings: Findings,
    pub(crate) summary: Summary,
}

/// A workload.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The `id:` as written.
    pub(crate) id: Option<String>,
    /// `None` only while mistakes are collected.
    pub(crate) shape: Option<Shape>,
    /// `None` only while mistakes are collected.
    pub(crate) listens: Option<Listener>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The segment's number; 0 after a mistake.
    pub(crate) segment: usize,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) mode: Mode,
}

/// A set of workloads, and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) members: Members,
    /// The selector as it could be written.
    pub(crate) text: String,
}

/// The members of a set.
#[derive(Clone, Debug)]
pub(crate) enum Members {
    /// `any`.
    Any,
    /// These.
    Some(BTreeSet<WorkloadNumber>),
}

/// A rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) from: Who,
    /// Where `from` stands.
    pub(crate) from_place: Place,
    pub(crate) to: BTreeSet<WorkloadNumber>,
    pub(crate) calls: Vec<CallItem>,
    pub(crate) why: String,
}

/// A guard.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) from: Who,
    pub(crate) to: Who,
    pub(crate) except: BTreeSet<WorkloadNumber>,
    pub(crate) why: String,
}

/// A test.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) expect: Verdict,
    pub(crate) text: String,
    pub(crate) question: Question,
    pub(crate) by: Option<String>,
}

/// Which process earns which identity.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// The workload's name.
    pub workload: String,
    /// The environment: the template's variables' values joined by `/`.
    pub environment: String,
    /// The identity.
    #[serde(serialize_with = "as_text")]
    pub id: SpiffeId,
    /// What a process must have, all of it: `unix:uid:1000`, `unix:path:/opt/checkout`.
    pub selectors: Vec<String>,
}

/// How much a set of documents says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Files, the root too.
    pub files: usize,
    /// Workloads.
    pub workloads: usize,
    /// Segments.
    pub segments: usize,
    /// Rules.
    pub rules: usize,
    /// Guards.
    pub guards: usize,
    /// Tests.
    pub tests: usize,
}

impl Members {
    pub(crate) fn contain(&self, workload: WorkloadNumber) -> bool {
        match self {
            Self::Any => true,
            Self::Some(members) => members.contains(&workload),
        }
    }
}

impl Guard {
    /// Whether it keeps `caller` out of `callee`.
    pub(crate) fn denies(&self, caller: WorkloadNumber, callee: WorkloadNumber) -> bool {
        self.to.members.contain(callee)
            && self.from.members.contain(caller)
            && !self.except.contains(&caller)
    }
}

fn as_text<S: serde::Serializer>(id: &SpiffeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
