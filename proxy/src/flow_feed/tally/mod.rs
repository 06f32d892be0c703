//! What was decided since the last batch: calls counted, denials one by one, both bounded.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cellwall_api::distribution::{EdgeCount, FlowBatch};
use cellwall_policy::{By, PolicyVersion, Protocol, Verdict};
use prost::Message as _;
use tokio::time::Instant;

use crate::{
    DecisionRecord, Decisions,
    decisions::{Counted, Dropped},
};

/// Different calls that are told apart between two batches. One more is dropped and counted.
pub(super) const MAX_EDGES: usize = 1024;

/// Denials that wait for a batch. The oldest is dropped and counted: the newest is asked about.
const MAX_DECISIONS: usize = 1024;

/// Denials in one batch.
const BATCH_DECISIONS: usize = 256;

/// The bytes of one batch, about: below what the control plane reads.
const BATCH_BYTES: usize = 96 * 1024;

/// Tag and length of a message within the batch, at most.
const FRAMING: usize = 8;

/// How long counts are collected; denials do not wait.
const COLLECTED: Duration = Duration::from_secs(5);

/// Decisions on their way into a batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    edges: HashMap<Edge, Counts, foldhash::fast::RandomState>,
    /// When the oldest count came.
    since: Option<Instant>,
    decisions: VecDeque<Arc<DecisionRecord>>,
    dropped: u64,
}

/// Calls that are one: what the policy made of who called what.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Edge {
    caller: Arc<str>,
    method: Option<http::Method>,
    route: Option<Arc<str>>,
    verdict: Verdict,
    by: By,
    version: PolicyVersion,
}

#[derive(Debug)]
struct Counts {
    count: u64,
    first: SystemTime,
    last: SystemTime,
}

impl Tally {
    /// Empties the queues.
    pub(super) fn absorb(&mut self, decisions: &Decisions) {
        while let Some(counted) = decisions.counted() {
            self.count(counted);
        }
        while let Some(record) = decisions.unreported() {
            if self.decisions.len() >= MAX_DECISIONS {
                self.decisions.pop_front();
                self.drop(Dropped::Queue);
            }
            self.decisions.push_back(record);
        }
    }

    fn count(&mut self, counted: Counted) {
        let Counted { caller, protocol, method, decision, at } = counted;
        // What no template matches has no name of its own: a caller must not make any (OBS-08).
        let named = protocol == Some(Protocol::Http) && decision.route.is_some();
        let edge = Edge {
            caller,
            method: method.filter(|_| named),
            route: decision.route,
            verdict: decision.verdict,
            by: decision.by,
            version: decision.version,
        };
        if let Some(counts) = self.edges.get_mut(&edge) {
            counts.count += 1;
            counts.first = counts.first.min(at);
            counts.last = counts.last.max(at);
        } else if self.edges.len() < MAX_EDGES {
            self.edges.insert(edge, Counts { count: 1, first: at, last: at });
            self.since.get_or_insert_with(Instant::now);
        } else {
            self.drop(Dropped::Edges);
        }
    }

    fn drop(&mut self, why: Dropped) {
        why.count(1);
        self.dropped += 1;
    }

    /// Whether a batch should go now.
    pub(super) fn is_due(&self) -> bool {
        !self.decisions.is_empty() || self.since.is_some_and(|since| since.elapsed() >= COLLECTED)
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.edges.is_empty()
    }

    /// How many decisions of either kind are not in a batch yet.
    pub(super) fn left(&self) -> u64 {
        let counted: u64 = self.edges.values().map(|counts| counts.count).sum();
        counted + self.decisions.len() as u64
    }

    /// Takes as much as fits into one batch; the caller adds who and which number.
    pub(super) fn batch(&mut self) -> FlowBatch {
        let mut batch =
            FlowBatch { dropped: std::mem::take(&mut self.dropped), ..FlowBatch::default() };
        let mut room = BATCH_BYTES;
        while batch.decisions.len() < BATCH_DECISIONS
            && let Some(record) = self.decisions.front()
        {
            let wire = record.wire();
            let Some(rest) = room.checked_sub(wire.encoded_len() + FRAMING) else { break };
            room = rest;
            batch.decisions.push(wire);
            self.decisions.pop_front();
        }
        let edges = std::mem::take(&mut self.edges);
        for (edge, counts) in edges {
            let wire = edge.wire(&counts);
            match room.checked_sub(wire.encoded_len() + FRAMING) {
                Some(rest) => {
                    room = rest;
                    batch.edges.push(wire);
                }
                None => drop(self.edges.insert(edge, counts)),
            }
        }
        self.since = if self.edges.is_empty() { None } else { self.since };
        batch
    }
}

impl Edge {
    fn wire(&self, counts: &Counts) -> EdgeCount {
        let route = self.route.as_deref().unwrap_or_default();
        EdgeCount {
            caller: self.caller.to_string(),
            call: match &self.method {
                Some(method) => format!("{method} {route}"),
                None => route.to_owned(),
            },
            verdict: self.verdict.as_str().to_owned(),
            by: self.by.to_string(),
            policy_version: self.version.0,
            count: counts.count,
            first_ms: milliseconds(counts.first),
            last_ms: milliseconds(counts.last),
        }
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
