//! Our own identity: what the Workload API says, checked, built aside and published whole.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_mtls::{DenyList, MaterialInput, TlsMaterial};
use metrics::{counter, gauge};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use spiffe::{
    SpiffeId, X509Source, X509Svid,
    x509_source::{SvidPicker, X509SourceBuilder, X509SourceState},
};

use crate::{DrainWatch, Live, hardening, live::Watch};

/// How long the pause between two attempts to reach the Workload API may get (WAPI-03).
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const MIN_BACKOFF: Duration = Duration::from_millis(50);

/// One generation of our identity. Everything a handshake needs comes from one of these (ID-20).
#[derive(Debug)]
pub struct Identity {
    /// Our SVID and whom we trust.
    pub material: TlsMaterial,
    /// Changes only when the authorities that we trust change: part of every pool's key (AZ-13).
    pub trust_epoch: u64,
}

/// Our identity of this moment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    live: Arc<Live<Identity>>,
}

/// What was taken so far. Outlives a withdrawal: our ID is ours as long as the process runs,
/// because the policy in force is that ID's.
#[derive(Debug, Default)]
struct Taken {
    generations: u64,
    id: Option<SpiffeId>,
}

/// Why new material was not taken. What we had stays in force.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// There is no SVID for us in it.
    #[error("no usable svid")]
    NoSvid(#[source] spiffe::x509_source::X509SourceError),
    /// It would make us somebody else.
    #[error("the svid is for {found}, we are {ours}")]
    OtherId { ours: SpiffeId, found: SpiffeId },
    /// Peers would not accept it.
    #[error("unusable material")]
    Material(#[source] cellwall_mtls::MaterialError),
}

impl Identities {
    /// Our identity, unless we have none or our SVID has ended (ID-21, ROT-10).
    pub fn current(&self) -> Option<Arc<Identity>> {
        let identity = self.live.load()?;
        (identity.material.not_after() > UnixTime::now()).then_some(identity)
    }

    /// The newest generation, whether our SVID has ended or not; `None` when it was withdrawn.
    pub(crate) fn latest(&self) -> Option<Arc<Identity>> {
        self.live.load()
    }

    /// Resolves after each new generation.
    pub fn watch(&self) -> Watch {
        self.live.watch()
    }

    /// Publishes what no Workload API gave.
    #[cfg(test)]
    pub(crate) fn hold(&self, identity: Arc<Identity>) {
        self.live.publish(identity);
    }

    /// Publishes what the Workload API at `endpoint` says, until `drain` cuts.
    pub async fn follow(self, endpoint: String, wanted: Option<SpiffeId>, drain: DrainWatch) {
        tokio::select! {
            () = self.feed(&endpoint, wanted) => {}
            () = drain.cut() => {}
        }
    }

    async fn feed(&self, endpoint: &str, wanted: Option<SpiffeId>) {
        let mut taken = Taken::default();
        loop {
            hardening::await_attestor(endpoint).await;
            let source = match connect(endpoint, wanted.clone()).await {
                Ok(source) => source,
                Err(error) => {
                    // WEP-11: the source retries what may pass; what comes here will not.
                    tracing::error!(%error, endpoint, "workload api refused us");
                    tokio::time::sleep(MAX_BACKOFF).await;
                    continue;
                }
            };
            let mut updates = source.updated();
            loop {
                self.take(&source.state(), &mut taken);
                if self.next(&mut updates).await.is_err() {
                    break; // the source has ended: make a new one
                }
            }
        }
    }

    /// Waits for an update, or for an anchor to end (ID-11).
    async fn next(
        &self,
        updates: &mut spiffe::x509_source::X509SourceUpdates,
    ) -> Result<(), spiffe::x509_source::X509SourceError> {
        let now = UnixTime::now();
        let end = self.current().and_then(|current| current.material.next_anchor_end(now));
        let wait = end.map_or(Duration::from_secs(3600), |end| {
            Duration::from_secs(end.as_secs().saturating_sub(now.as_secs()) + 1)
        });
        tokio::select! {
            changed = updates.changed() => changed.map(drop),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Publishes `state` as the next generation, or says why not.
    fn take(&self, state: &X509SourceState, taken: &mut Taken) {
        if let Some(reason) = state.withdrawal() {
            // WAPI-15: what is not ours any more is not used any more.
            tracing::error!(%reason, "svid withdrawn");
            rotation("refused", "withdrawn");
            self.live.withdraw();
            return;
        }
        taken.generations += 1;
        let previous = self.live.load();
        match build(state, previous.as_deref(), taken) {
            Ok(identity) => {
                taken.id = Some(identity.material.id().clone());
                self.publish(identity, previous.as_deref());
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "svid update refused");
                rotation("refused", "unusable");
            }
        }
    }

    fn publish(&self, identity: Identity, previous: Option<&Identity>) {
        let material = &identity.material;
        let renewed = previous.is_none_or(|old| old.material.serial() != material.serial());
        tracing::info!(
            id = %material.id(), serial = %material.serial(), generation = material.generation(),
            not_after = material.not_after().as_secs(), renewed, "svid updated"
        );
        for defect in material.defects() {
            tracing::warn!(trust_domain = %defect.trust_domain, refusal = %defect.refusal,
                "anchor left out");
        }
        rotation("accepted", if renewed { "svid" } else { "trust" });
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if renewed {
            gauge!("cellwall_svid_issued_timestamp_seconds").set(issued.as_secs_f64());
        }
        gauge!("cellwall_svid_expiration_timestamp_seconds").set(seconds(material.not_after()));
        let mut last: BTreeMap<_, UnixTime> = BTreeMap::new();
        for (domain, end) in material.anchor_ends() {
            let latest = last.entry(domain).or_insert(end);
            *latest = end.max(*latest);
        }
        for (domain, end) in last {
            let domain = domain.as_str().to_owned();
            gauge!("cellwall_bundle_expiration_timestamp_seconds", "trust_domain" => domain)
                .set(seconds(end));
        }
        self.live.publish(identity);
    }
}

fn rotation(result: &'static str, reason: &'static str) {
    counter!("cellwall_svid_rotations_total", "result" => result, "reason" => reason).increment(1);
}

fn seconds(time: UnixTime) -> f64 {
    Duration::from_secs(time.as_secs()).as_secs_f64()
}

/// An error and its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

async fn connect(
    endpoint: &str,
    wanted: Option<SpiffeId>,
) -> Result<X509Source, spiffe::x509_source::X509SourceError> {
    let builder =
        X509SourceBuilder::new().endpoint(endpoint).reconnect_backoff(MIN_BACKOFF, MAX_BACKOFF);
    match wanted {
        Some(id) => builder.picker(Exactly(id)).build().await,
        None => builder.build().await,
    }
}

/// Picks one SPIFFE ID, and nothing when it is not there (WAPI-22).
#[derive(Debug)]
struct Exactly(SpiffeId);

impl SvidPicker for Exactly {
    fn pick_svid(&self, svids: &[Arc<X509Svid>]) -> Option<usize> {
        svids.iter().position(|svid| *svid.spiffe_id() == self.0)
    }
}

fn build(
    state: &X509SourceState,
    previous: Option<&Identity>,
    taken: &Taken,
) -> Result<Identity, Refused> {
    let svid = state.svid().map_err(Refused::NoSvid)?;
    let context = state.context().map_err(Refused::NoSvid)?;
    if let Some(ours) = taken.id.as_ref().filter(|ours| *ours != svid.spiffe_id()) {
        return Err(Refused::OtherId { ours: ours.clone(), found: svid.spiffe_id().clone() });
    }
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let bundles = context.bundle_set().iter().map(|(domain, bundle)| {
        (domain.clone(), bundle.authorities().iter().map(|ca| der(ca.as_bytes())).collect())
    });
    let material = TlsMaterial::build(MaterialInput {
        chain: svid.cert_chain().iter().map(|certificate| der(certificate.as_bytes())).collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes().to_vec())),
        bundles: bundles.collect(),
        deny: DenyList::default(),
        generation: taken.generations,
        now: UnixTime::now(),
    })
    .map_err(Refused::Material)?;
    let trust_epoch = match previous {
        Some(previous) if previous.material.trusts_like(&material) => previous.trust_epoch,
        Some(_) | None => taken.generations,
    };
    Ok(Identity { material, trust_epoch })
}
