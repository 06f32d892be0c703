//! From what the files say to a policy set: names looked up, contradictions found.

mod alike;
mod calls;
mod compiles;
mod conditions;
mod entries;
mod governance;
mod guards;
mod idempotent;
mod identities;
mod logic;
mod names;
mod outsiders;
mod questions;
mod rules;
mod templates;
mod upgrades;

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{IdentityTemplate, ProbeDocument, Shape};

use crate::{
    Findings, PolicySet, Sources,
    codes::Code,
    compile::Index,
    due::Deadline,
    finding::{Files, Problem, Problems},
    model::{
        Entry, Governance, Grant, Guard, Label, Never, Rule, Segment, Summary, Test, Workload,
        WorkloadNumber,
    },
    place::{FileNumber, Place},
    read,
    sources::{MAX_FILES, is_pattern, matches_pattern},
    suggest::nearest,
    syntax::{Documents, RoleItem, Text},
};

/// The most rules and grants of one set (AZ-07).
const MAX_RULES: usize = 100_000;
/// The most guards of one set (AZ-07).
const MAX_GUARDS: usize = 10_000;
/// The most workloads of one set (AZ-07).
const MAX_WORKLOADS: usize = 100_000;
/// The most entries of `attest` of one set (AZ-07).
const MAX_ENTRIES: usize = 100_000;
/// How many misspelt names are compared with all others.
const MAX_SUGGESTIONS: usize = 200;

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
    let set = (findings.errors() == 0).then(|| parts.into_set(&files, &findings, summary));
    let set = set.flatten();
    let bounded = crate::reach::bounded(Checked { summary, findings, set }, &files);
    crate::reach::enforced(bounded, &files)
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
        files: files.len(),
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
    labels: BTreeMap<String, Label>,
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
    index: Index,
    tests: Vec<Test>,
    entries: Vec<Entry>,
}

struct Checker<'a> {
    files: &'a Files<'a>,
    problems: &'a mut Problems,
    parts: Parts,
    /// How many misspelt names may still be compared with all others.
    suggestions: usize,
}

impl<'a> Checker<'a> {
    fn new(files: &'a Files<'a>, problems: &'a mut Problems) -> Self {
        Self { files, problems, parts: Parts::default(), suggestions: MAX_SUGGESTIONS }
    }

    fn all(&mut self, documents: &Documents) {
        let unread = self.problems.len();
        self.template(documents.identity.as_ref());
        self.workloads(&documents.workloads);
        self.segments(&documents.segments);
        self.entries(&documents.workloads);
        let roles = self.roles(&documents.roles);
        self.rules(&documents.rules, &roles);
        self.grants(documents, &roles);
        self.guards(&documents.guards);
        self.governance(documents);
        let Parts { rules, grants, guards, .. } = &self.parts;
        self.parts.index = Index::new(rules, grants, guards);
        self.templates();
        self.idempotent();
        // What could not be read must not look like a contradiction.
        if unread == 0 {
            self.logic();
            self.owners(documents);
            self.tests(documents);
        }
        if !self.problems.has_errors() {
            self.compiles(documents.identity.as_ref());
        }
    }

    /// `include` and the files must fit each other.
    fn files(&mut self, documents: &Documents) {
        let names: Vec<_> = self.files.iter().skip(1).map(|(_, file)| file.name).collect();
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
            let problem = Problem::error(Code::Include, place, message).help(
                "paths begin at the folder of the root file: `segments/*.yaml`, `partners.yaml`",
            );
            self.problems.push(problem);
        }
        for (number, name) in (1..).zip(names) {
            if !documents.include.iter().any(|pattern| matches_pattern(&pattern.value, name)) {
                let message = format!("no `include` names {name}");
                let place = Place::new(FileNumber(number), 0, 0);
                self.problems.push(Problem::error(Code::Include, place, message));
            }
        }
        self.counts(documents);
    }

    /// AZ-07
    fn counts(&mut self, documents: &Documents) {
        let Documents { workloads, rules, grants, guards, .. } = documents;
        let allows = rules.iter().chain(grants.iter().map(|grant| &grant.rule));
        let mut entries = workloads.iter().flat_map(|item| &item.attest);
        for (most, what, beyond) in [
            (MAX_WORKLOADS, "workloads", workloads.get(MAX_WORKLOADS).map(|item| &item.name)),
            (MAX_ENTRIES, "identities", entries.nth(MAX_ENTRIES).map(|(entry, _)| entry)),
            (MAX_RULES, "rules and grants", allows.map(|item| &item.name).nth(MAX_RULES)),
            (MAX_GUARDS, "guards", guards.get(MAX_GUARDS).map(|item| &item.name)),
        ] {
            if let Some(name) = beyond {
                let message = format!("more than {most} {what}");
                let problem = Problem::error(Code::TooMuch, name.place, message)
                    .label("the first one too many");
                self.problems.push(problem);
            }
        }
    }

    /// Notes each name that two things of one kind have.
    fn unique<'t>(&mut self, kind: &str, names: impl Iterator<Item = &'t Text>) {
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        for name in names.filter(|name| !name.value.is_empty()) {
            match places.get(name.value.as_str()) {
                Some(first) => self.twice(kind, name, *first),
                None => {
                    places.insert(&name.value, name.place);
                }
            }
        }
    }

    /// Notes a name that two things of one kind have.
    fn twice(&mut self, kind: &str, name: &Text, first: Place) {
        let message = format!("two {kind}s are called `{}`", name.value);
        let problem = Problem::error(Code::DuplicateName, name.place, message)
            .help("rename one of the two: names are unique over all files");
        self.problems.push(problem.related(first, "the other one"));
    }

    /// The name that was probably meant. Where very many are misspelt, only for the first ones.
    fn meant<'n>(
        suggestions: &mut usize,
        misspelt: &str,
        names: impl Iterator<Item = &'n String>,
    ) -> Option<&'n str> {
        *suggestions = suggestions.checked_sub(1)?;
        nearest(misspelt, names.map(String::as_str))
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
                self.receivable(&[callee].into(), &item.can);
                self.upgradeable(&[callee].into(), &item.can);
            }
        }
        roles
    }
}

impl Parts {
    fn into_set(
        self,
        files: &Files<'_>,
        findings: &Findings,
        summary: Summary,
    ) -> Option<PolicySet> {
        Some(PolicySet {
            deadlines: Deadline::all(files, &self.rules, &self.grants, &self.guards),
            template: self.template?,
            index: self.index,
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
