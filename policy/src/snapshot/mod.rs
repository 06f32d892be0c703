//! What one callee enforces: whole, immutable, indexed.

mod error;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use spiffe::{SpiffeId, TrustDomain};

use crate::{
    Idempotent, IdentityError, IdentityTemplate, Introduction, ListensDocument, Mode,
    PolicyVersion, ProbeDocument, Protocol, Publication, RequestPath, SCHEMA, SnapshotDocument,
    Tolerated,
    calls::{CallBuilder, CallIndex},
    canonical_id,
    identity::{CallerIndex, IdentityIndex},
    is_destination, is_grant_name, is_http_method, is_name, is_reserved,
    listens::check_listens,
    statements::{Guards, Known, Rules},
};
pub use error::SnapshotError;

/// The most callers of one snapshot (AZ-07).
const MAX_CALLERS: usize = 100_000;
/// The most rules and the most guards of one snapshot (AZ-07).
const MAX_RULES: usize = 10_000;

/// The policy of one callee at one moment, ready to be asked.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) publication: Publication,
    pub(crate) mode: Mode,
    pub(crate) identities: IdentityIndex,
    pub(crate) calls: CallIndex,
    pub(crate) rules: Rules,
    pub(crate) guards: Guards,
    pub(crate) probes: Probes,
    callee: SpiffeId,
    callee_text: Arc<str>,
    introduction: Arc<Introduction>,
    workload: Arc<str>,
    environment: Arc<str>,
    issued_at: SystemTime,
    max_age: Duration,
    destinations: HashMap<Box<str>, Destination>,
}

/// What the node may ask without an identity: the methods by path.
#[derive(Debug, Default)]
pub(crate) struct Probes(HashMap<Box<str>, Vec<Box<str>>>);

/// A workload that the callee itself calls.
#[derive(Clone, Debug)]
pub struct Destination {
    /// How it is named here: `payments`, `staging/payments` or `payments:9443`.
    pub name: Arc<str>,
    /// The SPIFFE ID that must answer.
    pub id: Arc<SpiffeId>,
    /// The same as text, made once.
    pub id_text: Arc<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What it tolerates in a path: that of its own sidecar is narrower, template by template.
    pub tolerates: Tolerated,
    /// Which calls may be made twice there, if any.
    pub idempotent: Option<Arc<Idempotent>>,
}

impl Snapshot {
    /// Checks a document whole and compiles it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] for the first thing that is wrong: then nothing of it may be used.
    pub fn new(document: SnapshotDocument) -> Result<Self, SnapshotError> {
        check_header(&document)?;
        let template = identity(&document.identity, "identity", IdentityTemplate::parse)?;
        if template.trust_domain().as_str() != document.trust_domain {
            return Err(SnapshotError::TrustDomain(document.trust_domain));
        }
        let callee = member(&document.callee, template.trust_domain())?;
        let introduction = Introduction::checked(&document.callee, &document.identity_headers)?;
        let mut identities = IdentityIndex::new(&template, &callee)
            .ok_or_else(|| SnapshotError::Id(document.callee.clone()))?;
        let callers = index_callers(&document, &template, &mut identities)?;
        let foreign = index_foreign(&document, &mut identities)?;
        let known = Known { callers, foreign };
        let mut calls = CallBuilder::new(&document.listens);
        let statements = (document.rules.as_slice(), document.grants.as_slice());
        let rules = Rules::build(statements, &known, &identities, &mut calls)?;
        let guards = Guards::build(&document.guards, &document.listens, &known, &identities)?;
        Ok(Self {
            publication: Publication {
                epoch: document.epoch,
                version: PolicyVersion(document.version),
                digest: document.digest.parse()?,
            },
            issued_at: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(document.issued_at))
                .ok_or(SnapshotError::Date(document.issued_at))?,
            max_age: Duration::from_secs(document.max_age_seconds),
            mode: document.mode,
            environment: identities.environment().into(),
            identities,
            calls: calls.finish()?,
            rules,
            guards,
            probes: Probes::index(&document.probes)?,
            callee_text: callee.to_string().into(),
            callee,
            introduction: Arc::new(introduction),
            workload: Arc::from(document.workload.as_str()),
            destinations: index_destinations(&document, template.trust_domain())?,
        })
    }

    /// The version of the policy that this is of.
    pub const fn version(&self) -> PolicyVersion {
        self.publication.version
    }

    /// Which publication of the policy this is of.
    pub const fn publication(&self) -> &Publication {
        &self.publication
    }

    /// When the control plane compiled it.
    pub const fn issued_at(&self) -> SystemTime {
        self.issued_at
    }

    /// How long without the control plane is worth an alarm.
    pub const fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Whose policy this is.
    pub const fn callee(&self) -> &SpiffeId {
        &self.callee
    }

    /// The same as text, made once.
    pub const fn callee_text(&self) -> &Arc<str> {
        &self.callee_text
    }

    /// How its workload is told who calls.
    pub const fn introduction(&self) -> &Arc<Introduction> {
        &self.introduction
    }

    /// The callee's name in the documents.
    pub const fn workload(&self) -> &Arc<str> {
        &self.workload
    }

    /// The callee's values of the identity template's variables, joined by `/`; `""` without any.
    pub const fn environment(&self) -> &Arc<str> {
        &self.environment
    }

    /// What the callee speaks, and the ports that the documents declare for it. At least one.
    pub fn listens(&self) -> &[ListensDocument] {
        self.calls.listens()
    }

    /// What some template of the callee tolerates in a path.
    pub fn tolerates(&self) -> Tolerated {
        self.calls.tolerated()
    }

    /// The workload that the callee calls by this name: `payments`, or `staging/payments`.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.get(name)
    }

    /// The name of a caller, for logs and metrics. `None` for IDs that no rule or guard of this
    /// callee names; so the names are bounded by the policy.
    pub fn workload_of(&self, id: &SpiffeId) -> Option<&Arc<str>> {
        self.identities.name(self.identities.read(id).caller?)
    }
}

fn check_header(document: &SnapshotDocument) -> Result<(), SnapshotError> {
    if document.schema != SCHEMA {
        return Err(SnapshotError::Schema(document.schema));
    }
    check_name(&document.workload)?;
    check_listens(&document.listens)?;
    if document.callers.len().saturating_add(document.foreign.len()) > MAX_CALLERS {
        return Err(SnapshotError::TooMany("callers"));
    }
    let rules = document.rules.len().saturating_add(document.grants.len());
    if rules > MAX_RULES || document.guards.len() > MAX_RULES {
        return Err(SnapshotError::TooMany("rules or guards"));
    }
    Ok(())
}

fn index_callers<'a>(
    document: &'a SnapshotDocument,
    template: &IdentityTemplate,
    identities: &mut IdentityIndex,
) -> Result<BTreeMap<&'a str, CallerIndex>, SnapshotError> {
    let mut callers = BTreeMap::new();
    for caller in &document.callers {
        let name = check_name(&caller.name)?;
        let shape = identity(&caller.name, name, |name| match &caller.id {
            Some(id) => template.shape(id, name),
            None => template.derive(name),
        })?;
        if callers.contains_key(name) {
            return Err(SnapshotError::Duplicate(caller.name.clone()));
        }
        let number = identities
            .insert(Arc::from(name), &shape)
            .ok_or_else(|| SnapshotError::SameId(caller.name.clone()))?;
        callers.insert(name, number);
    }
    Ok(callers)
}

fn index_foreign<'a>(
    document: &'a SnapshotDocument,
    identities: &mut IdentityIndex,
) -> Result<BTreeMap<&'a str, CallerIndex>, SnapshotError> {
    let mut foreign = BTreeMap::new();
    for text in &document.foreign {
        let refuse = || SnapshotError::Id(text.clone());
        let id = canonical_id(text).ok_or_else(refuse)?;
        foreign.insert(text.as_str(), identities.insert_foreign(id).ok_or_else(refuse)?);
    }
    Ok(foreign)
}

impl Probes {
    fn index(probes: &[ProbeDocument]) -> Result<Self, SnapshotError> {
        let mut index = Self::default();
        for ProbeDocument { method, path } in probes {
            let is_canonical =
                RequestPath::parse(path).is_ok_and(|canonical| canonical.as_str() == path);
            if !is_http_method(method) || !is_canonical {
                return Err(SnapshotError::Probe(format!("{method} {path}")));
            }
            let methods = index.0.entry(Box::from(path.as_str())).or_default();
            methods.push(Box::from(method.as_str()));
        }
        Ok(index)
    }

    pub(crate) fn contain(&self, method: &str, path: &str) -> bool {
        self.0.get(path).is_some_and(|methods| methods.iter().any(|known| **known == *method))
    }
}

fn index_destinations(
    document: &SnapshotDocument,
    trust_domain: &TrustDomain,
) -> Result<HashMap<Box<str>, Destination>, SnapshotError> {
    let mut destinations = HashMap::new();
    for entry in &document.destinations {
        if !is_destination(&entry.name) {
            return Err(SnapshotError::Name(entry.name.clone()));
        }
        let name: Arc<str> = Arc::from(entry.name.as_str());
        let id = Arc::new(member(&entry.id, trust_domain)?);
        let protocol = entry.protocol;
        let idempotent = Idempotent::index(protocol, &entry.idempotent)?;
        let tolerates = entry.tolerates;
        let id_text = id.to_string().into();
        let destination = Destination { name, id, id_text, protocol, tolerates, idempotent };
        if destinations.insert(Box::from(entry.name.as_str()), destination).is_some() {
            return Err(SnapshotError::Duplicate(entry.name.clone()));
        }
    }
    Ok(destinations)
}

pub(crate) fn check_name(name: &str) -> Result<&str, SnapshotError> {
    if is_name(name) { Ok(name) } else { Err(SnapshotError::Name(name.to_owned())) }
}

pub(crate) fn check_grant_name(name: &str) -> Result<&str, SnapshotError> {
    if is_grant_name(name) { Ok(name) } else { Err(SnapshotError::Name(name.to_owned())) }
}

/// A canonical ID of the trust domain, not one of Cellwall's own.
fn member(text: &str, trust_domain: &TrustDomain) -> Result<SpiffeId, SnapshotError> {
    canonical_id(text)
        .filter(|id| id.trust_domain() == trust_domain && !is_reserved(id))
        .ok_or_else(|| SnapshotError::Id(text.to_owned()))
}

fn identity<'a, T>(
    text: &'a str,
    name: &str,
    read: impl FnOnce(&'a str) -> Result<T, IdentityError>,
) -> Result<T, SnapshotError> {
    read(text).map_err(|source| SnapshotError::Identity { name: name.to_owned(), source })
}
