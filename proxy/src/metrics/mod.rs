//! Every metric of the proxy: its name, unit and help, and where flows are counted.
//!
//! Label values are closed enums or names that the policy bounds (OBS-08): no path, address,
//! SPIFFE ID or free text of a caller becomes a label.

mod series;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use cellwall_mtls::Refusal;
use metrics::{
    SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{
    CloseReason,
    flow::{Direction, FlowRecord, Kind, Party},
};

/// Seconds: finer below 5 ms than OpenTelemetry's list, which is too coarse for a proxy.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Installs the recorder of this process and describes every metric.
///
/// # Errors
///
/// When a recorder is there already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("installing the metrics recorder")?;
    describe();
    gauge!("cellwall_build_info", "version" => env!("CARGO_PKG_VERSION"), "tls" => "aws-lc-rs")
        .set(1.0);
    Ok(handle)
}

fn describe() {
    let counters = [
        ("cellwall_requests_total", "Calls, by what the policy said and the status returned."),
        ("cellwall_authz_decisions_total", "Decisions of the policy, and what decided."),
        ("cellwall_connections_total", "TCP connections that ended, by how."),
        ("cellwall_connection_bytes_total", "Bytes inside TCP connections."),
        ("cellwall_tls_handshakes_total", "Handshakes, and why those that failed were refused."),
        ("cellwall_reproofs_total", "Connections proved anew by newer certificates, or not."),
        (
            "cellwall_probes_total",
            "Health checks of the node, answered, refused or failed, and connections without one.",
        ),
        ("cellwall_svid_rotations_total", "New identity material, accepted or refused."),
        ("cellwall_policy_updates_total", "Policy snapshots, accepted (ack) or refused (nack)."),
        ("cellwall_policy_restores_total", "What a start found on the disk."),
        ("cellwall_policy_store_failures_total", "Policies in force that are not on the disk."),
        ("cellwall_upstream_failures_total", "Calls that did not come back, by reason."),
        ("cellwall_retries_total", "Second attempts of declared calls, made or left out."),
        ("cellwall_log_dropped_total", "Access-log lines that found no room, or were not written."),
        ("cellwall_decision_dropped_total", "Decisions that were not reported, by reason."),
        ("cellwall_spans_exported_total", "Spans that the collector has."),
        ("cellwall_spans_dropped_total", "Spans that it will never have, by reason."),
        ("cellwall_flow_batches_total", "Batches of decisions to the control plane, by result."),
        ("cellwall_accept_failures_total", "Failed accepts, for example without descriptors."),
    ];
    for (name, help) in counters {
        describe_counter!(name, help);
    }
    let gauges = [
        ("cellwall_connections_open", "Connections in progress."),
        ("cellwall_calls_open", "Calls in progress, until both bodies have ended."),
        ("cellwall_svid_expiration_timestamp_seconds", "When our own SVID ends."),
        ("cellwall_svid_issued_timestamp_seconds", "When our own SVID came."),
        ("cellwall_bundle_expiration_timestamp_seconds", "When a bundle's last anchor ends."),
        ("cellwall_policy_version", "The version in force; 0 without one."),
        ("cellwall_policy_epoch", "The epoch in force; 0 without one."),
        ("cellwall_policy_age_seconds", "Since when the control plane is not behind the policy."),
        ("cellwall_policy_stale", "1 while that is longer than the policy's own limit."),
        ("cellwall_policy_stored", "1 while a restart would find the policy in force."),
        ("cellwall_control_connected", "1 while the control plane's stream is open."),
        ("cellwall_control_last_contact_timestamp_seconds", "When it last said something."),
        ("cellwall_build_info", "This build."),
    ];
    for (name, help) in gauges {
        describe_gauge!(name, help);
    }
    let histograms = [
        ("cellwall_request_duration_seconds", "A call, from its head to the end of both bodies."),
        (
            "cellwall_proxy_overhead_seconds",
            "What this proxy itself takes of a call until it sends it on.",
        ),
        ("cellwall_tls_handshake_duration_seconds", "A handshake."),
    ];
    for (name, help) in histograms {
        describe_histogram!(name, Unit::Seconds, help);
    }
}

/// Counts a flow that has ended.
pub(crate) fn flow_ended(record: &FlowRecord) {
    match record.kind {
        Kind::Call => series::call_ended(record),
        Kind::Connection => connection_ended(record),
    }
    if let Some(reason) = upstream_failure(record.close) {
        counter!("cellwall_upstream_failures_total", "dst" => label(&record.callee),
            "reason" => reason)
        .increment(1);
    }
}

fn connection_ended(record: &FlowRecord) {
    let direction = record.direction.as_str();
    let (src, dst) = (label(&record.caller), label(&record.callee));
    counter!("cellwall_connections_total", "direction" => direction, "src" => src.clone(),
        "dst" => dst.clone(), "result" => record.close.as_str())
    .increment(1);
    for (flow, bytes) in [("rx", record.bytes.0), ("tx", record.bytes.1)] {
        counter!("cellwall_connection_bytes_total", "direction" => direction, "src" => src.clone(),
            "dst" => dst.clone(), "flow" => flow)
        .increment(bytes);
    }
    if let Some(decision) = &record.decision {
        series::decisions(record, decision).increment(1);
    }
}

/// Records what the proxy itself took of a call, until the head of the answer.
pub(crate) fn overhead(direction: Direction, overhead: Duration) {
    series::overhead(direction, overhead.as_secs_f64());
}

/// Counts a handshake.
pub(crate) fn handshake(direction: Direction, took: Duration, result: Result<(), Refusal>) {
    let direction = direction.as_str();
    let (result, reason) = match result {
        Ok(()) => ("ok", "ok"),
        Err(refusal) => ("refused", refusal.as_str()),
    };
    counter!("cellwall_tls_handshakes_total", "direction" => direction, "result" => result,
        "reason" => reason)
    .increment(1);
    histogram!("cellwall_tls_handshake_duration_seconds", "direction" => direction)
        .record(took.as_secs_f64());
}

/// Counts an attempt to keep a connection open by newer certificates.
pub(crate) fn reproof(direction: Direction, result: &'static str) {
    counter!("cellwall_reproofs_total", "direction" => direction.as_str(), "result" => result)
        .increment(1);
}

/// Counts a health check.
pub(crate) fn probe(result: &'static str) {
    counter!("cellwall_probes_total", "result" => result).increment(1);
}

/// What came of the thought of making a declared call twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Retry {
    /// It was made, and the callee answered.
    Answered,
    /// It was made, and came to nothing as well.
    Failed,
    /// It was not made: too many of this destination's had been.
    OverBudget,
    /// It was not made: the request is too long to be kept, has trailers, or broke off.
    NotKept,
}

/// Counts a second attempt, made or left out. Destinations are bounded by the configuration.
pub(crate) fn retry(destination: &Arc<str>, result: Retry) {
    let result = match result {
        Retry::Answered => "answered",
        Retry::Failed => "failed",
        Retry::OverBudget => "over_budget",
        Retry::NotKept => "not_kept",
    };
    counter!("cellwall_retries_total", "dst" => SharedString::from(destination.clone()),
        "result" => result)
    .increment(1);
}

/// Counts a connection or a call while it is open.
#[derive(Debug)]
pub(crate) struct Open(metrics::Gauge);

impl Open {
    pub(crate) fn count(direction: Direction) -> Self {
        Self::one_of(series::connections_open(direction))
    }

    pub(crate) fn call(direction: Direction) -> Self {
        Self::one_of(series::calls_open(direction))
    }

    fn one_of(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

fn label(party: &Party) -> SharedString {
    party.workload.clone().map_or_else(|| SharedString::const_str("unknown"), SharedString::from)
}

fn upstream_failure(close: CloseReason) -> Option<&'static str> {
    match close {
        CloseReason::NoRoute
        | CloseReason::NoEndpoint
        | CloseReason::ConnectFailed
        | CloseReason::UpstreamFailed
        | CloseReason::AnswerAmbiguous
        | CloseReason::UpstreamTimeout => Some(close.as_str()),
        CloseReason::Done
        | CloseReason::AnsweredEarly
        | CloseReason::Drained
        | CloseReason::Cancelled
        | CloseReason::Io
        | CloseReason::PathAmbiguous
        | CloseReason::RequestAmbiguous
        | CloseReason::RequestTooLong
        | CloseReason::PolicyDenied
        | CloseReason::PolicyRevoked
        | CloseReason::SvidExpired
        | CloseReason::SvidWithdrawn
        | CloseReason::TrustWithdrawn(_)
        | CloseReason::NotDeclared
        | CloseReason::NoPolicy
        | CloseReason::TlsRefused(_) => None,
    }
}
