//! What becomes of a declared call while sidecars end, certificates turn and policies change.

use std::net::SocketAddr;

use cellwall_policy::{
    DestinationDocument, IdempotentBy, IdempotentDocument, Protocol, SnapshotDocument,
};
use cellwall_testkit::workload_api::X509State;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{KEY, PAID, UNKNOWN, callee, calling, declared, is, pay, payments, street, text, told};
use crate::{
    bank::{Bank, Came, Does},
    kit::{self, DEADLINE, Town, checkout, http},
};

/// A request of the app that has come to the workload, which leaves it at that.
async fn under_way(bank: &Bank, door: SocketAddr, request: &str) -> TcpStream {
    bank.next(&[Does::Waits]);
    let mut app = TcpStream::connect(door).await.unwrap();
    app.write_all(request.as_bytes()).await.unwrap();
    bank.has_come().await;
    app
}

/// Pays; the sidecar that has the payment gets `signal`, and the other one of two is there.
async fn paid_by_the_other(signal: Signal) {
    let (town, bank) = (Town::new().await, Bank::open().await);
    let first = callee(&town, "payments", bank.address).await;
    let second = callee(&town, "payments-2", bank.address).await;
    let caller = calling(&town, &[first.inbound, second.inbound]).await;
    let mut app =
        under_way(&bank, caller.outbound["payments"], &text("POST /v1/payments", KEY, "money"))
            .await;
    let open = first.metrics().await.sum("cellwall_calls_open", &[("direction", "inbound")]);
    let mut its_own = if open > 0.0 { first } else { second };
    its_own.process.signal(signal).unwrap();
    its_own.process.ended(DEADLINE).await.unwrap();
    assert_eq!(is(&told(&mut app).await), PAID);
    assert_eq!(bank.came().len(), 2);
}

#[tokio::test]
async fn a_declared_call_goes_to_another_sidecar_when_its_own_is_killed() {
    paid_by_the_other(Signal::SIGKILL).await;
}

#[tokio::test]
async fn a_declared_call_goes_to_another_sidecar_when_its_own_is_drained() {
    paid_by_the_other(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_second_attempt_is_made_as_whoever_the_sidecar_is_then() {
    let street = street().await;
    let mut app =
        under_way(&street.bank, street.door(), &text("POST /v1/payments", KEY, "money")).await;
    for (sidecar, name) in [(&street.caller, "checkout"), (&street.callee, "payments")] {
        sidecar.renewed(&X509State::issued(&street.town.ca, &kit::id(name))).await;
    }
    street.wire.cut();
    assert_eq!(is(&told(&mut app).await), PAID);
    let [first, second]: [Came; 2] = street.bank.came().try_into().unwrap();
    assert_eq!(first, second);
    let caller = ("x-spiffe-id".to_owned(), kit::id("checkout"));
    assert!(second.headers.contains(&caller), "{second:?}");
}

#[tokio::test]
async fn what_the_policy_does_not_know_any_more_is_not_made_again() {
    let street = street().await;
    let mut app =
        under_way(&street.bank, street.door(), &text("POST /v1/payments", KEY, "money")).await;
    let (_, nowhere) = checkout(&["payments"], Vec::new());
    let version = street.town.publish(SnapshotDocument { destinations: Vec::new(), ..nowhere });
    street.town.control.acknowledged(&kit::id("checkout"), version, DEADLINE).await.unwrap();
    street.wire.cut();
    assert_eq!(is(&told(&mut app).await), UNKNOWN);
    assert_eq!(street.bank.came().len(), 1);
}

#[tokio::test]
async fn what_the_policy_says_otherwise_of_by_now_is_not_made_again() {
    let changes: [fn(&mut DestinationDocument); 6] = [
        |payments| payments.idempotent.clear(),
        |payments| payments.idempotent.retain(|it| it.by != Some(IdempotentBy::Method)),
        |payments| {
            let call = http("GET", "/v1/payments/{id}");
            payments.idempotent.push(IdempotentDocument { call, by: None });
        },
        |payments| {
            let call = http("GET", "/v1/payments/{id}");
            payments.idempotent.push(declared(call, IdempotentBy::Key));
        },
        |payments| payments.id = kit::id("wallet"),
        |payments| {
            payments.protocol = Protocol::Tcp;
            payments.idempotent.clear();
        },
    ];
    let mut street = street().await;
    for (number, change) in changes.into_iter().enumerate() {
        let knows = async |payments| {
            let (_, policy) = checkout(&["payments"], vec![payments]);
            let version = street.town.publish(policy);
            let it = kit::id("checkout");
            street.town.control.acknowledged(&it, version, DEADLINE).await.unwrap();
        };
        knows(payments()).await;
        let mut app =
            under_way(&street.bank, street.door(), &text("GET /v1/payments/7", KEY, "")).await;
        let mut changed = payments();
        change(&mut changed);
        knows(changed).await;
        street.wire.cut();
        assert_eq!(is(&told(&mut app).await), UNKNOWN, "{number}");
        assert_eq!(street.bank.came().len(), 1, "{number}");
        let port = app.local_addr().unwrap().port();
        let its = |line: &serde_json::Value| line["network.peer.port"] == port;
        let line = street.caller.logged(its).await;
        assert_eq!(line["cellwall.attempts"], serde_json::Value::Null, "{number} {line}");
    }
    assert!(street.caller.metrics().await.values("cellwall_retries_total", "result").is_empty());
}

#[tokio::test]
async fn a_call_whose_app_has_left_is_not_made_again() {
    let mut street = street().await;
    let app =
        under_way(&street.bank, street.door(), &text("POST /v1/payments", KEY, "money")).await;
    drop(app);
    street.wire.cut();
    let gone = |line: &serde_json::Value| line["kind"] == "call";
    let line = street.caller.logged(gone).await;
    assert_eq!(line["cellwall.fate"], "unknown", "{line}");
    // Whatever was to come has: another call went through.
    assert_eq!(is(&pay(street.door(), &text("GET /v1/payments/1", "", "")).await), PAID);
    let lines: Vec<_> = street.bank.came().into_iter().map(|came| came.line).collect();
    assert_eq!(lines, ["POST /v1/payments", "GET /v1/payments/1"]);
}

#[tokio::test]
async fn a_drain_of_our_own_leaves_a_declared_call_its_second_attempt() {
    let mut street = street().await;
    let mut app =
        under_way(&street.bank, street.door(), &text("POST /v1/payments", KEY, "money")).await;
    street.caller.process.signal(Signal::SIGTERM).unwrap();
    street.caller.process.message("draining", DEADLINE).await.unwrap();
    street.wire.cut();
    assert_eq!(is(&told(&mut app).await), PAID);
    assert_eq!(street.caller.process.ended(DEADLINE).await.unwrap().code(), Some(0));
    let [first, second]: [Came; 2] = street.bank.came().try_into().unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_sidecar_that_was_killed_makes_nothing_again_when_it_is_back() {
    let mut street = street().await;
    let mut app =
        under_way(&street.bank, street.door(), &text("POST /v1/payments", KEY, "money")).await;
    street.caller.process.signal(Signal::SIGKILL).unwrap();
    street.caller.process.ended(DEADLINE).await.unwrap();
    // The app is told nothing, as by any server that died: it does not know.
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, app.read_to_end(&mut answer)).await.unwrap();
    assert!(read.is_err() || answer.is_empty(), "{answer:?}");
    let again = calling(&street.town, &[street.wire.address]).await;
    let told = pay(again.outbound["payments"], &text("GET /v1/payments/1", "", "")).await;
    assert_eq!(is(&told), PAID);
    let lines: Vec<_> = street.bank.came().into_iter().map(|came| came.line).collect();
    assert_eq!(lines, ["POST /v1/payments", "GET /v1/payments/1"]);
}
