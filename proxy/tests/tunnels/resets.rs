//! Streams that are broken off: each for itself, however many.

use std::time::Duration;

use cellwall_policy::Protocol;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{sessions, talk};
use crate::{
    kit::{DEADLINE, Town},
    raw_h2::{END_HEADERS, HEADERS, RST_STREAM, frame, literal},
    tcp::{open, played_db, reset},
};

/// More than any limit of h2's own, and than what it remembers.
const MANY: usize = 1_000;

/// How many at once.
const WAVE: usize = 50;

/// Has always more to say, until the other side breaks off.
async fn speak(mut stream: TcpStream) {
    while stream.write_all(&[7; 4096]).await.is_ok() {}
}

/// Hears the beginning, and breaks off.
async fn break_off(mut stream: TcpStream) {
    stream.read_exact(&mut [0; 1]).await.unwrap();
    reset(stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_that_are_reset_with_bytes_on_their_way_end_no_other() {
    // RES-04: either side breaks off while the other one speaks
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let caller = town.caller_of("ledger-db", Protocol::Tcp).await;
    let (mut app, mut served) = open(&caller, &workload).await;
    for wave in 0..MANY / WAVE {
        let mut ends = JoinSet::new();
        for _ in 0..WAVE {
            let one = TcpStream::connect(caller.outbound["ledger-db"]).await.unwrap();
            let accepted = tokio::time::timeout(DEADLINE, workload.accept()).await;
            let (other, _) = accepted.unwrap().unwrap();
            let (speaks, breaks) = if wave % 2 == 0 { (one, other) } else { (other, one) };
            ends.spawn(speak(speaks));
            ends.spawn(break_off(breaks));
        }
        tokio::time::timeout(DEADLINE, ends.join_all()).await.unwrap();
    }
    talk(&mut app, &mut served).await;
    assert_eq!(sessions(&callee).await, 1);
}

#[tokio::test]
async fn streams_that_are_reset_before_anybody_looks_reach_no_workload() {
    // RES-04, CVE-2023-44487
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let town = Town::new().await;
    let (callee, workload, _) = played_db(&town).await;
    let mut client = callee.dial(&town.svid("checkout"), &["h2"]).await;
    let at = callee.inbound.to_string();
    let head = [literal(b":method", b"CONNECT"), literal(b":authority", at.as_bytes())].concat();
    let flood = (0..100).flat_map(|number| {
        let stream = 2 * number + 1;
        let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        [frame(HEADERS, END_HEADERS, stream, &head), cancel].concat()
    });
    let said: Vec<u8> = PREFACE.iter().copied().chain(flood).collect();
    client.write_all(&said).await.unwrap();
    let labels = [("direction", "inbound"), ("result", "cancelled")];
    crate::kit::eventually("the records", async || {
        callee.metrics().await.sum("cellwall_connections_total", &labels) == 100.0
    })
    .await;
    let nobody = tokio::time::timeout(Duration::from_millis(100), workload.accept()).await;
    assert!(nobody.is_err(), "{nobody:?}");
}
