//! Enforcement: turns a verified peer and a call into a [`Permit`], or into a [`Denied`].

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use cellwall_mtls::Peer;
use cellwall_policy::{Call, Decision, Introduction, RequestPath, Snapshot, Tls, Verdict};
use http::{Method, Version};

use crate::{CloseReason, Live, decision_id::DecisionId, listener::Declared, live::Watch};

/// Asks the policy in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authz {
    policy: Arc<Live<Snapshot>>,
}

/// Proof that the policy lets this peer make this call on a listener that it declares. The workload
/// cannot be reached without one, and only this room makes one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    decision: Decision,
    /// What said so, and when.
    by: Weak<Snapshot>,
    at: SystemTime,
    audited: Option<DecisionId>,
    introduction: Arc<Introduction>,
}

/// A permission as one policy gave it. It keeps none of that policy in memory, and its place: no later
/// one is taken for it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    by: Weak<Snapshot>,
    /// Before it nothing was asked: the clock may have been set back behind the begin of a grant.
    at: SystemTime,
    pub(crate) until: Option<SystemTime>,
}

/// The policy does not allow the call, or there is none (AZ-01).
#[derive(Debug)]
pub struct Denied {
    /// What the policy says; `None` when it was not asked.
    pub decision: Option<Decision>,
    /// Why the call ends: by that, or for want of a policy or a listener.
    pub reason: CloseReason,
    /// What the caller is told, and an operator can look up.
    pub id: DecisionId,
}

impl Authz {
    /// Enforces whatever `policy` holds.
    pub fn new(policy: Arc<Live<Snapshot>>) -> Self {
        Self { policy }
    }

    /// The policy in force.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.policy.load()
    }

    /// Decides on one call of `peer` that came to the listener `at` over a connection that `tls`
    /// protects, by the policy of this moment (AZ-09).
    ///
    /// # Errors
    ///
    /// [`Denied`] unless the policy says allow or audit, and still declares the listener so.
    pub fn decide(
        &self,
        at: Declared,
        peer: &Peer,
        tls: &Tls,
        call: &Call<'_>,
    ) -> Result<Permit, Denied> {
        let denied = |decision, reason| Denied { decision, reason, id: DecisionId::new() };
        let snapshot = self.declaring(at).map_err(|reason| denied(None, reason))?;
        let now = SystemTime::now();
        let decision = snapshot.decide(peer.id(), tls, call, now);
        let audited = match decision.verdict {
            Verdict::Allow => None,
            Verdict::Audit => Some(DecisionId::new()),
            Verdict::Deny => return Err(denied(Some(decision), CloseReason::PolicyDenied)),
        };
        let introduction = snapshot.introduction().clone();
        Ok(Permit { decision, by: Arc::downgrade(&snapshot), at: now, audited, introduction })
    }
}

impl Authz {
    /// What the policy of this moment declares for our listener of `port`; `None`: our only one.
    pub(crate) fn declared(&self, port: Option<u16>) -> Result<Declared, CloseReason> {
        let snapshot = self.policy.load().ok_or(CloseReason::NoPolicy)?; // AZ-01
        Declared::find(port, snapshot.listens()).ok_or(CloseReason::NotDeclared)
    }

    /// The policy of this moment, if it declares this listener as it did before (AZ-03).
    pub(crate) fn declaring(&self, at: Declared) -> Result<Arc<Snapshot>, CloseReason> {
        let snapshot = self.policy.load().ok_or(CloseReason::NoPolicy)?; // AZ-01
        if at.is_in(snapshot.listens()) { Ok(snapshot) } else { Err(CloseReason::NotDeclared) }
    }

    /// What the policy of this moment says of a call that came to the listener `at`.
    pub(crate) fn ask(
        &self,
        at: Declared,
        peer: &Peer,
        tls: &Tls,
        call: &Call<'_>,
    ) -> Result<Decision, CloseReason> {
        Ok(self.declaring(at)?.decide(peer.id(), tls, call, SystemTime::now()))
    }

    /// Whether what was said of a call is what would be said at `now`: by the same policy, and not for
    /// a time that is over.
    pub(crate) fn still_says(&self, said: &Said, now: SystemTime) -> bool {
        let is_of = |policy: Arc<Snapshot>| Weak::as_ptr(&said.by) == Arc::as_ptr(&policy);
        let is_in_time = said.at <= now && said.until.is_none_or(|until| now < until);
        is_in_time && self.policy.load().is_some_and(is_of)
    }

    /// Whether the policy of this moment lets `peer` go on in what `call` asks for (HTTP-12). Over
    /// HTTP/2 our workload could not.
    pub(crate) fn grants(&self, at: Declared, peer: &Peer, tls: &Tls, call: &Call<'_>) -> bool {
        let is_allowed = |decision: Decision| decision.verdict != Verdict::Deny;
        at.version() == Some(Version::HTTP_11)
            && self.ask(at, peer, tls, call).is_ok_and(is_allowed)
    }

    /// What the policy of this moment lets anybody on the node ask; `None` for everything else.
    pub(crate) fn probe(&self, method: &Method, path: &RequestPath<'_>) -> Option<Probe> {
        let snapshot = self.policy.load()?;
        let probe = || Probe { method: method.clone(), path: path.as_str().into() };
        snapshot.is_probe(method.as_str(), path).then(probe)
    }

    /// Whether `other` asks what this asks.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy)
    }

    /// Resolves after each new policy.
    pub(crate) fn watch(&self) -> Watch {
        self.policy.watch()
    }
}

/// Proof that the policy lists this among its `probes`.
#[derive(Debug)]
pub struct Probe {
    method: Method,
    path: Box<str>,
}

impl Probe {
    /// The method.
    pub(crate) const fn method(&self) -> &Method {
        &self.method
    }

    /// The path, canonical.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Permit {
    /// What was decided, for the flow record.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// For how long it holds while the policy is the same, for whoever has to look again.
    pub(crate) fn said(&self) -> Said {
        Said { by: self.by.clone(), at: self.at, until: self.decision.until }
    }

    /// How our workload is told who calls, by the policy that was asked.
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// The id of a call that passes only because its segment is in audit.
    pub fn audited(&self) -> Option<&DecisionId> {
        self.audited.as_ref()
    }
}

/// What a policy's conditions see of a session: TLS 1.3 always, and its key exchange.
pub(crate) const fn tls(group: &'static str) -> Tls {
    Tls { version: "1.3", group }
}

#[cfg(test)]
mod tests {
    use cellwall_policy::TlsFact;

    #[test]
    fn a_condition_can_name_each_group_that_a_session_may_have() {
        assert_eq!(TlsFact::Group.values(), cellwall_mtls::GROUPS);
        assert_eq!(TlsFact::Version.values(), [super::tls("X25519").version]);
    }
}
