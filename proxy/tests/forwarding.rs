//! What the workload gets, byte by byte: the test is the workload.

use std::net::SocketAddr;

use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use cellwall_testkit::client;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use crate::{
    kit::{DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, payments, policy},
    played::Played,
};

/// Payments' sidecar, and the listener that it takes for its workload.
pub(crate) async fn played(town: &Town) -> (Sidecar, TcpListener) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plan, policy): (_, SnapshotDocument) = payments();
    let sidecar = town.beside(plan, workload.local_addr().unwrap()).await;
    (town.made_ready(sidecar, "payments", policy).await, workload)
}

/// Reads from `stream` until `end` came.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
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

/// Raw, as the caller writes it, and as it was judged. A query is nobody's to change.
const RAW: &str = "/v1/%70ayments/p%c3%a9%7e?of=%70%c3";
const CANONICAL: &str = "/v1/payments/p%C3%A9~?of=%70%c3";

#[tokio::test]
async fn what_the_workload_gets_is_the_path_that_was_judged() {
    // HTTP-10
    let request = format!("GET {RAW} HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n");
    let (seen, got) = exchanged(&request, "\r\n\r\n", OK).await;
    assert_eq!(seen.lines().next(), Some(format!("GET {CANONICAL} HTTP/1.1").as_str()));
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

#[tokio::test]
async fn what_another_sidecar_gets_is_the_canonical_path_too() {
    // HTTP-10, and HTTP-16: it knows who we are from TLS
    let town = Town::new().await;
    let mut callee = Played::sidecar(&town.svid("payments")).await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.control.set_endpoints("payments", &[callee.address.to_string()]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    let request = client::build(&format!("GET {RAW}")).unwrap().header("x_spiffe_id", "x");
    let request = request.body(Full::default()).unwrap();
    let outbound = client::Server::Tcp(caller.outbound["payments"]);
    let mut connection = client::HttpConnection::open(&outbound).await.unwrap();
    assert_eq!(connection.send(request).await.unwrap().status(), 200);
    let head = callee.next().await.head;
    assert_eq!(head.uri.to_string(), format!("http://localhost{CANONICAL}"));
    assert_eq!(head.headers, HeaderMap::default());
}

#[tokio::test]
async fn trailers_say_nothing_of_who_calls_over_http_1() {
    // HTTP-16, HTTP-19
    let request = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\ntrailer: x-spiffe-id, x_spiffe_id, x-note\r\n\r\n\
        4\r\nbody\r\n0\r\nx-spiffe-id: a\r\nx_spiffe_id: b\r\nx-note: c\r\n\r\n";
    let (seen, got) = exchanged(request, "\r\nx-note: c\r\n\r\n", OK).await;
    let (_, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "4\r\nbody\r\n0\r\nx-note: c\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
}

/// A gRPC workload that the test plays, and its sidecar.
pub(crate) async fn ledger(town: &Town) -> (Sidecar, Played) {
    let workload = Played::workload().await;
    (ledger_beside(town, workload.address).await, workload)
}

/// The sidecar of a gRPC workload at `workload`.
pub(crate) async fn ledger_beside(town: &Town, workload: SocketAddr) -> Sidecar {
    let call = CallDocument::Grpc { service: "ledger.v1".to_owned(), method: "Post".to_owned() };
    let plan = Plan { name: "ledger", speaks: Protocol::Grpc, outbound: &[] };
    let sidecar = town.beside(plan, workload).await;
    town.made_ready(sidecar, "ledger", policy("ledger", Protocol::Grpc, &[call])).await
}

/// A call of checkout over HTTP/2, with trailers.
async fn called(
    town: &Town,
    sidecar: &Sidecar,
    method: Method,
    trailers: HeaderMap,
) -> Response<Incoming> {
    let stream = sidecar.dial(&town.svid("checkout"), &["h2"]).await;
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let body = Full::<bytes::Bytes>::from("message").with_trailers(async { Some(Ok(trailers)) });
    let request = Request::builder().method(method).uri("http://ledger/ledger.v1/Post");
    sender.send_request(request.body(Box::pin(body)).unwrap()).await.unwrap()
}

#[tokio::test]
async fn trailers_say_nothing_of_who_calls_over_http_2() {
    // HTTP-16, HTTP-19
    let town = Town::new().await;
    let (sidecar, mut workload) = ledger(&town).await;
    let names = ["x-spiffe-id", "x_spiffe_id", "x-forwarded-client-cert", "authorization"];
    let mut trailers: HeaderMap = names
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("a")))
        .into_iter()
        .collect();
    trailers.insert("x-note", HeaderValue::from_static("c"));
    let response = called(&town, &sidecar, Method::POST, trailers).await;
    assert_eq!(response.headers()["grpc-status"], "0");
    let arrived: Vec<_> = workload.next().await.trailers.into_iter().collect();
    let note = (Some(HeaderName::from_static("x-note")), HeaderValue::from_static("c"));
    assert_eq!(arrived, [note]);
}

#[tokio::test]
async fn a_grpc_call_that_is_no_post_is_no_call() {
    let town = Town::new().await;
    let (mut sidecar, mut workload) = ledger(&town).await;
    for method in [Method::GET, Method::PUT, Method::from_bytes(b"post").unwrap()] {
        let response = called(&town, &sidecar, method, HeaderMap::new()).await;
        assert_eq!(response.headers()["grpc-status"], "3", "INVALID_ARGUMENT");
    }
    let line = sidecar.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.reason"], "request_ambiguous");
    let response = called(&town, &sidecar, Method::POST, HeaderMap::new()).await;
    assert_eq!(response.headers()["grpc-status"], "0");
    assert_eq!(workload.next().await.head.method, Method::POST, "the first that arrived");
}

#[tokio::test]
async fn one_call_after_another_uses_one_workload_connection() {
    // HTTP-22: taken back a moment after the answer, so that a call may just miss it
    let town = Town::new().await;
    let (plan, policy) = payments();
    let sidecar = town.sidecar(plan, policy).await;
    eventually("used again", async || {
        assert_eq!(sidecar.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
        let connections: Vec<_> = sidecar.seen().iter().map(|seen| seen.connection).collect();
        connections.windows(3).any(|three| three.iter().all(|one| *one == three[0]))
    })
    .await;
}

#[tokio::test]
async fn a_workload_connection_with_an_unfinished_request_is_not_used_again() {
    // HTTP-22: the next request would be read as the rest of the first one's body. Three lines see
    // to it, one of them hyper's: deleting any single one is not noticed here
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let head = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\ncontent-length: ";
    let mut early = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    early.write_all(format!("{head}400\r\n\r\nhalf").as_bytes()).await.unwrap();
    let (mut first, _) = workload.accept().await.unwrap();
    read_until(&mut first, "\r\n\r\nhalf").await;
    first.write_all(OK.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(DEADLINE, early.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut next = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    next.write_all(format!("{head}4\r\n\r\nnext").as_bytes()).await.unwrap();
    let second = tokio::time::timeout(DEADLINE, workload.accept()).await;
    let (mut second, _) = second.expect("a connection of its own").unwrap();
    assert!(read_until(&mut second, "\r\n\r\nnext").await.ends_with("\r\n\r\nnext"));
    drop(early);
    assert_eq!(read_until(&mut first, "next").await, "", "nothing but its end");
}

/// Whether the other end closes `stream` in time, without another byte.
pub(crate) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await;
    // With answers of the other side unread, TCP says it with a reset.
    matches!(end, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_workload_connection_that_spoke_http_1_0_is_not_used_again() {
    // HTTP-10, HTTP-22: hyper would speak 1.0 on it, which knows no chunks, and leave the body out
    let town = Town::new().await;
    let (sidecar, workload) = played(&town).await;
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let asks = b"GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\n\r\n";
    caller.write_all(asks).await.unwrap();
    let (mut first, _) = workload.accept().await.unwrap();
    read_until(&mut first, "\r\n\r\n").await;
    let old = b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
    first.write_all(old).await.unwrap();
    assert!(read_until(&mut caller, "\r\n\r\nok").await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut first).await, "it is kept");
    let pays = b"POST /v1/payments HTTP/1.1\r\nhost: payments\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\nmoney\r\n0\r\n\r\n";
    caller.write_all(pays).await.unwrap();
    let (mut second, _) = workload.accept().await.unwrap();
    let seen = read_until(&mut second, "\r\n0\r\n\r\n").await;
    assert!(seen.starts_with("POST /v1/payments HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n5\r\nmoney\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn an_answer_is_a_message_of_our_own() {
    // RFC 9110 §6.2: the version is that of whoever sends; a reason phrase says nothing
    let request = "GET /v1/payments/p_1 HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n";
    for first in ["HTTP/1.0 200 OK", "HTTP/1.1 200 Marvellous", "HTTP/1.0 200 \u{e9}"] {
        let answer = format!("{first}\r\ncontent-length: 2\r\n\r\nok");
        let (_, got) = exchanged(request, "\r\n\r\n", &answer).await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{first}: {got}");
    }
}
