//! What a connection or a call needs of the policy for as long as it takes.

use std::{sync::Arc, time::SystemTime};

use cellwall_mtls::Peer;
use cellwall_policy::{Call, Tls, Verdict};

use crate::{Authz, CloseReason, authz::Said, http::Canonical, listener::Declared};

/// What the policy has to go on saying for as long as a connection or a call takes.
#[derive(Clone, Debug)]
pub(crate) enum Needs {
    /// That our listener is what it was: for an HTTP connection, on which each request is asked of.
    Listener(Declared),
    /// The same, and that the caller may connect to it.
    Tcp(Declared),
    /// The same, and that the caller may make this request, as it was said to.
    Request(Declared, Arc<Canonical>, Said),
}

impl Needs {
    /// Whether the policy of this moment says so, and until when if it ends by itself.
    pub(super) fn asked_of(
        &self,
        authz: &Authz,
        peer: &Peer,
        (tls, now): (&Tls, SystemTime),
    ) -> Result<Option<SystemTime>, CloseReason> {
        let (at, call) = match self {
            Self::Listener(at) => return authz.declaring(*at).map(|_| None),
            Self::Tcp(at) => (*at, Some(Call::Tcp { port: at.port() })),
            Self::Request(_, _, said) if authz.still_says(said, now) => return Ok(said.until),
            Self::Request(at, canonical, _) => (*at, canonical.call(at.protocol())),
        };
        let decision = authz.ask(at, peer, tls, &call.ok_or(CloseReason::PolicyRevoked)?)?;
        match decision.verdict {
            Verdict::Allow | Verdict::Audit => Ok(decision.until),
            Verdict::Deny => Err(CloseReason::PolicyRevoked),
        }
    }
}
