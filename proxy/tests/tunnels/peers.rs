//! With whom a session is shared: with a sidecar that is said to take it, and that is who it must be.

use cellwall_policy::{DestinationDocument, Protocol, SnapshotDocument};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::{flagged_db, sessions, talk};
use crate::{
    kit::{Plan, Sidecar, Town, checkout, destination, eventually, id},
    tcp::{end_of, open, played_db},
};

/// Checkout's sidecar, which nobody has told yet where ledger-db is.
async fn caller(town: &Town) -> Sidecar {
    let (plan, policy) = checkout(&["ledger-db"], vec![destination("ledger-db", Protocol::Tcp)]);
    town.sidecar(plan, policy).await
}

async fn each_has_its_own((caller, callee): (&Sidecar, &Sidecar), workload: &TcpListener) {
    for number in 1..4 {
        let (mut app, mut served) = open(caller, workload).await;
        talk(&mut app, &mut served).await;
        assert_eq!(sessions(callee).await, number);
    }
}

#[tokio::test]
async fn where_nobody_says_so_each_connection_has_a_session_of_its_own() {
    // A release that does not know of streams, or a sidecar that is not one of ours
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = caller(&town).await;
    town.control.set_endpoints("ledger-db", &[callee.inbound.to_string()]);
    caller.knows("ledger-db").await;
    each_has_its_own((&caller, &callee), &workload).await;
}

#[tokio::test]
async fn whoever_does_not_take_streams_is_not_made_to() {
    // The directory says that it does, and is wrong
    let town = Town::new().await;
    let (callee, workload, _) = flagged_db(&town, &["--tcp-sessions=own"]).await;
    let caller = caller(&town).await;
    town.control.set_sharing_endpoints("ledger-db", &[callee.inbound.to_string()]);
    caller.knows("ledger-db").await;
    each_has_its_own((&caller, &callee), &workload).await;
}

#[tokio::test]
async fn whoever_has_sessions_of_their_own_asks_for_no_stream() {
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let own = ["--tcp-sessions=own"];
    let caller = town.flagged_caller("ledger-db", Protocol::Tcp, &own).await;
    each_has_its_own((&caller, &callee), &workload).await;
}

#[tokio::test]
async fn an_address_that_is_configured_says_itself_whether_streams_are_taken_there() {
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let policy = checkout(&[], vec![destination("ledger-db", Protocol::Tcp)]).1;
    let plan = Plan { name: "checkout", speaks: Protocol::Http, outbound: &[] };
    let nobody = "127.0.0.1:9".parse().unwrap();
    let flag = format!("--outbound=0=ledger-db@streams:{}", callee.inbound);
    let caller = town.told(plan, nobody, &[&flag]).await;
    let caller = town.made_ready(caller, "checkout", policy).await;
    for _ in 0..3 {
        let (mut app, mut served) = open(&caller, &workload).await;
        talk(&mut app, &mut served).await;
    }
    assert_eq!(sessions(&callee).await, 1);
}

#[tokio::test]
async fn a_session_serves_only_whom_a_new_one_would_be_opened_for() {
    // AZ-12, AZ-13: by now somebody else must answer there
    let town = Town::new().await;
    let (_callee, workload, _) = played_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (mut app, mut served) = open(&caller, &workload).await;
    let another =
        DestinationDocument { id: id("another-db"), ..destination("ledger-db", Protocol::Tcp) };
    let policy = checkout(&[], vec![another]).1;
    let version = town.publish(SnapshotDocument { ..policy });
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    eventually("in force", async || {
        caller.metrics().await.sum("cellwall_policy_version", &[]) == version as f64
    })
    .await;
    let mut refused = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    let _ = refused.write_all(b"for another").await; // it may be reset already
    assert!(end_of(&mut refused).await.is_some());
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "tls_refused", "{line}");
    talk(&mut app, &mut served).await;
}

#[tokio::test]
async fn a_caller_that_is_denied_hears_so_from_its_own_log() {
    let town = Town::new().await;
    let (mut callee, _workload, rules) = played_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    town.publish(SnapshotDocument { rules: Vec::new(), ..rules });
    let mut reasons = Vec::new();
    eventually("in force", async || {
        let version = callee.metrics().await.sum("cellwall_policy_version", &[]);
        version >= 3.0
    })
    .await;
    let mut app = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
    assert!(end_of(&mut app).await.is_some());
    for sidecar in [&mut callee, &mut caller] {
        let line = sidecar.logged(|line| line["kind"] == "connection").await;
        reasons.push(line["cellwall.reason"].as_str().unwrap().to_owned());
    }
    assert_eq!(reasons, ["policy_denied", "policy_denied"]);
}
