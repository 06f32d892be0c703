//! One record per connection and per call: the source of its log line and of its metrics.

mod progress;
mod record;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_mtls::Peer;
use cellwall_policy::Snapshot;
use http::{HeaderMap, Request};

pub(crate) use self::progress::{Attempt, Progress, Way};
pub use self::record::{Direction, FlowRecord, Kind, Outcome, Party};
use crate::{
    CloseReason, Decisions, Permit, Spans,
    authz::Denied,
    logging::AccessLog,
    metrics,
    spans::{Parent, Sampled},
};

/// Where records go. Cheap to clone, for each flow has it.
#[derive(Clone, Debug)]
pub struct Flows {
    sinks: Arc<Sinks>,
}

#[derive(Clone, Debug)]
struct Sinks {
    log: AccessLog,
    decisions: Arc<Decisions>,
    spans: Option<Arc<Spans>>,
}

/// A flow in progress. Once this and all of its bytes in transit are dropped its record is written:
/// none is lost, none is written twice.
#[derive(Debug)]
pub(crate) struct Flow {
    /// In a box: a flow goes from hand to hand.
    pub(crate) record: Box<FlowRecord>,
    pub(crate) progress: Arc<Progress>,
    flows: Flows,
    /// What this proxy itself has taken of it until it was sent.
    overhead: Duration,
}

impl Flows {
    /// Writes each record to `log` and into the metrics, and takes note of what was decided.
    pub fn new(log: AccessLog) -> Self {
        Self { sinks: Arc::new(Sinks { log, decisions: Arc::default(), spans: None }) }
    }

    /// The same, with a span of each call that is sampled.
    #[must_use]
    pub fn tracing(self, spans: Arc<Spans>) -> Self {
        let sinks = Sinks { spans: Some(spans), ..(*self.sinks).clone() };
        Self { sinks: Arc::new(sinks) }
    }

    /// The spans of sampled calls, if there is a collector.
    pub fn spans(&self) -> Option<&Arc<Spans>> {
        self.sinks.spans.as_ref()
    }

    /// What was decided.
    pub fn decisions(&self) -> &Arc<Decisions> {
        &self.sinks.decisions
    }

    pub(crate) fn open(&self, kind: Kind, direction: Direction, remote: SocketAddr) -> Flow {
        let record = Box::new(FlowRecord::begun(kind, direction, remote));
        Flow {
            progress: Arc::new(Progress::of(&record)),
            record,
            flows: self.clone(),
            overhead: Duration::ZERO,
        }
    }

    /// Nothing of the flow is left: it is told.
    fn ended(&self, record: &mut FlowRecord) {
        record.name_denial();
        metrics::flow_ended(record);
        self.sinks.log.write(record);
        if let Some(spans) = &self.sinks.spans {
            spans.note(record);
        }
        self.sinks.decisions.note(record);
    }
}

impl Flow {
    /// An inbound flow: `peer` calls us.
    pub(crate) fn identify_caller(&mut self, peer: &Peer, snapshot: Option<&Snapshot>) {
        self.ours(snapshot, Direction::Inbound);
        let workload = snapshot.and_then(|snapshot| snapshot.workload_of(peer.id())).cloned();
        self.record.caller = Party { workload, id: Some(peer.shared_id_text()) };
        self.record.caller_serial = Some(peer.shared_serial_text());
    }

    /// An outbound flow: we call `expected`, which the destination `name` stands for.
    pub(crate) fn identify_callee(
        &mut self,
        name: &Arc<str>,
        expected: Option<&Arc<str>>,
        snapshot: Option<&Snapshot>,
    ) {
        self.ours(snapshot, Direction::Outbound);
        self.record.callee = Party { workload: Some(name.clone()), id: expected.cloned() };
    }

    fn ours(&mut self, snapshot: Option<&Snapshot>, direction: Direction) {
        let Some(snapshot) = snapshot else { return };
        let us = Party {
            workload: Some(snapshot.workload().clone()),
            id: Some(snapshot.callee_text().clone()),
        };
        self.record.environment = snapshot.environment().clone();
        match direction {
            Direction::Inbound => self.record.callee = us,
            Direction::Outbound => self.record.caller = us,
        }
    }

    /// Finds its place in its caller's trace, or begins one: before anything else is made of it.
    pub(crate) fn trace(&mut self, headers: &HeaderMap) {
        let parent = Parent::of(headers);
        let sampled =
            self.flows.sinks.spans.as_ref().and_then(|spans| spans.sample(parent, headers));
        let trace = sampled.as_ref().map(Sampled::trace).or_else(|| parent.map(|it| it.trace));
        self.record.trace_id = trace.map(|trace| format!("{trace:?}").into());
        self.record.span = sampled.map(Box::new);
    }

    /// Makes our span the parent of what comes next. Of a call that is not sampled nothing is touched.
    pub(crate) fn stamp<B>(&self, request: &mut Request<B>) {
        if let Some(sampled) = &self.record.span {
            sampled.write(request.headers_mut());
        }
    }

    /// From here on the other side may have acted.
    pub(crate) fn leaves(&mut self) {
        self.record.fate = Outcome::Unknown;
    }

    /// It is known where it goes: since now.
    pub(crate) fn decided(&mut self) -> Instant {
        let now = Instant::now();
        self.record.decided = Some(now - self.progress.started());
        now
    }

    /// What was sent then is answered, or is not.
    pub(crate) fn answered(&mut self, sent: Instant) {
        let now = Instant::now();
        self.record.upstream = Some(now - sent);
        self.overhead = sent - self.progress.started();
    }

    /// What this proxy itself has taken of a call until it was sent.
    pub(crate) const fn overhead(&self) -> Duration {
        self.overhead
    }

    pub(crate) fn permitted(&mut self, permit: &Permit) {
        self.decided();
        self.record.decision = Some(permit.decision().clone());
        self.record.decision_id = permit.audited().copied();
    }

    pub(crate) fn denied(&mut self, denied: &Denied) {
        self.decided();
        self.record.decision.clone_from(&denied.decision);
        self.record.decision_id = Some(denied.id);
    }

    /// Ends the flow. Dropping it without this means that the caller went away.
    pub(crate) fn close(mut self, reason: CloseReason) {
        self.record.close = reason;
        if self.record.kind == Kind::Connection && reason == CloseReason::Done {
            self.record.fate = Outcome::Done;
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let FlowRecord { kind, direction, remote, began, .. } = *self.record;
        let nothing = Box::new(FlowRecord::of(kind, direction, (remote, began)));
        let record = std::mem::replace(&mut self.record, nothing);
        self.progress.conclude(record, self.flows.clone());
    }
}
