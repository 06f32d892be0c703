//! One line of the access log, as JSON.

use std::time::Duration;

use cellwall_policy::{Protocol, Verdict};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::shortened;
use crate::{flow::FlowRecord, http::Upgrade};

/// One line, by the names of OpenTelemetry where they exist (experience.md E.3).
#[derive(Serialize)]
pub(super) struct Line<'a> {
    ts: String,
    level: &'static str,
    kind: &'static str,
    #[serde(rename = "cellwall.direction")]
    direction: &'static str,
    #[serde(rename = "cellwall.verdict")]
    verdict: Option<&'static str>,
    #[serde(rename = "cellwall.by")]
    by: Option<String>,
    #[serde(rename = "cellwall.reason")]
    reason: &'static str,
    #[serde(rename = "cellwall.fate")]
    fate: &'static str,
    #[serde(rename = "cellwall.attempts", skip_serializing_if = "is_once")]
    attempts: u8,
    #[serde(rename = "cellwall.tls.reason", skip_serializing_if = "Option::is_none")]
    tls_reason: Option<&'static str>,
    #[serde(rename = "cellwall.decision", skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(rename = "cellwall.policy.version")]
    policy_version: Option<u64>,
    #[serde(rename = "cellwall.env")]
    environment: &'a str,
    #[serde(rename = "cellwall.caller.workload")]
    caller_workload: Option<&'a str>,
    #[serde(rename = "cellwall.caller.id")]
    caller_id: Option<&'a str>,
    #[serde(rename = "cellwall.caller.serial", skip_serializing_if = "Option::is_none")]
    caller_serial: Option<&'a str>,
    #[serde(rename = "cellwall.callee.workload")]
    callee_workload: Option<&'a str>,
    #[serde(rename = "cellwall.callee.id")]
    callee_id: Option<&'a str>,
    #[serde(rename = "network.peer.address")]
    peer_address: std::net::IpAddr,
    #[serde(rename = "network.peer.port")]
    peer_port: u16,
    #[serde(rename = "rpc.system.name", skip_serializing_if = "Option::is_none")]
    rpc_system: Option<&'static str>,
    #[serde(rename = "rpc.method", skip_serializing_if = "Option::is_none")]
    rpc_method: Option<&'a str>,
    #[serde(rename = "rpc.status_code", skip_serializing_if = "Option::is_none")]
    rpc_status: Option<u16>,
    #[serde(rename = "http.request.method", skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(rename = "cellwall.upgrade", skip_serializing_if = "Option::is_none")]
    upgrade: Option<&'a str>,
    #[serde(rename = "http.route")]
    route: Option<&'a str>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_s: f64,
    decided_s: Option<f64>,
    upstream_s: Option<f64>,
    first_byte_s: Option<f64>,
    request_end_s: Option<f64>,
    request_bytes: u64,
    response_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

impl<'a> From<&'a FlowRecord> for Line<'a> {
    fn from(record: &'a FlowRecord) -> Self {
        let decision = record.decision.as_ref();
        let denied = decision.is_some_and(|decision| decision.verdict == Verdict::Deny);
        let refused = record.close.refusal().is_some();
        Self {
            ts: OffsetDateTime::from(record.began).format(&Rfc3339).unwrap_or_default(),
            level: if denied || refused { "warn" } else { "info" },
            kind: record.kind.as_str(),
            direction: record.direction.as_str(),
            verdict: decision.map(|decision| decision.verdict.as_str()),
            by: decision.map(|decision| decision.by.to_string()),
            reason: record.close.as_str(),
            fate: record.fate.as_str(),
            attempts: record.attempts,
            tls_reason: record.close.refusal().map(cellwall_mtls::Refusal::as_str),
            decision: record.decision_id.map(|id| id.to_string()),
            policy_version: decision.map(|decision| decision.version.0),
            environment: &record.environment,
            caller_workload: record.caller.workload.as_deref(),
            caller_id: record.caller.id.as_deref(),
            caller_serial: record.caller_serial.as_deref(),
            callee_workload: record.callee.workload.as_deref(),
            callee_id: record.callee.id.as_deref(),
            peer_address: record.remote.ip(),
            peer_port: record.remote.port(),
            rpc_system: (record.protocol == Some(Protocol::Grpc)).then_some("grpc"),
            rpc_method: record.rpc.as_deref().map(shortened),
            rpc_status: record.grpc_status,
            method: record.method.as_ref().map(|method| shortened(method.as_str())),
            upgrade: record.upgrade.as_ref().map(Upgrade::protocol),
            route: decision.and_then(|decision| decision.route.as_deref()),
            status: record.status,
            duration_s: record.duration.as_secs_f64(),
            decided_s: seconds(record.decided),
            upstream_s: seconds(record.upstream),
            first_byte_s: seconds(record.first_byte),
            request_end_s: seconds(record.request_end),
            request_bytes: record.bytes.0,
            response_bytes: record.bytes.1,
            trace_id: record.trace_id.as_deref(),
        }
    }
}

/// Most calls are, and a line says no more than it has to.
fn is_once(attempts: &u8) -> bool {
    *attempts == 1
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}
