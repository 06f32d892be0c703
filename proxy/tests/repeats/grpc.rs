//! The same for gRPC, whose callers say how long they wait.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cellwall_policy::{CallDocument, IdempotentBy, Protocol};
use cellwall_testkit::client;
use http::{HeaderMap, HeaderValue};

use super::{CANCEL, REFUSED_STREAM, declared};
use crate::{
    bank::Wire,
    fates::caller,
    forwarding::ledger_beside,
    kit::{self, DEADLINE, Sidecar, Town, checkout, destination},
    played::Played,
    raw_h2::{END_HEADERS, END_STREAM, HEADERS, Leaver, Leaves, STATUS_200, frame, literal},
};

/// Checkout's sidecar with `ledger`, of which `Post` is declared by a key.
async fn calling_ledger(town: &Town, address: SocketAddr) -> Sidecar {
    let call = CallDocument::Grpc { service: "ledger.v1".to_owned(), method: "Post".to_owned() };
    let mut ledger = destination("ledger", Protocol::Grpc);
    ledger.idempotent = vec![declared(call, IdempotentBy::Key)];
    let sidecar = caller(town, ("ledger", Protocol::Grpc), address.to_string()).await;
    let (_, policy) = checkout(&["ledger"], vec![ledger]);
    let version = town.publish(policy);
    town.control.acknowledged(&kit::id("checkout"), version, DEADLINE).await.unwrap();
    sidecar
}

fn metadata(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[tokio::test]
async fn a_declared_grpc_call_is_made_once_more_and_no_other() {
    const OK: Leaves = Leaves::Says(|stream| {
        let kind = literal(b"content-type", b"application/grpc");
        let fields = [vec![STATUS_200], kind, literal(b"grpc-status", b"0")].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    });
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let caller = calling_ledger(&town, callee.inbound).await;
    let door = caller.outbound["ledger"];
    let call = async |fields| client::grpc_with(door, "ledger.v1/Post", metadata(fields)).await;
    for (way, attempts) in [
        (Leaves::Reset(CANCEL), Some("2")),
        (Leaves::Reset(REFUSED_STREAM), None),
        (Leaves::Silently, Some("2")),
    ] {
        workload.next(way).await;
        workload.next(OK).await;
        let answer = call(&[("idempotency-key", "k-1")]).await.unwrap();
        assert_eq!(answer.status, Some(0), "{way:?} {answer:?}");
        assert!(!answer.headers.contains_key("cellwall-outcome"), "{way:?} {answer:?}");
        let said = answer.headers.get("cellwall-attempts").map(|it| it.to_str().unwrap());
        assert_eq!(said, attempts, "{way:?} {answer:?}");
    }
    workload.next(Leaves::Reset(CANCEL)).await;
    workload.next(OK).await;
    assert_eq!(call(&[]).await.unwrap().status, Some(2), "undeclared");
    assert_eq!(call(&[]).await.unwrap().status, Some(0), "nobody took what comes next");
}

#[tokio::test]
async fn a_caller_that_waits_no_longer_gets_no_second_attempt() {
    let town = Town::new().await;
    let mut callee = Played::silent_sidecar(&town.svid("ledger")).await;
    let caller = calling_ledger(&town, callee.address).await;
    let fields = metadata(&[("idempotency-key", "k-1"), ("grpc-timeout", "300m")]);
    let door = caller.outbound["ledger"];
    let answer = client::grpc_with(door, "ledger.v1/Post", fields).await.unwrap();
    assert_eq!(answer.status, Some(4), "DEADLINE_EXCEEDED: {answer:?}");
    callee.next().await;
    assert!(callee.arrived().is_none());
}

#[tokio::test]
async fn both_attempts_together_take_no_longer_than_their_caller_waits() {
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let wire = Wire::to(callee.inbound).await;
    let caller = calling_ledger(&town, wire.address).await;
    let nothing = Leaves::Says(|_| Vec::new());
    workload.next(nothing).await;
    workload.next(nothing).await;
    let fields = metadata(&[("idempotency-key", "k-1"), ("grpc-timeout", "2S")]);
    let began = Instant::now();
    let answer = client::grpc_with(caller.outbound["ledger"], "ledger.v1/Post", fields);
    let mut answer = std::pin::pin!(answer);
    let most = tokio::time::timeout(Duration::from_millis(1_500), answer.as_mut()).await;
    assert!(most.is_err(), "it is answered too early: {most:?}");
    wire.cut();
    assert_eq!(answer.await.unwrap().status, Some(4));
    // Two seconds of its own for the second one would be more.
    assert!(began.elapsed() < Duration::from_millis(3_400), "{:?}", began.elapsed());
}
