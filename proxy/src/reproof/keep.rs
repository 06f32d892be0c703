//! The side that connected: proves its connection anew before it ends, for as long as it is open.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_mtls::{Alpn, Binding, End, PROOF_LEN, Peer};
use rand::RngExt as _;
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{CLAIM_LEN, NAME_LEN, Outcome};
use crate::{
    Authz, Identities, Identity,
    authority::{Authority, ends_at},
    flow::Direction,
    metrics,
    upstream::{HANDSHAKE_DEADLINE, session},
};

/// The least time between two attempts for one connection.
const LEAST: Duration = Duration::from_millis(250);

/// The most that a proof is put off after our SVID was renewed, so that all connections do not prove
/// themselves at once.
const SPREAD: Duration = Duration::from_secs(1);

/// The pause after an attempt that failed, and the longest after several.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(30);

/// What keeps one connection of ours open beyond the certificates that it was opened with.
#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) identities: Identities,
    pub(crate) authz: Authz,
    /// Which destination of the policy it was opened for.
    pub(crate) destination: Arc<str>,
    /// The other end of the connection: only it can answer.
    pub(crate) address: SocketAddr,
    pub(crate) binding: Binding,
    pub(crate) authority: Authority,
    /// The generation of our identity that the connection stands on.
    pub(crate) generation: u64,
}

impl Renewal {
    /// Proves the connection anew, again and again; who holds the connection drops this with it.
    pub(crate) async fn keep(&mut self) -> Infallible {
        let mut renewed = self.identities.watch();
        let mut failed = None;
        loop {
            let before_half = self.left().mul_f64(between(0.4, 0.5)).max(LEAST);
            let again =
                failed.map_or(before_half, |pause: Duration| pause.mul_f64(between(0.5, 1.0)));
            tokio::select! {
                () = tokio::time::sleep(again.min(before_half)) => {}
                () = renewed.changed() => {
                    let most = SPREAD.min(self.left() / 4);
                    tokio::time::sleep(most.mul_f64(between(0.0, 1.0))).await;
                }
            }
            let identity = self.identities.current();
            let identity = identity.filter(|one| self.may_gain(one) && self.is_wanted());
            let Some(identity) = identity else {
                failed = None;
                continue;
            };
            // In a box: seldom, and each connection waits for it.
            let outcome = match Box::pin(self.prove(&identity)).await {
                Ok(()) => Outcome::Extended,
                Err(outcome) => outcome,
            };
            failed = (outcome == Outcome::Failed).then(|| later(failed));
            metrics::reproof(Direction::Outbound, outcome.as_str());
            tracing::debug!(address = %self.address, outcome = outcome.as_str(), "re-proof");
            tokio::time::sleep(LEAST).await;
        }
    }

    fn left(&self) -> Duration {
        self.authority.ends_at().duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Whether a proof with `identity` could change anything: it is another one than the connection
    /// stands on, or it is the other side's certificate that ends first.
    fn may_gain(&self, identity: &Identity) -> bool {
        identity.material.generation() != self.generation
            || ends_at(identity.material.authority_end()) > self.authority.ends_at()
    }

    /// Whether the destination is still served by the other side, as the policy says (AZ-12).
    fn is_wanted(&self) -> bool {
        let snapshot = self.authz.snapshot();
        let destination =
            snapshot.as_ref().and_then(|policy| policy.destination(&self.destination));
        destination.is_some_and(|destination| *destination.id == *self.authority.peer().id())
    }

    async fn prove(&mut self, identity: &Arc<Identity>) -> Result<(), Outcome> {
        let asked = tokio::time::timeout(HANDSHAKE_DEADLINE, self.ask(identity)).await;
        let (peer, own_end) = asked.map_err(|_| Outcome::Failed)??;
        self.authority.renew(peer, own_end, SystemTime::now())?;
        self.generation = identity.material.generation();
        Ok(())
    }

    /// One session: our proof, and the other side's.
    async fn ask(&self, identity: &Identity) -> Result<(Peer, UnixTime), Outcome> {
        let expected = self.authority.peer();
        let opened = session(identity, self.address, expected.id(), &[Alpn::Reproof]).await;
        let mut fresh = opened.map_err(|_| Outcome::Failed)?;
        let claim = self.claim(&fresh.binding);
        fresh.stream.write_all(&claim).await.map_err(|_| Outcome::Failed)?;
        let mut answer = [0; PROOF_LEN];
        fresh.stream.read_exact(&mut answer).await.map_err(|_| Outcome::Failed)?;
        if !self.binding.is_proved(End::Server, &fresh.binding, &answer) {
            return Err(Outcome::NotProved);
        }
        Ok((fresh.peer, identity.material.authority_end()))
    }

    fn claim(&self, fresh: &Binding) -> [u8; CLAIM_LEN] {
        let mut claim = [0; CLAIM_LEN];
        let (name, proof) = claim.split_at_mut(NAME_LEN);
        name.copy_from_slice(&self.binding.name().0);
        proof.copy_from_slice(&self.binding.prove(End::Client, fresh));
        claim
    }
}

/// How long after an attempt that came to nothing the next one is made: where all connections prove
/// themselves at once, some of them fail together, and what they stand on may be withdrawn soon.
fn later(pause: Option<Duration>) -> Duration {
    pause.map_or(SOON, |pause| (pause * 2).min(LATE))
}

fn between(least: f64, most: f64) -> f64 {
    rand::rng().random_range(least..most)
}

#[cfg(test)]
mod tests {
    use super::{LATE, later};

    #[test]
    fn an_attempt_that_failed_is_made_again_soon_and_ever_later() {
        let mut pause = None;
        let pauses = std::iter::repeat_with(|| {
            pause = Some(later(pause));
            pause.unwrap().as_secs()
        });
        assert_eq!(pauses.take(7).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, LATE.as_secs()]);
    }
}
