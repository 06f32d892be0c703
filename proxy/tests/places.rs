//! A listener has so many connections at once and no more (RES-01): whoever comes beyond them waits until one is over.

use std::{net::SocketAddr, pin::pin};

use bytes::Bytes;
use cellwall_policy::Protocol;
use cellwall_testkit::client::{self, HttpConnection};
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    kit::{DEADLINE, Town, payments},
    tcp::{open, played_db},
};

fn asking(call: &str) -> Request<Full<Bytes>> {
    client::build(call).unwrap().body(Full::default()).unwrap()
}

/// `limit` connections are answered, one beyond them when they are over.
async fn check(listener: SocketAddr, limit: usize, call: &str) {
    let listener = listener.into();
    let mut held = Vec::new();
    for _ in 0..limit {
        let mut connection = HttpConnection::open(&listener).await.unwrap();
        connection.send(asking(call)).await.unwrap();
        held.push(connection);
    }
    let mut beyond = HttpConnection::open(&listener).await.unwrap();
    let mut waiting = pin!(beyond.send(asking(call)));
    for number in 0..limit.max(8) {
        tokio::select! {
            answer = &mut waiting => panic!("{answer:?} beyond {limit}"),
            answer = held[number % limit].send(asking(call)) => drop(answer.unwrap()),
        }
    }
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn apps_beyond_the_limit_wait_for_a_place() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let _callee = town.sidecar(plan, policy).await;
    let flags = ["--max-connections=2"];
    let caller = town.flagged_caller("payments", Protocol::Http, &flags).await;
    check(caller.outbound["payments"], 2, "GET /v1/nothing").await;
    check(caller.admin, 32, "GET /livez").await;
}

#[tokio::test]
async fn tcp_connections_beyond_the_limit_wait_for_a_place() {
    let town = Town::new().await;
    let (_callee, workload, _) = played_db(&town).await;
    let flags = ["--max-connections=1"];
    let caller = town.flagged_caller("ledger-db", Protocol::Tcp, &flags).await;
    let (mut app, mut served) = open(&caller, &workload).await;
    let mut beyond = pin!(open(&caller, &workload));
    for _ in 0..8 {
        let talk = async {
            app.write_all(b"half").await.unwrap();
            served.read_exact(&mut [0; 4]).await.unwrap();
        };
        tokio::select! {
            _ = &mut beyond => panic!("beyond 1"),
            () = talk => {}
        }
    }
    drop((app, served));
    tokio::time::timeout(DEADLINE, beyond).await.unwrap();
}
