//! How a caller sees the end of its HTTP/1 connection: an answer arrives, and a part of one is not taken
//! for all of it.

use std::io::ErrorKind;

use cellwall_policy::{Protocol, SnapshotDocument};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    forwarding::read_until,
    kit::{DEADLINE, Plan, Town, http, payments, policy},
    played::accepting,
};

/// An upload of eight mebibytes that policy refuses, by a caller who does not listen before it has
/// sent everything: what it then hears.
async fn refused(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    const PIECES: usize = 128;
    let head = format!(
        "PUT /v1/elsewhere HTTP/1.1\r\nhost: payments\r\ncontent-length: {}\r\n\r\n",
        PIECES << 16
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in 0..PIECES {
        if let Err(error) = stream.write_all(&[b'.'; 1 << 16]).await {
            return format!("{piece} of {PIECES} sent: {error}");
        }
    }
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    format!("{} {:?}", String::from_utf8_lossy(&answer), end.err())
}

#[tokio::test]
async fn an_early_answer_reaches_a_caller_who_is_still_sending() {
    // RFC 9112 §9.6: closing with something unread resets, and the answer is lost with it
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let peer = callee.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let heard = [
        tokio::time::timeout(DEADLINE, refused(app)).await.unwrap(),
        tokio::time::timeout(DEADLINE, refused(peer)).await.unwrap(),
    ];
    for heard in heard {
        assert!(heard.starts_with("HTTP/1.1 403 ") && heard.ends_with("} None"), "{heard}");
    }
}

#[tokio::test]
async fn half_an_answer_in_http_1_0_never_looks_whole() {
    // It ends with the connection, so a cut has to be another end (RFC 9112 §8)
    let town = Town::new().await;
    let (workload, _open) = accepting(|mut tcp| async move {
        read_until(&mut tcp, "\r\n\r\n").await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            .await
            .unwrap();
        let _ = tcp.read(&mut [0]).await; // until the sidecar goes
    })
    .await;
    let rules = policy("payments", Protocol::Http, &[http("GET", "/v1/feed")]);
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let callee = town.beside(plan, workload).await;
    let _callee = town.made_ready(callee, "payments", rules.clone()).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(b"GET /v1/feed HTTP/1.0\r\nhost: payments\r\n\r\n").await.unwrap();
    let head = read_until(&mut app, "half").await;
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    town.publish(SnapshotDocument { rules: Vec::new(), ..rules });
    let end = tokio::time::timeout(DEADLINE, app.read_to_end(&mut Vec::new())).await.unwrap();
    assert_eq!(end.err().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
}
