//! When a call looks at what it stands on: whenever its connection does, or by itself.
//!
//! A connection follows identity, policy, proofs and the clock for as long as it lives
//! ([`Authority::followed`]), and wakes its calls after each change and at least once in a [`LOOK`]. So a
//! call registers for one signal, and not for each of these. It misses no change by that (AZ-10):
//!
//! * It registers first, and looks then. What changed before, it sees; of a later change the connection
//!   hears when it is in force, and then wakes whatever has registered.
//! * The connection follows before it says that it does ([`Following`]), and takes that back before it
//!   wakes its calls for the last time, however it ends. A call that has registered finds it taken
//!   back, or is woken by that.
//! * It follows the same identities and the same policy: [`Authority::needing`] sees to that.
//! * Identity and proof are the connection's, and judged by it for all its calls: where they do not hold
//!   any more it ends, and that is told. A call looks at what it alone needs.
//! * Between two looks of the connection no call ends by itself: what may end within two of them, what
//!   does not hold, and what nobody follows for it, has watches and a timer of its own.

use std::{
    future::{Future as _, poll_fn, ready},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::SystemTime,
};

use tokio::{sync::Notify, task::unconstrained};

use super::{Authority, LOOK, grace};
use crate::{CloseReason, http::in_turn};

/// What a connection tells its calls.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many follow, and tell.
    followers: AtomicUsize,
    told: Notify,
}

/// As long as there is one of these, calls rely on it.
struct Following<'a>(&'a Looks);

impl<'a> Following<'a> {
    fn of(looks: &'a Looks) -> Self {
        looks.followers.fetch_add(1, Ordering::SeqCst);
        Self(looks)
    }

    fn tell(&self) {
        self.0.told.notify_waiters();
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::SeqCst);
        self.tell(); // from now on each follows by itself
    }
}

impl Authority {
    /// Resolves with the reason when the authority has ended, and its grace is over.
    pub(crate) async fn ended(&self) -> CloseReason {
        while self.rests().await {}
        // In a box: seldom, and each call has room for it.
        Box::pin(self.follow(None)).await
    }

    /// Lets all that is ready have its turn, and looks at what has ended in it (AZ-10).
    pub(crate) async fn in_turn(&self) -> Result<(), CloseReason> {
        in_turn().await;
        tokio::select! {
            biased;
            reason = self.ended() => Err(reason),
            () = ready(()) => Ok(()),
        }
    }

    /// The same as [`Self::ended`], for the connection itself. However much its task does else, it is looked
    /// at in each of its turns: its calls rely on it.
    pub(super) async fn followed(&self) -> CloseReason {
        unconstrained(self.follow(Some(&self.common.looks))).await
    }

    /// Resolves with `true` when it is to look again, and at once with `false` where it has to follow by
    /// itself.
    async fn rests(&self) -> bool {
        let mut told = pin!(self.common.looks.told.notified());
        let mut is_registered = false;
        poll_fn(|cx| {
            // AZ-10: register first, then look.
            if told.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if !is_registered && !self.is_at_rest(SystemTime::now()) {
                return Poll::Ready(false);
            }
            is_registered = true;
            Poll::Pending
        })
        .await
    }

    /// Whether its connection goes on following, and it holds until that has looked again if the
    /// connection does.
    pub(crate) fn is_at_rest(&self, now: SystemTime) -> bool {
        let is_followed = self.common.looks.followers.load(Ordering::SeqCst) > 0;
        let holds = |end: SystemTime| end > now + 2 * LOOK;
        is_followed && self.asked(&self.common.proved.borrow(), now).is_ok_and(holds)
    }

    /// Looks after each change, and at the earliest end; and tells those that rely on it.
    async fn follow(&self, looks: Option<&Looks>) -> CloseReason {
        // AZ-10: watch first, then look, so that no change in between is missed.
        let mut identity = self.common.identities.watch();
        let mut policy = self.common.authz.as_ref().map(|authz| authz.watch());
        let mut proved = self.common.proved.subscribe();
        let following = looks.map(Following::of);
        loop {
            let now = SystemTime::now();
            let latest = proved.borrow_and_update().clone();
            if let Some(following) = &following {
                following.tell(); // of this proof, too
            }
            let wait = match self.judge(&latest, now) {
                Ok(end) => {
                    self.found();
                    end.duration_since(now).unwrap_or_default().min(LOOK)
                }
                Err(reason) => {
                    let left = self.left(grace(reason));
                    if left.is_zero() {
                        return reason;
                    }
                    // AZ-10: what ends at once is not put off by what has a grace.
                    match self.asked(&latest, now) {
                        Ok(end) => end.duration_since(now).unwrap_or_default().min(left),
                        Err(reason) => return reason,
                    }
                }
            };
            let policy_changed = async {
                match policy.as_mut() {
                    Some(policy) => policy.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = identity.changed() => {}
                () = policy_changed => {}
                _ = proved.changed() => {} // never an error: we hold the other half
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

    use cellwall_mtls::Refusal;
    use tokio::task::coop::consume_budget;

    use super::{Authority, SystemTime};
    use crate::{
        Authz, CloseReason, Live,
        authority::{
            GRACE, Needs,
            tests::{revocable, stranger},
        },
    };

    const SOON: Duration = Duration::from_secs(8);

    /// The connection of a call, which needs less than it.
    fn connection(call: &Authority) -> Authority {
        let authz = call.common.authz.clone().unwrap();
        let listener = Needs::Listener(authz.declared(None).unwrap());
        call.needing(&authz, listener)
    }

    /// Lets `waiting` begin.
    async fn begun(waiting: &mut (impl Future<Output = CloseReason> + Unpin)) {
        let begun = poll_fn(|cx| Poll::Ready(pin!(&mut *waiting).poll(cx).is_pending())).await;
        assert!(begun, "it has ended");
    }

    #[tokio::test]
    async fn a_call_ends_with_its_permission_and_its_connection_goes_on() {
        // AZ-10
        let (call, policy, denying) = revocable().await;
        let connection = connection(&call);
        let (mut followed, mut ended) = (pin!(connection.followed()), pin!(call.ended()));
        begun(&mut followed).await;
        begun(&mut ended).await;
        assert!(call.is_at_rest(SystemTime::now()));
        policy.publish(denying);
        let end = async {
            tokio::select! {
                reason = followed => panic!("the connection ended: {reason:?}"),
                reason = ended => reason,
            }
        };
        let end = tokio::time::timeout(SOON, end).await.unwrap();
        assert_eq!(end, CloseReason::PolicyRevoked);
    }

    #[tokio::test]
    async fn a_call_ends_with_the_trust_in_its_connection() {
        // ROT-05, of which the connection alone hears
        let (call, _policy, _) = revocable().await;
        let connection = connection(&call);
        let following = async {
            let mut followed = pin!(connection.followed());
            begun(&mut followed).await;
            followed.await // and then it is not followed any more
        };
        let calling = async {
            assert!(call.is_at_rest(SystemTime::now()));
            let mut ended = pin!(call.ended());
            begun(&mut ended).await;
            call.common.identities.hold(stranger());
            ended.await
        };
        let ends = async { tokio::join!(biased; following, calling) };
        let ends = tokio::time::timeout(SOON, ends).await.unwrap();
        let withdrawn = CloseReason::TrustWithdrawn(Refusal::UnknownIssuer);
        assert_eq!(ends, (withdrawn, withdrawn));
    }

    #[tokio::test]
    async fn a_grace_puts_off_no_policy() {
        // AZ-10: trust is withdrawn, of which calls in progress have a while to end, and then the policy
        // denies them
        for is_before in [false, true] {
            let (call, policy, denying) = revocable().await;
            let mut ended = pin!(call.ended());
            if is_before {
                begun(&mut ended).await;
            }
            call.common.identities.hold(stranger());
            begun(&mut ended).await;
            policy.publish(denying);
            let end = tokio::time::timeout(GRACE / 4, ended).await.unwrap();
            assert_eq!(end, CloseReason::PolicyRevoked);
        }
    }

    #[tokio::test]
    async fn a_call_whose_connection_has_ended_follows_by_itself() {
        // AZ-10
        let (call, policy, denying) = revocable().await;
        let connection = connection(&call);
        let mut ended = pin!(call.ended());
        {
            let mut followed = pin!(connection.followed());
            begun(&mut followed).await;
            begun(&mut ended).await;
        }
        begun(&mut ended).await; // it has heard that nobody follows for it
        policy.publish(denying);
        let end = tokio::time::timeout(SOON, ended).await.unwrap();
        assert_eq!(end, CloseReason::PolicyRevoked);
    }

    #[tokio::test]
    async fn what_ends_while_others_have_their_turn_is_not_sent() {
        // AZ-10
        let (call, policy, denying) = revocable().await;
        let connection = connection(&call);
        let mut followed = pin!(connection.followed());
        begun(&mut followed).await;
        assert_eq!(call.in_turn().await, Ok(()));
        let mut waiting = pin!(call.in_turn());
        assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
        policy.publish(denying);
        // The connection has not heard of it.
        assert_eq!(waiting.await, Err(CloseReason::PolicyRevoked));
    }

    #[tokio::test]
    async fn what_may_end_before_the_next_look_or_has_nobody_to_follow_does_not_rest() {
        // ROT-05, ROT-08; it lasts for 100 s
        let (call, policy, _) = revocable().await;
        let (now, second) = (SystemTime::now(), Duration::from_secs(1));
        assert!(!call.is_at_rest(now));
        let connection = connection(&call);
        let mut followed = pin!(connection.followed());
        begun(&mut followed).await;
        assert!(call.is_at_rest(now));
        assert!(!call.is_at_rest(now + 45 * second));
        // What the connection follows is another policy.
        let other = Arc::new(Live::default());
        other.publish(policy.load().unwrap());
        let other = Authz::new(other);
        let needs = Needs::Tcp(other.declared(None).unwrap());
        assert!(!call.needing(&other, needs).is_at_rest(now));
    }

    #[tokio::test]
    async fn a_task_that_has_done_its_share_hears_of_an_end_all_the_same() {
        // AZ-10
        let (call, policy, _) = revocable().await;
        let connection = connection(&call);
        let mut followed = pin!(connection.followed());
        begun(&mut followed).await;
        policy.withdraw();
        let heard = poll_fn(|cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(followed.as_mut().poll(cx))
        });
        assert_eq!(heard.await, Poll::Ready(CloseReason::NoPolicy));
    }

    #[tokio::test]
    async fn a_call_that_has_lost_its_permission_before_it_registers_ends() {
        // AZ-10
        let (call, policy, denying) = revocable().await;
        let connection = connection(&call);
        let mut followed = pin!(connection.followed());
        begun(&mut followed).await;
        policy.publish(denying);
        // The connection has not even heard of it.
        let end = tokio::time::timeout(SOON, call.ended()).await.unwrap();
        assert_eq!(end, CloseReason::PolicyRevoked);
    }
}
