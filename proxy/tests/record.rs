//! The record of a call is whole (issue 5, item 4): what went through in each direction, when, and what
//! became of it; written once, when both directions have ended, whatever ended them.

use std::net::SocketAddr;

use bytes::Bytes;
use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    answers::got,
    forwarding::{played, read_until},
    kit::{DEADLINE, Plan, Sidecar, Town, eventually, payments, policy},
    played::accepting,
};

/// Reason, fate, and bytes from and to the caller.
type Ended = (String, String, u64, u64);

fn ended(line: &Value) -> Ended {
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    let bytes = |key: &str| line[key].as_u64().unwrap();
    let (from, to) = (bytes("request_bytes"), bytes("response_bytes"));
    (text("cellwall.reason"), text("cellwall.fate"), from, to)
}

fn like(reason: &str, fate: &str, from: u64, to: u64) -> Ended {
    (reason.to_owned(), fate.to_owned(), from, to)
}

/// The record of the call of trace number `trace`.
async fn record(sidecar: &mut Sidecar, trace: usize) -> Value {
    let id = format!("{trace:032x}");
    sidecar.logged(|line| line["kind"] == "call" && line["trace_id"] == id.as_str()).await
}

fn traceparent(trace: usize) -> String {
    format!("00-{trace:032x}-00f067aa0ba902b7-00")
}

/// A call as HTTP/1.1 writes it, with trace number 1.
fn asks(head: &str) -> String {
    let trace = traceparent(1);
    format!(
        "POST /v1/payments HTTP/1.1\r\nhost: payments\r\ntraceparent: {trace}\r\n{head}\r\n\r\n"
    )
}

/// Payments' sidecar beside `workload`, and checkout's.
async fn pair(town: &Town, workload: SocketAddr) -> (Sidecar, Sidecar) {
    let (plan, policy) = payments();
    let callee = town.beside(plan, workload).await;
    let callee = town.made_ready(callee, "payments", policy).await;
    (callee, town.caller_of("payments", Protocol::Http).await)
}

/// A payment that has come to the workload, which has not answered.
struct OnItsWay {
    callee: Sidecar,
    caller: Sidecar,
    app: TcpStream,
    workload: TcpStream,
}

async fn paying(town: &Town) -> OnItsWay {
    let (callee, listener) = played(town).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all((asks("content-length: 5") + "money").as_bytes()).await.unwrap();
    let (mut workload, _) = listener.accept().await.unwrap();
    read_until(&mut workload, "money").await;
    OnItsWay { callee, caller, app, workload }
}

/// Takes all of each request, and answers with as many bytes as `x-give` says.
async fn generous() -> (SocketAddr, JoinSet<()>) {
    accepting(|tcp| async move {
        let service = service_fn(async |request: Request<Incoming>| {
            let give = request.headers()["x-give"].to_str().unwrap().parse().unwrap();
            request.into_body().collect().await?;
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(vec![b'.'; give]))))
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
    })
    .await
}

#[tokio::test]
async fn a_call_that_is_done_has_one_size_and_its_times_in_order_at_both_sidecars() {
    let town = Town::new().await;
    let (address, _workload) = generous().await;
    let (mut callee, mut caller) = pair(&town, address).await;
    let sizes = [0, 1, 62, 16_384, 65_535, 65_536, 300_000, 2_000_000];
    let calls = sizes.into_iter().zip(sizes.into_iter().rev()).enumerate();
    for (trace, (sent, given)) in calls {
        for chunked in [false, true] {
            let trace = 2 * trace + usize::from(chunked) + 1;
            let mut tcp = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
            let (framing, body) = framed(&vec![b'x'; sent], chunked);
            let head = format!(
                "POST /v1/payments HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\
                x-give: {given}\r\ntraceparent: {}\r\n{framing}\r\n\r\n",
                traceparent(trace)
            );
            tcp.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
            assert!(got(&mut tcp).await.starts_with("HTTP/1.1 200 "), "{sent} {given}");
            let done = like("done", "done", sent as u64, given as u64);
            for sidecar in [&mut caller, &mut callee] {
                let line = record(sidecar, trace).await;
                assert_eq!(ended(&line), done, "chunked: {chunked} {line}");
                in_order(&line);
            }
        }
    }
    for (sidecar, direction) in [(&caller, "outbound"), (&callee, "inbound")] {
        assert_eq!(open(sidecar, direction).await, 0.0);
    }
}

/// How a body is framed, and its bytes.
fn framed(body: &[u8], chunked: bool) -> (String, Vec<u8>) {
    if !chunked {
        return (format!("content-length: {}", body.len()), body.to_vec());
    }
    let mut chunks = Vec::new();
    for chunk in body.chunks(7_000) {
        chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunks.extend([chunk, b"\r\n"].concat());
    }
    chunks.extend(b"0\r\n\r\n");
    ("transfer-encoding: chunked".to_owned(), chunks)
}

/// A call's times, where it was decided, sent, taken whole and answered.
fn in_order(line: &Value) {
    let at = |key: &str| line[key].as_f64();
    let all = at("duration_s").unwrap();
    let head = at("decided_s").unwrap() + at("upstream_s").unwrap();
    assert!(at("decided_s") > Some(0.0) && head <= all, "{line}");
    let given = line["response_bytes"] != 0;
    assert_eq!(at("first_byte_s").is_some(), given, "{line}");
    assert!(at("first_byte_s").is_none_or(|first| first >= head && first <= all), "{line}");
    assert!(at("request_end_s").is_some_and(|end| end <= all), "{line}");
}

async fn open(sidecar: &Sidecar, direction: &str) -> f64 {
    sidecar.metrics().await.sum("cellwall_calls_open", &[("direction", direction)])
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_done() {
    let town = Town::new().await;
    let OnItsWay { mut callee, mut caller, mut app, workload: mut tcp } = paying(&town).await;
    tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
    assert!(read_until(&mut app, "ok").await.starts_with("HTTP/1.1 200 "));
    drop(tcp);
    for sidecar in [&mut callee, &mut caller] {
        assert_eq!(ended(&record(sidecar, 1).await), like("io", "unknown", 5, 2));
    }
}

#[tokio::test]
async fn a_request_that_did_not_go_through_is_not_done_whatever_the_answer() {
    let town = Town::new().await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let (address, _workload) = blunt_and_gone(answer).await;
    let (plan, policy) = payments();
    let callee = town.beside(plan, address).await;
    let mut callee = town.made_ready(callee, "payments", policy).await;
    let mut caller = callee.dial(&town.svid("checkout"), &["http/1.1"]).await;
    // More is announced than ever comes: the caller waits for what the answer says.
    caller.write_all((asks("content-length: 500") + "money").as_bytes()).await.unwrap();
    read_until(&mut caller, "ok").await;
    drop(caller);
    let line = record(&mut callee, 1).await;
    let (reason, fate, _, given) = ended(&line);
    assert_eq!((reason.as_str(), fate.as_str(), given), ("answered_early", "unknown", 2), "{line}");
    assert_eq!(line["http.response.status_code"], 200);
}

/// Answers without reading the body, and closes.
async fn blunt_and_gone(said: &'static [u8]) -> (SocketAddr, JoinSet<()>) {
    accepting(move |mut tcp| async move {
        let mut head = [0; 2048];
        let _ = tcp.read(&mut head).await;
        tcp.write_all(said).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn what_the_caller_does_not_take_is_neither_counted_nor_done() {
    let town = Town::new().await;
    let (mut callee, workload) = played(&town).await;
    let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
    let (mut sender, connection) = client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(3)
        .handshake(io)
        .await
        .unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::post("http://payments/v1/payments");
    let request = request.header("traceparent", traceparent(1));
    let called = sender.send_request(request.body(Full::<Bytes>::default()).unwrap());
    let answer = async {
        let (mut tcp, _) = workload.accept().await.unwrap();
        read_until(&mut tcp, "\r\n\r\n").await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall of it").await.unwrap();
        tcp
    };
    let (response, _tcp) = tokio::join!(called, answer);
    assert_eq!(open(&callee, "inbound").await, 1.0);
    drop((response.unwrap(), tasks));
    assert_eq!(ended(&record(&mut callee, 1).await), like("cancelled", "unknown", 0, 3));
    eventually("no open call", async || open(&callee, "inbound").await == 0.0).await;
}

#[tokio::test]
async fn a_stream_has_no_line_until_it_ends_and_then_all_of_it() {
    let town = Town::new().await;
    let OnItsWay { mut callee, mut caller, mut app, workload: mut tcp } = paying(&town).await;
    tcp.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    for event in 0..10 {
        tcp.write_all(format!("2\r\n{event}\n\r\n").as_bytes()).await.unwrap();
        read_until(&mut app, &format!("{event}\n\r\n")).await;
        assert_eq!(open(&callee, "inbound").await, 1.0);
        assert_eq!(open(&caller, "outbound").await, 1.0);
    }
    // A policy that no longer allows it cuts it.
    let (_, policy) = payments();
    town.publish(SnapshotDocument { rules: Vec::new(), ..policy });
    got(&mut app).await;
    let cut = record(&mut callee, 1).await;
    assert_eq!(ended(&cut), like("policy_revoked", "unknown", 5, 20));
    assert!(cut["request_end_s"].as_f64() <= cut["first_byte_s"].as_f64(), "{cut}");
    assert_eq!(ended(&record(&mut caller, 1).await), like("io", "unknown", 5, 20));
    let (callee_open, caller_open) =
        (open(&callee, "inbound").await, open(&caller, "outbound").await);
    assert_eq!((callee_open, caller_open), (0.0, 0.0));
}

#[tokio::test]
async fn an_upload_that_outlives_its_answer_is_one_record_when_it_ends() {
    for whole in [true, false] {
        let town = Town::new().await;
        let (mut callee, workload) = played(&town).await;
        let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
        let (mut sender, connection) =
            client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { drop(connection.await) });
        let (upload, body) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
        let request = Request::post("http://payments/v1/payments");
        let request = request.header("traceparent", traceparent(1));
        let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
        let called = sender.send_request(request);
        let answer = async {
            let (mut tcp, _) = workload.accept().await.unwrap();
            read_until(&mut tcp, "\r\n\r\n").await;
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            tcp
        };
        let (response, mut tcp) = tokio::join!(called, answer);
        response.unwrap().into_body().collect().await.unwrap();
        upload.send(Ok(Frame::data(Bytes::from_static(b"more")))).await.unwrap();
        read_until(&mut tcp, "4\r\nmore\r\n").await;
        assert_eq!(open(&callee, "inbound").await, 1.0);
        if whole {
            drop(upload);
        } else {
            upload.send(Err(std::io::Error::other("broken off"))).await.unwrap();
        }
        let end = if whole { ("done", "done") } else { ("answered_early", "unknown") };
        assert_eq!(ended(&record(&mut callee, 1).await), like(end.0, end.1, 4, 2));
    }
}

/// A connection of the caller's over HTTP/2, for as long as its task.
async fn over_h2<B>(
    callee: &Sidecar,
    town: &Town,
) -> (client::conn::http2::SendRequest<B>, JoinSet<()>)
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
    let (sender, connection) =
        client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async { drop(connection.await) });
    (sender, tasks)
}

#[tokio::test]
async fn who_sent_as_much_as_announced_is_done_before_the_stream_ends() {
    // Over HTTP/2 the end may come in a frame of its own, which an HTTP/1.1 workload has no need of.
    let town = Town::new().await;
    let (mut callee, workload) = played(&town).await;
    let (mut sender, _tasks) = over_h2(&callee, &town).await;
    let (upload, body) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let request = Request::post("http://payments/v1/payments").header("content-length", "5");
    let request = request.header("traceparent", traceparent(1));
    let request = request.body(StreamBody::new(ReceiverStream::new(body))).unwrap();
    upload.send(Ok(Frame::data(Bytes::from_static(b"money")))).await.unwrap();
    let called = sender.send_request(request);
    let answer = async {
        let (mut tcp, _) = workload.accept().await.unwrap();
        read_until(&mut tcp, "money").await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        tcp
    };
    let (response, _tcp) = tokio::join!(called, answer);
    response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(ended(&record(&mut callee, 1).await), like("done", "done", 5, 2));
    drop(upload);
}

#[tokio::test]
async fn an_answer_with_trailers_ends_with_them() {
    let town = Town::new().await;
    let (mut callee, workload) = played(&town).await;
    let (mut sender, _tasks) = over_h2(&callee, &town).await;
    let request = Request::get("http://payments/v1/payments/p_1");
    let request = request.header("traceparent", traceparent(1));
    let called = sender.send_request(request.body(Full::<Bytes>::default()).unwrap());
    let answer = async {
        let (mut tcp, _) = workload.accept().await.unwrap();
        read_until(&mut tcp, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        tcp.write_all(format!("{head}2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n").as_bytes()).await.unwrap();
        tcp
    };
    let (response, _tcp) = tokio::join!(called, answer);
    let body = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "1");
    assert_eq!(ended(&record(&mut callee, 1).await), like("done", "done", 0, 2));
}

#[tokio::test]
async fn what_never_reached_the_workload_is_not_done_in_both_records() {
    let town = Town::new().await;
    let (mut callee, workload) = played(&town).await;
    let mut caller = town.caller_of("payments", Protocol::Http).await;
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    let denied = asks("content-length: 0").replace("/v1/payments", "/v1/other");
    app.write_all(denied.as_bytes()).await.unwrap();
    read_until(&mut app, "\"}").await;
    let line = record(&mut callee, 1).await;
    assert_eq!(&ended(&line).1, "not-done", "{line}");
    assert!(line["decided_s"].is_number() && line["first_byte_s"].is_null(), "{line}");
    let line = record(&mut caller, 1).await;
    assert_eq!(
        (line["http.response.status_code"].as_u64(), &*ended(&line).1),
        (Some(403), "not-done")
    );
    drop(workload);
    let other = asks("content-length: 5").replace(&traceparent(1), &traceparent(2));
    app.write_all((other + "money").as_bytes()).await.unwrap();
    read_until(&mut app, "\"}").await;
    let line = record(&mut callee, 2).await;
    assert_eq!(ended(&line), like("connect_failed", "not-done", 0, 0));
    assert_eq!(&ended(&record(&mut caller, 2).await).1, "not-done");
}

#[tokio::test]
async fn a_workload_that_says_nothing_leaves_the_fate_unknown_in_both_records() {
    let town = Town::new().await;
    let OnItsWay { mut callee, mut caller, mut app, workload: tcp } = paying(&town).await;
    drop(tcp);
    read_until(&mut app, "\"}").await;
    assert_eq!(ended(&record(&mut callee, 1).await), like("upstream_failed", "unknown", 5, 0));
    let line = record(&mut caller, 1).await;
    assert_eq!(line["http.response.status_code"], 502);
    assert_eq!(&ended(&line).1, "unknown", "{line}");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_fate_unknown_in_both_records() {
    let town = Town::new().await;
    let OnItsWay { mut callee, mut caller, app, workload: _tcp } = paying(&town).await;
    drop(app);
    for sidecar in [&mut callee, &mut caller] {
        assert_eq!(ended(&record(sidecar, 1).await), like("cancelled", "unknown", 5, 0));
    }
}

#[tokio::test]
async fn a_tcp_connection_has_a_fate_too() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    let mut callee = town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await;
    let tcp = |reason: &'static str| {
        move |line: &Value| line["kind"] == "connection" && line["cellwall.reason"] == reason
    };
    let hello = b"HELLO prod/checkout\n";
    let mut stream = callee.dial(&town.svid("notifier"), &["cellwall-tcp/1"]).await;
    got(&mut stream).await;
    assert_eq!(&ended(&callee.logged(tcp("policy_denied")).await).1, "not-done");
    let mut stream = callee.dial(&town.svid("checkout"), &["cellwall-tcp/1"]).await;
    stream.write_all(hello).await.unwrap();
    stream.shutdown().await.unwrap();
    got(&mut stream).await;
    let line = callee.logged(tcp("done")).await;
    assert_eq!((&*ended(&line).1, ended(&line).2), ("done", 20), "{line}");
    assert!(line["request_end_s"].is_number(), "{line}");
    let mut stream = callee.dial(&town.svid("checkout"), &["cellwall-tcp/1"]).await;
    stream.write_all(hello).await.unwrap();
    eventually("bytes at the workload", async || callee.seen().len() == 2).await;
    callee.process.stop(DEADLINE).await.unwrap();
    assert_eq!(ended(&callee.logged(tcp("drained")).await).1, "unknown");
}
