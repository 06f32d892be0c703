//! What becomes policy: verified, for us, not older than what was in force, on the disk. The only
//! room that publishes one.

mod known;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use cellwall_api::distribution::{
    Ack, Nack, SignedSnapshot as WireSnapshot, proxy_message::Message,
};
use cellwall_policy::{PolicyKey, Publication, SignedSnapshot, Snapshot};
use metrics::{counter, gauge};
use spiffe::SpiffeId;
use tokio::sync::{Mutex, Semaphore};

use self::known::{HighWater, Refused, Taken, Unknown};
use crate::{
    Directory, Identities, Live, PolicyStore,
    identity::chain,
    policy_store::{Found, KeepError, on_disk},
    standing::{Standing, Storage},
};

/// How long the disk may take. A withdrawn permission does not wait for it any longer.
const STORING: Duration = Duration::from_secs(2);

/// How long the disk may take for what may as well be lost.
const HINTING: Duration = Duration::from_millis(100);

/// How long the disk may take at start, when nothing else can be done.
const READING: Duration = Duration::from_secs(10);

/// The longest reason of a nack, in bytes.
const MAX_REASON: usize = 512;

/// Judges snapshots, from the control plane and from the disk.
#[derive(Debug)]
pub struct PolicyIntake {
    key: Arc<PolicyKey>,
    identities: Identities,
    policy: Arc<Live<Snapshot>>,
    standing: Arc<Standing>,
    store: Option<Arc<PolicyStore>>,
    /// Held while a snapshot is on its way to the disk, so that none overtakes it.
    high_water: Mutex<HighWater>,
    /// What was put in force last, and is on the disk.
    taken: ArcSwapOption<Taken>,
    /// One at a time: while the disk hangs, nothing piles up.
    hinting: Arc<Semaphore>,
}

impl PolicyIntake {
    /// Believes what `key` signed for the ID that we have, publishes it to `policy`.
    pub fn new(
        key: PolicyKey,
        identities: Identities,
        policy: Arc<Live<Snapshot>>,
        standing: Arc<Standing>,
        store: Option<Arc<PolicyStore>>,
    ) -> Self {
        let high_water = match store {
            Some(_) => HighWater::Unknown(Unknown::Unread),
            None => HighWater::Is(None),
        };
        let high_water = Mutex::new(high_water);
        let (key, hinting) = (Arc::new(key), Arc::new(Semaphore::new(1)));
        let taken = ArcSwapOption::empty();
        Self { key, identities, policy, standing, store, high_water, taken, hinting }
    }

    /// Puts what was kept for `callee`, which is us, in force again. Without a call of this nothing
    /// is taken from the control plane.
    pub(crate) async fn restore(&self, callee: &SpiffeId, directory: &Directory) {
        let Some(store) = &self.store else { return };
        let mut high_water = self.high_water.lock().await;
        let of = callee.clone();
        let found = on_disk(store, READING, move |store| store.find(&of)).await;
        let found = found.ok_or(Unknown::Silent).and_then(|found| found.map_err(Unknown::Damaged));
        match found {
            Ok(Found { high_water: mark, policy, addresses }) => {
                *high_water = HighWater::Is(mark);
                match addresses {
                    Ok(addresses) => directory.recall(addresses),
                    Err(error) => tracing::warn!(error = chain(&error), "stored addresses ignored"),
                }
                match policy {
                    Ok(Some(signed)) => self.recall(&mut high_water, callee, signed).await,
                    Ok(None) => restored("none"),
                    Err(error) => self.doubt(callee, &error).await,
                }
            }
            Err(unknown) => {
                tracing::error!(error = chain(&unknown), "no policy will be taken");
                restored("unknown");
                *high_water = HighWater::Unknown(unknown);
            }
        }
    }

    async fn recall(&self, high_water: &mut HighWater, callee: &SpiffeId, signed: SignedSnapshot) {
        let snapshot = match self.judge(high_water, callee, signed).await {
            Ok((snapshot, _)) => snapshot,
            Err(error) => return self.doubt(callee, &error).await,
        };
        let publication = *snapshot.publication();
        let (of, mark) = (callee.clone(), high_water.mark());
        *high_water = HighWater::Is(Some(publication));
        self.store(move |store| store.recalled(&of, &publication, mark.as_ref())).await;
        self.standing.restored(snapshot.issued_at());
        let (epoch, version) = (publication.epoch, publication.version.0);
        tracing::info!(epoch, version, "policy from the disk in force");
        restored("in_force");
        self.publish(snapshot);
    }

    /// A policy that is not believed is kept for somebody to look at.
    async fn doubt(&self, callee: &SpiffeId, error: &(dyn Error + Sync)) {
        let Some(store) = &self.store else { return };
        let folder = store.folder(callee);
        tracing::error!(error = chain(error), folder = %folder.display(), "stored policy refused");
        restored("refused");
        let callee = callee.clone();
        let moved = on_disk(store, STORING, move |store| store.set_aside(&callee)).await;
        if let Some(Err(error)) = moved {
            tracing::warn!(%error, "the refused policy stays where it is");
        }
    }

    /// Verifies, keeps, publishes and acks a snapshot; or nacks it and leaves what is in force
    /// (POL-01).
    pub(crate) async fn take(&self, wire: WireSnapshot) -> Message {
        let signed = SignedSnapshot { payload: wire.payload, signature: wire.signature };
        let hash = signed.hash().to_vec();
        match self.try_take(signed, &hash).await {
            Ok(publication) => {
                let version = publication.version.0;
                tracing::info!(epoch = publication.epoch, version, "policy in force");
                updated("ack");
                Message::Ack(Ack { version, hash })
            }
            Err(error) => {
                let mut reason = chain(&error);
                tracing::error!(reason, "policy refused");
                updated("nack");
                self.standing.lost(SystemTime::now());
                reason.truncate(reason.floor_char_boundary(MAX_REASON));
                Message::Nack(Nack { version: error.version(), hash, reason })
            }
        }
    }

    async fn try_take(&self, signed: SignedSnapshot, hash: &[u8]) -> Result<Publication, Refused> {
        let mut high_water = self.high_water.lock().await;
        let callee = self.callee().ok_or(Refused::NoIdentity)?;
        if let Some(publication) = self.again(hash, &callee) {
            self.standing.confirmed();
            return Ok(publication);
        }
        let (snapshot, signed) = self.judge(&high_water, &callee, signed).await?;
        let publication = *snapshot.publication();
        // Before the disk: what is dropped while it waits there must not be undercut either.
        *high_water = HighWater::Is(Some(publication));
        self.taken.store(None);
        let taken = Taken { hash: hash.to_vec(), callee: callee.clone(), publication };
        // POL-02: first the disk.
        let is_kept = self.store(move |store| store.keep(&callee, &publication, &signed)).await;
        self.standing.confirmed();
        self.publish(snapshot);
        self.taken.store(is_kept.then(|| taken.into()));
        Ok(publication)
    }

    /// Each new stream begins with the policy in force, and there is one for each new certificate: the
    /// same bytes for the same identity are not judged again, and nothing that stands on them either.
    fn again(&self, hash: &[u8], callee: &SpiffeId) -> Option<Publication> {
        let taken = self.taken.load();
        let taken = taken.as_ref().filter(|it| it.hash == hash && it.callee == *callee)?;
        let in_force = self.policy.load()?;
        (*in_force.publication() == taken.publication).then_some(taken.publication)
    }

    /// Beside the calls: of thousands of rules it takes a while.
    async fn judge(
        &self,
        high_water: &HighWater,
        callee: &SpiffeId,
        signed: SignedSnapshot,
    ) -> Result<(Snapshot, SignedSnapshot), Refused> {
        let (key, of) = (self.key.clone(), callee.clone());
        let opening = move || key.open(&signed, &of).map(|snapshot| (snapshot, signed));
        let opened = tokio::task::spawn_blocking(opening).await;
        let (snapshot, signed) = opened.map_err(|_| Refused::Unread)??;
        match high_water {
            HighWater::Is(None) => {}
            HighWater::Is(Some(mark)) => mark.admit(snapshot.publication())?,
            HighWater::Unknown(unknown) => return Err(Refused::Unknown(chain(unknown))),
        }
        Ok((snapshot, signed))
    }

    /// Keeps what is about to be in force. When that fails it is in force all the same: a
    /// permission that was withdrawn must not live on because a disk is full. It is said aloud.
    /// What is older is removed then, so that it does not come back after a restart; of a disk that
    /// hangs nothing can be removed. Whether it is as it should be.
    async fn store(
        &self,
        work: impl FnOnce(&PolicyStore) -> Result<(), KeepError> + Send + 'static,
    ) -> bool {
        let Some(store) = &self.store else { return true };
        let error = match on_disk(store, STORING, work).await {
            Some(Ok(())) => {
                self.standing.stored(Storage::Kept);
                return true;
            }
            Some(Err(error)) => chain(&error),
            None => format!(
                "nothing was written within {STORING:?}: a restart may find an older policy"
            ),
        };
        tracing::error!(error, "the policy in force is not on the disk");
        counter!("cellwall_policy_store_failures_total").increment(1);
        self.standing.stored(Storage::Failed);
        false
    }

    /// Keeps where destinations are, for a start without the control plane.
    pub(crate) async fn keep_addresses(&self, directory: &Directory) {
        let (Some(store), Some(callee)) = (&self.store, self.callee()) else { return };
        let Ok(turn) = self.hinting.clone().try_acquire_owned() else { return };
        let known = directory.known();
        let kept = on_disk(store, HINTING, move |store| {
            let _turn = turn;
            store.keep_addresses(&callee, &known)
        });
        match kept.await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "addresses not kept"),
            None => tracing::warn!("addresses not kept in time"),
        }
    }

    fn publish(&self, snapshot: Snapshot) {
        let publication = snapshot.publication();
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let (epoch, version) = (publication.epoch as f64, publication.version.0 as f64);
        gauge!("cellwall_policy_epoch").set(epoch);
        gauge!("cellwall_policy_version").set(version);
        self.policy.publish(snapshot);
    }

    fn callee(&self) -> Option<SpiffeId> {
        self.identities.current().map(|identity| identity.material.id().clone())
    }

    /// The stream to the control plane has ended.
    pub(crate) fn disconnected(&self) {
        self.standing.lost(SystemTime::now());
    }
}

fn updated(result: &'static str) {
    counter!("cellwall_policy_updates_total", "result" => result).increment(1);
}

fn restored(result: &'static str) {
    counter!("cellwall_policy_restores_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests;
