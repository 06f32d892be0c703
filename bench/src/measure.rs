//! Counting what happens, while it happens and at the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Control, LoadError, Shares};

/// The longest latency that is told apart from longer ones, in microseconds: ten minutes.
const MAX_US: u64 = 600_000_000;

/// A run, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `open` or `closed`.
    pub mode: String,
    /// Requests per second that the schedule asked for; none in a closed loop.
    pub wanted_rate: Option<f64>,
    /// Answers per second that there were, right or wrong.
    pub achieved_rate: f64,
    /// How long the run took.
    pub seconds: f64,
    /// Requests that were begun.
    pub sent: u64,
    /// Those answered with 2xx.
    pub ok: u64,
    /// All others by kind: `status_403`, `grpc_7`, `wrong`, `connect`, `closed`, `timeout`.
    pub errors: BTreeMap<String, u64>,
    /// Connections opened.
    pub connections_opened: u64,
    /// Connections that ended although the run still wanted them.
    pub connections_closed: u64,
    /// Of requests answered with 2xx; in an open loop from their intended start on.
    pub latency_us: Latency,
    /// How much later than intended requests were begun, all of them; open loop only.
    pub start_delay_us: Option<Latency>,
    /// Bytes that passed one way; only of a load that is about bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What each client had; only of a closed loop in which each counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
}

impl Report {
    /// All requests without a right answer.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many there are.
    pub count: u64,
    /// Half of them are not above.
    pub p50: u64,
    /// 90 % are not above.
    pub p90: u64,
    /// 99 % are not above.
    pub p99: u64,
    /// 99.9 % are not above.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// The mean.
    pub mean: f64,
}

/// What happened since the last message of this kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Seconds since the run began.
    pub second: f64,
    /// Requests answered with 2xx since the last message.
    pub ok: u64,
    /// Requests that failed since the last message.
    pub failed: u64,
    /// Latency of the right ones since the last message.
    pub latency_us: Latency,
    /// All requests begun so far.
    pub total_sent: u64,
    /// All that failed so far.
    pub total_failed: u64,
    /// All connections that ended, so far, although the run still wanted them.
    pub connections_closed: u64,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a status.
    Status(u16),
    /// With a status of gRPC; none where the trailers have none.
    Grpc(Option<u16>),
    /// As it should, where there is no status.
    Done,
    /// With other bytes than the server sends.
    Wrong,
    /// There was no connection.
    Connect,
    /// The connection ended before the answer did.
    Closed,
    /// There was no answer in time.
    Timeout,
}

impl Outcome {
    pub(crate) const fn is_ok(&self) -> bool {
        matches!(self, Self::Status(200..300) | Self::Grpc(Some(0)) | Self::Done)
    }

    fn kind(&self) -> String {
        match self {
            Self::Status(status) => format!("status_{status}"),
            Self::Grpc(Some(status)) => format!("grpc_{status}"),
            Self::Grpc(None) => "grpc_without_status".to_owned(),
            Self::Done => "done".to_owned(),
            Self::Wrong => "wrong".to_owned(),
            Self::Connect => "connect".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
        }
    }
}

/// Collects from all tasks of a run.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    total: Histogram<u64>,
    interval: Histogram<u64>,
    start_delay: Histogram<u64>,
    sent: u64,
    ok: u64,
    errors: BTreeMap<String, u64>,
    opened: u64,
    closed: u64,
    bytes: Option<u64>,
    /// Right answers of each client that has ended.
    served: Vec<u64>,
    /// `ok` and failures when the last progress was told.
    told: (u64, u64),
}

impl Recorder {
    pub(crate) fn new(began: Instant) -> Result<Self, LoadError> {
        let histogram = || Histogram::new_with_bounds(1, MAX_US, 3).map_err(LoadError::Histogram);
        let inner = Inner {
            total: histogram()?,
            interval: histogram()?,
            start_delay: histogram()?,
            sent: 0,
            ok: 0,
            errors: BTreeMap::new(),
            opened: 0,
            closed: 0,
            bytes: None,
            served: Vec::new(),
            told: (0, 0),
        };
        Ok(Self { began, inner: Arc::new(Mutex::new(inner)) })
    }

    /// A request begins; `delay` after it should have.
    pub(crate) fn sent(&self, delay: Duration) {
        let mut inner = self.lock();
        inner.sent += 1;
        inner.start_delay.saturating_record(microseconds(delay));
    }

    /// A request has ended.
    pub(crate) fn ended(&self, outcome: &Outcome, latency: Duration) {
        let mut inner = self.lock();
        if outcome.is_ok() {
            let latency = microseconds(latency);
            inner.ok += 1;
            inner.total.saturating_record(latency);
            inner.interval.saturating_record(latency);
        } else {
            *inner.errors.entry(outcome.kind()).or_default() += 1;
        }
    }

    pub(crate) fn opened(&self) {
        self.lock().opened += 1;
    }

    pub(crate) fn closed(&self) {
        self.lock().closed += 1;
    }

    /// So many bytes have passed.
    pub(crate) fn passed(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        inner.bytes = Some(inner.bytes.unwrap_or(0).saturating_add(bytes));
    }

    /// A client has ended, after so many right answers.
    pub(crate) fn client_had(&self, served: u64) {
        self.lock().served.push(served);
    }

    pub(crate) fn progress(&self) -> Progress {
        let mut inner = self.lock();
        let failed = inner.errors.values().sum::<u64>();
        let (told_ok, told_failed) = inner.told;
        inner.told = (inner.ok, failed);
        let progress = Progress {
            second: self.began.elapsed().as_secs_f64(),
            ok: inner.ok - told_ok,
            failed: failed - told_failed,
            latency_us: Latency::of(&inner.interval),
            total_sent: inner.sent,
            total_failed: failed,
            connections_closed: inner.closed,
        };
        inner.interval.reset();
        progress
    }

    /// The report; a rate that was wanted makes it one of an open loop.
    pub(crate) fn report(&self, wanted_rate: Option<f64>) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let inner = self.lock();
        let failed = inner.errors.values().sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let achieved_rate = (inner.ok + failed) as f64 / seconds;
        Report {
            mode: if wanted_rate.is_some() { "open" } else { "closed" }.to_owned(),
            wanted_rate,
            achieved_rate,
            seconds,
            sent: inner.sent,
            ok: inner.ok,
            errors: inner.errors.clone(),
            connections_opened: inner.opened,
            connections_closed: inner.closed,
            latency_us: Latency::of(&inner.total),
            start_delay_us: wanted_rate.map(|_| Latency::of(&inner.start_delay)),
            bytes: inner.bytes,
            shares: Shares::of(&inner.served),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
        }
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Tells the progress each second until `run` is over.
pub(crate) async fn watch(recorder: &Recorder, control: &Control, run: impl Future<Output = ()>) {
    let Some(progress) = &control.progress else { return run.await };
    let mut run = std::pin::pin!(run);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    // The first tick comes at once.
    seconds.tick().await;
    loop {
        tokio::select! {
            () = &mut run => return,
            _ = seconds.tick() => {
                // Full: nobody reads that fast. What it would have said is in the report.
                drop(progress.try_send(recorder.progress()));
            }
        }
    }
}
