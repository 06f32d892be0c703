//! What was decided: the recent denials for whoever asks here, all decisions for the flow feed.
//!
//! A call that is allowed takes no lock: it is pushed to a bounded queue. The lock of the recent
//! ones is taken by denials and by readers.

mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use cellwall_policy::{Decision, Protocol};
use crossbeam_queue::ArrayQueue;
use http::Method;
use metrics::counter;
use tokio::sync::Notify;

pub use record::DecisionRecord;
pub(crate) use record::is_denial;

use crate::flow::{Direction, FlowRecord};

/// Denials and audited calls that are kept here; older ones are forgotten.
pub(crate) const RECENT: usize = 1024;

/// Decisions of every kind that wait to be counted. Full: dropped and counted.
const COUNTED: usize = 4096;

/// Denials and audited calls that wait to be reported. Full: dropped and counted.
const UNREPORTED: usize = 1024;

/// How long the feed sleeps when nothing wakes it.
const TICK: Duration = Duration::from_millis(250);

/// How long the first denial waits for others, to go in one batch with them.
const LINGER: Duration = Duration::from_millis(50);

/// The decisions of this process. Nothing that writes to it waits.
#[derive(Debug)]
pub struct Decisions {
    recent: Mutex<VecDeque<Arc<DecisionRecord>>>,
    counted: ArrayQueue<Counted>,
    unreported: ArrayQueue<Arc<DecisionRecord>>,
    wake: Notify,
}

/// One decided call, as much of it as is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Who called.
    pub(crate) caller: Arc<str>,
    /// What was spoken.
    pub(crate) protocol: Option<Protocol>,
    /// The HTTP method.
    pub(crate) method: Option<Method>,
    /// What was decided.
    pub(crate) decision: Decision,
    /// When the call began.
    pub(crate) at: SystemTime,
}

/// Why something is not reported: the `reason` of `cellwall_decision_dropped_total`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dropped {
    /// The queue to the feed was full.
    Queue,
    /// More different calls since the last batch than are told apart.
    Edges,
    /// The control plane refused the batch.
    Refused,
    /// The process ended before it was reported.
    Stopped,
}

impl Dropped {
    /// All of them: their series are there from the start.
    pub(crate) const ALL: [Self; 4] = [Self::Queue, Self::Edges, Self::Refused, Self::Stopped];

    /// Counts `number` more.
    pub(crate) fn count(self, number: u64) {
        let reason = match self {
            Self::Queue => "queue",
            Self::Edges => "edges",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        };
        counter!("cellwall_decision_dropped_total", "reason" => reason).increment(number);
    }
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            counted: ArrayQueue::new(COUNTED),
            unreported: ArrayQueue::new(UNREPORTED),
            wake: Notify::new(),
        }
    }
}

impl Decisions {
    /// Takes note of an inbound flow that has ended, and what it needs out of the record.
    pub(crate) fn note(&self, record: &mut FlowRecord) {
        if record.direction == Direction::Outbound {
            return; // the callee's sidecar decides, and reports
        }
        let method = record.asked().and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        if record.decision_id.is_some() {
            self.keep(Arc::new(DecisionRecord::of(record)));
        }
        let (Some(decision), Some(caller)) = (record.decision.take(), record.caller.id.take())
        else {
            return;
        };
        let counted =
            Counted { caller, protocol: record.protocol, method, decision, at: record.began };
        if self.counted.push(counted).is_err() {
            Dropped::Queue.count(1);
        } else if self.counted.len() >= COUNTED / 2 {
            self.wake.notify_one();
        }
    }

    fn keep(&self, record: Arc<DecisionRecord>) {
        if self.unreported.push(record.clone()).is_err() {
            Dropped::Queue.count(1);
        }
        self.wake.notify_one();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(record);
    }

    /// The newest first, at most `limit`.
    pub fn recent(&self, limit: usize) -> Vec<Arc<DecisionRecord>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().take(limit).cloned().collect()
    }

    /// The one with this id, if it is not forgotten.
    pub fn find(&self, id: &str) -> Option<Arc<DecisionRecord>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|record| record.id == id).cloned()
    }

    /// Resolves when the feed should look again.
    pub(crate) async fn due(&self) {
        // Cancelling is right: a wake that is lost is made up for by the next tick.
        tokio::select! {
            () = self.wake.notified() => tokio::time::sleep(LINGER).await,
            () = tokio::time::sleep(TICK) => {}
        }
    }

    /// The next one to count.
    pub(crate) fn counted(&self) -> Option<Counted> {
        self.counted.pop()
    }

    /// The next one to report.
    pub(crate) fn unreported(&self) -> Option<Arc<DecisionRecord>> {
        self.unreported.pop()
    }
}
