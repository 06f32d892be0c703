//! The decision. Everything that can say yes is in this file.

use std::{fmt, sync::Arc, time::SystemTime};

use spiffe::SpiffeId;

use crate::{Mode, Protocol, RequestPath, Snapshot, Tls, condition::Facts, upgrade_of};

/// Counts the publications of the policy. Larger is newer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyVersion(pub u64);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a caller asks to do.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// An HTTP request.
    Http {
        /// Its method, case-sensitive (RFC 9110 §9.1); `GET+websocket` for one that asks to go on
        /// in another protocol.
        method: &'a str,
        /// Its canonical path.
        path: &'a RequestPath<'a>,
    },
    /// A gRPC request.
    Grpc {
        /// The full name of the service: `ledger.v1.Ledger`.
        service: &'a str,
        /// The method: `Post`.
        method: &'a str,
    },
    /// A connection, to be used for anything.
    Tcp {
        /// The declared port of the listener that it came to.
        port: u16,
    },
}

impl Call<'_> {
    /// What the call is spoken in.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Http { .. } => Protocol::Http,
            Self::Grpc { .. } => Protocol::Grpc,
            Self::Tcp { .. } => Protocol::Tcp,
        }
    }

    /// Whether it asks to go on in another protocol.
    fn is_upgrade(&self) -> bool {
        match self {
            Self::Http { method, .. } => upgrade_of(method).is_some(),
            Self::Grpc { .. } | Self::Tcp { .. } => false,
        }
    }

    /// Whether its path has a second reading, which some template has to declare.
    fn has_two_readings(&self) -> bool {
        matches!(self, Self::Http { path, .. } if path.split().is_some())
    }
}

/// Whether a call may pass.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// A rule or a grant allows it.
    Allow,
    /// It must not pass.
    Deny,
    /// Nothing allows it, or a guard would deny it, but the callee's segment or that guard is in
    /// `audit`: it passes and is recorded.
    Audit,
}

impl Verdict {
    /// The word that documents, logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Audit => "audit",
        }
    }
}

/// What decided.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum By {
    /// This rule allows the call.
    Rule(Arc<str>),
    /// This grant allows the call, for a while.
    Grant(Arc<str>),
    /// This guard denies the call, or would.
    Guard(Arc<str>),
    /// The two sides differ in this variable of the identity template.
    Boundary(Arc<str>),
    /// Nothing allows the call.
    Default,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(name) => f.write_str(name),
            Self::Grant(name) => write!(f, "grant/{name}"),
            Self::Guard(name) => write!(f, "guard/{name}"),
            Self::Boundary(variable) => write!(f, "boundary/{variable}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The answer, with its reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Whether the call may pass.
    pub verdict: Verdict,
    /// What decided so.
    pub by: By,
    /// The declared template that the call belongs to, for logs and metrics: bounded by the policy.
    pub route: Option<Arc<str>>,
    /// The policy that was asked.
    pub version: PolicyVersion,
    /// When the answer must be asked again without a new version; `None`: it holds until then.
    pub until: Option<SystemTime>,
}

impl Snapshot {
    /// Decides on a call: a guard denies, else a crossed boundary denies, else a rule allows, else
    /// a grant does, else the default denies. Total, allocates nothing but for a path with encoded
    /// slashes, and costs the same however many rules and callers there are: it looks only at
    /// statements about this caller and call.
    pub fn decide(
        &self,
        caller: &SpiffeId,
        tls: &Tls,
        call: &Call<'_>,
        now: SystemTime,
    ) -> Decision {
        let reading = self.identities.read(caller);
        let facts = Facts { caller, is_ours: reading.is_ours, tls };
        let route = self.calls.route(call);
        let text = route.and_then(|route| self.calls.text(route));
        let answer = |verdict, by, until| Decision {
            verdict,
            by,
            route: text.cloned(),
            version: self.publication.version,
            until,
        };
        // AZ-02: deny beats allow.
        let against = self.guards.against(reading.caller, call, &facts);
        if let Some(guard) = against.denying {
            return answer(Verdict::Deny, guard.clone(), None);
        }
        let asked = reading.caller.zip(route);
        let allowing = asked.and_then(|it| self.rules.allowing(it, &reading, &facts, now));
        if let Some(allowing) = allowing {
            return match against.auditing {
                Some(guard) => answer(Verdict::Audit, guard.clone(), allowing.until),
                None => answer(Verdict::Allow, allowing.by.clone(), allowing.until),
            };
        }
        if let Some(variable) = self.identities.first(reading.crossed) {
            return answer(Verdict::Deny, By::Boundary(variable.clone()), None);
        }
        // AZ-03: `audit` softens the lack of a rule for our workloads, never a call in another
        // protocol, nor a change to one (HTTP-12), nor a path with two readings that no template
        // declares.
        let is_softened = self.mode == Mode::Audit
            && reading.caller.is_some_and(|caller| !self.identities.is_foreign(caller))
            && self.calls.speaks(call)
            && !call.is_upgrade()
            && (route.is_some() || !call.has_two_readings());
        match against.auditing {
            _ if !is_softened => answer(Verdict::Deny, By::Default, None),
            Some(guard) => answer(Verdict::Audit, guard.clone(), None),
            None => answer(Verdict::Audit, By::Default, None),
        }
    }

    /// Whether the node may ask this without an identity: only what the policy lists.
    pub fn is_probe(&self, method: &str, path: &RequestPath<'_>) -> bool {
        self.probes.contain(method, path.as_str())
    }
}
