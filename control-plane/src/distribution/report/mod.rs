//! What sidecars report of their decisions: bounded, and refused as a whole when it is not.

use std::time::{SystemTime, UNIX_EPOCH};

use cellwall_api::distribution::{DecisionRecord, EdgeCount, FlowBatch};
use cellwall_policy::canonical_id;
use serde_json::{Value, json};
use tonic::Status;

use super::hello::{MAX_TEXT_BYTES, refused, text};
use crate::{
    clock::rfc3339_milliseconds,
    store::{DecisionRow, EdgeRow, ReportRow},
};

const MAX_EDGES: usize = 1024;
const MAX_DECISIONS: usize = 256;
/// A method and a template, or a method of gRPC.
const MAX_CALL_BYTES: usize = 600;
/// Of one call between two batches; so that sums stay far below what the database can count.
const MAX_COUNT: u64 = 1_000_000_000;
/// An id: `d_` and 26 characters of Crockford's base 32.
const ID_BYTES: usize = 28;
/// What a sidecar may keep while we are away, and how far its clock may be ahead. A time outside
/// is replaced by ours.
const OLDEST_MS: u64 = 7 * 24 * 3600 * 1000;
const AHEAD_MS: u64 = 5 * 60 * 1000;

/// Who reports, as the connection proved and the policy says.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    /// Its SPIFFE ID.
    pub(super) id: String,
    /// Its workload.
    pub(super) workload: String,
    /// Its environment.
    pub(super) environment: String,
    /// When the batch came.
    pub(super) now: SystemTime,
}

impl Reporter {
    /// Reads a batch. That it is about the reporter itself is checked before anything else.
    pub(super) fn read(&self, batch: FlowBatch) -> Result<ReportRow, Status> {
        if batch.callee != self.id {
            return Err(Status::permission_denied("a sidecar reports for its own workload only"));
        }
        let instance = text("instance", batch.instance, MAX_TEXT_BYTES)?;
        let sequence = i64::try_from(batch.sequence).ok().filter(|number| *number > 0);
        let sequence = sequence.ok_or_else(|| refused("sequence: counts from 1"))?;
        if instance.is_empty() {
            return Err(refused("instance: required"));
        }
        if batch.edges.len() > MAX_EDGES || batch.decisions.len() > MAX_DECISIONS {
            return Err(refused("edges, decisions: too many"));
        }
        let edges = batch.edges.into_iter().map(|edge| self.edge(edge));
        let decisions = batch.decisions.into_iter().map(|one| self.decision(one));
        Ok(ReportRow {
            callee: self.id.clone(),
            instance,
            sequence,
            dropped: count(batch.dropped),
            edges: edges.collect::<Result<_, _>>()?,
            decisions: decisions.collect::<Result<_, _>>()?,
        })
    }

    fn edge(&self, edge: EdgeCount) -> Result<EdgeRow, Status> {
        if edge.count == 0 {
            return Err(refused("edges.count: 0"));
        }
        Ok(EdgeRow {
            caller: spiffe_id("edges.caller", edge.caller)?,
            call: text("edges.call", edge.call, MAX_CALL_BYTES)?,
            verdict: verdict(edge.verdict)?,
            by: text("edges.by", edge.by, MAX_CALL_BYTES)?,
            version: version(edge.policy_version)?,
            count: count(edge.count),
            first_at: self.time(edge.first_ms),
            last_at: self.time(edge.last_ms.max(edge.first_ms)),
        })
    }

    fn decision(&self, one: DecisionRecord) -> Result<DecisionRow, Status> {
        let id = decision_id(one.id)?;
        let at = u64::try_from(self.time(one.at_ms)).unwrap_or_default();
        let caller = match one.caller.is_empty() {
            true => None,
            false => Some(spiffe_id("decisions.caller", one.caller)?),
        };
        let document = json!({
            "id": id,
            "at": rfc3339_milliseconds(at),
            "kind": required(one.kind)?,
            "protocol": optional(one.protocol)?,
            "verdict": verdict(one.verdict)?,
            "by": optional(one.by)?,
            "reason": required(one.reason)?,
            "tls_reason": optional(one.tls_reason)?,
            "policy_version": Some(version(one.policy_version)?).filter(|version| *version > 0),
            "caller": caller,
            "caller_workload": optional(one.caller_workload)?,
            "caller_serial": optional(one.caller_serial)?,
            "caller_address": optional(one.caller_address)?,
            "callee": self.id,
            "callee_workload": self.workload,
            "environment": self.environment,
            "method": optional(one.method)?,
            "rpc": optional(one.rpc)?,
            "route": optional(one.route)?,
            "trace_id": optional(one.trace_id)?,
        });
        Ok(DecisionRow { id, document: document.to_string() })
    }

    /// A time of the sidecar's, or ours when it cannot be right.
    fn time(&self, milliseconds: u64) -> i64 {
        let now = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let credible = now.saturating_sub(OLDEST_MS)..=now.saturating_add(AHEAD_MS);
        let time = if credible.contains(&milliseconds) { milliseconds } else { now };
        i64::try_from(time).unwrap_or(i64::MAX)
    }
}

fn required(value: String) -> Result<Value, Status> {
    match optional(value)? {
        Value::Null => Err(refused("decisions: kind and reason are required")),
        value => Ok(value),
    }
}

fn optional(value: String) -> Result<Value, Status> {
    let value = text("decisions", value, MAX_CALL_BYTES)?;
    Ok(if value.is_empty() { Value::Null } else { value.into() })
}

fn verdict(verdict: String) -> Result<String, Status> {
    match verdict.as_str() {
        "allow" | "deny" | "audit" => Ok(verdict),
        _ => Err(refused("verdict: not allow, deny or audit")),
    }
}

fn spiffe_id(field: &str, id: String) -> Result<String, Status> {
    if canonical_id(&id).is_some() {
        Ok(id)
    } else {
        Err(refused(&format!("{field}: no SPIFFE ID")))
    }
}

fn decision_id(id: String) -> Result<String, Status> {
    let crockford = |byte: u8| {
        byte.is_ascii_digit()
            || byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U')
    };
    let named = id.strip_prefix("d_").is_some_and(|rest| rest.bytes().all(crockford));
    if named && id.len() == ID_BYTES { Ok(id) } else { Err(refused("decisions.id: no id")) }
}

fn version(version: u64) -> Result<i64, Status> {
    i64::try_from(version).map_err(|_| refused("policy_version: too large"))
}

fn count(count: u64) -> i64 {
    count.min(MAX_COUNT).cast_signed()
}

#[cfg(test)]
mod tests;
