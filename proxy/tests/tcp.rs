//! TCP: one connection is one call, byte for byte.

use std::{io::ErrorKind, time::Duration};

use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::kit::{DEADLINE, Plan, Sidecar, Town, checkout, policy};

async fn ledger_db(town: &Town) -> Sidecar {
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await
}

#[tokio::test]
async fn bytes_go_both_ways_and_are_counted() {
    let town = Town::new().await;
    let mut callee = ledger_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let tcp = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    let mut stream = BufReader::new(tcp);
    stream.write_all(b"HELLO prod/checkout\nPOST p_1 100\n").await.unwrap();
    let mut lines = String::new();
    stream.read_line(&mut lines).await.unwrap();
    assert!(lines.starts_with("OK"), "{lines}");
    // Half-close: what the other side still has to say arrives.
    stream.shutdown().await.unwrap();
    stream.read_to_string(&mut lines).await.unwrap();
    for sidecar in [&mut callee, &mut caller] {
        let line = sidecar.logged(|line| line["kind"] == "connection").await;
        assert_eq!(line["cellwall.reason"], "done", "{line}");
        assert_eq!(line["request_bytes"].as_u64(), Some(33), "{line}");
        assert_eq!(line["response_bytes"].as_u64(), u64::try_from(lines.len()).ok(), "{line}");
    }
    let line = callee.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.by"], "checkout-calls");
}

#[tokio::test]
async fn a_caller_without_a_rule_is_closed_and_the_workload_hears_nothing() {
    let town = Town::new().await;
    let mut callee = ledger_db(&town).await;
    let mut stream = callee.dial(&town.svid("notifier"), &["cellwall-tcp/1"]).await;
    let mut answer = Vec::new();
    stream.write_all(b"HELLO prod/checkout\n").await.unwrap();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.unwrap().ok();
    assert_eq!(answer, b"");
    let line = callee.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "policy_denied");
    assert_eq!(callee.seen(), []);
}

#[tokio::test]
async fn an_http_client_does_not_get_past_a_tcp_listener() {
    // AZ-03, TLS-06: the protocol is declared, so the handshake already fails
    let town = Town::new().await;
    let callee = ledger_db(&town).await;
    for alpn in [&["http/1.1"][..], &["cellwall-tcp/2"], &[]] {
        let party = cellwall_testkit::tls::DangerousParty::presenting(&town.svid("checkout"));
        let tcp = TcpStream::connect(callee.inbound).await.unwrap();
        let seen = party.alpn(alpn).probe_server(tcp, b"x", DEADLINE).await;
        assert!(!matches!(seen.after, cellwall_testkit::tls::After::Data(_)), "{alpn:?} {seen:?}");
    }
    assert_eq!(callee.seen(), []);
}

/// Ledger-db's sidecar, the listener that it takes for its workload, and its policy.
pub(crate) async fn played_db(town: &Town) -> (Sidecar, TcpListener, SnapshotDocument) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let rules = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    let sidecar = town.beside(plan, workload.local_addr().unwrap()).await;
    (town.made_ready(sidecar, "ledger-db", rules.clone()).await, workload, rules)
}

/// Checkout's connection to ledger-db through both sidecars, and the workload's side of it, after
/// each has said something.
pub(crate) async fn open(caller: &Sidecar, workload: &TcpListener) -> (TcpStream, TcpStream) {
    let mut app = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    app.write_all(b"half").await.unwrap();
    let (mut served, _) = workload.accept().await.unwrap();
    let mut heard = [0; 4];
    served.read_exact(&mut heard).await.unwrap();
    served.write_all(b"part").await.unwrap();
    app.read_exact(&mut heard).await.unwrap();
    (app, served)
}

/// How `stream` ends: `None` when it looks whole.
pub(crate) async fn end_of(stream: &mut TcpStream) -> Option<ErrorKind> {
    let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
    end.unwrap().err().map(|error| error.kind())
}

pub(crate) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_stream_that_is_cut_never_looks_whole() {
    // What was cut ends in a reset at both ends, so that nobody takes half a statement for all of it
    let town = Town::new().await;
    let (_callee, workload, rules) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    // Whole: each side says all, in either order.
    let (mut app, mut served) = open(&caller, &workload).await;
    served.shutdown().await.unwrap();
    assert_eq!(end_of(&mut app).await, None);
    app.write_all(b"more").await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(end_of(&mut served).await, None);
    // The workload breaks off, the app does, the policy changes.
    let (mut app, served) = open(&caller, &workload).await;
    reset(served);
    assert_eq!(end_of(&mut app).await, Some(ErrorKind::ConnectionReset), "the workload broke off");
    let (app, mut served) = open(&caller, &workload).await;
    reset(app);
    assert_eq!(end_of(&mut served).await, Some(ErrorKind::ConnectionReset), "the app broke off");
    let (mut app, mut served) = open(&caller, &workload).await;
    served.shutdown().await.unwrap();
    assert_eq!(end_of(&mut app).await, None, "one half was whole");
    let (mut second, mut other) = open(&caller, &workload).await;
    town.publish(SnapshotDocument { rules: Vec::new(), ..rules });
    for (name, stream) in [("app", &mut second), ("workload", &mut other), ("half", &mut served)] {
        assert_eq!(end_of(stream).await, Some(ErrorKind::ConnectionReset), "{name}: revoked");
    }
    // Denied from the beginning.
    let mut denied = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    denied.write_all(b"half").await.unwrap();
    assert_eq!(end_of(&mut denied).await, Some(ErrorKind::ConnectionReset), "denied");
}

#[tokio::test]
async fn a_connection_without_a_route_does_not_look_served() {
    // Silent: what is left unread would make it a reset in any case
    let town = Town::new().await;
    let (plan, policy) = checkout(&["ledger-db"], Vec::new());
    let mut caller = town.sidecar(plan, policy).await;
    let end = match TcpStream::connect(caller.outbound["ledger-db"]).await {
        Ok(mut app) => end_of(&mut app).await,
        Err(error) => Some(error.kind()), // it came that soon
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "no_route");
}

#[tokio::test]
async fn a_whole_stream_is_delivered_to_a_slow_reader_after_both_sides_have_closed() {
    // A reset would throw away what the app has not taken yet
    const MUCH: usize = 200_000;
    let town = Town::new().await;
    let (_callee, workload, _) = played_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (mut app, mut served) = open(&caller, &workload).await;
    app.shutdown().await.unwrap();
    assert_eq!(end_of(&mut served).await, None);
    served.write_all(&[b'.'; MUCH]).await.unwrap();
    drop(served);
    caller.logged(|line| line["cellwall.reason"] == "done").await;
    let mut read = Vec::new();
    let end = tokio::time::timeout(DEADLINE, app.read_to_end(&mut read)).await.unwrap();
    assert_eq!((end.map_err(|error| error.kind()), read.len()), (Ok(MUCH), MUCH));
}
