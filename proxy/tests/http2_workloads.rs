//! Workloads that speak HTTP/2 without TLS and without being gRPC: to callers and to policy they are
//! HTTP like any other.

use std::net::SocketAddr;

use cellwall_policy::{
    CallDocument, HttpVersion, ProbeDocument, Protocol, RuleDocument, SnapshotDocument,
};
use cellwall_testkit::client;
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    forwarding::read_until,
    kit::{DEADLINE, Plan, Sidecar, Town, http, id, policy},
    played::Played,
    raw_h2::{DATA, END_HEADERS, END_STREAM, HEADERS, Leaver, Leaves, STATUS_200, frame, literal},
};

/// Payments' policy: it listens for HTTP/2.
pub(crate) fn declared() -> SnapshotDocument {
    let feed = CallDocument::Http {
        methods: vec!["GET".to_owned(), "GET+websocket".to_owned()],
        path: "/v1/feed".to_owned(),
    };
    let mut document = policy("payments", Protocol::Http, &[http("POST", "/v1/payments"), feed]);
    document.listens[0].version = HttpVersion::Http2;
    // The one that decides on the request itself, by its name.
    let look = RuleDocument {
        name: "a-look".to_owned(),
        calls: vec![http("GET", "/v1/feed")],
        ..document.rules[0].clone()
    };
    document.rules.push(look);
    document
}

/// The sidecar of a workload at this address.
pub(crate) async fn beside(town: &Town, workload: SocketAddr) -> Sidecar {
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let bare = town.beside(plan, workload).await;
    town.made_ready(bare, "payments", declared()).await
}

#[tokio::test]
async fn callers_in_both_versions_reach_a_workload_that_speaks_http_2() {
    // HTTP-16, HTTP-19, HTTP-24
    let town = Town::new().await;
    let mut workload = Played::workload().await;
    let callee = beside(&town, workload.address).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let connect = || TcpStream::connect(caller.outbound["payments"]);
    let mut app = connect().await.unwrap();
    let pays = "POST /v1/payments?a=1 HTTP/1.1\r\nhost: Payments:80\r\nte: trailers\r\n\
        connection: te, close\r\ntrailer: x-note\r\ntransfer-encoding: chunked\r\n\r\n\
        5\r\nmoney\r\n0\r\nx-note: c\r\nx_spiffe_id: a\r\n\r\n";
    app.write_all(pays.as_bytes()).await.unwrap();
    let mut answer = String::new();
    app.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(connect().await.unwrap()))
            .await
            .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let trailers = HeaderMap::from_iter([
        (http::HeaderName::from_static("x-note"), HeaderValue::from_static("c")),
        (http::HeaderName::from_static("x-spiffe-id"), HeaderValue::from_static("a")),
    ]);
    let body = Full::<bytes::Bytes>::from("money").with_trailers(async { Some(Ok(trailers)) });
    let request = Request::post("http://Payments:80/v1/payments?a=1").header("te", "trailers");
    let response = sender.send_request(request.body(Box::pin(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    for version in ["1.1", "2"] {
        let seen = workload.next().await;
        assert_eq!(seen.head.version, Version::HTTP_2, "{version}");
        assert_eq!(seen.head.uri, "http://payments/v1/payments?a=1", "{version}");
        assert_eq!(seen.head.headers["x-spiffe-id"], id("checkout"), "{version}");
        for name in ["host", "connection", "transfer-encoding"] {
            assert!(!seen.head.headers.contains_key(name), "{version}: {:?}", seen.head);
        }
        assert_eq!(seen.body, "money", "{version}");
        assert_eq!(seen.trailers.len(), 1, "{version}: {:?}", seen.trailers);
        assert_eq!(seen.trailers["x-note"], "c", "{version}");
    }
    let refused = client::request(caller.outbound["payments"], "POST /v1/refunds").await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(workload.arrived().is_none());
    drop(callee);
}

/// An answer with a body and trailers.
fn whole(stream: u32) -> Vec<u8> {
    let trailers = [literal(b"x-sum", b"5"), literal(b"cellwall-outcome", b"not-done")].concat();
    [
        frame(HEADERS, END_HEADERS, stream, &[STATUS_200]),
        frame(DATA, 0, stream, b"money"),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
    ]
    .concat()
}

#[tokio::test]
async fn trailers_of_its_answer_arrive_without_words_of_ours() {
    // HTTP-19
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = beside(&town, workload.address).await;
    workload.next(Leaves::Says(whole)).await;
    let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request =
        Request::post("http://payments/v1/payments").body(Full::<bytes::Bytes>::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let body =
        tokio::time::timeout(DEADLINE, response.into_body().collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap();
    assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, &b"5"[..]), "{trailers:?}");
    assert_eq!(body.to_bytes(), "money");
}

#[tokio::test]
async fn it_is_asked_to_go_on_in_nothing_else() {
    // HTTP-12: HTTP/2 has no such thing, whatever the policy grants
    let town = Town::new().await;
    let mut workload = Played::workload().await;
    let mut callee = beside(&town, workload.address).await;
    let mut caller = callee.dial(&town.svid("checkout"), &["http/1.1"]).await;
    let asks = "GET /v1/feed HTTP/1.1\r\nhost: payments\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\n\r\nGET /v1/feed HTTP/1.1\r\nhost: payments\r\n\r\n";
    caller.write_all(asks.as_bytes()).await.unwrap();
    let answer = read_until(&mut caller, "nothing but the end").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(!workload.next().await.head.headers.contains_key("upgrade"));
    assert!(workload.arrived().is_none(), "what came behind it is not read");
    let line = callee.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.by"], "a-look", "{line}");
}

#[tokio::test]
async fn its_health_is_asked_for_in_its_own_version() {
    let town = Town::new().await;
    let mut workload = Played::workload().await;
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let flag = format!("--probes=127.0.0.1:0={}", workload.address);
    let bare = town.told(plan, workload.address, &[&flag]).await;
    let probe = ProbeDocument { method: "GET".into(), path: "/livez".into() };
    let document = SnapshotDocument { probes: vec![probe], ..declared() };
    let sidecar = town.made_ready(bare, "payments", document).await;
    let probes: SocketAddr = sidecar.config().await["probes"].as_str().unwrap().parse().unwrap();
    assert_eq!(client::request(probes, "GET /livez").await.unwrap().status(), 200);
    let seen = workload.next().await;
    assert_eq!(seen.head.uri, "http://localhost/livez");
    assert_eq!(seen.head.headers["user-agent"], "cellwall-probe");
}
