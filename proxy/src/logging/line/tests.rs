use std::time::{Duration, SystemTime};

use cellwall_policy::{By, Decision, PolicyVersion, Protocol, Verdict};
use serde_json::{Value, json};

use super::append;
use crate::{
    CloseReason,
    decision_id::DecisionId,
    flow::{Direction, FlowRecord, Kind, Party},
};

fn record() -> FlowRecord {
    let from = "[2001:db8::7]:4711".parse().unwrap();
    let mut record = FlowRecord::begun(Kind::Call, Direction::Outbound, from);
    record.began = SystemTime::UNIX_EPOCH + Duration::new(1_795_405_445, 120_000_000);
    record
}

fn line(record: &FlowRecord) -> Value {
    let mut line = Vec::new();
    append(record, &mut line);
    assert_eq!(line.last(), Some(&b'\n'));
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn a_line_says_what_is_known_in_its_place() {
    let mut record = record();
    let party = |name: &str| Party {
        workload: Some(name.into()),
        id: Some(format!("spiffe://cellwall.test/{name}").into()),
    };
    record.environment = "prod".into();
    (record.caller, record.callee) = (party("shop"), party("ledger"));
    record.caller_serial = Some("0a".into());
    record.decision = Some(Decision {
        verdict: Verdict::Deny,
        by: By::Guard("at \"night\"".into()),
        route: Some("/v1/{id}".into()),
        version: PolicyVersion(7),
        until: None,
    });
    let id = DecisionId::new();
    record.decision_id = Some(id);
    (record.protocol, record.rpc) = (Some(Protocol::Grpc), Some("a.B/C\\".into()));
    (record.status, record.grpc_status) = (Some(200), Some(14));
    record.method = Some(http::Method::POST);
    record.trace_id = Some("4bf9".into());
    (record.bytes, record.attempts) = ((u64::MAX, 1), 2);
    record.duration = Duration::from_secs(61);
    record.decided = Some(Duration::from_nanos(1));
    record.upstream = Some(Duration::from_nanos(1_500_000_000));
    record.close = CloseReason::PolicyDenied;
    let expected = json!({
        "ts": "2026-11-23T03:44:05.120000000Z", "level": "warn", "kind": "call",
        "cellwall.direction": "outbound", "cellwall.verdict": "deny",
        "cellwall.by": "guard/at \"night\"", "cellwall.reason": "policy_denied",
        "cellwall.fate": "not-done", "cellwall.attempts": 2,
        "cellwall.decision": id.to_string(), "cellwall.policy.version": 7,
        "cellwall.env": "prod", "cellwall.caller.workload": "shop",
        "cellwall.caller.id": "spiffe://cellwall.test/shop", "cellwall.caller.serial": "0a",
        "cellwall.callee.workload": "ledger",
        "cellwall.callee.id": "spiffe://cellwall.test/ledger",
        "network.peer.address": "2001:db8::7", "network.peer.port": 4711,
        "rpc.system.name": "grpc", "rpc.method": "a.B/C\\", "rpc.status_code": 14,
        "http.request.method": "POST", "http.route": "/v1/{id}",
        "http.response.status_code": 200, "duration_s": 61.0, "decided_s": 1e-9,
        "upstream_s": 1.5, "first_byte_s": null, "request_end_s": null,
        "request_bytes": u64::MAX, "response_bytes": 1, "trace_id": "4bf9",
    });
    assert_eq!(line(&record), expected);
}

#[test]
fn what_is_not_known_is_null_where_it_always_stands() {
    let expected = json!({
        "ts": "2026-11-23T03:44:05.120000000Z", "level": "info", "kind": "call",
        "cellwall.direction": "outbound", "cellwall.verdict": null, "cellwall.by": null,
        "cellwall.reason": "cancelled", "cellwall.fate": "not-done",
        "cellwall.policy.version": null, "cellwall.env": "", "cellwall.caller.workload": null,
        "cellwall.caller.id": null, "cellwall.callee.workload": null,
        "cellwall.callee.id": null, "network.peer.address": "2001:db8::7",
        "network.peer.port": 4711, "http.route": null, "duration_s": 0.0, "decided_s": null,
        "upstream_s": null, "first_byte_s": null, "request_end_s": null, "request_bytes": 0,
        "response_bytes": 0,
    });
    assert_eq!(line(&record()), expected);
}

#[test]
fn addresses_and_figures_are_whole() {
    let mut record = record();
    for (address, text) in [
        ("0.0.0.0:1", "0.0.0.0"),
        ("255.10.0.9:65535", "255.10.0.9"),
        ("[::ffff:10.0.0.7]:80", "::ffff:10.0.0.7"),
    ] {
        record.remote = address.parse().unwrap();
        let line = line(&record);
        assert_eq!(line["network.peer.address"], text);
        assert_eq!(line["network.peer.port"], record.remote.port());
    }
    for figure in [0, 9, 10, 99, 100, 1_000_000, u64::MAX - 1, u64::MAX] {
        record.bytes.0 = figure;
        assert_eq!(line(&record)["request_bytes"], figure);
    }
    for (second, text) in [(0, "1970-01-01T00:00:00"), (951_782_399, "2000-02-28T23:59:59")] {
        record.began = SystemTime::UNIX_EPOCH + Duration::new(second, 1);
        assert_eq!(line(&record)["ts"], format!("{text}.000000001Z"));
    }
}

#[test]
fn every_character_stays_within_its_text() {
    // OBS-01
    for character in (0..=0x7f_u8).map(char::from).chain(['\u{80}', '\u{2028}', 'ü', '😀']) {
        let mut record = record();
        // Wherever it stands in the chunks that are looked at.
        for (before, after) in
            [(1, 1), (0, 15), (15, 0), (16, 1), (1, 16), (31, 7), (7, 40), (33, 0)]
        {
            let text = format!("{}{character}{}", "a".repeat(before), "b".repeat(after));
            record.rpc = Some(text.clone().into());
            assert_eq!(line(&record)["rpc.method"], text);
        }
    }
}

#[test]
fn no_line_names_the_parties_of_the_one_before() {
    // OBS-01: what differs in one of them alone, after a flow that differs in none
    let edits: [fn(&mut FlowRecord); 7] = [
        |record| record.environment = "test".into(),
        |record| record.caller.workload = Some("other".into()),
        |record| record.caller.id = None,
        |record| record.caller_serial = Some("0b".into()),
        |record| record.callee.workload = None,
        |record| record.callee.id = Some("spiffe://cellwall.test/other".into()),
        |record| record.direction = Direction::Inbound,
    ];
    let party = |name: &str| Party { workload: Some(name.into()), id: Some(name.into()) };
    let mut usual = record();
    usual.environment = "prod".into();
    (usual.caller, usual.callee) = (party("shop"), party("ledger"));
    usual.caller_serial = Some("0a".into());
    for edit in edits {
        let mut edited = usual.clone();
        edit(&mut edited);
        for record in [&usual, &edited, &edited, &usual] {
            let (line, FlowRecord { caller, callee, .. }) = (line(record), record);
            assert_eq!(line["cellwall.direction"], record.direction.as_str());
            assert_eq!(line["cellwall.env"], *record.environment);
            assert_eq!(line["cellwall.caller.workload"], json!(caller.workload.as_deref()));
            assert_eq!(line["cellwall.caller.id"], json!(caller.id.as_deref()));
            assert_eq!(line["cellwall.caller.serial"], json!(record.caller_serial.as_deref()));
            assert_eq!(line["cellwall.callee.workload"], json!(callee.workload.as_deref()));
            assert_eq!(line["cellwall.callee.id"], json!(callee.id.as_deref()));
        }
    }
}
