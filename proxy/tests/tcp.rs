//! TCP: one connection is one call, byte for byte.

use cellwall_policy::{CallDocument, Protocol};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::kit::{Plan, Sidecar, Town, policy};

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
    tokio::time::timeout(crate::kit::DEADLINE, read).await.unwrap().ok();
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
    for alpn in [&["http/1.1"][..], &["h2"], &[]] {
        let party = cellwall_testkit::tls::DangerousParty::presenting(&town.svid("checkout"));
        let tcp = TcpStream::connect(callee.inbound).await.unwrap();
        let seen = party.alpn(alpn).probe_server(tcp, b"x", crate::kit::DEADLINE).await;
        assert!(!matches!(seen.after, cellwall_testkit::tls::After::Data(_)), "{alpn:?} {seen:?}");
    }
    assert_eq!(callee.seen(), []);
}
