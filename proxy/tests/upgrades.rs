//! Requests that ask to go on in another protocol (HTTP-12, HTTP-15): who may, what comes after 101,
//! and when that ends. The test is the app, and the workload.

use std::{
    future::pending,
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use cellwall_policy::{CallDocument, IdentityHeader, Mode, Protocol, SnapshotDocument};
use cellwall_testkit::{client, tls::DangerousParty, workload_api::X509State, x509::Validity};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    decisions::newest,
    forwarding::{is_closed, read_until},
    kit::{DEADLINE, Plan, Sidecar, Town, destination, eventually, http, id, policy},
    played::accepting,
    told::{envoys, ours},
};

/// What a browser sends.
const ASKS: &str = "GET /v1/feed?from=7 HTTP/1.1\r\nhost: payments\r\nupgrade: WebSocket\r\n\
    connection: keep-alive, Upgrade\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: chat\r\n\
    x-spiffe-id: spiffe://pay.example/prod/admin\r\n\r\n";

/// What a WebSocket server answers.
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
    connection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    sec-websocket-protocol: chat\r\n\r\n";

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// `GET /v1/feed`, where the caller may ask for `protocol`.
fn feed(protocol: &str) -> CallDocument {
    let methods = vec!["GET".to_owned(), format!("GET+{protocol}")];
    CallDocument::Http { methods, path: "/v1/feed".to_owned() }
}

fn granting(calls: &[CallDocument]) -> SnapshotDocument {
    policy("payments", Protocol::Http, &[calls, &[http("GET", "/v1/plain")]].concat())
}

/// Payments' sidecar with this policy, and the listener that it takes for its workload.
async fn payments(town: &Town, policy: SnapshotDocument) -> (Sidecar, TcpListener) {
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let sidecar = town.beside(plan, workload.local_addr().unwrap()).await;
    (town.made_ready(sidecar, "payments", policy).await, workload)
}

/// Checkout's sidecar and payments', and payments' workload. Checkout may ask for WebSocket.
async fn pair(town: &Town) -> (Sidecar, Sidecar, TcpListener) {
    let (callee, workload) = payments(town, granting(&[feed("websocket")])).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    (caller, callee, workload)
}

async fn connected(sidecar: &Sidecar) -> TcpStream {
    TcpStream::connect(sidecar.outbound["payments"]).await.unwrap()
}

/// A connection on which WebSocket was asked for: the app's end, and the workload's.
async fn asked(caller: &Sidecar, workload: &TcpListener) -> (TcpStream, TcpStream) {
    let mut app = connected(caller).await;
    app.write_all(ASKS.as_bytes()).await.unwrap();
    let (mut stream, _) = within(workload.accept()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    (app, stream)
}

/// Goes on in it.
async fn switch(app: &mut TcpStream, stream: &mut TcpStream) {
    stream.write_all(SWITCHES.as_bytes()).await.unwrap();
    let head = read_until(app, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// A connection that goes on in WebSocket: the app's end, and the workload's.
async fn switched(caller: &Sidecar, workload: &TcpListener) -> (TcpStream, TcpStream) {
    let (mut app, mut stream) = asked(caller, workload).await;
    switch(&mut app, &mut stream).await;
    (app, stream)
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.unwrap()
}

/// All that comes until the end of a connection, or its reset.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> (String, Option<ErrorKind>) {
    let mut rest = Vec::new();
    let end = within(stream.read_to_end(&mut rest)).await;
    (String::from_utf8(rest).unwrap(), end.err().map(|error| error.kind()))
}

/// Whether bytes still go both ways.
async fn is_alive(app: &mut TcpStream, stream: &mut TcpStream) -> bool {
    let mut said = [0; 4];
    let both = async {
        app.write_all(b"ping").await?;
        stream.read_exact(&mut said).await?;
        stream.write_all(b"pong").await?;
        app.read_exact(&mut said).await
    };
    within(both).await.is_ok() && said == *b"pong"
}

async fn called(sidecar: &mut Sidecar) -> serde_json::Value {
    sidecar.logged(|line| line["kind"] == "call").await
}

/// Each of these headers, and no other value of it.
fn assert_says(head: &str, headers: &[&str]) {
    for header in headers {
        let (name, _) = header.split_once(':').unwrap();
        assert_eq!(head.matches(&format!("\r\n{name}:")).count(), 1, "{header}: {head}");
        assert!(head.contains(&format!("\r\n{header}\r\n")), "{header}: {head}");
    }
}

/// Whether nothing has come to `stream` by when another call has been all the way: what was going to
/// come would be here.
async fn is_silent(caller: &Sidecar, workload: &TcpListener, stream: &TcpStream) -> bool {
    let other = async {
        let (mut other, _) = within(workload.accept()).await.unwrap();
        read_until(&mut other, "\r\n\r\n").await;
        other.write_all(OK.as_bytes()).await.unwrap();
        pending::<()>().await;
    };
    tokio::select! {
        () = other => {}
        answer = caller.reach("payments", "GET /v1/plain") => assert_eq!(answer.0, 200),
    }
    stream.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn a_granted_upgrade_carries_bytes_both_ways_and_none_before_101() {
    let town = Town::new().await;
    let (mut caller, mut callee, workload) = pair(&town).await;
    let mut app = connected(&caller).await;
    // Pipelined behind the head: whoever reads it as HTTP sees a request that no policy judged.
    let early = "GET /v1/admin HTTP/1.1\r\nhost: payments\r\n\r\n";
    app.write_all(format!("{ASKS}{early}").as_bytes()).await.unwrap();
    let (mut stream, _) = within(workload.accept()).await.unwrap();
    let seen = read_until(&mut stream, "\r\n\r\n").await;
    assert!(seen.starts_with("GET /v1/feed?from=7 HTTP/1.1\r\n"), "{seen}");
    assert_says(
        &seen,
        &[
            "upgrade: websocket",
            "connection: upgrade",
            "host: payments",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-protocol: chat",
            "x-spiffe-id: spiffe://pay.example/prod/checkout",
        ],
    );
    assert!(is_silent(&caller, &workload, &stream).await, "it has more than the head");
    stream.write_all(format!("{SWITCHES}first words").as_bytes()).await.unwrap();
    let got = read_until(&mut app, "first words").await;
    assert!(got.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{got}");
    assert_says(
        &got,
        &[
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "sec-websocket-protocol: chat",
        ],
    );
    assert_eq!(read_until(&mut stream, early).await, early);
    assert!(is_alive(&mut app, &mut stream).await);
    // Either half may end before the other.
    app.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, (String::new(), None));
    stream.write_all(b"last words").await.unwrap();
    drop(stream);
    assert_eq!(rest(&mut app).await, ("last words".to_owned(), None));
    let is_upgrade = |line: &serde_json::Value| line["cellwall.upgrade"] == "websocket";
    for sidecar in [&mut caller, &mut callee] {
        let line = sidecar.logged(is_upgrade).await;
        assert_eq!(line["kind"], "call", "{line}");
        assert_eq!(line["cellwall.reason"], "done", "{line}");
        assert_eq!(line["cellwall.fate"], "done", "{line}");
        assert_eq!(line["http.response.status_code"], 101, "{line}");
        assert_eq!(line["request_bytes"].as_u64(), u64::try_from(early.len() + 4).ok(), "{line}");
        assert_eq!(line["response_bytes"], 25, "{line}"); // first words, pong, last words
    }
    let line = callee.logged(is_upgrade).await;
    assert_eq!(line["cellwall.by"], "checkout-calls", "{line}");
    assert_eq!(line["http.route"], "/v1/feed", "{line}");
}

#[tokio::test]
async fn what_the_app_says_after_the_workloads_last_word_arrives() {
    let town = Town::new().await;
    let (caller, _callee, workload) = pair(&town).await;
    let (mut app, mut stream) = switched(&caller, &workload).await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut app).await, (String::new(), None));
    app.write_all(b"last words").await.unwrap();
    app.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, ("last words".to_owned(), None));
}

#[tokio::test]
async fn what_is_upgraded_says_who_calls_as_the_policy_names_it_at_the_path_that_was_judged() {
    // HTTP-08, HTTP-16
    let town = Town::new().await;
    let methods = ["GET", "GET+websocket"].map(ToOwned::to_owned).to_vec();
    let call = CallDocument::Http { methods, path: "/v1/feeds/{name%2F}".to_owned() };
    let identity_headers = IdentityHeader::ALL.to_vec();
    let policy = SnapshotDocument { identity_headers, ..granting(&[call]) };
    let (sidecar, workload) = payments(&town, policy).await;
    let svid = town.svid("checkout");
    let mut caller = sidecar.dial(&svid, &["http/1.1"]).await;
    let asks = ASKS.replace("/v1/feed?", "/v1/feeds/a%2fb?").replace(
        "x-spiffe-id:",
        "x-forwarded-client-cert: URI=a\r\nx_spiffe_id: b\r\nx-spiffe-id:",
    );
    caller.write_all(asks.as_bytes()).await.unwrap();
    let (mut stream, _) = within(workload.accept()).await.unwrap();
    let seen = read_until(&mut stream, "\r\n\r\n").await;
    assert!(seen.starts_with("GET /v1/feeds/a%2Fb?from=7 HTTP/1.1\r\n"), "{seen}");
    assert_says(
        &seen,
        &["upgrade: websocket", "connection: upgrade", &ours(), &envoys(&svid.chain[0])],
    );
    assert!(!seen.contains("x_spiffe_id"), "{seen}");
}

/// Sends `asks` as checkout straight to payments' sidecar; what the workload reads of it, `OK` being
/// its answer, and all that comes back until the connection is closed.
async fn answered_ok(policy: SnapshotDocument, asks: &str) -> (String, String) {
    let town = Town::new().await;
    let (sidecar, workload) = payments(&town, policy).await;
    let mut caller = sidecar.dial(&town.svid("checkout"), &["http/1.1"]).await;
    caller.write_all(asks.as_bytes()).await.unwrap();
    let (mut stream, _) = within(workload.accept()).await.unwrap();
    let seen = read_until(&mut stream, "\r\n\r\n").await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    (seen, rest(&mut caller).await.0)
}

/// An ordinary request with an ordinary answer, after which nothing is read.
fn assert_ordinary((seen, got): &(String, String), case: &str) {
    let lower = seen.to_ascii_lowercase();
    for name in ["upgrade", "http2-settings"] {
        assert!(!lower.contains(name), "{case}: {seen}");
    }
    assert!(lower.starts_with("get /v1/feed"), "{case}: {seen}");
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{case}: {got}");
    assert!(got.contains("\r\nconnection: close\r\n"), "{case}: {got}");
    assert!(got.ends_with("\r\n\r\nok"), "{case}: {got}");
}

#[tokio::test]
async fn without_a_grant_it_is_an_ordinary_request_and_the_last_one() {
    let asks = format!("{ASKS}GET /v1/plain HTTP/1.1\r\nhost: payments\r\n\r\n");
    let plain = || granting(&[http("GET", "/v1/feed")]);
    for (case, policy) in [
        ("no grant", plain()),
        ("of another protocol", granting(&[feed("chat")])),
        ("in audit", SnapshotDocument { mode: Mode::Audit, ..granting(&[]) }),
    ] {
        assert_ordinary(&answered_ok(policy, &asks).await, case);
    }
}

#[tokio::test]
async fn what_does_not_ask_in_one_way_asks_for_nothing() {
    // HTTP-01, HTTP-12, HTTP-13; RFC 9110 §7.8
    let head = |rest: &str| format!("GET /v1/feed HTTP/1.1\r\nhost: payments\r\n{rest}\r\n");
    let asks = "connection: upgrade\r\nupgrade: websocket\r\n";
    let smuggled = "GET /v1/plain HTTP/1.1\r\nhost: payments\r\n\r\n";
    for (case, request) in [
        ("with a body", head(&format!("{asks}content-length: {}\r\n", smuggled.len())) + smuggled),
        ("in chunks", head(&format!("{asks}transfer-encoding: chunked\r\n")) + "0\r\n\r\n"),
        ("twice", head(&format!("{asks}upgrade: websocket\r\n")) + smuggled),
        ("for either", head("connection: upgrade\r\nupgrade: websocket, h2c\r\n") + smuggled),
        ("not nominated", head("connection: keep-alive\r\nupgrade: websocket\r\n") + smuggled),
        ("without connection", head("upgrade: websocket\r\n") + smuggled),
        (
            "h2c",
            head("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n")
                + smuggled,
        ),
    ] {
        let (seen, got) = answered_ok(granting(&[feed("websocket")]), &request).await;
        assert_ordinary(&(seen.clone(), got), case);
        let body = matches!(case, "with a body" | "in chunks");
        assert!(body || seen.ends_with("\r\n\r\n"), "{case}: {seen}");
    }
    let old = ASKS.replace("HTTP/1.1", "HTTP/1.0");
    let (seen, got) = answered_ok(granting(&[feed("websocket")]), &old).await;
    assert!(!seen.to_ascii_lowercase().contains("upgrade"), "{seen}");
    assert!(got.ends_with("\r\n\r\nok"), "{got}");
}

#[tokio::test]
async fn a_request_that_is_denied_is_denied_whatever_it_asks_for() {
    let town = Town::new().await;
    let (mut sidecar, workload) = payments(&town, granting(&[feed("websocket")])).await;
    let mut caller = sidecar.dial(&town.svid("intruder"), &["http/1.1"]).await;
    caller.write_all(ASKS.as_bytes()).await.unwrap();
    let (got, _) = rest(&mut caller).await;
    assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
    assert_eq!(called(&mut sidecar).await["cellwall.by"], "guard/no-intruders");
    let nobody = tokio::time::timeout(Duration::ZERO, workload.accept()).await;
    assert!(nobody.is_err(), "the workload is not even connected to");
}

#[tokio::test]
async fn a_workload_may_answer_as_if_it_were_not_asked() {
    let town = Town::new().await;
    let (mut caller, mut callee, workload) = pair(&town).await;
    let mut app = connected(&caller).await;
    let early = "GET /v1/plain HTTP/1.1\r\nhost: payments\r\n\r\n";
    app.write_all(format!("{ASKS}{early}").as_bytes()).await.unwrap();
    let (mut stream, _) = within(workload.accept()).await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.contains("upgrade: websocket"));
    stream.write_all(OK.as_bytes()).await.unwrap();
    let (got, _) = rest(&mut app).await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nok"), "{got}");
    assert_eq!(got.matches("HTTP/1.1").count(), 1, "nothing is read behind it: {got}");
    assert!(is_closed(&mut stream).await, "it is used for another call");
    for sidecar in [&mut caller, &mut callee] {
        let line = called(sidecar).await;
        assert_eq!(line["cellwall.reason"], "done", "{line}");
        assert_eq!(line["cellwall.fate"], "done", "{line}");
        assert_eq!(line["http.response.status_code"], 200, "{line}");
    }
}

#[tokio::test]
async fn an_upgrade_that_ends_before_101_is_recorded_as_it_was_judged() {
    let town = Town::new().await;
    let (caller, mut callee, workload) = pair(&town).await;
    let (_app, _stream) = asked(&caller, &workload).await;
    town.publish(granting(&[http("GET", "/v1/feed")]));
    let line = called(&mut callee).await;
    assert_eq!(line["cellwall.reason"], "policy_revoked", "{line}");
    assert_eq!(line["cellwall.upgrade"], "websocket", "{line}");
    let decision = newest(&callee, 1).await;
    assert_eq!(decision["method"], "GET+websocket", "{decision}");
}

#[tokio::test]
async fn a_workload_that_switches_to_something_else_has_failed() {
    // HTTP-12, HTTP-23
    let town = Town::new().await;
    let (caller, _callee, workload) = pair(&town).await;
    let tunnelled = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for head in [
        "upgrade: h2c\r\nconnection: upgrade\r\n",
        "upgrade: websocket, h2c\r\nconnection: upgrade\r\n",
        "upgrade: websocket\r\nupgrade: websocket\r\nconnection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "",
        "upgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 5\r\n",
        "upgrade: websocket\r\nconnection: upgrade\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut app = connected(&caller).await;
        app.write_all(ASKS.as_bytes()).await.unwrap();
        let (mut stream, _) = within(workload.accept()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n{tunnelled}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (got, _) = rest(&mut app).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{head}: {got}");
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{head}: {got}");
        assert!(is_closed(&mut stream).await, "{head}");
    }
}

/// Both ends in time, by a cut that neither takes for an end.
async fn are_cut(mut app: TcpStream, mut stream: TcpStream, limit: Duration) {
    let cut = Instant::now();
    let reset = (String::new(), Some(ErrorKind::ConnectionReset));
    assert_eq!(rest(&mut stream).await, reset);
    assert_eq!(rest(&mut app).await, reset);
    assert!(cut.elapsed() < limit, "{:?}", cut.elapsed());
}

/// Beyond the second that is promised, for a machine with other work to do.
const PROMPTLY: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_policy_that_takes_the_grant_away_ends_it_at_both_ends() {
    // HTTP-15, AZ-10; the request itself is still allowed
    let town = Town::new().await;
    let (caller, mut callee, workload) = pair(&town).await;
    let (mut app, mut stream) = switched(&caller, &workload).await;
    // A version that says the same ends nothing.
    let version = town.publish(granting(&[feed("websocket")]));
    town.control.acknowledged(&id("payments"), version, DEADLINE).await.unwrap();
    assert!(is_alive(&mut app, &mut stream).await);
    town.publish(granting(&[http("GET", "/v1/feed")]));
    are_cut(app, stream, PROMPTLY).await;
    let line = called(&mut callee).await;
    assert_eq!(line["cellwall.reason"], "policy_revoked", "{line}");
    assert_eq!(line["cellwall.fate"], "unknown", "{line}");
    assert_eq!((&line["request_bytes"], &line["response_bytes"]), (&4.into(), &4.into()), "{line}");
}

#[tokio::test]
async fn an_authority_that_ends_ends_it_and_one_that_is_renewed_does_not() {
    // HTTP-15, ROT-05
    let town = Town::new().await;
    let (mut caller, callee, workload) = pair(&town).await;
    let (life, short) = (Duration::from_secs(60), Duration::from_secs(4));
    let issue = |sidecar: &Sidecar, name: &str| {
        let svid = town.ca.svid_valid(&id(name), Validity::around_now(life, short));
        sidecar.identity.publish(&X509State::default().with(&id(name), svid, vec![town.ca.root()]));
    };
    issue(&caller, "checkout");
    eventually("the short svid", async || {
        caller.config().await["svid_serial"].as_str() == caller.identity.last_serial().as_deref()
    })
    .await;
    let (mut app, mut stream) = switched(&caller, &workload).await;
    let opened = Instant::now();
    // Renewed before its end, it goes on beyond it by a proof of its own.
    issue(&caller, "checkout");
    issue(&callee, "payments");
    let proved = async || {
        let extended = [("result", "extended")];
        caller.metrics().await.sum("cellwall_reproofs_total", &extended) >= 1.0
    };
    eventually("a proof", proved).await;
    assert!(is_alive(&mut app, &mut stream).await);
    // Nobody renews it any more.
    let (said, end) = rest(&mut app).await;
    assert_eq!((said.as_str(), end), ("", Some(ErrorKind::ConnectionReset)));
    assert!(opened.elapsed() >= short - Duration::from_secs(1), "{:?}", opened.elapsed());
    assert_eq!(rest(&mut stream).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(called(&mut caller).await["cellwall.reason"], "svid_expired");
}

/// Which side's sidecar loses what it stands on.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Direction {
    Inbound,
    Outbound,
}

/// Both ends are cut within the five seconds of a withdrawal, though 101 came three after it.
async fn is_cut_with_the_connection(of: Direction) {
    let town = Town::new().await;
    let (mut caller, mut callee, workload) = pair(&town).await;
    let (mut app, mut stream) = asked(&caller, &workload).await;
    let withdrawing = if of == Direction::Inbound { &mut callee } else { &mut caller };
    withdrawing.identity.redact();
    let withdrawn = Instant::now();
    let early = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut [0])).await;
    assert!(early.is_err(), "the call has its grace: {early:?}");
    switch(&mut app, &mut stream).await;
    assert!(is_alive(&mut app, &mut stream).await);
    are_cut(app, stream, PROMPTLY).await;
    let took = withdrawn.elapsed();
    assert!((4..7).contains(&took.as_secs()), "one grace, over 101: {took:?}");
    assert_eq!(called(withdrawing).await["cellwall.reason"], "svid_withdrawn");
}

#[tokio::test]
async fn a_grace_that_began_before_101_is_not_begun_anew_by_the_callees_sidecar() {
    // HTTP-15, ROT-05
    is_cut_with_the_connection(Direction::Inbound).await;
}

#[tokio::test]
async fn a_grace_that_began_before_101_is_not_begun_anew_by_the_callers_sidecar() {
    // HTTP-15, ROT-05
    is_cut_with_the_connection(Direction::Outbound).await;
}

#[tokio::test]
async fn what_breaks_off_at_one_end_is_reset_at_the_other() {
    let town = Town::new().await;
    let (mut caller, mut callee, workload) = pair(&town).await;
    let (app, mut stream) = switched(&caller, &workload).await;
    socket2::SockRef::from(&app).set_linger(Some(Duration::ZERO)).unwrap();
    drop(app);
    assert_eq!(rest(&mut stream).await.1, Some(ErrorKind::ConnectionReset));
    for sidecar in [&mut caller, &mut callee] {
        assert_eq!(called(sidecar).await["cellwall.reason"], "io");
    }
}

#[tokio::test]
async fn a_drain_lets_it_go_on_until_its_deadline() {
    let town = Town::new().await;
    let (caller, mut callee, workload) = pair(&town).await;
    let (mut app, mut stream) = switched(&caller, &workload).await;
    let started = Instant::now();
    callee.process.signal(Signal::SIGTERM).unwrap();
    callee.process.message("draining", DEADLINE).await.unwrap();
    assert!(is_alive(&mut app, &mut stream).await);
    assert_eq!(rest(&mut app).await.1, Some(ErrorKind::ConnectionReset));
    assert!(started.elapsed() >= Duration::from_secs(4), "the grace period is four seconds");
    assert_eq!(callee.process.ended(DEADLINE).await.unwrap().code(), Some(0));
    assert_eq!(called(&mut callee).await["cellwall.reason"], "drained");
}

/// An instance of payments that lets nobody in once TLS is done, or that answers `OK`.
async fn instance(town: &Town, is_open: bool) -> (String, JoinSet<()>) {
    let party = Arc::new(DangerousParty::presenting(&town.svid("payments")).alpn(&["http/1.1"]));
    let (address, task) = accepting(move |tcp| {
        let party = party.clone();
        async move {
            let Ok(mut tls) = party.accept(tcp).await else { return };
            if is_open {
                read_until(&mut tls, "\r\n\r\n").await;
                let _ = tls.write_all(OK.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        }
    })
    .await;
    (address.to_string(), task)
}

#[tokio::test]
async fn an_instance_that_fails_an_upgrade_is_left_to_itself_for_a_while() {
    let town = Town::new().await;
    let (shut, _shut) = instance(&town, false).await;
    let (open, _open) = instance(&town, true).await;
    let plan = Plan { name: "checkout", speaks: Protocol::Http, outbound: &["payments"] };
    let destinations = vec![destination("payments", Protocol::Http)];
    let policy = policy("checkout", Protocol::Http, &[]);
    let caller = town.sidecar(plan, SnapshotDocument { destinations, ..policy }).await;
    town.control.set_endpoints("payments", &[shut, open]);
    caller.knows("payments").await;
    let is_answered = async || {
        let mut app = connected(&caller).await;
        app.write_all(ASKS.as_bytes()).await.unwrap();
        rest(&mut app).await.0.starts_with("HTTP/1.1 200 ")
    };
    eventually("two in a row after one that failed", async || {
        while is_answered().await {}
        let failed = Instant::now();
        let both = (is_answered().await, is_answered().await);
        let is_early = failed.elapsed() < Duration::from_millis(900); // of a second
        assert!(both == (true, true) || !is_early, "{both:?}");
        is_early
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_to_the_callee_carries_no_upgrade() {
    // It has one of its own, and leaves the pooled one to other calls.
    let town = Town::new().await;
    let (address, _echo) = accepting(|mut tcp| async move {
        while read_until(&mut tcp, "\r\n\r\n").await.ends_with("\r\n\r\n") {
            let _ = tcp.write_all(OK.as_bytes()).await;
        }
    })
    .await;
    let plan = Plan { name: "payments", speaks: Protocol::Http, outbound: &[] };
    let callee = town.beside(plan, address).await;
    let callee = town.made_ready(callee, "payments", granting(&[feed("websocket")])).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    let handshakes = async || {
        let inbound = [("direction", "inbound"), ("result", "ok")];
        callee.metrics().await.sum("cellwall_tls_handshakes_total", &inbound)
    };
    assert_eq!(caller.reach("payments", "GET /v1/plain").await.0, 200);
    let before = handshakes().await;
    let mut app = connected(&caller).await;
    app.write_all(ASKS.as_bytes()).await.unwrap();
    assert!(rest(&mut app).await.0.ends_with("\r\n\r\nok"));
    assert_eq!(
        client::request(caller.outbound["payments"], "GET /v1/plain").await.unwrap().status(),
        200
    );
    assert_eq!(handshakes().await - before, 1.0);
}
