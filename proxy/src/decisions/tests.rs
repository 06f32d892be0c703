use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use cellwall_mtls::Refusal;
use cellwall_policy::{By, Decision, PolicyVersion, Verdict};

use super::{COUNTED, RECENT, UNREPORTED};
use crate::{AccessLog, CloseReason, Direction, Flows, Kind};

fn flows() -> Flows {
    let (log, _) = AccessLog::start(io::sink()).unwrap();
    Flows::new(log)
}

fn decision(verdict: Verdict) -> Decision {
    let by = By::Default;
    Decision { verdict, by, route: None, version: PolicyVersion(1), until: None }
}

fn remote() -> SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

/// One inbound call of `caller`.
fn call(flows: &Flows, verdict: Verdict, close: CloseReason) {
    let mut flow = flows.open(Kind::Call, Direction::Inbound, remote());
    flow.record.caller.id = Some("spiffe://pay.example/prod/checkout".into());
    flow.record.decision = Some(decision(verdict));
    flow.progress.request.end(CloseReason::Done);
    flow.close(close);
}

#[test]
fn whatever_denies_leaves_an_id_and_nothing_else_does() {
    let flows = flows();
    let ended = |direction, close| {
        let before = flows.decisions().recent(RECENT).len();
        flows.open(Kind::Connection, direction, remote()).close(close);
        flows.decisions().recent(RECENT).len() - before
    };
    for close in [
        CloseReason::PolicyDenied,
        CloseReason::PolicyRevoked,
        CloseReason::NoPolicy,
        CloseReason::TlsRefused(Refusal::DeniedId),
        CloseReason::TrustWithdrawn(Refusal::DeniedSerial),
    ] {
        assert_eq!(ended(Direction::Inbound, close), 1, "{close:?}");
        assert_eq!(ended(Direction::Outbound, close), 0, "{close:?}");
    }
    for close in [
        CloseReason::Done,
        CloseReason::PathAmbiguous,
        CloseReason::NotDeclared,
        CloseReason::TlsRefused(Refusal::UnknownIssuer),
        CloseReason::SvidExpired,
    ] {
        assert_eq!(ended(Direction::Inbound, close), 0, "{close:?}");
    }
    // Of somebody who has proved who they are.
    let before = flows.decisions().recent(RECENT).len();
    call(&flows, Verdict::Allow, CloseReason::NotDeclared);
    assert_eq!(flows.decisions().recent(RECENT).len() - before, 1);
    let ids: Vec<_> =
        flows.decisions().recent(RECENT).iter().map(|record| record.id.clone()).collect();
    assert!(ids.iter().all(|id| id.len() == 28 && id.starts_with("d_")), "{ids:?}");
}

#[test]
fn the_recent_ones_are_bounded_and_the_newest_comes_first() {
    let flows = flows();
    call(&flows, Verdict::Deny, CloseReason::PolicyDenied);
    let first = flows.decisions().recent(1)[0].id.clone();
    assert!(flows.decisions().find(&first).is_some());
    for _ in 0..RECENT {
        call(&flows, Verdict::Audit, CloseReason::Done);
    }
    assert_eq!(flows.decisions().recent(usize::MAX).len(), RECENT);
    assert!(flows.decisions().find(&first).is_none());
    let newest = flows.decisions().recent(2);
    assert!(newest[0].id.get(..12) >= newest[1].id.get(..12), "{newest:?}");
    assert_eq!((newest[0].verdict, newest[0].reason), ("audit", "done"));
}

#[test]
fn an_allowed_call_is_counted_and_not_kept() {
    let flows = flows();
    call(&flows, Verdict::Allow, CloseReason::Done);
    assert!(flows.decisions().recent(RECENT).is_empty());
    let counted = flows.decisions().counted().unwrap();
    assert_eq!(counted.decision.verdict, Verdict::Allow);
    assert!(counted.at <= SystemTime::now());
    assert!(flows.decisions().unreported().is_none());
}

#[test]
fn without_a_feed_the_queues_fill_and_nobody_waits() {
    // OBS-03
    let flows = flows();
    for _ in 0..COUNTED + 10 {
        call(&flows, Verdict::Deny, CloseReason::PolicyDenied);
    }
    let drained = |next: &dyn Fn() -> bool| std::iter::from_fn(|| next().then_some(())).count();
    let decisions = flows.decisions().clone();
    assert_eq!(drained(&|| decisions.counted().is_some()), COUNTED);
    assert_eq!(drained(&|| decisions.unreported().is_some()), UNREPORTED);
    assert_eq!(Arc::strong_count(&decisions.recent(1)[0]), 2, "the queue holds none of them");
}
