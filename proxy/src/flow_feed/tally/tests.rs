use std::{io, sync::Arc, time::SystemTime};

use cellwall_policy::{By, Decision, PolicyVersion, Protocol, Verdict};
use prost::Message as _;

use super::{BATCH_DECISIONS, Counted, MAX_DECISIONS, MAX_EDGES, Tally};
use crate::{AccessLog, CloseReason, Direction, Flows, Kind};

/// What the control plane reads of one message.
const MAX_MESSAGE: usize = 128 * 1024;

fn counted(caller: &str, method: &str, route: Option<&str>) -> Counted {
    let decision = Decision {
        verdict: if route.is_some() { Verdict::Allow } else { Verdict::Deny },
        by: By::Default,
        route: route.map(Arc::from),
        version: PolicyVersion(3),
        until: None,
    };
    let method = Some(method.parse().unwrap());
    let at = SystemTime::UNIX_EPOCH;
    Counted { caller: caller.into(), protocol: Some(Protocol::Http), method, decision, at }
}

/// As many denials as this, of callers with the longest IDs that there are.
fn denied(count: usize) -> Flows {
    let (log, _) = AccessLog::start(io::sink()).unwrap();
    let flows = Flows::new(log);
    for number in 0..count {
        let mut flow = flows.open(Kind::Call, Direction::Inbound, "127.0.0.1:9".parse().unwrap());
        let id = format!("spiffe://pay.example/{number:0>2000}");
        flow.record.caller.id = Some(id.into());
        flow.close(CloseReason::PolicyDenied);
    }
    flows
}

#[test]
fn equal_calls_are_one_edge_with_their_number() {
    let mut tally = Tally::default();
    for _ in 0..3 {
        tally.count(counted("a", "POST", Some("/v1/payments")));
    }
    tally.count(counted("a", "GET", Some("/v1/payments")));
    assert!(!tally.is_due(), "counts wait for others");
    let mut batch = tally.batch();
    batch.edges.sort_by_key(|edge| edge.count);
    let edges: Vec<_> = batch.edges.iter().map(|edge| (edge.call.as_str(), edge.count)).collect();
    assert_eq!(edges, [("GET /v1/payments", 1), ("POST /v1/payments", 3)]);
    assert_eq!(batch.edges[0].policy_version, 3);
    assert!(tally.is_empty());
}

#[test]
fn a_caller_makes_no_edges_by_inventing_methods_and_paths() {
    // OBS-08
    let mut tally = Tally::default();
    for number in 0..2 * MAX_EDGES {
        tally.count(counted("a", &format!("M{number}"), None));
    }
    let batch = tally.batch();
    assert_eq!(batch.edges.len(), 1);
    assert_eq!((batch.edges[0].call.as_str(), batch.dropped), ("", 0));
}

#[test]
fn what_is_more_than_the_bound_is_dropped_and_told() {
    let mut tally = Tally::default();
    for number in 0..MAX_EDGES + 7 {
        tally.count(counted(&number.to_string(), "GET", Some("/")));
    }
    tally.count(counted("0", "GET", Some("/")));
    assert_eq!(tally.edges.len(), MAX_EDGES);
    assert_eq!(tally.batch().dropped, 7);
    assert_eq!(tally.batch().dropped, 0);
}

#[test]
fn a_batch_fits_into_a_message_and_the_rest_waits() {
    // CP-05, CP-06
    let mut tally = Tally::default();
    let flows = denied(BATCH_DECISIONS);
    tally.absorb(flows.decisions());
    for number in 0..MAX_EDGES {
        tally.count(counted(&format!("{number:0>1000}"), "GET", Some("/")));
    }
    let (mut decisions, mut edges) = (0, 0);
    while !tally.is_empty() {
        let batch = tally.batch();
        assert!(batch.encoded_len() < MAX_MESSAGE, "{}", batch.encoded_len());
        assert!(!batch.decisions.is_empty() || !batch.edges.is_empty());
        decisions += batch.decisions.len();
        edges += batch.edges.len();
    }
    assert_eq!((decisions, edges), (BATCH_DECISIONS, MAX_EDGES));
}

#[test]
fn of_too_many_denials_the_newest_are_kept() {
    let mut tally = Tally::default();
    let first = denied(10);
    tally.absorb(first.decisions());
    let more = denied(MAX_DECISIONS);
    tally.absorb(more.decisions());
    assert!(tally.is_due(), "a denial does not wait");
    assert_eq!((tally.left(), tally.batch().dropped), (MAX_DECISIONS as u64, 10));
}
