//! Why a document is no policy.

use thiserror::Error;

use crate::{CallError, ConditionError, IdentityError, NotADigest, SCHEMA};

/// Why a document is no policy. Nothing of it is used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SnapshotError {
    /// The schema is not this release's.
    #[error("schema {0} is not known, this release reads schema {SCHEMA}")]
    Schema(u32),
    /// A text that must be a name is none.
    #[error("`{0}` is not a name")]
    Name(String),
    /// Two callers, rules, guards or destinations have one name.
    #[error("`{0}` stands twice")]
    Duplicate(String),
    /// The trust domain is not the identity template's.
    #[error("the identity template is not of trust domain `{0}`")]
    TrustDomain(String),
    /// The template, or the identity of a caller, is not legal.
    #[error("identity of `{name}`")]
    Identity {
        /// Whose: a caller's name, or `identity`.
        name: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// A SPIFFE ID is not canonical, of another trust domain, reserved or without environment.
    #[error("`{0}` is not an ID of this policy")]
    Id(String),
    /// Two callers would have one ID.
    #[error("`{0}` has the IDs of another caller")]
    SameId(String),
    /// A rule or guard names a caller that is not listed.
    #[error("`{by}` names the unknown caller `{caller}`")]
    UnknownCaller {
        /// The rule or guard.
        by: String,
        /// The name.
        caller: String,
    },
    /// A condition is not legal here.
    #[error("condition of `{by}`")]
    Condition {
        /// The rule or guard.
        by: String,
        /// What is wrong.
        source: ConditionError,
    },
    /// A rule names a variable that the identity template does not have.
    #[error("`{0}` goes across a variable that the identity template does not have")]
    Across(String),
    /// A probe is not a method and a canonical path.
    #[error("`{0}` is not a probe")]
    Probe(String),
    /// A call is not legal for this callee.
    #[error("calls of this callee")]
    Call(#[from] CallError),
    /// The digest is none.
    #[error("digest")]
    Digest(#[from] NotADigest),
    /// The date is beyond what this machine can count to.
    #[error("{0} is not a date")]
    Date(u64),
    /// There is no listener, a port is 0, one stands twice, or has a version and is not HTTP.
    #[error(
        "a callee listens on at least one port, each from 1 to 65535 and once; HTTP has a version"
    )]
    Listeners,
    /// The callee's workload is told who calls in no header, or in one twice.
    #[error("a workload is told who calls in at least one header, in each once")]
    IdentityHeaders,
    /// There is more than one snapshot may hold.
    #[error("more {0} than one snapshot may hold")]
    TooMany(&'static str),
}
