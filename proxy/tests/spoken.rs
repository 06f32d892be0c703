//! Which HTTP an app speaks to its sidecar is its own affair.

use cellwall_policy::Protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    forwarding::ledger,
    kit::{DEADLINE, Town, payments},
    raw_h2::{PAYMENT, RawH2},
    spoofs::Fields,
};

const REQUEST: &[u8] =
    b"POST /v1/payments HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn both_may_be_spoken_to_one_destination_and_both_are_judged_alike() {
    // HTTP-24
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let door = || TcpStream::connect(caller.outbound["payments"]);
    let mut multiplexed = RawH2::begin(door().await.unwrap()).await;
    assert_eq!(multiplexed.asked(&PAYMENT, &Fields::default()).await, Some(true));
    let denied = PAYMENT.map(|(name, value)| (name, value.replace("/v1/payments", "/v1/refunds")));
    let denied = denied.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(multiplexed.asked(&denied, &Fields::default()).await, Some(false));
    let mut plain = door().await.unwrap();
    plain.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(callee.seen().len(), 2);
}

#[tokio::test]
async fn half_a_preface_is_no_http_2_and_is_not_looked_for_again() {
    // HTTP-24
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (said, is_answered) in [
        ([&preface[..20], REQUEST].concat(), true),
        ([REQUEST, preface].concat(), true),
        // hyper leaves the empty line out, finds no HTTP/1.1 behind it, and hangs up.
        ([b"\r\n", &preface[..]].concat(), false),
    ] {
        let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
        app.write_all(&said).await.unwrap();
        let mut answer = Vec::new();
        // What is left unread may end it in a reset.
        let _ = app.read_to_end(&mut answer).await;
        let (said, answer) = (said.escape_ascii(), answer.escape_ascii());
        let answer = answer.to_string();
        assert_eq!(answer.starts_with("HTTP/1.1 "), is_answered, "{said}: {answer}");
        assert_eq!(answer.is_empty(), !is_answered, "{said}: {answer}");
    }
    // The whole request that came first, and nothing else.
    assert_eq!(callee.seen().len(), 1);
}

#[tokio::test]
async fn http_1_is_not_spoken_to_a_grpc_destination() {
    // HTTP-24: gRPC is HTTP/2
    let town = Town::new().await;
    let (_callee, _workload) = ledger(&town).await;
    let caller = town.caller_of("ledger", Protocol::Grpc).await;
    let mut app = TcpStream::connect(caller.outbound["ledger"]).await.unwrap();
    app.write_all(REQUEST).await.unwrap();
    let mut said = Vec::new();
    // What is left unread may end it in a reset.
    let end = tokio::time::timeout(DEADLINE, app.read_to_end(&mut said)).await;
    assert!(end.is_ok(), "not closed in time");
    assert!(!said.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&said));
}
