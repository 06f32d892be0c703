//! What the workload gets, byte by byte: the test is the workload.

use cellwall_policy::SnapshotDocument;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::kit::{DEADLINE, Sidecar, Town, payments};

/// Payments' sidecar, and the listener that it takes for its workload.
async fn played(town: &Town) -> (Sidecar, TcpListener) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, policy): (_, SnapshotDocument) = payments();
    let sidecar = town.beside(plan, workload.local_addr().unwrap()).await;
    (town.made_ready(sidecar, "payments", policy).await, workload)
}

/// Reads from `stream` until `end` came.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let ended = async {
        while !read.ends_with(end.as_bytes()) && stream.read_buf(&mut read).await.unwrap() > 0 {}
    };
    let _ = tokio::time::timeout(DEADLINE, ended).await;
    String::from_utf8(read).unwrap()
}

/// Sends `request` as checkout; what payments sees until `end`, and what checkout gets for `answer`.
async fn exchanged(request: &str, end: &str, answer: &str) -> (String, String) {
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    caller.write_all(request.as_bytes()).await.unwrap();
    let (mut stream, _) = workload.accept().await.unwrap();
    let seen = read_until(&mut stream, end).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    drop(stream);
    let mut got = Vec::new();
    let read = caller.read_to_end(&mut got);
    assert!(tokio::time::timeout(DEADLINE, read).await.is_ok(), "not closed in time");
    (seen, String::from_utf8(got).unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whatever_the_method() {
    // HTTP-10, HTTP-21: a GET may have one, and a message without its body is another message
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let (seen, got) = exchanged(request, "\r\n0\r\n\r\n", OK).await;
    assert!(seen.ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), "{seen}");
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

#[tokio::test]
async fn a_connection_token_cannot_name_the_host_away() {
    // HTTP-05, HTTP-16: the workload sees the authority that was read
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\n\
        connection: close, host, x-spiffe-id, content-length\r\n\r\n";
    let (seen, got) = exchanged(request, "\r\n\r\n", OK).await;
    assert!(seen.to_ascii_lowercase().contains("\r\nhost: payments\r\n"), "{seen}");
    assert!(seen.contains("spiffe://pay.example/prod/checkout"), "{seen}");
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

#[tokio::test]
async fn headers_of_one_hop_end_at_our_sidecar() {
    // HTTP-13, on the wire and both ways
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close, x-hop\r\n\
        x-hop: 1\r\nte: trailers\r\nupgrade: h2c\r\nproxy-authorization: Basic x\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-back\r\nx-back: 1\r\nupgrade: h2c\r\n\
        proxy-authenticate: Basic\r\ncontent-length: 2\r\n\r\nok";
    let (seen, got) = exchanged(request, "\r\n\r\n", answer).await;
    for name in ["x-hop", "upgrade", "te:", "proxy-authorization", "connection"] {
        assert!(!seen.contains(name), "{name}: {seen}");
    }
    for name in ["x-back", "upgrade", "proxy-authenticate"] {
        assert!(!got.contains(name), "{name}: {got}");
    }
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\nok"), "{got}");
}

#[tokio::test]
async fn a_workload_that_switches_protocols_unasked_has_failed() {
    // HTTP-12, HTTP-20: nobody asked, so nothing after it would be read as HTTP
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close, upgrade\r\n\
        upgrade: websocket\r\n\r\n";
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
        connection: upgrade\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (_, got) = exchanged(request, "\r\n\r\n", answer).await;
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
}

#[tokio::test]
async fn a_workload_that_closes_without_an_answer_is_called_once() {
    // RES-09: whether it acted is unknown, so a payment is not sent again
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let request = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\n\
        connection: close\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    let (mut stream, _) = workload.accept().await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    drop(stream);
    let mut got = String::new();
    let read = caller.read_to_string(&mut got);
    assert!(tokio::time::timeout(DEADLINE, read).await.is_ok(), "not closed in time");
    assert!(got.starts_with("HTTP/1.1 502"), "{got}");
    assert!(got.contains(r#""reason":"upstream_failed","sent":"unknown""#), "{got}");
    let again = tokio::time::timeout(std::time::Duration::from_millis(200), workload.accept());
    assert!(again.await.is_err(), "it was sent again");
}
