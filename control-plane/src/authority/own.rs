//! cellwalld's own X509-SVID: issued to itself, audited and renewed like any other.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_agent::{FreshKey, Renewal, jitter};
use cellwall_mtls::{DenyList, MaterialError, MaterialInput, TlsMaterial};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use serde_json::Value;
use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Authority, IssueError, Subject};
use crate::report::chain;

/// The newest generation of what cellwalld's handshakes use.
pub type Material = watch::Receiver<Arc<TlsMaterial>>;

/// The wall clock is looked at this often, whatever the timer says (ROT-08).
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Keeps cellwalld's SVID fresh.
#[derive(Debug)]
pub struct OwnIdentity {
    authority: Arc<Authority>,
    id: SpiffeId,
    published: watch::Sender<Arc<TlsMaterial>>,
    renewal: Renewal,
}

/// Why cellwalld has no SVID.
#[derive(Debug, thiserror::Error)]
pub enum OwnSvidError {
    /// The trust domain cannot have the reserved identity.
    #[error("the reserved identity cannot be formed")]
    Id(#[source] SpiffeIdError),
    /// No key could be made.
    #[error("no key can be made")]
    Key(#[source] rcgen::Error),
    /// The authority refused.
    #[error("cellwalld's own svid is not issued")]
    Issue(#[source] IssueError),
    /// The result cannot be used for TLS.
    #[error("cellwalld's own svid cannot be used")]
    Material(#[source] MaterialError),
}

impl OwnIdentity {
    /// Issues the first one.
    ///
    /// # Errors
    ///
    /// [`OwnSvidError`] when the authority refuses or the result is unusable.
    pub async fn establish(authority: Arc<Authority>) -> Result<Self, OwnSvidError> {
        let id = control_plane_id(&authority.ca().trust_domain).map_err(OwnSvidError::Id)?;
        let (material, renewal) = issue(&authority, &id, 1).await?;
        Ok(Self { authority, id, published: watch::Sender::new(Arc::new(material)), renewal })
    }

    /// Where each new generation appears.
    pub fn material(&self) -> Material {
        self.published.subscribe()
    }

    /// Renews until stopped. A renewal that fails is tried again; the SVID in use stays.
    pub async fn keep(mut self, stop: CancellationToken) {
        loop {
            let pause = self.renewal.due().duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause.min(CLOCK_CHECK)) => {}
            }
            if SystemTime::now() >= self.renewal.due() {
                self.renew().await;
            }
        }
    }

    async fn renew(&mut self) {
        let generation = self.published.borrow().generation() + 1;
        match issue(&self.authority, &self.id, generation).await {
            Ok((material, renewal)) => {
                self.published.send_replace(Arc::new(material));
                self.renewal = renewal;
                tracing::info!(generation, "own svid renewed");
            }
            Err(error) => {
                self.renewal = self.renewal.failed(SystemTime::now(), jitter());
                tracing::warn!(error = chain(&error), "own svid not renewed");
            }
        }
    }
}

/// The identity that no template may yield and every client insists on.
fn control_plane_id(trust_domain: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
    SpiffeId::from_segments(trust_domain.clone(), &["cellwall", "control-plane"])
}

async fn issue(
    authority: &Authority,
    id: &SpiffeId,
    generation: u64,
) -> Result<(TlsMaterial, Renewal), OwnSvidError> {
    let FreshKey { key, csr } = FreshKey::generate().map_err(OwnSvidError::Key)?;
    let subject = Subject { actor: "cellwalld".into(), process: Value::Null, ttl_max: None };
    let issued =
        authority.issue(id, &csr, subject, SystemTime::now()).await.map_err(OwnSvidError::Issue)?;
    let renewal = Renewal::planned(issued.issued_at, issued.not_after, jitter());
    let anchors = vec![authority.ca().certificate.clone()];
    let material = TlsMaterial::build(MaterialInput {
        chain: vec![CertificateDer::from(issued.chain)],
        key: PrivatePkcs8KeyDer::from(key.to_vec()).into(),
        bundles: BTreeMap::from([(authority.ca().trust_domain.clone(), anchors)]),
        deny: DenyList::default(),
        generation,
        now: UnixTime::now(),
    })
    .map_err(OwnSvidError::Material)?;
    Ok((material, renewal))
}
