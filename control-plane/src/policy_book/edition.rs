//! The version in force, read from the store at start and replaced by each apply.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use cellwall_agent::Selectors;
use cellwall_policy::{Digest, PolicyVersion, Publication};
use cellwall_policy_language::{Findings, PolicySet, Sources, load};
use spiffe::{SpiffeId, TrustDomain};
use tokio::sync::{Mutex, watch};

use crate::{
    registry::{Refusals, Registry},
    store::{PolicyRow, SealingKey, Store, StoreError, Unsealable},
};

/// What is in force, published whole: policy and entries always belong together.
#[derive(Debug, Default)]
pub struct Edition {
    /// Raised by an operator after a restore; does not change while the process runs.
    pub epoch: u64,
    /// Its number; 0 as long as nothing has been applied.
    pub version: PolicyVersion,
    /// The policy; nothing is allowed and nobody has an identity without one.
    pub policy: Option<Policy>,
    /// When this process put it in force; absent if an earlier one did.
    pub published: Option<Instant>,
}

/// A policy version with everything that follows from it.
#[derive(Debug)]
pub struct Policy {
    /// The policy.
    pub set: PolicySet,
    /// The registration entries in it.
    pub registry: Registry,
    /// The documents.
    pub sources: Sources,
    /// Of the documents: tells two policies of one number apart.
    pub digest: Digest,
    /// When it was applied.
    pub applied_at: SystemTime,
    /// By whom.
    pub applied_by: String,
    /// Why, in their words.
    pub message: String,
}

/// Owns the version in force.
#[derive(Debug)]
pub struct PolicyBook {
    pub(super) trust_domain: TrustDomain,
    pub(super) store: Store,
    pub(super) sealing: Arc<SealingKey>,
    pub(super) current: watch::Sender<Arc<Edition>>,
    /// A number for the agent, which knows nothing of policies.
    pub(super) changes: watch::Sender<u64>,
    /// One apply at a time.
    pub(super) applying: Mutex<()>,
}

/// Why the stored version cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyBookError {
    /// The store cannot be read.
    #[error("the stored policy cannot be read")]
    Store(#[source] StoreError),
    /// Somebody changed it in the database (CP-07).
    #[error("policy version {version} is not what was applied")]
    Changed {
        /// Which version.
        version: u64,
        /// Why it is not believed.
        #[source]
        source: Unsealable,
    },
    /// The documents are not JSON.
    #[error("policy version {version} cannot be read")]
    Json {
        /// Which version.
        version: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// This release refuses the documents.
    #[error("policy version {version} is refused by this release")]
    Findings {
        /// Which version.
        version: u64,
        /// Why.
        #[source]
        source: Findings,
    },
    /// This release refuses an entry.
    #[error("policy version {version} is refused by this release")]
    Entries {
        /// Which version.
        version: u64,
        /// Why.
        #[source]
        source: Refusals,
    },
}

impl Edition {
    /// How sidecars order the policy and tell it apart; `None` without one.
    pub fn publication(&self) -> Option<Publication> {
        let digest = self.policy.as_ref()?.digest;
        Some(Publication { epoch: self.epoch, version: self.version, digest })
    }

    /// The identities that a process with these selectors earns.
    pub fn earned(&self, selectors: &Selectors) -> Vec<SpiffeId> {
        self.policy.as_ref().map(|policy| policy.registry.earned(selectors)).unwrap_or_default()
    }
}

impl PolicyBook {
    /// Opens the book at the version in force. Its tests are not run again: something they name
    /// may have changed since, and that must not keep the control plane from starting.
    ///
    /// # Errors
    ///
    /// [`PolicyBookError`] when the stored version is not what was applied or is refused now.
    pub async fn open(
        trust_domain: TrustDomain,
        store: Store,
        sealing: Arc<SealingKey>,
        epoch: u64,
    ) -> Result<Self, PolicyBookError> {
        let row = store.latest_policy().await.map_err(PolicyBookError::Store)?;
        let edition = match row {
            Some(row) => Edition { epoch, ..restore(&trust_domain, &sealing, row)? },
            None => Edition { epoch, ..Edition::default() },
        };
        let changes = watch::Sender::new(edition.version.0);
        let current = watch::Sender::new(Arc::new(edition));
        Ok(Self { trust_domain, store, sealing, current, changes, applying: Mutex::new(()) })
    }

    /// What is in force now.
    pub fn edition(&self) -> Arc<Edition> {
        self.current.borrow().clone()
    }

    /// A version that was in force, now or before; `None` if there never was one of this number.
    ///
    /// # Errors
    ///
    /// [`PolicyBookError`] when it cannot be read, is not what was applied, or is refused by this
    /// release.
    pub async fn past(
        &self,
        version: PolicyVersion,
    ) -> Result<Option<Arc<Edition>>, PolicyBookError> {
        let current = self.edition();
        if current.version == version && current.policy.is_some() {
            return Ok(Some(current));
        }
        let row = self.store.policy(version.0).await.map_err(PolicyBookError::Store)?;
        let edition = row.map(|row| restore(&self.trust_domain, &self.sealing, row)).transpose()?;
        Ok(edition.map(Arc::new))
    }

    /// Where each new edition appears.
    pub fn editions(&self) -> watch::Receiver<Arc<Edition>> {
        self.current.subscribe()
    }

    /// The number of each new edition.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn restore(
    trust_domain: &TrustDomain,
    sealing: &SealingKey,
    row: PolicyRow,
) -> Result<Edition, PolicyBookError> {
    let version = row.version;
    let digest = Digest::of(row.sources.as_bytes());
    sealing
        .open(&statement(version, digest), &row.voucher)
        .map_err(|source| PolicyBookError::Changed { version, source })?;
    let sources: Sources = serde_json::from_str(&row.sources)
        .map_err(|source| PolicyBookError::Json { version, source })?;
    let set = load(&sources).map_err(|source| PolicyBookError::Findings { version, source })?;
    let registry = Registry::new(trust_domain, set.entries())
        .map_err(|source| PolicyBookError::Entries { version, source })?;
    let policy = Policy {
        set,
        registry,
        sources,
        digest,
        applied_at: row.applied_at,
        applied_by: row.applied_by,
        message: row.message,
    };
    let version = PolicyVersion(version);
    Ok(Edition { version, policy: Some(policy), ..Edition::default() })
}

/// What the sealing key vouches for: these documents under this number (CP-07). A policy says who
/// gets which identity; whoever can only write the database must not be able to say so.
pub(super) fn statement(version: u64, digest: Digest) -> String {
    format!("policy/{version}/{digest}")
}
