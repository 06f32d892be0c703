//! What apps and workloads notice of it: nothing.

use std::time::{Duration, Instant};

use cellwall_policy::Protocol;
use cellwall_testkit::{ca::TestCa, workload_api::X509State};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{flagged_db, sessions, talk};
use crate::{
    kit::{DEADLINE, Sidecar, Town, eventually, id},
    tcp::{end_of, open, played_db},
};

#[tokio::test]
async fn connections_share_a_session_and_each_is_told_by_itself() {
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    for _ in 0..5 {
        let (mut app, mut served) = open(&caller, &workload).await;
        app.shutdown().await.unwrap();
        assert_eq!(end_of(&mut served).await, None);
        served.write_all(b"after half a close").await.unwrap();
        drop(served);
        let mut rest = String::new();
        app.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "after half a close");
    }
    for sidecar in [&callee, &caller] {
        eventually("each has its record", async || {
            let metrics = sidecar.metrics().await;
            let done = metrics.sum("cellwall_connections_total", &[("result", "done")]);
            let bytes = |flow| metrics.sum("cellwall_connection_bytes_total", &[("flow", flow)]);
            (done, bytes("rx"), bytes("tx")) == (5.0, 20.0, 110.0)
        })
        .await;
    }
    assert_eq!(sessions(&callee).await, 1);
    let open = callee.metrics().await;
    assert_eq!(open.sum("cellwall_connections_open", &[("direction", "inbound")]), 1.0);
}

/// Says back whatever it hears.
async fn echo(workload: TcpListener) {
    let mut served = JoinSet::new();
    loop {
        let (mut tcp, _) = workload.accept().await.unwrap();
        served.spawn(async move {
            let (mut read, mut write) = tcp.split();
            let _ = tokio::io::copy(&mut read, &mut write).await; // it may be reset
            let _ = write.shutdown().await;
        });
    }
}

/// What comes back of a connection that says `text`.
async fn said_back(caller: &Sidecar, text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut app = TcpStream::connect(caller.outbound["ledger-db"]).await?;
    app.write_all(text).await?;
    app.shutdown().await?;
    let mut heard = Vec::new();
    app.read_to_end(&mut heard).await?;
    Ok(heard)
}

#[tokio::test]
async fn two_hundred_at_once_find_their_way_back() {
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let mut runs = JoinSet::new();
    runs.spawn(echo(workload));
    let calls = async {
        let mut calls = JoinSet::new();
        for number in 0..200 {
            let address = caller.outbound["ledger-db"];
            calls.spawn(async move {
                let text = format!("number {number} ").repeat(100);
                let mut app = TcpStream::connect(address).await.unwrap();
                app.write_all(text.as_bytes()).await.unwrap();
                let mut heard = vec![0; text.len()];
                app.read_exact(&mut heard).await.unwrap();
                assert_eq!(heard, text.as_bytes());
                app // open until all are
            });
        }
        calls.join_all().await.len()
    };
    assert_eq!(tokio::time::timeout(DEADLINE, calls).await.unwrap(), 200);
    assert!((2..=3).contains(&sessions(&callee).await), "{}", sessions(&callee).await);
}

#[tokio::test]
async fn much_arrives_as_it_was_said() {
    const MIB: usize = 1024 * 1024;
    let town = Town::new().await;
    let (_callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let said: Vec<u8> = (0..MIB).map(|byte| (byte % 251) as u8).collect();
    let (app, mut served) = open(&caller, &workload).await;
    let (mut read, mut write) = app.into_split();
    let say = async {
        for _ in 0..64 {
            write.write_all(&said).await.unwrap();
        }
        write.shutdown().await.unwrap();
    };
    let back = async {
        let (mut hears, mut says) = served.split();
        assert_eq!(tokio::io::copy(&mut hears, &mut says).await.unwrap(), 64 * MIB as u64);
        says.shutdown().await.unwrap();
    };
    let hear = async {
        let mut piece = vec![0; MIB];
        for _ in 0..64 {
            read.read_exact(&mut piece).await.unwrap();
            assert!(piece == said);
        }
        assert_eq!(read.read(&mut piece).await.unwrap(), 0);
    };
    let all = async { tokio::join!(say, back, hear) };
    tokio::time::timeout(DEADLINE, all).await.unwrap();
}

#[tokio::test]
async fn one_that_nobody_reads_holds_up_no_other_and_is_not_kept_without_end() {
    // RES-05
    const MOST: usize = 64 * 1024 * 1024;
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (mut full, _served) = open(&caller, &workload).await;
    let piece = vec![0; 1024 * 1024];
    let (mut taken, patience) = (0, Duration::from_millis(500));
    while let Ok(written) = tokio::time::timeout(patience, full.write(&piece)).await {
        taken += written.unwrap();
        assert!(taken < MOST, "{taken}");
    }
    let (mut app, mut served) = open(&caller, &workload).await;
    talk(&mut app, &mut served).await;
    assert_eq!(sessions(&callee).await, 1);
}

#[tokio::test]
async fn no_connection_fails_while_identities_are_renewed() {
    // ROT-01
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let mut runs = JoinSet::new();
    runs.spawn(echo(workload));
    let (started, mut renewed) = (Instant::now(), Instant::now());
    let (mut connections, mut number) = (0, 0_u32);
    let root = TestCa::new("pay.example");
    while started.elapsed() < Duration::from_secs(3) {
        if renewed.elapsed() > Duration::from_millis(50) {
            number += 1;
            // Every tenth of them trusts another root, and then not any more.
            let roots = if number % 20 < 10 { vec![&town.ca] } else { vec![&town.ca, &root] };
            for (sidecar, name) in [(&callee, "ledger-db"), (&caller, "checkout")] {
                sidecar.identity.publish(&X509State::issued(&town.ca, &id(name)).trusting(&roots));
            }
            renewed = Instant::now();
        }
        let heard = tokio::time::timeout(DEADLINE, said_back(&caller, b"word")).await.unwrap();
        assert_eq!(heard.unwrap(), b"word", "connection {connections}");
        connections += 1;
    }
    assert!(number > 10 && connections > 50, "{number} {connections}");
}

#[tokio::test]
async fn a_drain_of_either_side_lets_connections_end_by_themselves() {
    for stops in ["callee", "caller"] {
        let town = Town::new().await;
        let (mut callee, workload, _) = played_db(&town).await;
        let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
        let (mut app, mut served) = open(&caller, &workload).await;
        let stopped = if stops == "callee" { &mut callee } else { &mut caller };
        let stop = stopped.process.stop(DEADLINE);
        let last = async {
            tokio::time::sleep(Duration::from_millis(200)).await; // GOAWAY has come
            talk(&mut app, &mut served).await;
            app.shutdown().await.unwrap();
            assert_eq!(end_of(&mut served).await, None, "{stops}");
            served.write_all(b"last words").await.unwrap();
            drop(served);
            let mut rest = String::new();
            app.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "last words", "{stops}");
        };
        let started = Instant::now();
        let (status, ()) = tokio::join!(stop, last);
        assert_eq!(status.unwrap().code(), Some(0), "{stops}");
        assert!(started.elapsed() < Duration::from_secs(3), "{stops}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn what_is_cut_with_its_session_looks_cut_at_both_ends() {
    let town = Town::new().await;
    let (mut callee, workload, _) = played_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (mut app, served) = open(&caller, &workload).await;
    let (mut second, other) = open(&caller, &workload).await;
    callee.process.kill().await.unwrap();
    for stream in [&mut app, &mut second] {
        assert!(end_of(stream).await.is_some(), "the callee's sidecar is gone");
    }
    drop((served, other));
    let line = caller.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "io");
    let town = Town::new().await;
    let (_callee, workload, _) = played_db(&town).await;
    let mut caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (_app, mut served) = open(&caller, &workload).await;
    let (_second, mut other) = open(&caller, &workload).await;
    caller.process.kill().await.unwrap();
    for stream in [&mut served, &mut other] {
        assert!(end_of(stream).await.is_some(), "the caller's sidecar is gone");
    }
}

#[tokio::test]
async fn what_finds_no_place_on_a_session_has_one_of_its_own() {
    let town = Town::new().await;
    let (callee, workload, _) = flagged_db(&town, &["--max-connections=2"]).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let mut open_ones = Vec::new();
    for _ in 0..3 {
        open_ones.push(open(&caller, &workload).await);
    }
    assert_eq!(sessions(&callee).await, 2);
    for (app, served) in &mut open_ones {
        talk(app, served).await;
    }
}
