//! One record per connection and per call: the source of its log line and of its metrics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use cellwall_mtls::Peer;
use cellwall_policy::{Decision, Protocol, Snapshot};
use spiffe::SpiffeId;

use crate::{
    CloseReason, Decisions, Permit, authz::Denied, decision_id::DecisionId, decisions::is_denial,
    logging::AccessLog, metrics,
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
#[derive(Clone, Debug, Default)]
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
    /// How long it took.
    pub duration: Duration,
    /// How long the other side took of it, until the head of its answer.
    pub upstream: Option<Duration>,
    /// The remote end: the caller's sidecar inbound, our workload outbound.
    pub remote: SocketAddr,
    /// What is spoken, once known.
    pub protocol: Option<Protocol>,
    /// The environment of our workload.
    pub environment: Arc<str>,
    /// Who calls.
    pub caller: Party,
    /// The serial number of the caller's certificate, inbound.
    pub caller_serial: Option<String>,
    /// Who is called.
    pub callee: Party,
    /// What the policy said, if it was asked.
    pub decision: Option<Decision>,
    /// The name of a denial or a revocation, or of a call that passed in audit.
    pub decision_id: Option<DecisionId>,
    /// The HTTP method.
    pub method: Option<http::Method>,
    /// The gRPC method, `package.Service/Method`.
    pub rpc: Option<Box<str>>,
    /// The HTTP status that the caller got.
    pub status: Option<u16>,
    /// The gRPC status that the caller got.
    pub grpc_status: Option<u16>,
    /// The trace that the call belongs to (W3C Trace Context).
    pub trace_id: Option<Box<str>>,
    /// Bytes of bodies, or of a TCP connection: from the caller, and to it.
    pub bytes: (u64, u64),
    /// How it ended.
    pub close: CloseReason,
}

/// Where records go.
#[derive(Clone, Debug)]
pub struct Flows {
    log: AccessLog,
    decisions: Arc<Decisions>,
}

/// A flow in progress. Dropping it writes its record: none is lost, none is written twice.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) record: FlowRecord,
    pub(crate) bytes: Arc<Bytes>,
    started: Instant,
    flows: Flows,
}

/// Bytes counted while a flow runs.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    request: AtomicU64,
    response: AtomicU64,
}

impl Flows {
    /// Writes each record to `log` and into the metrics, and takes note of what was decided.
    pub fn new(log: AccessLog) -> Self {
        Self { log, decisions: Arc::default() }
    }

    /// What was decided.
    pub fn decisions(&self) -> &Arc<Decisions> {
        &self.decisions
    }

    pub(crate) fn open(&self, kind: Kind, direction: Direction, remote: SocketAddr) -> Flow {
        let record = FlowRecord {
            kind,
            direction,
            began: SystemTime::now(),
            duration: Duration::ZERO,
            upstream: None,
            remote,
            protocol: None,
            environment: Arc::default(),
            caller: Party::default(),
            caller_serial: None,
            callee: Party::default(),
            decision: None,
            decision_id: None,
            method: None,
            rpc: None,
            status: None,
            grpc_status: None,
            trace_id: None,
            bytes: (0, 0),
            close: CloseReason::Cancelled, // what a dropped task means
        };
        Flow { record, bytes: Arc::default(), started: Instant::now(), flows: self.clone() }
    }
}

impl FlowRecord {
    /// Gives a denial its id, whichever room denied: no denial is recorded without one.
    fn name_denial(&mut self) {
        if self.direction == Direction::Inbound && self.decision_id.is_none() && is_denial(self) {
            self.decision_id = Some(DecisionId::new());
        }
    }
}

impl Flow {
    /// An inbound flow: `peer` calls us.
    pub(crate) fn identify_caller(&mut self, peer: &Peer, snapshot: Option<&Snapshot>) {
        self.ours(snapshot, Direction::Inbound);
        let workload = snapshot.and_then(|snapshot| snapshot.workload_of(peer.id())).cloned();
        self.record.caller = Party { workload, id: Some(peer.id_text().into()) };
        self.record.caller_serial = Some(peer.serial().to_string());
    }

    /// An outbound flow: we call `expected`, which the destination `name` stands for.
    pub(crate) fn identify_callee(
        &mut self,
        name: &Arc<str>,
        expected: Option<&SpiffeId>,
        snapshot: Option<&Snapshot>,
    ) {
        self.ours(snapshot, Direction::Outbound);
        let id = expected.map(|id| id.to_string().into());
        self.record.callee = Party { workload: Some(name.clone()), id };
    }

    fn ours(&mut self, snapshot: Option<&Snapshot>, direction: Direction) {
        let Some(snapshot) = snapshot else { return };
        let us = Party {
            workload: Some(snapshot.workload().clone()),
            id: Some(snapshot.callee().to_string().into()),
        };
        self.record.environment = snapshot.environment().into();
        match direction {
            Direction::Inbound => self.record.callee = us,
            Direction::Outbound => self.record.caller = us,
        }
    }

    pub(crate) fn permitted(&mut self, permit: &Permit) {
        self.record.decision = Some(permit.decision().clone());
        self.record.decision_id = permit.audited().copied();
    }

    pub(crate) fn denied(&mut self, denied: &Denied) {
        self.record.decision.clone_from(&denied.decision);
        self.record.decision_id = Some(denied.id);
    }

    /// Ends the flow. Dropping it without this means that the caller went away.
    pub(crate) fn close(mut self, reason: CloseReason) {
        self.record.close = reason;
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.record.duration = self.started.elapsed();
        self.record.bytes = self.bytes.both();
        self.record.name_denial();
        metrics::flow_ended(&self.record);
        self.flows.log.write(&self.record);
        self.flows.decisions.note(&mut self.record);
    }
}

impl Bytes {
    pub(crate) fn add_request(&self, bytes: usize) {
        self.request.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_response(&self, bytes: usize) {
        self.response.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn both(&self) -> (u64, u64) {
        (self.request.load(Ordering::Relaxed), self.response.load(Ordering::Relaxed))
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
