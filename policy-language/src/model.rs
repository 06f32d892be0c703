//! A set of documents, looked up and checked: what every question is answered from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use cellwall_policy::{IdentityHeader, IdentityTemplate, Mode, ProbeDocument, Shape, Verdict};
use serde::Serialize;
use spiffe::SpiffeId;

use crate::{
    Findings,
    compile::Index,
    condition::{Condition, Fact},
    due::Deadline,
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
    pub(crate) grants: Vec<Grant>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) never: Vec<Never>,
    pub(crate) probes: Vec<ProbeDocument>,
    pub(crate) governance: Governance,
    pub(crate) index: Index,
    pub(crate) tests: Vec<Test>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) deadlines: Vec<Deadline>,
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
    /// Empty only while mistakes are collected.
    pub(crate) listens: Vec<Listener>,
    /// In which it is told who calls: at least one, ascending.
    pub(crate) identity_headers: Vec<IdentityHeader>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The segment's number; 0 after a mistake.
    pub(crate) segment: usize,
}

/// A label, and who has it.
#[derive(Debug)]
pub(crate) struct Label {
    /// Where it is declared first.
    pub(crate) place: Place,
    /// The workloads by value.
    pub(crate) values: BTreeMap<String, BTreeSet<WorkloadNumber>>,
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) mode: Mode,
}

/// A set of workloads, and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) members: Members,
    /// IDs of other trust domains, canonical.
    pub(crate) foreign: BTreeSet<String>,
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
    /// The role, if the calls are those of one.
    pub(crate) role: Option<String>,
    pub(crate) calls: Vec<CallItem>,
    pub(crate) when: Option<When>,
    /// The variables that it may cross.
    pub(crate) across: BTreeSet<String>,
    pub(crate) why: String,
    pub(crate) stewardship: Stewardship,
}

/// A rule for a while.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) rule: Rule,
    /// Unix seconds.
    pub(crate) starts: u64,
    /// Unix seconds; it is over then.
    pub(crate) expires: u64,
    pub(crate) expires_place: Place,
    pub(crate) approved_by: Vec<String>,
}

/// A guard.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) from: Who,
    pub(crate) to: Who,
    pub(crate) except: BTreeSet<WorkloadNumber>,
    /// Exceptions of other trust domains.
    pub(crate) except_foreign: BTreeSet<String>,
    /// Empty: every call.
    pub(crate) calls: Vec<CallItem>,
    pub(crate) when: Option<When>,
    pub(crate) mode: Mode,
    pub(crate) why: String,
    pub(crate) stewardship: Stewardship,
}

/// A condition, and how it was written.
#[derive(Debug)]
pub(crate) struct When {
    pub(crate) condition: Condition,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// No path may lead from these to those.
#[derive(Debug)]
pub(crate) struct Never {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) from: Who,
    pub(crate) to: Who,
    pub(crate) through: Through,
    pub(crate) why: String,
}

/// Which paths are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Through {
    /// Direct ones, and those over any others.
    Any,
    /// Direct ones.
    None,
}

/// Who answers for a statement, and until when it must be looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stewardship {
    pub(crate) owner: Option<String>,
    pub(crate) review_by: Option<ReviewBy>,
}

/// A day by which somebody looks at a statement again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReviewBy {
    /// The first second after that day, in Unix seconds.
    pub(crate) ends: u64,
    pub(crate) place: Place,
}

/// What the root file says about people and limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Governance {
    /// Who must say yes before a change is applied, by what it touches: `default`, `guards`,
    /// `segment/NAME`.
    pub(crate) approvals: BTreeMap<String, Approval>,
    /// Groups by role: `viewer`, `editor`, `approver`, `auditor`.
    pub(crate) operators: BTreeMap<String, Vec<String>>,
    /// The longest grant, in seconds.
    pub(crate) grant_max: Option<u64>,
    /// The longest life of an SVID, in seconds.
    pub(crate) svid_ttl: Option<u64>,
}

/// How many of whom must say yes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Approval {
    pub(crate) from: Vec<String>,
    pub(crate) count: u64,
}

/// A test.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) expect: Verdict,
    pub(crate) text: String,
    pub(crate) question: Question,
    /// When it is asked; `None`: as if there were no grants.
    pub(crate) at: Option<SystemTime>,
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
    /// Grants.
    pub grants: usize,
    /// Tests.
    pub tests: usize,
}

impl Workload {
    /// What the documents know of it, of all but the variables of its environment.
    pub(crate) fn fact<'a>(&'a self, fact: &Fact, segments: &'a [Segment]) -> Option<&'a str> {
        match fact {
            Fact::Workload => Some(&self.name),
            Fact::Segment => segments.get(self.segment).map(|segment| segment.name.as_str()),
            Fact::Label(label) => self.labels.get(label).map(String::as_str),
            Fact::Variable(_) => None,
        }
    }
}

impl Members {
    pub(crate) fn contain(&self, workload: WorkloadNumber) -> bool {
        match self {
            Self::Any => true,
            Self::Some(members) => members.contains(&workload),
        }
    }
}

fn as_text<S: serde::Serializer>(id: &SpiffeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
