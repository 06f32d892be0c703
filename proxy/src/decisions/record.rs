//! One decision as it is kept, shown and reported: bounded, and without what a caller keeps secret.

use std::time::SystemTime;

use cellwall_api::distribution::DecisionRecord as Wire;
use cellwall_mtls::Refusal;
use cellwall_policy::Verdict;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{CloseReason, flow::FlowRecord};

/// Longest method, RPC name or template that is kept (OBS-01).
const MAX_TEXT: usize = 256;

/// Longest SPIFFE ID that is kept; none is longer (SPIFFE ID §2.3).
const MAX_ID: usize = 2048;

/// A denial, or a call that passed in audit. No path, no query, no header value (OBS-02).
#[derive(Clone, Debug, Serialize)]
pub struct DecisionRecord {
    /// What the caller was told: `d_` and 26 characters.
    pub id: String,
    /// When the call began, RFC 3339, to the millisecond.
    pub at: String,
    /// `call` or `connection`.
    pub kind: &'static str,
    /// `http`, `grpc` or `tcp`, once known.
    pub protocol: Option<&'static str>,
    /// `deny` or `audit`; `allow` only where a later policy revoked it.
    pub verdict: &'static str,
    /// What decided; none where no policy was asked.
    pub by: Option<String>,
    /// How the call ended.
    pub reason: &'static str,
    /// Why the handshake was refused, if it was.
    pub tls_reason: Option<&'static str>,
    /// The policy that decided.
    pub policy_version: Option<u64>,
    /// The caller's SPIFFE ID.
    pub caller: Option<String>,
    /// The caller's name, if the policy knows it.
    pub caller_workload: Option<String>,
    /// The serial number of the caller's certificate.
    pub caller_serial: Option<String>,
    /// Where the caller's sidecar connected from.
    pub caller_address: String,
    /// Our SPIFFE ID.
    pub callee: Option<String>,
    /// Our name.
    pub callee_workload: Option<String>,
    /// Our environment.
    pub environment: String,
    /// The HTTP method.
    pub method: Option<String>,
    /// The gRPC method.
    pub rpc: Option<String>,
    /// The declared template that the call belongs to.
    pub route: Option<String>,
    /// The trace that the call belongs to.
    pub trace_id: Option<String>,
    #[serde(skip)]
    at_ms: u64,
}

/// Whether this end is a denial by policy: by rules, for want of a policy or of a listener, or by the
/// deny list.
pub(crate) fn is_denial(record: &FlowRecord) -> bool {
    match record.close {
        CloseReason::PolicyDenied | CloseReason::PolicyRevoked | CloseReason::NoPolicy => true,
        // Whoever has not said who they are could push everybody else's out.
        CloseReason::NotDeclared => record.caller.id.is_some(),
        CloseReason::TlsRefused(refusal) | CloseReason::TrustWithdrawn(refusal) => matches!(
            refusal,
            Refusal::DeniedId
                | Refusal::DeniedSerial
                | Refusal::DeniedKey
                | Refusal::DeniedTrustDomain
        ),
        _ => record.decision.as_ref().is_some_and(|one| one.verdict != Verdict::Allow),
    }
}

impl DecisionRecord {
    /// Of an inbound flow that has an id.
    pub(crate) fn of(record: &FlowRecord) -> Self {
        let decision = record.decision.as_ref();
        let since = record.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let short = |text: &str| bounded(text, MAX_TEXT);
        Self {
            id: record.decision_id.map(|id| id.to_string()).unwrap_or_default(),
            at: rfc3339(record.began),
            kind: record.kind.as_str(),
            protocol: record.protocol.map(cellwall_policy::Protocol::as_str),
            verdict: decision.map_or(Verdict::Deny, |one| one.verdict).as_str(),
            by: decision.map(|one| short(&one.by.to_string())),
            reason: record.close.as_str(),
            tls_reason: record.close.refusal().map(Refusal::as_str),
            policy_version: decision.map(|one| one.version.0),
            caller: record.caller.id.as_deref().map(|id| bounded(id, MAX_ID)),
            caller_workload: record.caller.workload.as_deref().map(short),
            caller_serial: record.caller_serial.as_deref().map(short),
            caller_address: record.remote.to_string(),
            callee: record.callee.id.as_deref().map(|id| bounded(id, MAX_ID)),
            callee_workload: record.callee.workload.as_deref().map(short),
            environment: bounded(&record.environment, MAX_ID),
            method: record.asked().map(short),
            rpc: record.rpc.as_deref().map(short),
            route: decision
                .and_then(|one| one.route.as_deref())
                .map(|it| bounded(it, 2 * MAX_TEXT)),
            trace_id: record.trace_id.as_deref().map(short),
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// As it travels.
    pub(crate) fn wire(&self) -> Wire {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Wire {
            id: self.id.clone(),
            at_ms: self.at_ms,
            kind: self.kind.to_owned(),
            protocol: self.protocol.unwrap_or_default().to_owned(),
            verdict: self.verdict.to_owned(),
            by: text(&self.by),
            reason: self.reason.to_owned(),
            tls_reason: self.tls_reason.unwrap_or_default().to_owned(),
            policy_version: self.policy_version.unwrap_or_default(),
            caller: text(&self.caller),
            caller_workload: text(&self.caller_workload),
            caller_serial: text(&self.caller_serial),
            caller_address: self.caller_address.clone(),
            method: text(&self.method),
            rpc: text(&self.rpc),
            route: text(&self.route),
            trace_id: text(&self.trace_id),
        }
    }
}

/// What a caller sent, made harmless for terminals and logs: printable ASCII, and not long (OBS-01).
fn bounded(text: &str, max: usize) -> String {
    let harmless = |byte: char| if byte == ' ' || byte.is_ascii_graphic() { byte } else { '?' };
    text.chars().take(max).map(harmless).collect()
}

fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let at = at.replace_nanosecond(u32::from(at.millisecond()) * 1_000_000).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{bounded, rfc3339};

    #[test]
    fn text_of_a_caller_is_bounded_and_printable() {
        // OBS-01
        assert_eq!(bounded("a\"}\r\n\u{1b}[31m\u{2028}é", 64), "a\"}???[31m??");
        assert_eq!(bounded(&"x".repeat(10_000), 256).len(), 256);
        assert_eq!(bounded("pkg.Service/Method", 256), "pkg.Service/Method");
    }

    #[test]
    fn times_are_to_the_millisecond() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_999_999);
        assert_eq!(rfc3339(at), "1970-01-01T00:00:01.999Z");
    }
}
