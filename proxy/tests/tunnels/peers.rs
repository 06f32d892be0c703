//! With whom a session is shared: with a sidecar that is said to take it, and that is who it must be.

use std::time::Duration;

use cellwall_policy::{DestinationDocument, Protocol, SnapshotDocument};
use cellwall_testkit::tls::DangerousParty;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{flagged_db, sessions, talk};
use crate::{
    kit::{DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, id},
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
async fn who_takes_no_streams_is_asked_for_them_once_and_nobody_waits_for_another_there() {
    // RES-03: what the directory says of it is wrong
    const AT_ONCE: usize = 4;
    let town = Town::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = caller(&town).await;
    let here = listener.local_addr().unwrap().to_string();
    town.control.set_sharing_endpoints("ledger-db", &[here]);
    caller.knows("ledger-db").await;
    let party = DangerousParty::presenting(&town.svid("ledger-db")).alpn(&["cellwall-tcp/1"]);
    let mut apps = Vec::new();
    for _ in 0..=AT_ONCE {
        apps.push(TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap());
    }
    let accepted = async {
        let (first, _) = listener.accept().await.unwrap();
        let first = party.accept(first).await.unwrap();
        // None of them gets an answer before all of them have come.
        let mut waiting = Vec::new();
        for _ in 0..AT_ONCE {
            waiting.push(listener.accept().await.unwrap().0);
        }
        let mut all = vec![first];
        for tcp in waiting {
            all.push(party.accept(tcp).await.unwrap());
        }
        all
    };
    let accepted = tokio::time::timeout(Duration::from_secs(4), accepted).await.unwrap();
    assert_eq!(accepted.len(), apps.len());
}

#[tokio::test]
async fn a_callee_behind_an_address_that_it_does_not_know_is_reached_all_the_same() {
    // It says 400: what is asked for is not itself. No byte of the app's has left
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let translated = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = translated.local_addr().unwrap().to_string();
    let inbound = callee.inbound;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut passed = JoinSet::new();
        loop {
            let (mut near, _) = translated.accept().await.unwrap();
            passed.spawn(async move {
                let mut far = TcpStream::connect(inbound).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await; // or it is cut
            });
        }
    });
    let caller = caller(&town).await;
    town.control.set_sharing_endpoints("ledger-db", &[here]);
    caller.knows("ledger-db").await;
    for number in 1..4 {
        let opened = tokio::time::timeout(DEADLINE, open(&caller, &workload)).await;
        let (mut app, mut served) = opened.unwrap();
        talk(&mut app, &mut served).await;
        assert_eq!(sessions(&callee).await, 1 + number, "one that was asked, and one for each");
    }
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
