//! Health checks of the node are answered whatever else is connected to the listener (RES-03). What
//! may be asked there is in `statements.rs`.

use std::{net::SocketAddr, time::Duration};

use cellwall_policy::ProbeDocument;
use cellwall_testkit::client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kit::{DEADLINE, Sidecar, Town, eventually, payments};

/// What a check may take: less than a connection may be silent for.
const PROMPTLY: Duration = Duration::from_secs(2);

/// A sidecar whose node may ask `GET /livez`, and where.
async fn probed(town: &Town) -> (Sidecar, SocketAddr) {
    let (plan, mut policy) = payments();
    policy.probes = vec![ProbeDocument { method: "GET".into(), path: "/livez".into() }];
    let flags = |workload| vec![format!("--probes=127.0.0.1:0={workload}")];
    let bare = town.flagged(plan, flags).await;
    let sidecar = town.made_ready(bare, "payments", policy).await;
    let probes = sidecar.config().await["probes"].as_str().unwrap().parse().unwrap();
    (sidecar, probes)
}

/// A connection that has said so much, and says no more.
async fn silent(probes: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(probes).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// What comes until the other side closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut rest = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut rest)).await;
    let _ = read.unwrap(); // closed at once is reset
    rest
}

#[tokio::test]
async fn a_health_check_is_answered_while_hundreds_of_silent_connections_are_held() {
    let town = Town::new().await;
    let (sidecar, probes) = probed(&town).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(silent(probes, "").await);
        held.push(silent(probes, "GET /livez HTTP/1.1\r\nhost: a").await);
    }
    for _ in 0..3 {
        let answer = tokio::time::timeout(PROMPTLY, client::request(probes, "GET /livez")).await;
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    eventually("silence is counted", async || {
        let metrics = sidecar.metrics().await;
        metrics.sum("cellwall_probes_total", &[("result", "silent")]) >= 168.0
    })
    .await;
}

#[tokio::test]
async fn who_asks_nothing_is_closed_and_who_asked_is_answered_once() {
    let town = Town::new().await;
    let (_sidecar, probes) = probed(&town).await;
    let ask = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    let unfinished = "GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc";
    for said in [&ask.repeat(2), unfinished] {
        let answer = rest(silent(probes, said).await).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{answer}");
    }
    for said in ["", "GET /livez HTTP/1.1\r\nhost: a"] {
        assert_eq!(rest(silent(probes, said).await).await, "", "{said:?}");
    }
}

#[tokio::test]
async fn a_workload_that_takes_its_time_is_waited_for_although_many_come() {
    let town = Town::new().await;
    let workload = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, mut policy) = payments();
    policy.probes = vec![ProbeDocument { method: "GET".into(), path: "/livez".into() }];
    let flag = format!("--probes=127.0.0.1:0={}", workload.local_addr().unwrap());
    let bare = town.told(plan, workload.local_addr().unwrap(), &[&flag]).await;
    let sidecar = town.made_ready(bare, "payments", policy).await;
    let probes = sidecar.config().await["probes"].as_str().unwrap().parse().unwrap();
    let asked = silent(probes, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut arrived, _) = workload.accept().await.unwrap();
    arrived.read_u8().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(silent(probes, "").await);
    }
    eventually("room was made", async || {
        let metrics = sidecar.metrics().await;
        metrics.sum("cellwall_probes_total", &[("result", "silent")]) >= 60.0
    })
    .await;
    arrived.write_all(b"HTTP/1.1 204 x\r\n\r\n").await.unwrap();
    let answer = rest(asked).await;
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
}
