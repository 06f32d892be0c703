use std::time::{Duration, UNIX_EPOCH};

use cellwall_api::distribution::{DecisionRecord, EdgeCount, FlowBatch};
use serde_json::{Value, json};
use tonic::Code;

use super::Reporter;

const DB: &str = "spiffe://pay.example/prod/db";
const WEB: &str = "spiffe://pay.example/prod/web";
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn reporter() -> Reporter {
    Reporter {
        id: DB.into(),
        workload: "db".into(),
        environment: "prod".into(),
        now: UNIX_EPOCH + NOW,
    }
}

fn edge() -> EdgeCount {
    EdgeCount {
        caller: WEB.into(),
        call: "tcp:5432".into(),
        verdict: "deny".into(),
        by: "default".into(),
        policy_version: 1,
        count: 2,
        first_ms: 1_799_999_999_000,
        last_ms: 1_799_999_999_500,
    }
}

fn decision() -> DecisionRecord {
    DecisionRecord {
        id: "d_0123456789ABCDEFGHJKMNPQRS".into(),
        at_ms: 1_799_999_999_001,
        kind: "connection".into(),
        verdict: "deny".into(),
        reason: "policy_denied".into(),
        caller: WEB.into(),
        policy_version: 1,
        ..DecisionRecord::default()
    }
}

fn batch() -> FlowBatch {
    FlowBatch {
        instance: "db-1".into(),
        sequence: 1,
        callee: DB.into(),
        edges: vec![edge()],
        decisions: vec![decision()],
        dropped: 0,
    }
}

#[test]
fn a_batch_is_read_with_what_we_know_and_not_what_it_says_of_itself() {
    let row = reporter().read(batch()).unwrap();
    assert_eq!((row.callee.as_str(), row.instance.as_str(), row.sequence), (DB, "db-1", 1));
    let document: Value = serde_json::from_str(&row.decisions[0].document).unwrap();
    let expected = json!({
        "id": "d_0123456789ABCDEFGHJKMNPQRS", "at": "2027-01-15T07:59:59.001Z",
        "kind": "connection", "protocol": null, "verdict": "deny", "by": null,
        "reason": "policy_denied", "tls_reason": null, "policy_version": 1, "caller": WEB,
        "caller_workload": null, "caller_serial": null, "caller_address": null, "callee": DB,
        "callee_workload": "db", "environment": "prod", "method": null, "rpc": null,
        "route": null, "trace_id": null,
    });
    assert_eq!(document, expected);
}

#[test]
fn nobody_reports_for_somebody_else() {
    // CP-03
    let refused = reporter().read(FlowBatch { callee: WEB.into(), ..batch() });
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[test]
fn what_is_too_long_too_much_or_not_what_it_should_be_is_refused_whole() {
    // CP-05, OBS-01
    let long = "x".repeat(601);
    let edges = |edge: EdgeCount| FlowBatch { edges: vec![edge], ..batch() };
    let decisions = |one: DecisionRecord| FlowBatch { decisions: vec![one], ..batch() };
    for bad in [
        FlowBatch { instance: String::new(), ..batch() },
        FlowBatch { instance: "x".repeat(129), ..batch() },
        FlowBatch { instance: "a\u{1b}[31m".into(), ..batch() },
        FlowBatch { sequence: 0, ..batch() },
        FlowBatch { sequence: u64::MAX, ..batch() },
        FlowBatch { edges: vec![edge(); 1025], ..batch() },
        FlowBatch { decisions: vec![decision(); 257], ..batch() },
        edges(EdgeCount { caller: String::new(), ..edge() }),
        edges(EdgeCount { caller: "checkout".into(), ..edge() }),
        edges(EdgeCount { caller: format!("{WEB}{}", "x".repeat(2048)), ..edge() }),
        edges(EdgeCount { call: long.clone(), ..edge() }),
        edges(EdgeCount { by: "a\nb".into(), ..edge() }),
        edges(EdgeCount { verdict: "perhaps".into(), ..edge() }),
        edges(EdgeCount { count: 0, ..edge() }),
        edges(EdgeCount { policy_version: u64::MAX, ..edge() }),
        decisions(DecisionRecord { id: "d_0".into(), ..decision() }),
        decisions(DecisionRecord { id: "d_0123456789ABCDEFGHJKMNPQRL".into(), ..decision() }),
        decisions(DecisionRecord { id: "x_0123456789ABCDEFGHJKMNPQRS".into(), ..decision() }),
        decisions(DecisionRecord { kind: String::new(), ..decision() }),
        decisions(DecisionRecord { reason: long.clone(), ..decision() }),
        decisions(DecisionRecord { caller: "nobody".into(), ..decision() }),
        decisions(DecisionRecord { rpc: "a\r\nb".into(), ..decision() }),
        decisions(DecisionRecord { route: long, ..decision() }),
    ] {
        let read = reporter().read(bad.clone());
        assert_eq!(read.unwrap_err().code(), Code::InvalidArgument, "{bad:?}");
    }
}

#[test]
fn a_time_that_cannot_be_right_is_replaced_by_ours() {
    let now = i64::try_from(NOW.as_millis()).unwrap();
    let read = |last_ms: u64| {
        let edges = vec![EdgeCount { first_ms: last_ms, last_ms, ..edge() }];
        reporter().read(FlowBatch { edges, ..batch() }).unwrap().edges[0].last_at
    };
    assert_eq!(read(0), now);
    assert_eq!(read(u64::MAX), now);
    assert_eq!(read(NOW.as_millis() as u64 + 299_000), now + 299_000);
    assert_eq!(read(NOW.as_millis() as u64 + 301_000), now);
    assert_eq!(read(NOW.as_millis() as u64 - 6 * 24 * 3_600_000), now - 6 * 24 * 3_600_000);
}
