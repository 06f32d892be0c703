//! Why a connection or a call ended: one closed list for logs, metrics and flow records.

use cellwall_mtls::{HandshakeError, Refusal};

/// The end of a flow. The wire name of each is a metric label, so a name never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// Both sides closed, or both the request and its answer were passed on whole.
    Done,
    /// The answer was delivered whole, but the callee has not taken all of the request.
    AnsweredEarly,
    /// The grace period of a drain ran out.
    Drained,
    /// The caller went away before the end of the response.
    Cancelled,
    /// A side broke the protocol, or reset the connection.
    Io,
    /// The request's path has more than one reading (HTTP-08).
    PathAmbiguous,
    /// The request's framing, method or authority has more than one reading (HTTP-01..06).
    RequestAmbiguous,
    /// The request's head is longer than what another sidecar takes (RES-04).
    RequestTooLong,
    /// The policy does not allow it.
    PolicyDenied,
    /// A policy published since then does not allow it any more.
    PolicyRevoked,
    /// A certificate of either side has ended.
    SvidExpired,
    /// Our own SVID was taken from us.
    SvidWithdrawn,
    /// The other side is not trusted any more: denied, or its authority is gone.
    TrustWithdrawn(Refusal),
    /// There is no verified policy to ask (AZ-01).
    NoPolicy,
    /// The policy declares no such listener of our workload, or not as it did.
    NotDeclared,
    /// The policy knows no such destination.
    NoRoute,
    /// Nobody serves the destination now.
    NoEndpoint,
    /// The handshake was refused, by us or by the other side.
    TlsRefused(Refusal),
    /// The workload, or the other sidecar, could not be reached.
    ConnectFailed,
    /// It was reached, and failed before it answered: whether it acted is unknown, unless it said that
    /// it did not.
    UpstreamFailed,
    /// It was reached, and its answer has more than one reading (HTTP-23): whether it acted is unknown.
    AnswerAmbiguous,
    /// It was reached, and did not answer in time: whether it acted is unknown.
    UpstreamTimeout,
}

impl CloseReason {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AnsweredEarly => "answered_early",
            Self::Drained => "drained",
            Self::Cancelled => "cancelled",
            Self::Io => "io",
            Self::PathAmbiguous => "path_ambiguous",
            Self::RequestAmbiguous => "request_ambiguous",
            Self::RequestTooLong => "request_too_long",
            Self::PolicyDenied => "policy_denied",
            Self::PolicyRevoked => "policy_revoked",
            Self::SvidExpired => "svid_expired",
            Self::SvidWithdrawn => "svid_withdrawn",
            Self::TrustWithdrawn(_) => "trust_withdrawn",
            Self::NoPolicy => "no_policy",
            Self::NotDeclared => "not_declared",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_endpoint",
            Self::TlsRefused(_) => "tls_refused",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamFailed => "upstream_failed",
            Self::AnswerAmbiguous => "answer_ambiguous",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// Why the other side is not trusted, if that is what happened.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::TlsRefused(refusal) | Self::TrustWithdrawn(refusal) => Some(refusal),
            Self::Done
            | Self::AnsweredEarly
            | Self::Drained
            | Self::Cancelled
            | Self::Io
            | Self::PathAmbiguous
            | Self::RequestAmbiguous
            | Self::RequestTooLong
            | Self::PolicyDenied
            | Self::PolicyRevoked
            | Self::SvidExpired
            | Self::SvidWithdrawn
            | Self::NoPolicy
            | Self::NotDeclared
            | Self::NoRoute
            | Self::NoEndpoint
            | Self::ConnectFailed
            | Self::UpstreamFailed
            | Self::AnswerAmbiguous
            | Self::UpstreamTimeout => None,
        }
    }
}

impl From<&HandshakeError> for CloseReason {
    fn from(error: &HandshakeError) -> Self {
        Self::TlsRefused(error.refusal)
    }
}
