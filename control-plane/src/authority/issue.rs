//! Issuing: sign, look again, write the audit record, and only then let go of the certificate.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cellwall_agent::Issued;
use metrics::{counter, histogram};
use rustls_pki_types::CertificateSigningRequestDer;
use serde_json::{Value, json};
use spiffe::SpiffeId;

use super::{
    Ca, CsrError, Defect, Expected, LeafError, PublicKey, Validity, check::check, leaf::sign,
};
use crate::{
    audit::{Act, Record},
    store::{IssuanceRow, Recorded, Store, StoreError, hex},
};

/// A clock that is so far behind what the audit log has seen is not believed (CA-07).
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// The authority at work. The narrow way to its key: there is no other call that signs.
#[derive(Debug)]
pub struct Authority {
    ca: Ca,
    ttl: Duration,
    store: Store,
    /// The newest time that an audit record bears, in milliseconds since 1970.
    newest: AtomicI64,
}

/// Who a certificate is for, besides its identity: for the audit record.
#[derive(Debug)]
pub struct Subject {
    /// `uid:1000 pid:4242`, or `cellwalld`.
    pub actor: String,
    /// What the agent saw.
    pub process: Value,
    /// The longest life that the policy allows it; the authority's own holds besides.
    pub ttl_max: Option<Duration>,
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The request is not one.
    #[error("the request is refused")]
    Csr(#[source] CsrError),
    /// The authority has ended, or would end before the certificate (CA-07).
    #[error("the authority ends before the certificate would")]
    AuthorityEnds,
    /// The clock is behind the authority's beginning or the audit log (CA-07).
    #[error("the clock is wrong: it is behind what has been recorded")]
    Clock,
    /// Signing failed.
    #[error("the certificate cannot be signed")]
    Sign(#[source] LeafError),
    /// What was signed is not what was meant (CA-04).
    #[error("the certificate is not what was meant and was not released")]
    Defect(#[source] Defect),
    /// The key has been certified before (CA-05).
    #[error("the key has been certified before")]
    KeyInUse,
    /// The audit record could not be written (CA-08).
    #[error("the audit record cannot be written")]
    Audit(#[source] StoreError),
}

impl IssueError {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Csr(_) => "csr",
            Self::AuthorityEnds => "authority_ends",
            Self::Clock => "clock",
            Self::Sign(_) => "sign",
            Self::Defect(_) => "defect",
            Self::KeyInUse => "key_in_use",
            Self::Audit(_) => "audit",
        }
    }
}

impl Authority {
    /// An authority that issues certificates of `ttl`. `newest` is the time of the last audit
    /// record, in milliseconds since 1970.
    pub fn new(ca: Ca, ttl: Duration, store: Store, newest: i64) -> Self {
        Self { ca, ttl, store, newest: AtomicI64::new(newest) }
    }

    /// Its own certificate and the trust domain it is for.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Whether it would issue now (CA-07).
    pub fn is_able(&self, now: SystemTime) -> bool {
        self.validity(now, None).is_ok()
    }

    /// Issues a certificate for `id` with the public key of `csr`. That the subject is entitled
    /// to `id` is the caller's to know.
    ///
    /// # Errors
    ///
    /// [`IssueError`]: no certificate has left.
    pub async fn issue(
        &self,
        id: &SpiffeId,
        csr: &CertificateSigningRequestDer<'_>,
        subject: Subject,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let started = Instant::now();
        let result = self.try_issue(id, csr, subject, now).await;
        let label = result.as_ref().map_or_else(IssueError::as_str, |_| "issued");
        counter!("cellwall_ca_svids_issued_total", "result" => label).increment(1);
        histogram!("cellwall_ca_sign_duration_seconds", "result" => label)
            .record(started.elapsed());
        result
    }

    async fn try_issue(
        &self,
        id: &SpiffeId,
        csr: &CertificateSigningRequestDer<'_>,
        subject: Subject,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let validity = self.validity(now, subject.ttl_max)?;
        let key = PublicKey::from_csr(csr).map_err(IssueError::Csr)?;
        let (leaf, serial) = sign(&self.ca.issuer, id, &key, validity).map_err(IssueError::Sign)?;
        let expected = Expected { ca: &self.ca, id, key: &key, validity };
        check(&leaf, &expected).map_err(IssueError::Defect)?; // CA-04
        let row = IssuanceRow {
            serial: hex(&serial),
            spiffe_id: id.to_string(),
            key_sha256: key.sha256(),
            issued_at: validity.issued_at,
            not_after: validity.not_after,
        };
        self.audit(row, subject, now).await?; // CA-08
        tracing::info!(%id, serial = hex(&serial), "svid issued");
        Ok(Issued {
            chain: leaf.to_vec(),
            serial: hex(&serial),
            issued_at: validity.issued_at,
            not_after: validity.not_after,
        })
    }

    /// CA-07
    fn validity(&self, now: SystemTime, ttl_max: Option<Duration>) -> Result<Validity, IssueError> {
        let newest = u64::try_from(self.newest.load(Ordering::Relaxed)).unwrap_or_default();
        let newest = UNIX_EPOCH + Duration::from_millis(newest);
        if now < self.ca.not_before || now + CLOCK_TOLERANCE < newest {
            return Err(IssueError::Clock);
        }
        let validity = Validity::starting(now, self.ttl.min(ttl_max.unwrap_or(self.ttl)));
        if validity.not_after > self.ca.not_after {
            return Err(IssueError::AuthorityEnds);
        }
        Ok(validity)
    }

    async fn audit(
        &self,
        row: IssuanceRow,
        subject: Subject,
        now: SystemTime,
    ) -> Result<(), IssueError> {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
        };
        let detail = json!({
            "spiffe_id": row.spiffe_id,
            "serial": row.serial,
            "key_sha256": hex(&row.key_sha256),
            "issued_at": seconds(row.issued_at),
            "not_after": seconds(row.not_after),
            "process": subject.process,
        });
        let record = Record { at: now, act: Act::SvidIssued, actor: subject.actor, detail };
        let at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        match self.store.record_issuance(row, record).await {
            Ok(Recorded::Audited(_)) => {
                self.newest.fetch_max(i64::try_from(at).unwrap_or(i64::MAX), Ordering::Relaxed);
                Ok(())
            }
            Ok(Recorded::KeyInUse) => Err(IssueError::KeyInUse),
            Err(error) => {
                counter!("cellwall_audit_append_failures_total").increment(1);
                Err(IssueError::Audit(error))
            }
        }
    }
}
