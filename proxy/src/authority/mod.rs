//! Authority in time: what a connection or a call stands on, and the moment at which it ends.
//!
//! TLS looks at a certificate once. Here it is looked at for as long as the connection lives: one
//! function judges a TCP connection, an HTTP connection, a call in progress and a pooled
//! connection alike, after each change of identity or policy and at the earliest end (ROT-05). When,
//! is in `looks`.

mod looks;
mod needs;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use cellwall_mtls::{Peer, Refusal};
use cellwall_policy::Tls;
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

use self::looks::Looks;
pub(crate) use self::needs::Needs;
use crate::{Authz, CloseReason, Identities, Identity};

/// The longest sleep before a look at the clock: it may have been set meanwhile (ROT-08).
const LOOK: Duration = Duration::from_secs(30);

/// What calls in progress get when an authority is withdrawn: most end within it, and nothing that
/// was withdrawn lives on for longer.
const GRACE: Duration = Duration::from_secs(5);

/// Which part of a connection's time new calls may begin in; the rest is for those in progress.
const USEFUL: f64 = 0.75;

/// After which part of it the side that accepted says so. Later, so that whoever leaves by itself has
/// left: a call that meets a GOAWAY may be lost.
const LATE: f64 = 0.9;

/// What one connection stands on, or one call on it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    common: Arc<Common>,
    /// What of the policy; none where the other side's policy is what counts.
    needs: Option<Needs>,
}

/// What a connection and all its calls share.
#[derive(Debug)]
struct Common {
    identities: Identities,
    /// Ours, where it counts.
    authz: Option<Authz>,
    /// The same for the connection with a policy and without one.
    proved: Arc<watch::Sender<Proved>>,
    /// When no new call should begin on the connection.
    retire_at: SystemTime,
    /// When the other side is told.
    late_at: SystemTime,
    /// The connection's own protection: a re-proof's session is another one.
    tls: Tls,
    /// Of whoever follows these identities and this policy, and no other.
    looks: Looks,
}

/// What both sides proved last: in the connection's own handshake, or in a re-proof.
#[derive(Clone, Debug)]
struct Proved {
    peer: Peer,
    /// When the certificate that we showed ends, or one above it.
    own_end: UnixTime,
    /// Since when it is in its grace, for all that stands on it: a call or a tunnel that looks for the
    /// first time gets what is left of it. By the clock that nobody sets (ROT-08).
    lost: Option<Instant>,
}

/// Why a connection does not go by a newer proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotRenewed {
    /// It proves another identity than the connection's.
    OtherIdentity,
    /// The connection has ended, or would have by the newer proof.
    NotAllowed(CloseReason),
}

impl Authority {
    /// The authority of a connection between us, as `identity` said in the handshake, and `peer`,
    /// which `tls` protects.
    pub(crate) fn of_connection(
        identities: &Identities,
        identity: &Identity,
        peer: &Peer,
        tls: Tls,
    ) -> Self {
        let proved = Proved::by(peer.clone(), identity.material.authority_end());
        let now = SystemTime::now();
        let left = proved.ends_at().duration_since(now).unwrap_or_default();
        let common = Common {
            identities: identities.clone(),
            authz: None,
            proved: Arc::new(watch::Sender::new(proved)),
            retire_at: now + left.mul_f64(USEFUL),
            late_at: now + left.mul_f64(LATE),
            tls,
            looks: Looks::default(),
        };
        Self { common: Arc::new(common), needs: None }
    }

    /// The same connection's, for what also needs something of the policy.
    pub(crate) fn needing(&self, authz: &Authz, needs: Needs) -> Self {
        let is_followed = self.common.authz.as_ref().is_some_and(|one| one.is(authz));
        let under = || Arc::new(Common { authz: Some(authz.clone()), ..self.common.alike() });
        let common = if is_followed { self.common.clone() } else { under() };
        Self { common, needs: Some(needs) }
    }

    /// Resolves when the connection should be left for a new one: before its end, so that no call
    /// has to be cut for it.
    pub(crate) async fn retired(&self) {
        until(self.common.retire_at).await;
    }

    /// When no new call should begin on the connection.
    pub(crate) fn retire_at(&self) -> SystemTime {
        self.common.retire_at
    }

    /// Who is on the other side, by the newest proof.
    pub(crate) fn peer(&self) -> Peer {
        self.common.proved.borrow().peer.clone()
    }

    /// How the connection is protected.
    pub(crate) fn tls(&self) -> &Tls {
        &self.common.tls
    }

    /// When it ends, by the newest proof, unless that is renewed.
    pub(crate) fn ends_at(&self) -> SystemTime {
        self.common.proved.borrow().ends_at()
    }

    /// Whether it holds at `now`.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) fn holds(&self, now: SystemTime) -> Result<(), CloseReason> {
        self.judge(&self.common.proved.borrow(), now).map(drop)
    }

    /// Why a connection ended: where its authority has ended as well, the other side may only have
    /// been the first to cut it.
    pub(crate) fn explains(&self, end: CloseReason) -> CloseReason {
        match self.holds(SystemTime::now()) {
            Err(reason) if end == CloseReason::Io => reason,
            Err(_) | Ok(()) => end,
        }
    }

    /// Goes by a newer proof from now on: `peer` proved itself, and was shown a certificate of ours
    /// that ends at `own_end`.
    ///
    /// # Errors
    ///
    /// [`NotRenewed`]; then the connection stands on what it stood on.
    pub(crate) fn renew(
        &self,
        peer: Peer,
        own_end: UnixTime,
        now: SystemTime,
    ) -> Result<(), NotRenewed> {
        let next = Proved::by(peer, own_end);
        if self.peer().id() != next.peer.id() {
            return Err(NotRenewed::OtherIdentity);
        }
        if now >= self.ends_at() {
            return Err(NotRenewed::NotAllowed(CloseReason::SvidExpired)); // too late
        }
        self.judge(&next, now).map_err(NotRenewed::NotAllowed)?;
        self.common.proved.send_replace(next);
        Ok(())
    }

    /// What is left of a grace that runs from the first look at the loss, whoever looked.
    fn left(&self, grace: Duration) -> Duration {
        if grace.is_zero() {
            return grace;
        }
        let mut since = Instant::now();
        self.common.proved.send_if_modified(|proved| {
            since = *proved.lost.get_or_insert(since);
            false // nobody judges otherwise for it
        });
        grace.saturating_sub(since.elapsed())
    }

    /// What was lost is there again: the next loss has a grace of its own.
    fn found(&self) {
        if self.common.proved.borrow().lost.is_some() {
            self.common.proved.send_if_modified(|proved| {
                proved.lost = None;
                false
            });
        }
    }

    /// Whether a connection that stands on `proved` holds at `now`, and until when at most.
    fn judge(&self, proved: &Proved, now: SystemTime) -> Result<SystemTime, CloseReason> {
        let ends = proved.ends_at();
        if now >= ends {
            return Err(CloseReason::SvidExpired);
        }
        let identity = self.common.identities.latest().ok_or(CloseReason::SvidWithdrawn)?;
        let unix = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        match identity.material.still_trusts(&proved.peer, UnixTime::since_unix_epoch(unix)) {
            Ok(()) => {}
            Err(Refusal::Expired) => return Err(CloseReason::SvidExpired),
            Err(refusal) => return Err(CloseReason::TrustWithdrawn(refusal)),
        }
        self.asked(proved, now)
    }

    /// The part of it that is not the same for all calls on the connection.
    fn asked(&self, proved: &Proved, now: SystemTime) -> Result<SystemTime, CloseReason> {
        let ends = proved.ends_at();
        let (Some(authz), Some(needs)) = (&self.common.authz, &self.needs) else { return Ok(ends) };
        let until = needs.asked_of(authz, &proved.peer, (&self.common.tls, now))?;
        Ok(until.map_or(ends, |until| until.min(ends)))
    }
}

impl Common {
    /// The same, which nobody follows yet.
    fn alike(&self) -> Self {
        Self {
            identities: self.identities.clone(),
            authz: self.authz.clone(),
            proved: self.proved.clone(),
            retire_at: self.retire_at,
            late_at: self.late_at,
            tls: self.tls,
            looks: Looks::default(),
        }
    }
}

impl Proved {
    const fn by(peer: Peer, own_end: UnixTime) -> Self {
        Self { peer, own_end, lost: None }
    }

    fn ends_at(&self) -> SystemTime {
        ends_at(self.own_end.min(self.peer.authority_end()))
    }
}

/// How long calls in progress may go on when this has ended. A policy, a deny list or a date ends
/// them at once; an authority that is being replaced lets them finish (ROT-05).
fn grace(reason: CloseReason) -> Duration {
    match reason {
        CloseReason::SvidWithdrawn
        | CloseReason::TrustWithdrawn(
            Refusal::UnknownIssuer | Refusal::UnknownTrustDomain | Refusal::AnchorsExpired,
        ) => GRACE,
        _ => Duration::ZERO,
    }
}

/// As [`Authority::ended`], of a connection, which tells its calls when to look; never, for one on
/// loopback that stands on nothing.
pub(crate) async fn ended(authority: Option<&Authority>) -> CloseReason {
    match authority {
        Some(authority) => authority.followed().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the other side should be told to leave the connection; never, for one on loopback
/// that stands on nothing.
pub(crate) async fn late(authority: Option<&Authority>) {
    match authority {
        Some(authority) => until(authority.common.late_at).await,
        None => std::future::pending().await,
    }
}

async fn until(moment: SystemTime) {
    while let Ok(left) = moment.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

/// A certificate is valid through its last second (RFC 5280 §4.1.2.5).
pub(crate) fn ends_at(not_after: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs() + 1)
}

#[cfg(test)]
pub(crate) mod tests;
