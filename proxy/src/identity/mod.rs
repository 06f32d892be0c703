//! Our own identity: what the Workload API says, checked, built aside and published whole.

mod message;
mod workload_api;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cellwall_api::workload::X509svidResponse;
use cellwall_mtls::{DenyList, MaterialInput, TlsMaterial};
use metrics::{counter, gauge};
use rustls_pki_types::UnixTime;
use spiffe::SpiffeId;
use tokio::sync::mpsc;

use self::{
    message::{Offer, Unreadable},
    workload_api::Heard,
};
use crate::{DrainWatch, Live, live::Watch};

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

/// What was taken so far. Our ID outlives a withdrawal: it is ours as long as the process runs,
/// because the policy in force is that ID's.
#[derive(Default)]
struct Taken {
    generations: u64,
    /// The one to take; the first one that is offered, if nobody said which.
    id: Option<SpiffeId>,
    /// What is in force, to be built anew when an anchor ends.
    offer: Option<Offer>,
}

/// Why new material was not taken. What we had stays in force.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// The message makes no sense.
    #[error("unreadable message")]
    Unreadable(#[source] Unreadable),
    /// The message says one thing and its certificate another (WAPI-10).
    #[error("the svid of {said} is for {found}")]
    OtherId { said: SpiffeId, found: SpiffeId },
    /// Peers would not accept it.
    #[error("unusable material")]
    Material(#[source] cellwall_mtls::MaterialError),
}

impl Refused {
    /// The label of the metric.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(unreadable) => unreadable.reason(),
            Self::OtherId { .. } | Self::Material(_) => "unusable",
        }
    }
}

impl Identities {
    /// Our identity, unless we have none or what proves it has ended: our SVID, or a certificate
    /// above it (ID-21, ROT-10).
    pub fn current(&self) -> Option<Arc<Identity>> {
        let identity = self.live.load()?;
        (identity.material.authority_end() > UnixTime::now()).then_some(identity)
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
        // Full: the Workload API waits until what it said before is in force.
        let (say, heard) = mpsc::channel(1);
        tokio::select! {
            () = workload_api::listen(&endpoint, say) => {}
            () = self.take_all(heard, wanted) => {}
            () = drain.cut() => {}
        }
    }

    async fn take_all(&self, mut heard: mpsc::Receiver<Heard>, wanted: Option<SpiffeId>) {
        let mut taken = Taken { id: wanted, ..Taken::default() };
        loop {
            tokio::select! {
                news = heard.recv() => match news {
                    Some(Heard::Message(message)) => self.take(message, &mut taken),
                    Some(Heard::Denied(status)) => {
                        self.withdraw(&mut taken, "withdrawn", status.message());
                    }
                    Some(Heard::TooLarge) => rotation("refused", "too_large"),
                    None => return,
                },
                () = self.anchor_end() => self.build_again(&mut taken),
            }
        }
    }

    /// Waits for an anchor to end (ID-11).
    async fn anchor_end(&self) {
        let now = UnixTime::now();
        match self.latest().and_then(|latest| latest.material.next_anchor_end(now)) {
            Some(end) => {
                let left = end.as_secs().saturating_sub(now.as_secs()) + 1;
                tokio::time::sleep(Duration::from_secs(left)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Publishes what a message says as the next generation, or says why not.
    fn take(&self, message: X509svidResponse, taken: &mut Taken) {
        let offer = match message::read(message, taken.id.as_ref()) {
            Ok(Some(offer)) => offer,
            // WAPI-08: what is not in the whole state any more is taken back.
            Ok(None) => return self.withdraw(taken, "redacted", "the answer has no svid for us"),
            Err(error) => {
                let error = Refused::Unreadable(error);
                return refuse(error.reason(), &chain(&error));
            }
        };
        if taken.offer.as_ref().is_some_and(|ours| ours.says_like(&offer)) {
            return tracing::debug!("the workload api repeats itself");
        }
        self.put_in_force(offer, taken);
    }

    /// The same material without the anchors that have ended.
    fn build_again(&self, taken: &mut Taken) {
        if let Some(offer) = taken.offer.take() {
            self.put_in_force(offer, taken);
        }
    }

    fn put_in_force(&self, offer: Offer, taken: &mut Taken) {
        taken.generations += 1;
        let previous = self.live.load();
        match build(&offer, previous.as_deref(), taken.generations) {
            Ok(identity) => {
                taken.id = Some(identity.material.id().clone());
                taken.offer = Some(offer);
                self.publish(identity, previous.as_deref());
            }
            Err(error) => refuse(error.reason(), &chain(&error)),
        }
    }

    /// WAPI-15: what is not ours any more is not used any more.
    fn withdraw(&self, taken: &mut Taken, reason: &'static str, why: &str) {
        tracing::error!(reason, why, "svid withdrawn");
        rotation("refused", reason);
        taken.offer = None;
        self.live.withdraw();
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

fn refuse(reason: &'static str, error: &str) {
    tracing::warn!(reason, error, "svid update refused");
    rotation("refused", reason);
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

fn build(offer: &Offer, previous: Option<&Identity>, generation: u64) -> Result<Identity, Refused> {
    let material = TlsMaterial::build(MaterialInput {
        chain: offer.chain.clone(),
        key: offer.key.clone_key(),
        bundles: offer.bundles.clone(),
        deny: DenyList::default(),
        generation,
        now: UnixTime::now(),
    })
    .map_err(Refused::Material)?;
    if *material.id() != offer.id {
        let found = material.id().clone();
        return Err(Refused::OtherId { said: offer.id.clone(), found });
    }
    let trust_epoch = match previous {
        Some(previous) if previous.material.trusts_like(&material) => previous.trust_epoch,
        Some(_) | None => generation,
    };
    Ok(Identity { material, trust_epoch })
}
