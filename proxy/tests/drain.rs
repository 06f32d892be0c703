//! Stopping: no new work, work in progress ends, and an end in any case.

use std::time::Instant;

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::{client, distribution::Said};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::forwarding::played;
use crate::kit::{DEADLINE, Plan, Town, eventually, payments, policy};

#[tokio::test]
async fn a_call_in_progress_ends_well_and_its_record_is_written() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    let mut stream = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let head = "POST /v1/payments HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n";
    stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    // The call is in progress once somebody asks for its body.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    sidecar.process.signal(Signal::SIGTERM).unwrap();
    sidecar.process.message("draining", DEADLINE).await.unwrap();
    assert_eq!(sidecar.ready().await, (503, "draining\n".to_owned()), "answered until the end");
    eventually("no new connection", async || TcpStream::connect(sidecar.inbound).await.is_err())
        .await;
    stream.write_all(b"abcd").await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let status = sidecar.process.ended(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let line = sidecar.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.reason"], "done");
}

#[tokio::test]
async fn what_outlasts_the_grace_period_is_cut_and_says_so() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    let mut sidecar = town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await;
    let mut stream = sidecar.dial(&town.svid("checkout"), &["cellwall-tcp/1"]).await;
    stream.write_all(b"HELLO prod/checkout\n").await.unwrap();
    let started = Instant::now();
    let status = sidecar.process.stop(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed().as_secs() >= 4, "the grace period is four seconds");
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "drained");
}

#[tokio::test]
async fn an_idle_sidecar_stops_at_once_and_says_that_it_serves_no_more() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy).await;
    assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
    let started = Instant::now();
    let status = sidecar.process.stop(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed().as_secs() < 3, "the grace period is four seconds");
    let gone = |event: &cellwall_testkit::distribution::Event| matches!(&event.said, Said::Serving(it) if it.addresses.is_empty());
    town.control.event(0, DEADLINE, gone).await.unwrap();
}

#[tokio::test]
async fn nothing_on_the_admin_listener_changes_anything() {
    // OBS-10
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    for call in ["POST /shutdown", "POST /readyz", "PUT /config", "DELETE /metrics"] {
        assert_eq!(client::request(sidecar.admin, call).await.unwrap().status(), 405, "{call}");
    }
    assert_eq!(client::request(sidecar.admin, "GET /quitquitquit").await.unwrap().status(), 404);
    assert_eq!(sidecar.ready().await.0, 200);
}

#[tokio::test]
async fn an_app_that_says_nothing_holds_no_drain_up() {
    let town = Town::new().await;
    let (_callee, _workload) = played(&town).await;
    let mut sidecar = town.caller_of("payments", Protocol::Http).await;
    let _silent = TcpStream::connect(sidecar.outbound["payments"]).await.unwrap();
    eventually("accepted", async || {
        let outbound = [("direction", "outbound")];
        sidecar.metrics().await.sum("cellwall_connections_open", &outbound) > 0.0
    })
    .await;
    let started = Instant::now();
    let status = sidecar.process.stop(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed().as_secs() < 3, "the grace period is four seconds");
}
