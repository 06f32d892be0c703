//! Requests that are made to be broken off: a few harm nobody, and whoever goes on with it loses the
//! connection.

use crate::{
    kit::{DEADLINE, Town, payments},
    raw_h2::{END_HEADERS, END_STREAM, HEADERS, PAYMENT, RST_STREAM, RawH2, frame, literal},
};

/// What is said of one stream, with the head of a request.
type Harm = fn(&[u8], u32) -> Vec<u8>;

/// So many requests, each of them with what `harm` says of its stream.
fn flood(requests: u32, harm: Harm) -> Vec<u8> {
    let denied = PAYMENT.map(|(name, value)| (name, value.replace("/v1/payments", "/v1/refunds")));
    let head = denied.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()));
    let head: Vec<u8> = head.collect();
    (0..requests).flat_map(|number| harm(&head, 2 * number + 1)).collect()
}

/// Whether a connection between sidecars lives through it.
async fn check(requests: u32, harm: Harm) -> bool {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = RawH2::begin(callee.dial(&town.svid("checkout"), &["h2"]).await).await;
    let flood = flood(requests, harm);
    let lives = caller.lives_through(&flood);
    let lives = tokio::time::timeout(DEADLINE, lives).await.unwrap();
    assert_eq!(callee.seen(), []);
    lives
}

/// Broken off by the caller, in the same breath.
fn cancelled(head: &[u8], stream: u32) -> Vec<u8> {
    let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    [frame(HEADERS, END_HEADERS, stream, head), cancel].concat()
}

/// Such that the callee's side has to break it off (RFC 9113 §8.2.2).
fn malformed(head: &[u8], stream: u32) -> Vec<u8> {
    let head = [head, &literal(b"connection", b"close")].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)
}

#[tokio::test]
async fn whoever_breaks_off_more_requests_than_anybody_looks_at_loses_the_connection() {
    // RES-04, CVE-2023-44487
    assert!(check(200, cancelled).await);
    assert!(!check(5_000, cancelled).await);
}

#[tokio::test]
async fn so_does_whoever_has_more_of_them_broken_off_than_a_connection_sees_in_its_life() {
    // RES-04, CVE-2025-8671
    assert!(check(2_000, malformed).await);
    assert!(!check(5_000, malformed).await);
}
