//! What is told of a flow that has ended.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_policy::{Decision, Protocol};

use crate::{
    CloseReason, decision_id::DecisionId, decisions::is_denial, http::Upgrade, spans::Sampled,
};

/// Which way a flow goes, seen from our workload.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// Towards our workload.
    Inbound,
    /// From our workload.
    Outbound,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One HTTP request or gRPC call.
    Call,
    /// One TCP connection, or a connection that never came to a call.
    Connection,
}

/// One side of a flow. The name is bounded by the policy, the ID is whatever was proved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Party {
    /// The workload's name, if the policy in force knows the identity.
    pub workload: Option<Arc<str>>,
    /// The SPIFFE ID.
    pub id: Option<Arc<str>>,
}

/// Everything that is told of a flow.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Call or connection.
    pub kind: Kind,
    /// Which way.
    pub direction: Direction,
    /// When it began.
    pub began: SystemTime,
    /// How long it took, until the end of both directions.
    pub duration: Duration,
    /// When it was decided, since it began: by policy inbound, outbound when the way was known.
    pub decided: Option<Duration>,
    /// How long the other side took of it, until the head of its answer.
    pub upstream: Option<Duration>,
    /// When the first byte of the answer's body went to the caller, since it began.
    pub first_byte: Option<Duration>,
    /// When the request's body was at its end, since it began.
    pub request_end: Option<Duration>,
    /// The remote end: the caller's sidecar inbound, our workload outbound.
    pub remote: SocketAddr,
    /// What is spoken, once known.
    pub protocol: Option<Protocol>,
    /// The environment of our workload.
    pub environment: Arc<str>,
    /// Who calls.
    pub caller: Party,
    /// The serial number of the caller's certificate, inbound.
    pub caller_serial: Option<Arc<str>>,
    /// Who is called.
    pub callee: Party,
    /// What the policy said, if it was asked.
    pub decision: Option<Decision>,
    /// The name of a denial or a revocation, or of a call that passed in audit.
    pub decision_id: Option<DecisionId>,
    /// The HTTP method.
    pub method: Option<http::Method>,
    /// The protocol that the call was granted to go on in, or went on in: with status 101 it did.
    pub(crate) upgrade: Option<Upgrade>,
    /// The gRPC method, `package.Service/Method`.
    pub rpc: Option<Box<str>>,
    /// The HTTP status that the caller got.
    pub status: Option<u16>,
    /// The gRPC status that the caller got.
    pub grpc_status: Option<u16>,
    /// The trace that the call belongs to (W3C Trace Context).
    pub trace_id: Option<Box<str>>,
    /// Our own span, if the call is sampled.
    pub(crate) span: Option<Box<Sampled>>,
    /// Bytes of bodies, or of a TCP connection, that were passed on: from the caller, and to it.
    pub bytes: (u64, u64),
    /// How it ended.
    pub close: CloseReason,
    /// What became of it.
    pub fate: Outcome,
    /// How often the call was made: twice at most, and once unless the policy declares it idempotent.
    pub attempts: u8,
}

/// What became of a flow, as far as this sidecar can know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All of the request was passed on, and all of the answer.
    Done,
    /// The callee has done nothing.
    NotDone,
    /// The callee may have acted.
    Unknown,
}

impl FlowRecord {
    /// Of a flow that begins. Until it says more, its task was dropped before anything was sent.
    pub(crate) fn begun(kind: Kind, direction: Direction, remote: SocketAddr) -> Self {
        Self::of(kind, direction, (remote, SystemTime::now()))
    }

    /// The same, of one that began then.
    pub(super) fn of(
        kind: Kind,
        direction: Direction,
        (remote, began): (SocketAddr, SystemTime),
    ) -> Self {
        Self {
            kind,
            direction,
            began,
            duration: Duration::ZERO,
            decided: None,
            upstream: None,
            first_byte: None,
            request_end: None,
            remote,
            protocol: None,
            environment: Arc::default(),
            caller: Party::default(),
            caller_serial: None,
            callee: Party::default(),
            decision: None,
            decision_id: None,
            method: None,
            upgrade: None,
            rpc: None,
            status: None,
            grpc_status: None,
            trace_id: None,
            span: None,
            bytes: (0, 0),
            close: CloseReason::Cancelled,
            fate: Outcome::NotDone,
            attempts: 1,
        }
    }

    /// The method, as the policy was asked: `GET+websocket` for a call that may go on in that.
    pub(crate) fn asked(&self) -> Option<&str> {
        let method = self.method.as_ref().map(http::Method::as_str);
        self.upgrade.as_ref().map(Upgrade::method).or(method)
    }

    /// Gives a denial its id, whichever room denied: no denial is recorded without one.
    pub(super) fn name_denial(&mut self) {
        if self.direction == Direction::Inbound && self.decision_id.is_none() && is_denial(self) {
            self.decision_id = Some(DecisionId::new());
        }
    }
}

impl Direction {
    /// The name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl Kind {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Connection => "connection",
        }
    }
}

impl Outcome {
    /// The name in logs, and of those that are told, in `cellwall-outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotDone => "not-done",
            Self::Unknown => "unknown",
        }
    }
}
