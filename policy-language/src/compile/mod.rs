//! From the documents to what one callee enforces: what it needs and nothing else (POL-04).

mod facts;
mod idempotent;
mod index;
mod parts;

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use cellwall_policy::{
    CallerDocument, Callers, DestinationDocument, Digest, IdentityError, IdentityTemplate,
    ListensDocument, Mode, ProbeDocument, Publication, SCHEMA, SnapshotDocument, SnapshotError,
    Tolerated, is_destination,
};
use spiffe::SpiffeId;
use thiserror::Error;

pub(crate) use index::Index;

use crate::{
    PolicySet, TooManyEnvironments, TooManyKinds,
    condition::{Attribute, Fact},
    model::{Grant, Guard, Rule, Segment, When, Workload, WorkloadNumber},
    syntax::Listener,
};
use parts::Parts;

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
    /// There are more environments to look at than can be.
    #[error(transparent)]
    Environments(#[from] TooManyEnvironments),
    /// There are more kinds of calls to look at than can be.
    #[error(transparent)]
    Kinds(#[from] TooManyKinds),
}

/// The parts of a set that a callee's policy is made from.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) template: &'a IdentityTemplate,
    pub(crate) workloads: &'a [Workload],
    pub(crate) segments: &'a [Segment],
    pub(crate) rules: &'a [Rule],
    pub(crate) grants: &'a [Grant],
    pub(crate) guards: &'a [Guard],
    pub(crate) probes: &'a [ProbeDocument],
    pub(crate) index: &'a Index,
}

impl PolicySet {
    /// Compiles what `callee` enforces, with the identities of the `destinations` it calls, each
    /// `WORKLOAD` for its own environment or `ENV/WORKLOAD`, with `:PORT` where the workload has
    /// several listeners. A destination that names no listener is not in the document; the others
    /// are.
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

    fn destination(&self, text: &str, own: &str) -> Option<DestinationDocument> {
        if !is_destination(text) {
            return None;
        }
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let (environment, workload) = name.rsplit_once('/').unwrap_or((own, name));
        let number = *self.by_name.get(workload)?;
        let workload = self.workload(number)?;
        let id = self.template.id(workload.shape.as_ref()?, environment).ok()?;
        let protocol = match (port.parse::<u16>(), workload.listens.as_slice()) {
            (Ok(port), listens) => listens.iter().find(|listener| listener.port == port)?.protocol,
            (Err(_), [only]) => only.protocol,
            (Err(_), _) => return None,
        };
        let idempotent = self.idempotent(number, protocol);
        Some(DestinationDocument {
            name: text.to_owned(),
            id: id.to_string(),
            protocol,
            tolerates: self.tolerated(number),
            idempotent,
        })
    }

    /// What a callee tolerates in a path, in whichever of its templates.
    pub(crate) fn tolerated(&self, callee: WorkloadNumber) -> Tolerated {
        self.compiler().tolerated(callee)
    }

    pub(crate) fn compiler(&self) -> Compiler<'_> {
        Compiler {
            template: &self.template,
            workloads: &self.workloads,
            segments: &self.segments,
            rules: &self.rules,
            grants: &self.grants,
            guards: &self.guards,
            probes: &self.probes,
            index: &self.index,
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
        let rules = document.rules.iter().chain(document.grants.iter().map(|grant| &grant.rule));
        if document.mode == Mode::Audit || rules.into_iter().any(|rule| rule.from == Callers::Any) {
            document.callers = self.everybody();
        }
        Ok(document)
    }

    /// The same as [`Self::compile_named`]; `None` where nobody can have an ID.
    pub(crate) fn compiled_at(
        &self,
        number: WorkloadNumber,
        environment: &str,
    ) -> Result<Option<SnapshotDocument>, CompileError> {
        match self.compile_named(number, environment) {
            Ok(document) => Ok(Some(document)),
            // Too long, or reserved, or not of this template: no workload is there.
            Err(CompileError::Identity(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a callee's templates take in a path, in whichever of them.
    pub(crate) fn tolerated(&self, callee: WorkloadNumber) -> Tolerated {
        let rules = self.index.rules(callee).filter_map(|at| self.rules.get(at));
        let grants = self.index.grants(callee).filter_map(|at| Some(&self.grants.get(at)?.rule));
        Tolerated::of(rules.chain(grants).flat_map(|rule| &rule.calls).map(|item| &item.call))
    }

    /// Whether what a workload enforces differs by its own environment: by its variables, and by those
    /// of the caller that are the same on both sides.
    pub(crate) fn looks_at_environment(&self, number: WorkloadNumber) -> bool {
        let rules = self.index.rules(number).filter_map(|at| self.rules.get(at));
        let grants = self.index.grants(number).filter_map(|at| self.grants.get(at));
        let guards = self.index.guards(number).filter_map(|at| self.guards.get(at));
        let is_own = |attribute: &Attribute, across: Option<&BTreeSet<String>>| match attribute {
            Attribute::Callee(Fact::Variable(_)) => true,
            Attribute::Caller(Fact::Variable(name)) => across.is_some_and(|it| !it.contains(name)),
            Attribute::Caller(_) | Attribute::Callee(_) | Attribute::Tls(_) => false,
        };
        let looks = |when: &When, across: Option<&BTreeSet<String>>| {
            when.condition.attributes().into_iter().any(|attribute| is_own(attribute, across))
        };
        rules
            .chain(grants.map(|grant| &grant.rule))
            .any(|rule| rule.when.as_ref().is_some_and(|when| looks(when, Some(&rule.across))))
            || guards.filter_map(|guard| guard.when.as_ref()).any(|when| looks(when, None))
    }

    /// Every workload, as callers.
    pub(crate) fn everybody(&self) -> Vec<CallerDocument> {
        self.workloads.iter().map(caller).collect()
    }

    /// The same with only those callers that statements name.
    pub(crate) fn compile_named(
        &self,
        number: WorkloadNumber,
        environment: &str,
    ) -> Result<SnapshotDocument, CompileError> {
        let known = self
            .workloads
            .get(number.0)
            .and_then(|workload| Some((workload, workload.shape.as_ref()?)));
        let Some((workload, shape)) = known else {
            return Err(CompileError::UnknownCallee(environment.to_owned()));
        };
        let mode =
            self.segments.get(workload.segment).map_or(Mode::Enforce, |segment| segment.mode);
        let callee = self.template.id(shape, environment)?.to_string();
        let mut parts = Parts::new(self, (number, workload), environment);
        let rules = self.index.rules(number).filter_map(|at| self.rules.get(at));
        let rules = rules.flat_map(|rule| parts.rule(rule)).collect();
        let grants = self.index.grants(number).filter_map(|at| self.grants.get(at));
        let grants = grants.flat_map(|grant| parts.grant(grant)).collect();
        let guards = self.index.guards(number).filter_map(|at| self.guards.get(at));
        let guards = guards.flat_map(|guard| parts.guard(guard)).collect();
        let listens = workload.listens.iter();
        Ok(SnapshotDocument {
            schema: SCHEMA,
            trust_domain: self.template.trust_domain().to_string(),
            callee,
            workload: workload.name.clone(),
            epoch: 0,
            version: 0,
            digest: Digest::default().to_string(),
            issued_at: 0,
            max_age_seconds: MAX_AGE_SECONDS,
            mode,
            identity_headers: workload.identity_headers.clone(),
            listens: listens.map(listener).collect(),
            identity: self.template.to_string(),
            callers: parts
                .named
                .iter()
                .filter_map(|number| self.workloads.get(number.0).map(caller))
                .collect(),
            foreign: parts.foreign.into_iter().collect(),
            rules,
            grants,
            guards,
            probes: self.probes.to_vec(),
            destinations: Vec::new(),
        })
    }
}

fn listener(listener: &Listener) -> ListensDocument {
    let Listener { protocol, port, version, .. } = *listener;
    ListensDocument { protocol, port, version }
}

/// How a workload is listed among callers.
pub(crate) fn caller(workload: &Workload) -> CallerDocument {
    CallerDocument { name: workload.name.clone(), id: workload.id.clone() }
}
