use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn config(dir: &Path, name: &str, protocol: Protocol) -> WorkloadConfig {
    WorkloadConfig {
        name: name.to_owned(),
        environment: "prod".to_owned(),
        protocol,
        listen: LOOPBACK,
        stats: LOOPBACK,
        log: dir.join(format!("{name}.jsonl")),
        routes: Vec::new(),
        destinations: BTreeMap::new(),
    }
}

async fn start(dir: &Path, name: &str, protocol: Protocol) -> Workload {
    Workload::start(config(dir, name, protocol)).await.unwrap()
}

fn records(dir: &Path, name: &str) -> Vec<Record> {
    let text = fs::read_to_string(dir.join(format!("{name}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn saw(dir: &Path, name: &str) -> Vec<Saw> {
    records(dir, name).into_iter().map(|record| record.saw).collect()
}

/// One request on a connection of its own.
async fn request(address: SocketAddr, call: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let (method, path) = call.split_once(' ').unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = ::http::Request::builder().method(method).uri(path).header("host", "x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let exchange = async {
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    };
    tokio::select! {
        result = exchange => result,
        _ = connection => panic!("connection ended first"),
    }
}

fn http(method: &str, path: &str) -> Saw {
    Saw::Http { method: method.to_owned(), path: path.to_owned() }
}

#[tokio::test]
async fn a_request_is_on_record_with_every_claimed_caller_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let vault = start(dir.path(), "card-vault", Protocol::Http).await;
    let callers = [("x-spiffe-id", "spiffe://a/b"), ("x-spiffe-id", "spiffe://a/c")];

    let (status, body) = request(vault.address(), "POST /v1/tokens?pan=1", &callers).await;

    assert_eq!(status, 200);
    assert_eq!(body, json!({"workload": "card-vault", "caller": ["spiffe://a/b", "spiffe://a/c"]}));
    let records = records(dir.path(), "card-vault");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].caller, ["spiffe://a/b", "spiffe://a/c"]);
    assert_eq!(records[0].saw, http("POST", "/v1/tokens"));
    assert_eq!((records[0].environment.as_str(), records[0].connection), ("prod", 0));
}

#[tokio::test]
async fn a_test_may_ask_for_a_status_a_size_and_an_echo() {
    let dir = tempfile::tempdir().unwrap();
    let workload = start(dir.path(), "w", Protocol::Http).await;
    let address = workload.address();

    assert_eq!(request(address, "GET /", &[("x-status", "418")]).await.0, 418);
    let echo = [("x-echo", "1"), ("x-a", "b")];
    let (_, body) = request(address, "GET /?q=1", &echo).await;
    assert_eq!(body["query"], "q=1");
    assert_eq!(body["headers"], json!([["host", "x"], ["x-echo", "1"], ["x-a", "b"]]));
    let sized = request(address, "GET /", &[("x-response-bytes", "1000")]).await;
    assert_eq!(sized, (200, Value::Null));
}

#[tokio::test]
async fn a_route_calls_http_grpc_and_tcp_workloads_over_connections_that_stay_open() {
    let dir = tempfile::tempdir().unwrap();
    let vault = start(dir.path(), "card-vault", Protocol::Http).await;
    let fraud = start(dir.path(), "fraud", Protocol::Grpc).await;
    let db = start(dir.path(), "ledger-db", Protocol::Tcp).await;
    let route = "POST /v1/payments/{id} => card-vault POST /v1/tokens/{id}/charge; \
                 fraud fraud.v1.Fraud/Score; ledger-db tcp";
    let payments = Workload::start(WorkloadConfig {
        routes: vec![route.parse().unwrap()],
        ..config(dir.path(), "payments", Protocol::Http)
    });
    let payments = payments.await.unwrap();
    payments.reach(BTreeMap::from([
        ("card-vault".to_owned(), vault.address()),
        ("fraud".to_owned(), fraud.address()),
        ("ledger-db".to_owned(), db.address()),
    ]));

    for id in ["p_1", "p_2"] {
        let (status, body) =
            request(payments.address(), &format!("POST /v1/payments/{id}"), &[]).await;
        assert_eq!((status, &body["workload"]), (200, &json!("payments")), "{body}");
    }

    let score = Saw::Grpc { service: "fraud.v1.Fraud".into(), method: "Score".into() };
    let line = |verb: &str, bytes| {
        let hello = Some("prod/payments".to_owned());
        Saw::Tcp { hello, verb: verb.to_owned(), bytes }
    };
    let charges = [http("POST", "/v1/tokens/p_1/charge"), http("POST", "/v1/tokens/p_2/charge")];
    assert_eq!(saw(dir.path(), "card-vault"), charges);
    assert_eq!(saw(dir.path(), "fraud"), [score.clone(), score]);
    assert_eq!(saw(dir.path(), "ledger-db"), [line("HELLO", 20), line("POST", 9), line("POST", 9)]);
    let each = DownstreamStats { calls: 2, failures: 0, opened: 1, closed_unexpectedly: 0 };
    let downstream = ["card-vault", "fraud", "ledger-db"].map(|name| (name.to_owned(), each));
    let expected = Stats { requests: 2, errors: 0, downstream: downstream.into() };
    assert_eq!(payments.stats(), expected);
    let (_, served) = request(payments.stats_address(), "GET /stats", &[]).await;
    assert_eq!(serde_json::from_value::<Stats>(served).unwrap(), expected);
}

#[tokio::test]
async fn a_step_that_fails_is_named_in_a_502() {
    let dir = tempfile::tempdir().unwrap();
    let vault = start(dir.path(), "card-vault", Protocol::Http).await;
    let route = "GET /a => card-vault POST /v1/tokens; nobody GET /";
    let checkout = Workload::start(WorkloadConfig {
        routes: vec![route.parse().unwrap()],
        destinations: BTreeMap::from([("card-vault".to_owned(), vault.address())]),
        ..config(dir.path(), "checkout", Protocol::Http)
    });
    let checkout = checkout.await.unwrap();

    let (status, body) = request(checkout.address(), "GET /a", &[]).await;

    assert_eq!(status, 502);
    assert_eq!(body, json!({"step": "nobody GET /", "reason": "no address is known for it"}));
    assert_eq!((checkout.stats().requests, checkout.stats().errors), (1, 1));
}

#[tokio::test]
async fn a_connection_that_the_other_end_closes_is_counted_and_one_that_moves_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path(), "ledger-db", Protocol::Tcp).await;
    let second = start(dir.path(), "other-db", Protocol::Tcp).await;
    let ledger = Workload::start(WorkloadConfig {
        routes: vec!["GET /a => ledger-db tcp".parse().unwrap()],
        destinations: BTreeMap::from([("ledger-db".to_owned(), first.address())]),
        ..config(dir.path(), "ledger", Protocol::Http)
    });
    let ledger = ledger.await.unwrap();
    assert_eq!(request(ledger.address(), "GET /a", &[]).await.0, 200);

    ledger.reach(BTreeMap::from([("ledger-db".to_owned(), second.address())]));
    assert_eq!(request(ledger.address(), "GET /a", &[]).await.0, 200);
    assert_eq!(ledger.stats().closed_unexpectedly(), 0);

    second.stop().await;
    let closed = async {
        while ledger.stats().closed_unexpectedly() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
    assert_eq!(request(ledger.address(), "GET /a", &[]).await.0, 502);
    assert_eq!(ledger.stats().downstream["ledger-db"].opened, 2);
}

#[tokio::test]
async fn a_tcp_client_that_does_not_say_who_it_is_gets_no_service_and_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let db = start(dir.path(), "ledger-db", Protocol::Tcp).await;
    let mut stream = TcpStream::connect(db.address()).await.unwrap();

    stream.write_all(b"POST 1 2\n").await.unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).await.unwrap();

    assert_eq!(&answer, b"ERR say HELLO first\n");
    let seen = Saw::Tcp { hello: None, verb: "POST".to_owned(), bytes: 9 };
    assert_eq!(saw(dir.path(), "ledger-db"), [seen]);
}

#[tokio::test]
async fn a_dropped_workload_listens_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let workload = start(dir.path(), "w", Protocol::Http).await;
    let address = workload.address();

    drop(workload);

    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
}
