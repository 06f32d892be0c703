//! Spans of sampled calls: who is sampled is decided when a call begins, what is told of it is made from
//! its record when it has ended, and nothing waits for the collector.

mod context;
mod export;
mod span;

use std::{sync::Arc, time::Duration};

use cellwall_api::otlp::trace::v1::Span;
use crossbeam_queue::ArrayQueue;
use http::HeaderMap;
use metrics::counter;
use rand::Rng as _;
use tokio::sync::Notify;

pub(crate) use self::context::Parent;
use self::context::{Begins, SAMPLED, SpanId, TraceId};
pub use self::export::SpanFeed;
use crate::flow::FlowRecord;

/// Spans that wait for the collector. Full: dropped and counted.
const QUEUE: usize = 2048;

/// How many go at once.
const BATCH: usize = 512;

/// How long the first of a batch waits for others.
const TICK: Duration = Duration::from_secs(1);

/// Who is sampled, and the spans that wait. Nothing that writes to it waits.
#[derive(Debug)]
pub struct Spans {
    ratio: f64,
    queue: ArrayQueue<Span>,
    wake: Notify,
}

/// Our own span in a trace.
#[derive(Clone, Debug)]
pub(crate) struct Sampled {
    trace: TraceId,
    ours: SpanId,
    parent: Option<SpanId>,
    flags: u8,
    state: Option<Box<str>>,
}

/// Why a span was never kept: the `reason` of `cellwall_spans_dropped_total`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Dropped {
    /// The queue was full.
    Queue,
    /// The collector does not take it.
    Refused,
    /// The process ended before.
    Stopped,
}

impl Spans {
    /// Samples the calls whose callers do, and of those that come without a trace this share, from 0
    /// to 1.
    pub fn new(ratio: f64) -> Arc<Self> {
        let (queue, wake) = (ArrayQueue::new(QUEUE), Notify::new());
        Arc::new(Self { ratio, queue, wake })
    }

    /// Our span of a call that begins, if it is sampled. Of the others nothing is made.
    pub(crate) fn sample(&self, parent: Option<Parent>, headers: &HeaderMap) -> Option<Sampled> {
        let ours = || SpanId::new(rand::rng().next_u64().to_be_bytes());
        match parent {
            Some(parent) if parent.is_sampled() => Some(Sampled {
                trace: parent.trace,
                ours: ours()?,
                parent: Some(parent.span),
                flags: parent.flags,
                state: context::state(headers),
            }),
            None if self.picks() => {
                let (high, low) = (rand::rng().next_u64(), rand::rng().next_u64());
                let trace = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
                let (trace, flags) = (TraceId::new(trace)?, SAMPLED);
                Some(Sampled { trace, ours: ours()?, parent: None, flags, state: None })
            }
            Some(_) | None => None,
        }
    }

    /// By 53 bits, which an `f64` holds exactly.
    fn picks(&self) -> bool {
        self.ratio > 0.0
            && (rand::rng().next_u64() >> 11) as f64 / ((1_u64 << 53) as f64) < self.ratio
    }

    /// Tells of a call that has ended, if it is sampled.
    pub(crate) fn note(&self, record: &FlowRecord) {
        let Some(sampled) = &record.span else { return };
        if self.queue.push(span::of(record, sampled)).is_err() {
            Dropped::Queue.count(1);
        } else if self.queue.len() >= BATCH {
            self.wake.notify_one();
        }
    }

    /// Resolves when the feed should look again.
    async fn due(&self) {
        // Cancelling is right: a wake that is lost is made up for by the next tick.
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }

    fn batch(&self) -> Vec<Span> {
        std::iter::from_fn(|| self.queue.pop()).take(BATCH).collect()
    }
}

impl Sampled {
    /// The trace that it is part of.
    pub(crate) fn trace(&self) -> TraceId {
        self.trace
    }

    /// Makes it the parent of what comes next.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let said = Parent { trace: self.trace, span: self.ours, flags: self.flags };
        let begins = if self.parent.is_some() { Begins::Before } else { Begins::Here };
        context::write(headers, said, begins);
    }
}

impl Dropped {
    const ALL: [Self; 3] = [Self::Queue, Self::Refused, Self::Stopped];

    fn count(self, number: u64) {
        let reason = match self {
            Self::Queue => "queue",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        };
        counter!("cellwall_spans_dropped_total", "reason" => reason).increment(number);
    }
}
