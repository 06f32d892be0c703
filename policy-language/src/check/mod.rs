//! From what the files say to a policy set: names looked up, contradictions found.

mod entries;
mod identities;
mod logic;
mod names;
mod questions;
mod rules;
mod templates;

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{IdentityTemplate, ProbeDocument, Shape};

use crate::{
    Findings, PolicySet, Sources,
    codes::Code,
    compile::Index,
    finding::{Files, Problem, Problems},
    model::{
        Entry, Governance, Grant, Guard, Never, Rule, Segment, Summary, Test, Workload,
        WorkloadNumber,
    },
    place::{FileNumber, Place},
    read,
    sources::{MAX_FILES, is_pattern, matches_pattern},
    syntax::{Documents, RoleItem},
};

/// The most rules, and the most guards, of one set (AZ-07).
const MAX_RULES: usize = 10_000;

/// What one run found out about a set of documents.
#[derive(Debug)]
pub struct Checked {
    /// How much the documents say.
    pub summary: Summary,
    /// All errors and warnings.
    pub findings: Findings,
    /// The policies, where there is no error.
    pub set: Option<PolicySet>,
}

/// Reads, looks up and checks all documents, and gives all findings at once.
pub fn check(sources: &Sources) -> Checked {
    let files = Files::of(sources);
    let mut problems = Problems::default();
    if !sources.files.contains_key(&sources.root) {
        let message = format!("there is no `{}`", sources.root);
        problems.push(Problem::error(Code::Include, Place::new(FileNumber(0), 0, 0), message));
        let findings = problems.into_findings(&files);
        return Checked { summary: Summary::default(), findings, set: None };
    }
    let documents = read::read(&files, &mut problems);
    let summary = summary(&documents, &files);
    let mut checker = Checker::new(&files, &mut problems);
    checker.files(&documents);
    checker.all(&documents);
    let parts = checker.parts;
    let findings = problems.into_findings(&files);
    let set = (findings.errors() == 0).then(|| parts.into_set(&findings, summary)).flatten();
    Checked { summary, findings, set }
}

/// Reads, looks up and checks all documents.
///
/// # Errors
///
/// All [`Findings`] of all files at once, where one of them is an error.
pub fn load(sources: &Sources) -> Result<PolicySet, Findings> {
    let checked = check(sources);
    checked.set.ok_or(checked.findings)
}

fn summary(documents: &Documents, files: &Files<'_>) -> Summary {
    Summary {
        files: files.0.len(),
        workloads: documents.workloads.len(),
        segments: documents.segments.len(),
        rules: documents.rules.len(),
        guards: documents.guards.len(),
        grants: documents.grants.len(),
        tests: documents.tests.len(),
    }
}

/// What is known so far. A part with a mistake is left out.
#[derive(Debug, Default)]
struct Parts {
    template: Option<IdentityTemplate>,
    workloads: Vec<Workload>,
    by_name: BTreeMap<String, WorkloadNumber>,
    by_shape: BTreeMap<Shape, WorkloadNumber>,
    segments: Vec<Segment>,
    members: BTreeMap<String, BTreeSet<WorkloadNumber>>,
    rules: Vec<Rule>,
    grants: Vec<Grant>,
    guards: Vec<Guard>,
    never: Vec<Never>,
    probes: Vec<ProbeDocument>,
    governance: Governance,
    tests: Vec<Test>,
    entries: Vec<Entry>,
}

struct Checker<'a> {
    files: &'a Files<'a>,
    problems: &'a mut Problems,
    parts: Parts,
}

impl<'a> Checker<'a> {
    fn new(files: &'a Files<'a>, problems: &'a mut Problems) -> Self {
        Self { files, problems, parts: Parts::default() }
    }

    fn all(&mut self, documents: &Documents) {
        let unread = self.problems.len();
        self.template(documents.identity.as_ref());
        self.workloads(&documents.workloads);
        self.segments(&documents.segments);
        self.entries(&documents.workloads);
        let roles = self.roles(&documents.roles);
        self.rules(&documents.rules, &roles);
        self.guards(&documents.guards);
        self.templates();
        // What could not be read must not look like a contradiction.
        if unread == 0 {
            self.logic();
            self.tests(documents);
        }
        if self.problems.errors() == 0 {
            self.compiles();
        }
    }

    /// `include` and the files must fit each other.
    fn files(&mut self, documents: &Documents) {
        let names: Vec<_> = self.files.0.iter().skip(1).map(|(name, _)| *name).collect();
        if names.len() >= MAX_FILES {
            let place = Place::new(FileNumber(0), 0, 0);
            self.problems.push(Problem::error(Code::TooMuch, place, "too many files"));
        }
        for pattern in &documents.include {
            let place = pattern.place;
            let message = if !is_pattern(&pattern.value) {
                format!("`{}` is not a relative path of `.yaml` files below", pattern.value)
            } else if !names.iter().any(|name| matches_pattern(&pattern.value, name)) {
                format!("`{}` matches no file", pattern.value)
            } else {
                continue;
            };
            self.problems.push(Problem::error(Code::Include, place, message));
        }
        for (number, name) in (1..).zip(names) {
            if !documents.include.iter().any(|pattern| matches_pattern(&pattern.value, name)) {
                let message = format!("no `include` names {name}");
                let place = Place::new(FileNumber(number), 0, 0);
                self.problems.push(Problem::error(Code::Include, place, message));
            }
        }
        for (count, what) in [(documents.rules.len(), "rules"), (documents.guards.len(), "guards")]
        {
            if count > MAX_RULES {
                let place = Place::new(FileNumber(0), 0, 0);
                let message = format!("more than {MAX_RULES} {what}");
                self.problems.push(Problem::error(Code::TooMuch, place, message));
            }
        }
    }

    /// Notes a name that two things of one kind have.
    fn twice(&mut self, kind: &str, name: &crate::syntax::Text, first: Place) {
        let message = format!("two {kind}s are called `{}`", name.value);
        let problem = Problem::error(Code::DuplicateName, name.place, message);
        self.problems.push(problem.related(first, "the other one"));
    }

    fn roles<'d>(&mut self, items: &'d [RoleItem]) -> BTreeMap<&'d str, &'d RoleItem> {
        let mut roles: BTreeMap<&str, &RoleItem> = BTreeMap::new();
        for item in items {
            match roles.get(item.name.value.as_str()) {
                Some(first) => self.twice("role", &item.name, first.name.place),
                None => {
                    roles.insert(&item.name.value, item);
                }
            }
            if let Some(to) = &item.to
                && let Some(callee) = self.workload(to)
            {
                self.protocols(&[callee].into(), &item.can);
            }
        }
        roles
    }
}

impl Parts {
    fn into_set(self, findings: &Findings, summary: Summary) -> Option<PolicySet> {
        Some(PolicySet {
            template: self.template?,
            index: Index::new(&self.rules, &self.grants, &self.guards),
            workloads: self.workloads,
            by_name: self.by_name,
            by_shape: self.by_shape,
            segments: self.segments,
            rules: self.rules,
            grants: self.grants,
            guards: self.guards,
            never: self.never,
            probes: self.probes,
            governance: self.governance,
            tests: self.tests,
            entries: self.entries,
            warnings: findings.clone(),
            summary,
        })
    }
}
