//! A new version: loaded, tested, written with its audit record, and only then in force.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use cellwall_policy::{Digest, PolicyVersion};
use cellwall_policy_language::{Findings, Sources, TestReport, load};
use metrics::counter;
use serde_json::json;
use spiffe::TrustDomain;

use super::{Edition, Policy, PolicyBook, edition::statement};
use crate::{
    audit::{Act, Record},
    registry::{Refusals, Registry},
    store::{PolicyRow, SealingKeyError, StoreError},
};

/// What an operator wants in force.
#[derive(Debug)]
pub struct Proposal {
    /// The documents.
    pub sources: Sources,
    /// Why.
    pub message: String,
    /// Who: `uid:1000 pid:4242`.
    pub actor: String,
}

/// A version that came into force.
#[derive(Debug)]
pub struct Applied {
    /// It.
    pub edition: Arc<Edition>,
    /// Its tests; all passed.
    pub tests: TestReport,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The documents have mistakes.
    #[error("the policy has mistakes")]
    Findings(#[source] Findings),
    /// The policy is for another trust domain.
    #[error("the policy is for trust domain `{found}`, this is `{ours}`")]
    TrustDomain {
        /// What the identity template says.
        found: TrustDomain,
        /// What we are.
        ours: TrustDomain,
    },
    /// An entry cannot be registered.
    #[error("an entry cannot be registered")]
    Entries(#[source] Refusals),
    /// Tests in the documents failed.
    #[error("tests failed")]
    Tests(TestReport),
    /// The documents have no JSON form.
    #[error("the documents cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The version cannot be vouched for.
    #[error("the version cannot be vouched for")]
    Voucher(#[source] SealingKeyError),
    /// The version or its audit record cannot be written.
    #[error("the version cannot be written")]
    Store(#[source] StoreError),
}

impl PolicyBook {
    /// Puts a proposal in force as the next version, or changes nothing. To be awaited to its end:
    /// dropped half-way, it may leave a version that is stored and in force only after a restart.
    ///
    /// # Errors
    ///
    /// [`ApplyError`]: the version before stays in force.
    pub async fn apply(&self, proposal: Proposal, now: SystemTime) -> Result<Applied, ApplyError> {
        let result = self.try_apply(proposal, now).await;
        let label = if result.is_ok() { "applied" } else { "refused" };
        counter!("cellwall_changes_total", "result" => label).increment(1);
        result
    }

    async fn try_apply(&self, proposal: Proposal, now: SystemTime) -> Result<Applied, ApplyError> {
        let _one_at_a_time = self.applying.lock().await;
        let (policy, tests) = self.judge(proposal, now)?;
        let current = self.edition();
        let version = current.version.0 + 1;
        self.write(&policy, version).await?;
        let edition = Arc::new(Edition {
            epoch: current.epoch,
            version: PolicyVersion(version),
            policy: Some(policy),
            published: Some(Instant::now()),
        });
        self.current.send_replace(edition.clone());
        self.changes.send_replace(version);
        tracing::info!(version, "policy applied");
        Ok(Applied { edition, tests })
    }

    fn judge(
        &self,
        proposal: Proposal,
        now: SystemTime,
    ) -> Result<(Policy, TestReport), ApplyError> {
        let set = load(&proposal.sources).map_err(ApplyError::Findings)?;
        if *set.trust_domain() != self.trust_domain {
            return Err(ApplyError::TrustDomain {
                found: set.trust_domain().clone(),
                ours: self.trust_domain.clone(),
            });
        }
        let registry =
            Registry::new(&self.trust_domain, set.entries()).map_err(ApplyError::Entries)?;
        let tests = set.run_tests();
        if tests.failed() > 0 {
            return Err(ApplyError::Tests(tests));
        }
        let digest = Digest::of(canonical(&proposal.sources)?.as_bytes());
        let policy = Policy {
            set,
            registry,
            sources: proposal.sources,
            digest,
            applied_at: now,
            applied_by: proposal.actor,
            message: proposal.message,
        };
        Ok((policy, tests))
    }

    async fn write(&self, policy: &Policy, version: u64) -> Result<(), ApplyError> {
        let sources = canonical(&policy.sources)?;
        let statement = statement(version, policy.digest);
        let voucher = self.sealing.seal(&statement, b"").map_err(ApplyError::Voucher)?;
        let record = Record {
            at: policy.applied_at,
            act: Act::PolicyApplied,
            actor: policy.applied_by.clone(),
            detail: json!({
                "version": version,
                "message": policy.message,
                "sources_sha256": policy.digest.to_string(),
            }),
        };
        let row = PolicyRow {
            version,
            applied_at: policy.applied_at,
            applied_by: policy.applied_by.clone(),
            message: policy.message.clone(),
            sources,
            voucher,
        };
        match self.store.put_policy(row, record).await {
            Ok(_) => Ok(()),
            Err(error) => {
                counter!("cellwall_audit_append_failures_total").increment(1);
                Err(ApplyError::Store(error))
            }
        }
    }
}

/// The one spelling of documents that digests are made of.
fn canonical(sources: &Sources) -> Result<String, ApplyError> {
    serde_json::to_string(sources).map_err(ApplyError::Json)
}
