//! What a caller is told of a call without an answer (issue 5, item 3): not done, or unknown, and
//! nothing that makes a client send an unknown payment again.

use cellwall_policy::{Protocol, SnapshotDocument};
use cellwall_testkit::client;
use http::{HeaderMap, HeaderValue, Response};

use crate::{
    forwarding::{ledger_beside, played},
    kit::{Sidecar, Town, checkout, destination, eventually},
    played::Played,
    raw_h2::{Leaver, Leaves},
};

/// The truth about a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    NotDone,
    Unknown,
}

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// RFC 9113 §6.8, §8.7: what a server says of a request that it leaves unanswered, and what that
/// means.
pub(crate) const LEFT: [(Leaves, Fate); 11] = [
    (Leaves::Reset(REFUSED_STREAM), Fate::NotDone),
    (Leaves::Reset(CANCEL), Fate::Unknown),
    (Leaves::Reset(INTERNAL_ERROR), Fate::Unknown),
    (Leaves::Reset(NO_ERROR), Fate::Unknown),
    (Leaves::Reset(ENHANCE_YOUR_CALM), Fate::Unknown),
    // True of the standard, and not told from the next ones by what hyper says.
    (Leaves::Above(NO_ERROR), Fate::Unknown),
    (Leaves::Above(PROTOCOL_ERROR), Fate::Unknown),
    (Leaves::Below(NO_ERROR), Fate::Unknown),
    (Leaves::Below(PROTOCOL_ERROR), Fate::Unknown),
    (Leaves::Below(REFUSED_STREAM), Fate::Unknown),
    (Leaves::Silently, Fate::Unknown),
];

/// Status, `sent` and `cellwall-outcome` of an answer of ours.
fn told(response: &Response<bytes::Bytes>) -> (u16, String, String) {
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert!(!response.headers().contains_key("retry-after"), "{response:?}");
    let outcome = response.headers()["cellwall-outcome"].to_str().unwrap();
    let sent = problem["sent"].as_str().unwrap().to_owned();
    (response.status().as_u16(), sent, outcome.to_owned())
}

fn not_done() -> (u16, String, String) {
    (503, "no".to_owned(), "not-done".to_owned())
}

fn unknown() -> (u16, String, String) {
    (502, "unknown".to_owned(), "unknown".to_owned())
}

/// Checkout's sidecar; `callee` is at `address`.
pub(crate) async fn caller(
    town: &Town,
    (callee, protocol): (&'static str, Protocol),
    address: String,
) -> Sidecar {
    let outbound: &'static [&'static str] =
        if callee == "ledger" { &["ledger"] } else { &["payments"] };
    let (plan, policy) = checkout(outbound, vec![destination(callee, protocol)]);
    town.control.set_endpoints(callee, &[address]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows(callee).await;
    caller
}

#[tokio::test]
async fn only_a_call_that_was_not_done_is_told_503() {
    let town = Town::new().await;
    let callee = Leaver::sidecar(&town.svid("payments")).await;
    let to = ("payments", Protocol::Http);
    let caller = caller(&town, to, callee.address.to_string()).await;
    for (way, fate) in LEFT {
        callee.next(way).await;
        let answer = client::request(caller.outbound["payments"], "POST /v1/payments").await;
        let answer = answer.unwrap();
        let body = String::from_utf8_lossy(answer.body());
        assert!(body.contains(r#""reason":"upstream_failed""#), "{way:?}: {body}");
        let expected = if fate == Fate::NotDone { not_done() } else { unknown() };
        assert_eq!(told(&answer), expected, "{way:?}");
    }
}

#[tokio::test]
async fn only_a_grpc_call_that_was_not_done_is_told_unavailable() {
    // gRPC core `statuscodes.md`: clients send again what is UNAVAILABLE; gRFC A6: -1 forbids it
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let caller = caller(&town, ("ledger", Protocol::Grpc), callee.inbound.to_string()).await;
    let pushback = "grpc-retry-pushback-ms";
    for (way, fate) in LEFT {
        workload.next(way).await;
        let answer = client::grpc(caller.outbound["ledger"], "ledger.v1/Post").await.unwrap();
        let (status, outcome, again) = match fate {
            Fate::NotDone => (14, "not-done", None),
            Fate::Unknown => (2, "unknown", Some("-1")),
        };
        assert_eq!(answer.status, Some(status), "{way:?} {answer:?}");
        assert_eq!(answer.headers["cellwall-outcome"], outcome, "{way:?}");
        let said = answer.headers.get(pushback).map(|value| value.to_str().unwrap());
        assert_eq!(said, again, "{way:?}");
    }
}

#[tokio::test]
async fn a_grpc_call_ends_when_its_caller_waits_no_longer() {
    // gRPC over HTTP/2, "Requests": Timeout
    let town = Town::new().await;
    let mut callee = Played::silent_sidecar(&town.svid("ledger")).await;
    let caller = caller(&town, ("ledger", Protocol::Grpc), callee.address.to_string()).await;
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", HeaderValue::from_static("100m"));
    let door = caller.outbound["ledger"];
    let answer = client::grpc_with(door, "ledger.v1/Post", headers).await.unwrap();
    assert_eq!(answer.status, Some(4), "DEADLINE_EXCEEDED: {answer:?}");
    assert_eq!(answer.headers["cellwall-outcome"], "unknown");
    // The callee is told as well how long it has.
    assert_eq!(callee.next().await.head.headers["grpc-timeout"], "100m");
}

#[tokio::test]
async fn a_call_that_never_left_is_told_not_done_whatever_the_reason() {
    let town = Town::new().await;
    // Nobody listens where the workload should be.
    let (payments, workload) = played(&town).await;
    drop(workload);
    let to = ("payments", Protocol::Http);
    let caller = caller(&town, to, payments.inbound.to_string()).await;
    let call =
        async || client::request(caller.outbound["payments"], "POST /v1/payments").await.unwrap();
    let answer = call().await;
    assert!(answer.body().starts_with(br#"{"title":"callee unavailable""#), "{answer:?}");
    assert_eq!(told(&answer), not_done(), "connect_failed, by the callee's sidecar");
    drop(payments);
    // A call that is sent before the end of the connection is noticed has unknown fate, and says so.
    eventually("connect_failed, by ours", async || told(&call().await) == not_done()).await;
    // The policy knows it no more.
    let (_, nowhere) = checkout(&["payments"], Vec::new());
    let version = town.publish(SnapshotDocument { destinations: Vec::new(), ..nowhere });
    let checkout = crate::kit::id("checkout");
    town.control.acknowledged(&checkout, version, crate::kit::DEADLINE).await.unwrap();
    let refused = client::request(caller.outbound["payments"], "POST /v1/payments").await;
    assert!(refused.is_err() || told(&refused.unwrap()) == not_done());
}

#[tokio::test]
async fn what_a_sidecar_refuses_it_has_not_done() {
    let town = Town::new().await;
    let (payments, _workload) = played(&town).await;
    let svid = town.svid("checkout");
    for (call, status) in [("POST /v1/other", 403), ("POST /v1/../x", 400)] {
        let request = client::build(call).unwrap().body(Default::default()).unwrap();
        let answer = payments.http(&svid).await.send(request).await.unwrap();
        let outcome = answer.headers()["cellwall-outcome"].to_str().unwrap();
        assert_eq!((answer.status().as_u16(), outcome), (status, "not-done"), "{call}");
    }
}
