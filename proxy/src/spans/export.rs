//! Spans to a collector on this host, by OTLP over gRPC: in batches, one at a time. A collector that is
//! away, or hangs, costs spans and nothing else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cellwall_api::otlp::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use cellwall_policy::Snapshot;
use metrics::counter;
use tokio::time::Instant;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::{Dropped, Spans, span::text};
use crate::{DrainWatch, Live, pauses::Pauses};

/// How long the collector may take to be connected to, and to keep a batch.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);

/// At the end: what the last batches get at most, and at least when calls took all of the drain.
const LAST_WORDS: Duration = Duration::from_secs(2);
const LEAST_WORDS: Duration = Duration::from_millis(500);

/// Sends spans to the collector.
#[derive(Debug)]
pub struct SpanFeed {
    /// The spans that wait.
    pub spans: Arc<Spans>,
    /// Who we are.
    pub policy: Arc<Live<Snapshot>>,
    /// The collector.
    pub collector: SocketAddr,
    /// What a drain may take.
    pub grace: Duration,
}

/// What became of sending a batch.
enum Outcome {
    /// It is the collector's, but for so many that it did not take.
    Kept { refused: u64 },
    /// It will never take it.
    Refused,
    /// It may, later.
    Again,
}

impl SpanFeed {
    /// Sends until the last work has `ended`, then what is left, within the time of the drain.
    pub async fn follow(self, drain: DrainWatch, ended: DrainWatch) {
        Dropped::ALL.into_iter().for_each(|why| why.count(0));
        counter!("cellwall_spans_exported_total").increment(0);
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{}", self.collector)) else {
            return; // an address and a port are always one
        };
        let channel = endpoint.connect_timeout(CONNECT).connect_lazy();
        let mut batch = Vec::new();
        let mut stopping = None;
        tokio::select! {
            () = ended.stopping() => {}
            () = self.send(&channel, &mut batch) => {}
            () = async {
                drain.stopping().await;
                stopping = Some(Instant::now());
                std::future::pending::<()>().await;
            } => {}
        }
        let now = Instant::now();
        let drained_by = stopping.unwrap_or(now) + self.grace;
        let deadline = drained_by.clamp(now + LEAST_WORDS, now + LAST_WORDS);
        let _ = tokio::time::timeout_at(deadline, self.send_last(&channel, &mut batch)).await;
        let left = batch.len() + self.spans.queue.len();
        if left > 0 {
            Dropped::Stopped.count(left as u64);
            tracing::warn!(spans = left, "spans not exported before the end");
        }
    }

    /// Without an end. What is in `batch` is not sent yet, whenever this is dropped.
    async fn send(&self, channel: &Channel, batch: &mut Vec<Span>) {
        let mut pauses = Pauses::default();
        let mut away = false;
        loop {
            if batch.is_empty() {
                *batch = self.spans.batch();
            }
            if batch.is_empty() {
                self.spans.due().await;
                continue;
            }
            let kept = self.attempt(channel, batch).await;
            if kept {
                pauses = Pauses::default();
            } else {
                tokio::time::sleep(pauses.next()).await;
            }
            if away == kept {
                away = !kept;
                tracing::info!(away, collector = %self.collector, "the collector of spans");
            }
        }
    }

    /// What is left, until there is nothing or an attempt fails.
    async fn send_last(&self, channel: &Channel, batch: &mut Vec<Span>) {
        loop {
            if batch.is_empty() {
                *batch = self.spans.batch();
            }
            if batch.is_empty() || !self.attempt(channel, batch).await {
                return;
            }
        }
    }

    /// Whether the batch is done with.
    async fn attempt(&self, channel: &Channel, batch: &mut Vec<Span>) -> bool {
        let number = batch.len() as u64;
        match export(channel, self.request(batch)).await {
            Outcome::Kept { refused } => {
                let refused = refused.min(number);
                counter!("cellwall_spans_exported_total").increment(number - refused);
                Dropped::Refused.count(refused);
            }
            Outcome::Refused => Dropped::Refused.count(number),
            Outcome::Again => return false,
        }
        batch.clear();
        true
    }

    fn request(&self, batch: &[Span]) -> ExportTraceServiceRequest {
        let us = self.policy.load();
        let attributes = us.map(|us| {
            let workload = us.workload().to_string();
            vec![
                text("service.name", workload),
                text("deployment.environment.name", us.environment().to_string()),
            ]
        });
        let resource =
            Resource { attributes: attributes.unwrap_or_default(), ..Resource::default() };
        let scope = InstrumentationScope {
            name: "cellwall-proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = batch.to_vec();
        let scopes = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource =
            ResourceSpans { resource: Some(resource), scope_spans: scopes, ..Default::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }
    }
}

/// Sends a batch once.
async fn export(channel: &Channel, request: ExportTraceServiceRequest) -> Outcome {
    let mut client = TraceServiceClient::new(channel.clone());
    match tokio::time::timeout(ANSWER, client.export(request)).await {
        Ok(Ok(answer)) => {
            let partial = answer.into_inner().partial_success;
            let refused = partial.map_or(0, |partial| partial.rejected_spans);
            Outcome::Kept { refused: u64::try_from(refused).unwrap_or(0) }
        }
        Ok(Err(status)) if is_passing(status.code()) => {
            tracing::debug!(code = ?status.code(), reason = status.message(), "spans again");
            Outcome::Again
        }
        Ok(Err(status)) => {
            tracing::debug!(code = ?status.code(), reason = status.message(), "spans refused");
            Outcome::Refused
        }
        Err(_) => Outcome::Again,
    }
}

/// OTLP, "OTLP/gRPC Response", "Failures": what may be sent again.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}
