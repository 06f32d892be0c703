//! What was decided, told to the control plane: in batches, one at a time, each until it is kept.
//!
//! At least once, counted once: a batch keeps its number until it is acknowledged, and the control
//! plane knows the last number of each instance. Everything here is bounded; what does not fit is
//! dropped and counted, and no call ever waits for it.

mod tally;

use std::{pin::Pin, sync::Arc, time::Duration};

use cellwall_api::distribution::{FlowBatch, distribution_client::DistributionClient};
use metrics::counter;
use rand::Rng as _;
use tokio::time::Instant;
use tonic::{Code, transport::Channel};

use self::tally::Tally;
use crate::{Decisions, DrainWatch, Identities, Live, PolicyFeed, decisions::Dropped};

/// How long the control plane may take to keep a batch.
const ANSWER: Duration = Duration::from_secs(5);

/// The pause before a batch is sent again: doubled up to the ceiling, with jitter (ROT-11).
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// At the end: what the last batches get at most, and at least when calls took all of the drain.
const LAST_WORDS: Duration = Duration::from_secs(2);
const LEAST_WORDS: Duration = Duration::from_millis(500);

/// Tells the control plane what was decided here.
#[derive(Debug)]
pub struct FlowFeed {
    /// The connection to the control plane, once there is one.
    link: Arc<Live<Channel>>,
    decisions: Arc<Decisions>,
    identities: Identities,
    /// As in the hello.
    instance: String,
    /// What a drain may take.
    grace: Duration,
}

/// What became of sending a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// It is kept.
    Kept,
    /// It will never be kept: it is not understood there.
    Refused,
    /// Nobody knows; it is sent again.
    Unknown,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Kept, Self::Refused, Self::Unknown];

    fn count(self, number: u64) {
        let result = match self {
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Unknown => "again",
        };
        counter!("cellwall_flow_batches_total", "result" => result).increment(number);
    }
}

/// One attempt in progress.
struct Attempt(Pin<Box<dyn Future<Output = Outcome> + Send>>);

/// Where the sending stands.
struct Sending {
    tally: Tally,
    /// The number of the last batch.
    sequence: u64,
    /// The batch that is not acknowledged yet.
    batch: Option<FlowBatch>,
    /// The attempt in progress.
    attempt: Option<Attempt>,
    /// When the next attempt may begin.
    not_before: Instant,
    pause: Duration,
}

impl FlowFeed {
    /// Reports `decisions` over the connections of `feed`, at the end of a drain of `grace` too.
    pub fn beside(feed: &PolicyFeed, decisions: Arc<Decisions>, grace: Duration) -> Self {
        let (link, identities) = (feed.link.clone(), feed.identities.clone());
        Self { link, decisions, identities, instance: feed.hello.instance.clone(), grace }
    }

    /// Reports until the last work has `ended`, then what is left, within the time of the drain.
    pub async fn follow(self, drain: DrainWatch, ended: DrainWatch) {
        Dropped::ALL.into_iter().for_each(|why| why.count(0));
        Outcome::ALL.into_iter().for_each(|outcome| outcome.count(0));
        let mut sending = Sending::new();
        let mut stopping: Option<Instant> = None;
        loop {
            tokio::select! {
                () = ended.stopping() => break,
                () = drain.stopping(), if stopping.is_none() => stopping = Some(Instant::now()),
                () = self.decisions.due() => sending.tally.absorb(&self.decisions),
                outcome = attempted(&mut sending.attempt) => sending.attempted(outcome),
            }
            self.send_due(&mut sending);
        }
        let now = Instant::now();
        let drained_by = stopping.unwrap_or(now) + self.grace;
        let deadline = drained_by.clamp(now + LEAST_WORDS, now + LAST_WORDS);
        let _ = tokio::time::timeout_at(deadline, self.send_last(&mut sending)).await;
        sending.give_up();
    }

    /// Begins an attempt when there is something to send and nothing is on its way.
    fn send_due(&self, sending: &mut Sending) {
        if sending.attempt.is_some() || Instant::now() < sending.not_before {
            return;
        }
        if sending.batch.is_none() && sending.tally.is_due() {
            self.next_batch(sending);
        }
        if let Some(batch) = &sending.batch {
            let report = report(self.link.load(), batch.clone());
            sending.attempt = Some(Attempt(Box::pin(report)));
        }
    }

    /// Fixes what the next number stands for. Without an identity there is nobody to be.
    fn next_batch(&self, sending: &mut Sending) {
        let Some(identity) = self.identities.current() else { return };
        sending.sequence += 1;
        sending.batch = Some(FlowBatch {
            instance: self.instance.clone(),
            sequence: sending.sequence,
            callee: identity.material.id().to_string(),
            ..sending.tally.batch()
        });
    }

    /// Sends what is left, until there is nothing, or an attempt fails.
    async fn send_last(&self, sending: &mut Sending) {
        sending.tally.absorb(&self.decisions);
        if sending.attempt.is_some() {
            let outcome = attempted(&mut sending.attempt).await;
            sending.attempted(outcome);
        }
        loop {
            if sending.batch.is_none() && !sending.tally.is_empty() {
                self.next_batch(sending);
            }
            let Some(batch) = &sending.batch else { return };
            let outcome = report(self.link.load(), batch.clone()).await;
            sending.attempted(outcome);
            if outcome == Outcome::Unknown {
                return;
            }
        }
    }
}

impl Sending {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            sequence: 0,
            batch: None,
            attempt: None,
            not_before: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    fn attempted(&mut self, outcome: Outcome) {
        self.attempt = None;
        outcome.count(1);
        if outcome == Outcome::Unknown {
            self.not_before = Instant::now() + jittered(self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            return;
        }
        self.pause = FIRST_PAUSE;
        let batch = self.batch.take();
        if let Some(batch) = batch.filter(|_| outcome == Outcome::Refused) {
            Dropped::Refused.count(decided(&batch));
        }
    }

    /// Says what was never acknowledged.
    fn give_up(self) {
        let left = self.tally.left() + self.batch.as_ref().map_or(0, decided);
        if left > 0 {
            Dropped::Stopped.count(left);
            tracing::warn!(decisions = left, "not reported before the end");
        }
    }
}

/// How many decisions a batch tells of.
fn decided(batch: &FlowBatch) -> u64 {
    let counted: u64 = batch.edges.iter().map(|edge| edge.count).sum();
    counted + batch.decisions.len() as u64
}

async fn attempted(attempt: &mut Option<Attempt>) -> Outcome {
    match attempt {
        Some(Attempt(attempt)) => attempt.await,
        None => std::future::pending().await,
    }
}

/// Sends a batch once.
async fn report(link: Option<Arc<Channel>>, batch: FlowBatch) -> Outcome {
    let Some(channel) = link else { return Outcome::Unknown };
    let sequence = batch.sequence;
    let mut client = DistributionClient::new(channel.as_ref().clone());
    match tokio::time::timeout(ANSWER, client.report(batch)).await {
        Ok(Ok(receipt)) if receipt.get_ref().sequence >= sequence => Outcome::Kept,
        // An older control plane, or one that reads batches in another way.
        Ok(Err(status)) if matches!(status.code(), Code::InvalidArgument | Code::Unimplemented) => {
            tracing::warn!(code = ?status.code(), reason = status.message(), "flow batch refused");
            Outcome::Refused
        }
        Ok(Err(status)) => {
            tracing::debug!(code = ?status.code(), reason = status.message(), "flow batch again");
            Outcome::Unknown
        }
        Ok(Ok(_)) | Err(_) => Outcome::Unknown,
    }
}

fn jittered(pause: Duration) -> Duration {
    let half = pause.as_millis() as u64 / 2;
    Duration::from_millis(half + rand::rng().next_u64() % (half + 1))
}
