//! Enforcement: turns a verified peer and a call into a [`Permit`], or into a [`Denied`].

use std::{sync::Arc, time::SystemTime};

use cellwall_mtls::Peer;
use cellwall_policy::{Call, Decision, RequestPath, Snapshot, Tls, Verdict};
use http::Method;

use crate::{Live, decision_id::DecisionId, live::Watch};

/// Asks the policy in force. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authz {
    policy: Arc<Live<Snapshot>>,
}

/// Proof that the policy lets this peer make this call. The workload cannot be reached without
/// one, and only this room makes one.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    decision: Decision,
    audited: Option<DecisionId>,
}

/// The policy does not allow the call, or there is none (AZ-01).
#[derive(Debug)]
pub struct Denied {
    /// Why; `None` when there is no policy.
    pub decision: Option<Decision>,
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

    /// Decides on one call of `peer` over a connection that `tls` protects, by the policy of this
    /// moment (AZ-09).
    ///
    /// # Errors
    ///
    /// [`Denied`] unless the policy says allow or audit.
    pub fn decide(&self, peer: &Peer, tls: &Tls, call: &Call<'_>) -> Result<Permit, Denied> {
        let Some(decision) = self.ask(peer, tls, call) else {
            return Err(Denied { decision: None, id: DecisionId::new() }); // AZ-01
        };
        match decision.verdict {
            Verdict::Allow => Ok(Permit { decision, audited: None }),
            Verdict::Audit => Ok(Permit { decision, audited: Some(DecisionId::new()) }),
            Verdict::Deny => Err(Denied { decision: Some(decision), id: DecisionId::new() }),
        }
    }
}

impl Authz {
    /// What the policy of this moment says; `None` without one.
    pub(crate) fn ask(&self, peer: &Peer, tls: &Tls, call: &Call<'_>) -> Option<Decision> {
        let snapshot = self.policy.load()?;
        Some(snapshot.decide(peer.id(), tls, call, SystemTime::now()))
    }

    /// What the policy of this moment lets anybody on the node ask; `None` for everything else.
    pub(crate) fn probe(&self, method: &Method, path: &RequestPath<'_>) -> Option<Probe> {
        let snapshot = self.policy.load()?;
        let probe = || Probe { method: method.clone(), path: path.as_str().into() };
        snapshot.is_probe(method.as_str(), path).then(probe)
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
