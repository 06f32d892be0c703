//! No connection outlives its authority, and none is cut while it holds (ROT-05, AZ-10).

use std::time::{Duration, Instant, SystemTime};

use cellwall_policy::{CallDocument, Protocol, RuleDocument, SnapshotDocument};
use cellwall_testkit::{
    ca::{Svid, TestCa},
    client,
    workload_api::X509State,
    x509::Validity,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    kit::{
        DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, http, id, payments,
        policy,
    },
    played::Played,
};

/// What the requirement gives for policy changes and denials.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn ledger_db(town: &Town) -> (Sidecar, SnapshotDocument) {
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let policy = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    (town.sidecar(plan, policy.clone()).await, policy)
}

/// A TCP connection in use.
async fn open(sidecar: &Sidecar, svid: &Svid) -> TlsStream<TcpStream> {
    let mut stream = sidecar.dial(svid, &["cellwall-tcp/1"]).await;
    talk(&mut stream, "HELLO prod/checkout\nPOST p_1 1\n").await;
    stream
}

async fn talk(stream: &mut TlsStream<TcpStream>, line: &str) {
    stream.write_all(line.as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with(b"OK"), "{:?}", &answer[..read]);
}

/// How long until the other side closes.
async fn closed(stream: &mut TlsStream<TcpStream>) -> Duration {
    let started = Instant::now();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "not closed in time"); // with or without close_notify
    started.elapsed()
}

fn ends_in(seconds: u64) -> Validity {
    Validity::around_now(Duration::from_secs(60), Duration::from_secs(seconds))
}

#[tokio::test]
async fn a_policy_that_no_longer_allows_it_ends_a_tcp_connection_at_once() {
    let town = Town::new().await;
    let (mut sidecar, policy) = ledger_db(&town).await;
    let mut stream = open(&sidecar, &town.svid("checkout")).await;
    town.publish(SnapshotDocument { rules: Vec::new(), ..policy });
    assert!(closed(&mut stream).await < AT_ONCE);
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "policy_revoked");
}

#[tokio::test]
async fn a_policy_that_still_allows_it_leaves_a_connection_alone() {
    let town = Town::new().await;
    let (sidecar, policy) = ledger_db(&town).await;
    let mut stream = open(&sidecar, &town.svid("checkout")).await;
    let renamed = RuleDocument { name: "another-name".to_owned(), ..policy.rules[0].clone() };
    let version = town.publish(SnapshotDocument { rules: vec![renamed], ..policy });
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    eventually("in force", async || {
        sidecar.metrics().await.sum("cellwall_policy_version", &[]) == version as f64
    })
    .await;
    talk(&mut stream, "POST p_2 1\n").await;
}

#[tokio::test]
async fn a_call_in_progress_is_cut_when_the_policy_no_longer_allows_it() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut sidecar = town.sidecar(plan, policy.clone()).await;
    let mut slow = sidecar.http(&town.svid("checkout")).await;
    let request = client::build("POST /v1/payments").unwrap().header("x-delay-ms", "6000");
    let request = request.body(Default::default()).unwrap();
    let call = async {
        let response = slow.send(request).await.unwrap();
        (response.status().as_u16(), Instant::now())
    };
    let revoke = async {
        eventually("seen", async || sidecar.seen().len() == 1).await;
        let only_reads = vec![http("GET", "/v1/payments/{id}")];
        let rule = RuleDocument { calls: only_reads, ..policy.rules[0].clone() };
        town.publish(SnapshotDocument { rules: vec![rule], ..policy.clone() });
        Instant::now()
    };
    let ((status, answered), revoked) = tokio::join!(call, revoke);
    assert_eq!(status, 502, "it may have been done");
    assert!(answered - revoked < AT_ONCE, "{:?}", answered - revoked);
    let line = sidecar.logged(|line| line["cellwall.reason"] == "policy_revoked").await;
    assert_eq!(line["kind"], "call");
}

#[tokio::test]
async fn a_peers_certificate_ends_its_connections() {
    let town = Town::new().await;
    let (mut sidecar, _) = ledger_db(&town).await;
    let short = town.ca.svid_valid(&id("checkout"), ends_in(2));
    let (mut first, mut second) =
        (open(&sidecar, &short).await, open(&sidecar, &town.svid("checkout")).await);
    assert!(closed(&mut first).await < Duration::from_secs(4));
    assert!(SystemTime::now() > short.validity.not_after);
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
    talk(&mut second, "POST p_2 1\n").await;
}

#[tokio::test]
async fn an_idle_http_connection_ends_with_the_certificate_too() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let short = town.ca.svid_valid(&id("checkout"), ends_in(2));
    for alpn in ["http/1.1", "h2"] {
        let mut stream = sidecar.dial(&short, &[alpn]).await;
        assert!(closed(&mut stream).await < Duration::from_secs(4), "{alpn}");
    }
}

#[tokio::test]
async fn our_own_certificate_ends_them_as_well() {
    let town = Town::new().await;
    let (mut sidecar, _) = ledger_db(&town).await;
    let short = town.ca.svid_valid(&id("ledger-db"), ends_in(2));
    let serial = short.serial_hex();
    let state = X509State::default().with(&id("ledger-db"), short, vec![town.ca.root()]);
    sidecar.identity.publish(&state);
    eventually("the short one", async || sidecar.config().await["svid_serial"] == *serial).await;
    let mut stream = open(&sidecar, &town.svid("checkout")).await;
    assert!(closed(&mut stream).await < Duration::from_secs(4));
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
}

#[tokio::test]
async fn a_trust_domain_that_is_removed_takes_its_connections_along() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    let partner = TestCa::new("partner.example");
    let state = || X509State::issued(&town.ca, &id("payments"));
    sidecar.identity.publish(&state().federated("partner.example", &[partner.root()]));
    eventually("trusted", async || sidecar.config().await["generation"].as_u64() >= Some(2)).await;
    let mut foreign =
        sidecar.dial(&partner.svid("spiffe://partner.example/a"), &["http/1.1"]).await;
    let mut ours = sidecar.http(&town.svid("checkout")).await;
    sidecar.identity.publish(&state());
    assert!(closed(&mut foreign).await < Duration::from_secs(7), "five seconds of grace");
    let request = client::build("POST /v1/payments").unwrap().body(Default::default()).unwrap();
    assert_eq!(ours.send(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_withdrawn_svid_ends_every_connection() {
    // WAPI-15
    let town = Town::new().await;
    let (mut sidecar, _) = ledger_db(&town).await;
    let mut stream = open(&sidecar, &town.svid("checkout")).await;
    sidecar.identity.redact();
    // What is in progress gets a grace of five seconds, and not more.
    let took = closed(&mut stream).await;
    assert!((4..7).contains(&took.as_secs()), "{took:?}");
    let line = sidecar.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "svid_withdrawn");
}

#[tokio::test]
async fn calls_move_to_a_new_connection_before_the_old_one_ends() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let renew = || {
        for (sidecar, name) in [(&callee, "payments"), (&caller, "checkout")] {
            let svid = town.ca.svid_valid(&id(name), ends_in(3));
            let state = X509State::default().with(&id(name), svid, vec![town.ca.root()]);
            sidecar.identity.publish(&state);
        }
        Instant::now()
    };
    let before = [callee.config().await, caller.config().await];
    let mut renewed = renew();
    for (sidecar, before) in [&callee, &caller].into_iter().zip(&before) {
        let generation = before["generation"].as_u64();
        let is_new = async || sidecar.config().await["generation"].as_u64() > generation;
        eventually("the short svid", is_new).await;
    }
    let (started, mut calls) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(6) {
        if renewed.elapsed() > Duration::from_millis(1_500) {
            renewed = renew();
        }
        let (status, body) = caller.reach("payments", "POST /v1/payments").await;
        assert_eq!(status, 200, "after {:?}, call {calls}: {body}", started.elapsed());
        calls += 1;
    }
    let labels = [("direction", "inbound"), ("result", "ok")];
    let handshakes = callee.metrics().await.sum("cellwall_tls_handshakes_total", &labels);
    assert!((2.0..20.0).contains(&handshakes), "{handshakes} handshakes for {calls} calls");
}

#[tokio::test]
async fn a_call_ends_with_the_callees_certificate_even_after_a_goaway() {
    let town = Town::new().await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let mut caller = town.sidecar(plan, policy).await;
    let short = town.ca.svid_valid(&id("payments"), ends_in(3));
    let callee = Played::silent_sidecar(&short).await;
    town.control.set_endpoints("payments", &[callee.address.to_string()]);
    caller.knows("payments").await;
    let call = caller.reach("payments", "POST /v1/payments");
    let (status, body) = tokio::time::timeout(DEADLINE, call).await.unwrap();
    assert!(SystemTime::now() > short.validity.not_after);
    assert_eq!(status, 502, "{body}");
    let line = caller.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.reason"], "svid_expired");
}
