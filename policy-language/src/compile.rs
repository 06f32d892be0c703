//! From the documents to what one callee enforces: what it needs and nothing else (POL-04).

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{
    CallerDocument, Callers, DestinationDocument, Digest, GuardDocument, IdentityError,
    IdentityTemplate, ListensDocument, Mode, Publication, RuleDocument, SCHEMA, SnapshotDocument,
    SnapshotError, is_name,
};
use spiffe::SpiffeId;
use thiserror::Error;

use crate::{
    PolicySet,
    model::{Guard, Members, Rule, Segment, Who, Workload, WorkloadNumber},
};

/// A control plane that was not heard for so long is worth an alarm (POL-03): longer than a night
/// and a working day, shorter than a weekend.
const MAX_AGE_SECONDS: u64 = 24 * 3600;

/// Why there is no policy for an ID.
#[derive(Debug, Error)]
pub enum CompileError {
    /// No workload has this ID.
    #[error("no workload has the ID `{0}`")]
    UnknownCallee(String),
    /// The callee has no ID in this environment.
    #[error("the callee has no ID")]
    Identity(#[from] IdentityError),
    /// The policy contradicts itself. Loading finds this first.
    #[error("the policy is not valid")]
    Policy(#[from] SnapshotError),
}

/// The parts of a set that a callee's policy is made from.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) template: &'a IdentityTemplate,
    pub(crate) workloads: &'a [Workload],
    pub(crate) segments: &'a [Segment],
    pub(crate) rules: &'a [Rule],
    pub(crate) guards: &'a [Guard],
}

impl PolicySet {
    /// Compiles what `callee` enforces, with the identities of the `destinations` it calls, each
    /// `WORKLOAD` for its own environment or `ENV/WORKLOAD`. A destination that names no workload
    /// is not in the document; the others are.
    ///
    /// # Errors
    ///
    /// [`CompileError::UnknownCallee`] when no workload has the ID.
    pub fn compile(
        &self,
        callee: &SpiffeId,
        destinations: &[String],
        publication: &Publication,
        issued_at: SystemTime,
    ) -> Result<SnapshotDocument, CompileError> {
        let unknown = || CompileError::UnknownCallee(callee.to_string());
        let (number, environment) = self.find(callee).ok_or_else(unknown)?;
        let mut document = self.compiler().compile(number, &environment)?;
        document.epoch = publication.epoch;
        document.version = publication.version.0;
        document.digest = publication.digest.to_string();
        document.issued_at = issued_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let names: BTreeSet<&String> = destinations.iter().collect();
        let known = names.into_iter().filter_map(|name| self.destination(name, &environment));
        document.destinations = known.collect();
        Ok(document)
    }

    fn destination(&self, name: &str, own: &str) -> Option<DestinationDocument> {
        if !name.split('/').all(is_name) {
            return None;
        }
        let (environment, workload) = name.rsplit_once('/').unwrap_or((own, name));
        let workload = self.workload(*self.by_name.get(workload)?)?;
        let id = self.template.id(workload.shape.as_ref()?, environment).ok()?;
        let protocol = workload.listens?.protocol;
        Some(DestinationDocument { name: name.to_owned(), id: id.to_string(), protocol })
    }

    pub(crate) fn compiler(&self) -> Compiler<'_> {
        Compiler {
            template: &self.template,
            workloads: &self.workloads,
            segments: &self.segments,
            rules: &self.rules,
            guards: &self.guards,
        }
    }
}

impl Compiler<'_> {
    /// What a workload enforces in an environment, without publication and destinations.
    pub(crate) fn compile(
        &self,
        number: WorkloadNumber,
        environment: &str,
    ) -> Result<SnapshotDocument, CompileError> {
        let mut document = self.compile_named(number, environment)?;
        // `any` in a rule, and `audit`, hold for workloads that are listed, and for nobody else.
        if document.mode == Mode::Audit
            || document.rules.iter().any(|rule| rule.from == Callers::Any)
        {
            document.callers = self.workloads.iter().map(caller).collect();
        }
        Ok(document)
    }

    /// The same with only those callers that rules and guards name.
    pub(crate) fn compile_named(
        &self,
        number: WorkloadNumber,
        environment: &str,
    ) -> Result<SnapshotDocument, CompileError> {
        let known = self
            .workloads
            .get(number.0)
            .and_then(|workload| Some((workload, workload.shape.as_ref()?, workload.listens?)));
        let Some((workload, shape, listens)) = known else {
            return Err(CompileError::UnknownCallee(environment.to_owned()));
        };
        let mode =
            self.segments.get(workload.segment).map_or(Mode::Enforce, |segment| segment.mode);
        let mut named = BTreeSet::new();
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.to.contains(&number))
            .map(|rule| RuleDocument {
                name: rule.name.clone(),
                from: self.callers(&rule.from, &mut named),
                calls: rule.calls.iter().map(|item| item.call.clone()).collect(),
            })
            .collect();
        let guards = self
            .guards
            .iter()
            .filter(|guard| guard.to.members.contain(number))
            .map(|guard| GuardDocument {
                name: guard.name.clone(),
                from: self.callers(&guard.from, &mut named),
                except: self.names(&guard.except, &mut named),
            })
            .collect();
        Ok(SnapshotDocument {
            schema: SCHEMA,
            trust_domain: self.template.trust_domain().to_string(),
            callee: self.template.id(shape, environment)?.to_string(),
            workload: workload.name.clone(),
            epoch: 0,
            version: 0,
            digest: Digest::default().to_string(),
            issued_at: 0,
            max_age_seconds: MAX_AGE_SECONDS,
            mode,
            listens: ListensDocument { protocol: listens.protocol, port: listens.port },
            identity: self.template.to_string(),
            callers: named
                .iter()
                .filter_map(|number| self.workloads.get(number.0).map(caller))
                .collect(),
            rules,
            guards,
            destinations: Vec::new(),
        })
    }

    fn callers(&self, who: &Who, named: &mut BTreeSet<WorkloadNumber>) -> Callers {
        match &who.members {
            Members::Any => Callers::Any,
            Members::Some(members) => Callers::Named(self.names(members, named)),
        }
    }

    fn names(
        &self,
        members: &BTreeSet<WorkloadNumber>,
        named: &mut BTreeSet<WorkloadNumber>,
    ) -> Vec<String> {
        named.extend(members);
        let name = |number: &WorkloadNumber| Some(self.workloads.get(number.0)?.name.clone());
        members.iter().filter_map(name).collect()
    }
}

fn caller(workload: &Workload) -> CallerDocument {
    CallerDocument { name: workload.name.clone(), id: workload.id.clone() }
}
