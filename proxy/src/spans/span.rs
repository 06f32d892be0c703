//! The span of a call, made from its record, by the names of OpenTelemetry's semantic conventions.

use std::time::{Duration, SystemTime};

use cellwall_api::otlp::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{
        Span, Status,
        span::{Event, SpanKind},
        status::StatusCode,
    },
};
use cellwall_policy::Protocol;

use super::{Sampled, context::SpanId};
use crate::{
    CloseReason,
    flow::{Direction, FlowRecord},
    logging::shortened,
};

/// `trace.proto`, `SpanFlags`: whether the parent is remote is known, and it is.
const REMOTE_PARENT: u32 = 0x300;

/// What is told of a call. Like the access log it has no path, no query and no header.
pub(super) fn of(record: &FlowRecord, sampled: &Sampled) -> Span {
    let kind = match record.direction {
        Direction::Inbound => SpanKind::Server,
        Direction::Outbound => SpanKind::Client,
    };
    Span {
        trace_id: sampled.trace.octets(),
        span_id: sampled.ours.octets(),
        parent_span_id: sampled.parent.map(SpanId::octets).unwrap_or_default(),
        trace_state: sampled.state.as_deref().unwrap_or_default().to_owned(),
        flags: u32::from(sampled.flags) | REMOTE_PARENT,
        name: name(record),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(record.began, Duration::ZERO),
        end_time_unix_nano: nanoseconds(record.began, record.duration),
        attributes: attributes(record),
        events: decision(record).into_iter().collect(),
        status: Some(status(record)),
        ..Span::default()
    }
}

/// `{method} {route}`, or the RPC.
fn name(record: &FlowRecord) -> String {
    if let Some(rpc) = &record.rpc {
        return shortened(rpc).to_owned();
    }
    let method = record.method.as_ref().map_or("HTTP", |method| shortened(method.as_str()));
    let route = record.decision.as_ref().and_then(|decision| decision.route.as_deref());
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

fn attributes(record: &FlowRecord) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("cellwall.reason", record.close.as_str()),
        text("cellwall.fate", record.fate.as_str()),
        text("network.peer.address", record.remote.ip().to_string()),
        number("network.peer.port", record.remote.port().into()),
        number("http.request.body.size", record.bytes.0),
        number("http.response.body.size", record.bytes.1),
    ];
    let decision = record.decision.as_ref();
    let texts = [
        ("cellwall.caller.id", record.caller.id.as_deref()),
        ("cellwall.callee.id", record.callee.id.as_deref()),
        ("http.request.method", record.method.as_ref().map(http::Method::as_str)),
        ("http.route", decision.and_then(|decision| decision.route.as_deref())),
        ("rpc.system.name", (record.protocol == Some(Protocol::Grpc)).then_some("grpc")),
        ("rpc.method", record.rpc.as_deref()),
    ];
    let texts = texts.into_iter().filter_map(|(key, value)| Some(text(key, shortened(value?))));
    attributes.extend(texts);
    attributes.extend(failure(record).map(|failure| text("error.type", failure)));
    attributes.extend(record.decision_id.map(|id| text("cellwall.decision", id.to_string())));
    attributes.extend(record.status.map(|it| number("http.response.status_code", it.into())));
    let again = u64::from(record.attempts.saturating_sub(1));
    attributes.extend((again > 0).then(|| number("http.request.resend_count", again)));
    attributes.extend(record.grpc_status.map(|it| text("rpc.status_code", it.to_string())));
    attributes
}

/// When it was decided, and by what.
fn decision(record: &FlowRecord) -> Option<Event> {
    let (decision, at) = (record.decision.as_ref()?, record.decided?);
    Some(Event {
        time_unix_nano: nanoseconds(record.began, at),
        name: "authz".to_owned(),
        attributes: vec![
            text("cellwall.verdict", decision.verdict.as_str()),
            text("cellwall.by", decision.by.to_string()),
            number("cellwall.policy.version", decision.version.0),
        ],
        dropped_attributes_count: 0,
    })
}

/// The gRPC status codes that are a server's own failures (semantic conventions of RPC spans).
const SERVERS: [u16; 6] = [2, 4, 12, 13, 14, 15];

/// What went wrong: how it was cut, or the status that says so. Of an answer below 500 a server is not
/// to blame, and it is no failure of its span.
fn failure(record: &FlowRecord) -> Option<String> {
    let inbound = record.direction == Direction::Inbound;
    if let Some(code) = record.grpc_status.filter(|code| *code > 0) {
        return (!inbound || SERVERS.contains(&code)).then(|| code.to_string());
    }
    let least = if inbound { 500 } else { 400 };
    let answered = matches!(record.close, CloseReason::Done | CloseReason::AnsweredEarly);
    match record.status {
        Some(status) if status >= least => Some(status.to_string()),
        Some(400..) => None,
        Some(_) | None => (!answered).then(|| record.close.as_str().to_owned()),
    }
}

fn status(record: &FlowRecord) -> Status {
    let failed = failure(record).is_some();
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Status { message: String::new(), code: code.into() }
}

fn nanoseconds(began: SystemTime, after: Duration) -> u64 {
    let since = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + after;
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// An attribute of text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::{attributes, failure, number};
    use crate::{
        CloseReason, Kind,
        flow::{Direction, FlowRecord},
    };

    #[test]
    fn a_server_is_not_to_blame_for_what_its_client_did() {
        let (inbound, outbound) = (Direction::Inbound, Direction::Outbound);
        let (done, denied) = (CloseReason::Done, CloseReason::PolicyDenied);
        for (direction, close, status, grpc, expected) in [
            (inbound, done, Some(200), None, None),
            (inbound, done, Some(200), Some(0), None),
            (inbound, done, Some(404), None, None),
            (outbound, done, Some(404), None, Some("404")),
            (inbound, done, Some(500), None, Some("500")),
            (inbound, done, Some(200), Some(5), None),
            (outbound, done, Some(200), Some(5), Some("5")),
            (inbound, done, Some(200), Some(13), Some("13")),
            (inbound, denied, Some(403), None, None),
            (inbound, denied, Some(200), Some(7), None),
            (inbound, CloseReason::Io, Some(200), None, Some("io")),
            (inbound, CloseReason::Cancelled, None, None, Some("cancelled")),
            (outbound, CloseReason::UpstreamFailed, Some(502), None, Some("502")),
        ] {
            let remote = "127.0.0.1:9".parse().unwrap();
            let mut record = FlowRecord::begun(Kind::Call, direction, remote);
            (record.close, record.status, record.grpc_status) = (close, status, grpc);
            assert_eq!(failure(&record).as_deref(), expected, "{record:?}");
        }
    }

    #[test]
    fn a_call_that_was_made_twice_says_so() {
        let remote = "127.0.0.1:9".parse().unwrap();
        let mut record = FlowRecord::begun(Kind::Call, Direction::Outbound, remote);
        let again = |record: &FlowRecord| -> Vec<_> {
            let its = attributes(record).into_iter();
            its.filter(|it| it.key == "http.request.resend_count").collect()
        };
        assert_eq!(again(&record), []);
        record.attempts = 2;
        assert_eq!(again(&record), vec![number("http.request.resend_count", 1)]);
    }
}
