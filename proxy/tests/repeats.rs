//! Calls that the policy declares idempotent are made twice, at most; all others once, whatever
//! happens to them (issue 5, item 3).

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cellwall_policy::{
    CallDocument, DestinationDocument, IdempotentBy, IdempotentDocument, Protocol, SnapshotDocument,
};
use cellwall_testkit::{ca::Svid, client, tls::DangerousParty, workload_api::X509State};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    bank::{Bank, Came, Does, Wire},
    fates::{LEFT, caller},
    forwarding::ledger_beside,
    kit::{self, DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, http, policy},
    played::{Played, accepting},
    raw_h2::{END_HEADERS, END_STREAM, HEADERS, Leaver, Leaves, STATUS_200, frame, literal},
};

const KEY: &str = "idempotency-key: k-1\r\n";

const PAID: (u16, Option<&str>) = (200, None);
const UNKNOWN: (u16, Option<&str>) = (502, Some("unknown"));
const NOT_DONE: (u16, Option<&str>) = (503, Some("not-done"));

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// Checkout's sidecar, a wire, the sidecar of payments and its workload.
struct Street {
    town: Town,
    caller: Sidecar,
    wire: Wire,
    callee: Sidecar,
    bank: Bank,
}

fn declared(call: CallDocument, by: IdempotentBy) -> IdempotentDocument {
    IdempotentDocument { call, by: Some(by) }
}

/// `payments` with one call that is declared by a key, and some by their method.
fn payments() -> DestinationDocument {
    let mut payments = destination("payments", Protocol::Http);
    payments.idempotent = vec![
        declared(http("POST", "/v1/payments"), IdempotentBy::Key),
        declared(http("GET", "/v1/{rest...}"), IdempotentBy::Method),
        declared(http("DELETE", "/v1/payments"), IdempotentBy::Method),
        IdempotentDocument { call: http("GET", "/v1/next"), by: None },
    ];
    payments
}

/// The sidecar of payments, beside `workload`.
async fn callee(town: &Town, name: &'static str, workload: SocketAddr) -> Sidecar {
    let calls =
        [http("POST", "/v1/payments"), http("POST", "/v1/plain"), http("GET", "/v1/{rest...}")];
    let plan = Plan { name, speaks: Protocol::Http, outbound: &[] };
    let sidecar = town.beside(plan, workload).await;
    town.made_ready(sidecar, "payments", policy("payments", Protocol::Http, &calls)).await
}

/// Checkout's sidecar; payments are at these addresses.
async fn calling(town: &Town, addresses: &[SocketAddr]) -> Sidecar {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    town.control.set_endpoints("payments", &addresses);
    let (plan, policy) = checkout(&["payments"], vec![payments()]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    caller
}

async fn street() -> Street {
    let (town, bank) = (Town::new().await, Bank::open().await);
    let callee = callee(&town, "payments", bank.address).await;
    let wire = Wire::to(callee.inbound).await;
    let caller = calling(&town, &[wire.address]).await;
    Street { town, caller, wire, callee, bank }
}

impl Street {
    fn door(&self) -> SocketAddr {
        self.caller.outbound["payments"]
    }

    /// Cuts the wire under the first attempt, and waits for the second: whatever the app sends from
    /// here on, the first one has not read it.
    async fn cut(&self) {
        self.wire.cut();
        eventually("a second attempt", async || self.wire.opened() == 2).await;
    }

    async fn retries(&self, result: &str) -> f64 {
        retries(&self.caller, result).await
    }
}

async fn retries(caller: &Sidecar, result: &str) -> f64 {
    let labels = [("dst", "payments"), ("result", result)];
    caller.metrics().await.sum("cellwall_retries_total", &labels)
}

/// A request of the app with these header lines and this body.
fn text(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nhost: payments\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

/// The same, in chunks, with this trailer section.
fn chunked(headers: &str, body: &str, trailers: &str) -> String {
    format!(
        "POST /v1/payments HTTP/1.1\r\nhost: payments\r\n{headers}transfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n{trailers}\r\n",
        body.len()
    )
}

/// The head of the next answer on a connection of the app.
async fn head(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let head = async {
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(tcp.read_buf(&mut answer).await.unwrap() > 0, "no answer");
        }
    };
    tokio::time::timeout(DEADLINE, head).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Status and `cellwall-outcome` of the next answer.
async fn told(tcp: &mut TcpStream) -> (u16, Option<String>) {
    let head = head(tcp).await;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, field(&head, "cellwall-outcome").map(str::to_owned))
}

/// The same of a request over a connection of its own.
async fn pay(door: SocketAddr, request: &str) -> (u16, Option<String>) {
    let mut tcp = TcpStream::connect(door).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    told(&mut tcp).await
}

fn is(told: &(u16, Option<String>)) -> (u16, Option<&str>) {
    (told.0, told.1.as_deref())
}

#[tokio::test]
async fn a_declared_call_that_broke_on_its_way_is_made_once_more_as_it_was() {
    let mut street = street().await;
    for (request, body) in [
        (text("POST /v1/payments?a=%2e", KEY, "money"), "money"),
        (chunked(KEY, "money", ""), "money"),
        (text("POST /v1/payments", KEY, ""), ""),
        (text("GET /v1/payments/7", "x-a: 1\r\nx-a: 2\r\n", ""), ""),
    ] {
        for does in [Does::Dies, Does::Waits] {
            street.bank.next(&[does]);
            let mut app = TcpStream::connect(street.door()).await.unwrap();
            app.write_all(request.as_bytes()).await.unwrap();
            if does == Does::Waits {
                street.bank.has_come().await;
                street.wire.cut();
            }
            assert_eq!(is(&told(&mut app).await), PAID, "{does:?} {request}");
            let came = street.bank.came();
            let [first, second]: &[Came; 2] = came.as_slice().try_into().unwrap();
            assert_eq!(first, second);
            assert_eq!(second.body, body);
            let port = app.local_addr().unwrap().port();
            let its = |line: &serde_json::Value| line["network.peer.port"] == port;
            let line = street.caller.logged(its).await;
            assert_eq!(line["cellwall.attempts"], 2, "{line}");
            assert_eq!(line["cellwall.fate"], "done", "{line}");
            assert_eq!(line["request_bytes"], body.len(), "{line}");
        }
    }
    assert_eq!(street.retries("answered").await.to_string(), "8");
}

#[tokio::test]
async fn a_call_that_does_not_show_that_it_is_declared_is_made_once() {
    let street = street().await;
    for (line, headers) in [
        ("POST /v1/payments", ""),
        ("POST /v1/payments", "idempotency-key: a\r\nidempotency-key: a\r\n"),
        ("POST /v1/payments", "idempotency-key: a\r\nIdempotency-Key:\r\n"),
        ("POST /v1/payments", "idempotency-key:\r\n"),
        ("POST /v1/payments", "idempotency-key: \t \r\n"),
        ("POST /v1/payments", "idempotency-key: a, b\r\n"),
        ("POST /v1/payments", "idempotency-key: \"\"\r\n"),
        ("POST /v1/payments", "idempotency-key: \" \"\r\n"),
        // What is named here does not go further, and the callee would look up nothing.
        ("POST /v1/payments", "idempotency-key: a\r\nconnection: idempotency-key\r\n"),
        ("POST /v1/plain", KEY),
        ("GET /v1/next", KEY),
        // By what it did itself the second one would be told no.
        ("GET /v1/payments/7", "if-match: \"a\"\r\n"),
        ("GET /v1/payments/7", "if-none-match: *\r\n"),
        ("GET /v1/payments/7", "if-modified-since: Sun, 22 Nov 2026 16:00:00 GMT\r\n"),
        ("GET /v1/payments/7", "if-unmodified-since: Sun, 22 Nov 2026 16:00:00 GMT\r\n"),
    ] {
        street.bank.next(&[Does::Dies]);
        let told = pay(street.door(), &text(line, headers, "money")).await;
        assert_eq!(is(&told), UNKNOWN, "{line} {headers}");
        assert_eq!(street.bank.came().len(), 1, "{line} {headers}");
    }
    assert!(street.caller.metrics().await.values("cellwall_retries_total", "result").is_empty());
}

#[tokio::test]
async fn what_is_longer_than_64_kib_or_has_trailers_is_made_once() {
    let street = street().await;
    let (most, more) = ("m".repeat(64 * 1024), "m".repeat(64 * 1024 + 1));
    for (request, times) in [
        (text("POST /v1/payments", KEY, &most), 2),
        (text("POST /v1/payments", KEY, &more), 1),
        (chunked(KEY, &most, ""), 2),
        (chunked(KEY, &more, ""), 1),
        (chunked(&format!("{KEY}trailer: x-sum\r\n"), "money", "x-sum: 1\r\n"), 1),
    ] {
        street.bank.next(&[Does::Dies]);
        let told = pay(street.door(), &request).await;
        let expected = if times == 2 { PAID } else { UNKNOWN };
        assert_eq!(is(&told), expected, "{times}, {} bytes", request.len());
        let came = street.bank.came();
        assert_eq!(came.len(), times);
        assert!(came.iter().all(|it| it.body == came[0].body && !it.body.is_empty()));
    }
    // What is known to be too long is not even begun to be kept.
    assert_eq!(street.retries("not_kept").await.to_string(), "2");
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_not_taken_from_the_budget() {
    let street = street().await;
    let (calls, more) = (15, "m".repeat(64 * 1024 + 1));
    let trailer = format!("{KEY}trailer: x-a\r\n");
    street.bank.next(&[Does::Dies; 31]);
    for _ in 0..calls {
        let told = pay(street.door(), &chunked(&trailer, "a", "x-a: 1\r\n")).await;
        assert_eq!(is(&told), UNKNOWN);
        // Nor is it a call of which a fifth may be made twice.
        let told = pay(street.door(), &text("POST /v1/payments", KEY, &more)).await;
        assert_eq!(is(&told), UNKNOWN);
    }
    let told = pay(street.door(), &text("POST /v1/payments", KEY, "money")).await;
    assert_eq!(is(&told), PAID);
    assert_eq!(street.retries("not_kept").await.to_string(), calls.to_string());
}

/// Sends a payment but for its `left` last bytes, waits until the callee's sidecar shows `sign` of it
/// and it is `broken`, and sends the rest: the bodies of what came whole then.
async fn uploaded(
    street: &Street,
    (whole, left): (&str, usize),
    sign: (&str, (&str, &str)),
    broken: impl AsyncFnOnce(),
) -> Vec<Came> {
    let (begin, rest) = whole.split_at(whole.len() - left);
    let mut app = TcpStream::connect(street.door()).await.unwrap();
    app.write_all(begin.as_bytes()).await.unwrap();
    let (metric, label) = sign;
    eventually(metric, async || street.callee.metrics().await.sum(metric, &[label]) > 0.0).await;
    broken().await;
    app.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(is(&told(&mut app).await), PAID);
    street.bank.came()
}

#[tokio::test]
async fn an_upload_that_is_cut_in_the_middle_begins_anew_and_goes_on() {
    let street = street().await;
    let sign = ("cellwall_calls_open", ("direction", "inbound"));
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let came = uploaded(&street, (&whole, 4), sign, || street.cut()).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [b"abcdefgh"]);
}

#[tokio::test]
async fn an_upload_that_is_cut_early_goes_on_beyond_what_is_kept() {
    let street = street().await;
    let sign = ("cellwall_calls_open", ("direction", "inbound"));
    let body = "m".repeat(100 * 1024);
    let whole = chunked(KEY, &body, "");
    let came = uploaded(&street, (&whole, 90 * 1024), sign, || street.cut()).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [body.as_bytes()]);
}

#[tokio::test]
async fn an_upload_that_is_answered_before_its_end_begins_anew_and_goes_on() {
    let street = street().await;
    street.bank.next(&[Does::DiesAtOnce]);
    let sign = ("cellwall_upstream_failures_total", ("dst", "payments"));
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let came = uploaded(&street, (&whole, 4), sign, async || {}).await;
    assert_eq!(came.iter().map(|it| &*it.body).collect::<Vec<_>>(), [b"abcdefgh"]);
}

/// A sidecar of payments that says of the first request that nobody knows, and leaves the rest of it
/// unread; of later ones it reads all and answers. The bodies come from the channel.
async fn hasty(svid: &Svid) -> (SocketAddr, mpsc::Receiver<Incoming>, JoinSet<()>) {
    let party = DangerousParty::presenting(svid).alpn(&["h2"]);
    let (say, bodies) = mpsc::channel(4);
    let (address, tasks) = accepting(move |tcp| {
        let (party, say) = (party.clone(), say.clone());
        let first = AtomicBool::new(true);
        let service = service_fn(move |request: Request<Incoming>| {
            let (say, is_first) = (say.clone(), first.swap(false, Ordering::Relaxed));
            async move {
                let status = if is_first { 502 } else { 200 };
                let mut response = Response::builder().status(status);
                if is_first {
                    response = response.header("cellwall-outcome", "unknown");
                }
                say.send(request.into_body()).await.map_err(|_| "the test is over")?;
                Ok::<_, &'static str>(response.body(Full::<Bytes>::default()).unwrap())
            }
        });
        async move {
            let Ok(stream) = party.accept(tcp).await else { return };
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (address, bodies, tasks)
}

#[tokio::test]
async fn the_rest_of_an_upload_goes_to_the_second_attempt_alone() {
    let town = Town::new().await;
    let (address, mut bodies, _tasks) = hasty(&town.svid("payments")).await;
    let caller = calling(&town, &[address]).await;
    let whole = text("POST /v1/payments", KEY, "abcdefgh");
    let (begin, rest) = whole.split_at(whole.len() - 4);
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(begin.as_bytes()).await.unwrap();
    let mut next = async || tokio::time::timeout(DEADLINE, bodies.recv()).await.unwrap().unwrap();
    let (first, second) = (next().await, next().await);
    // Its stream is reset, and not left to whatever comes.
    let first = tokio::time::timeout(DEADLINE, first.collect()).await.unwrap();
    assert!(first.is_err(), "{first:?}");
    app.write_all(rest.as_bytes()).await.unwrap();
    let second = tokio::time::timeout(DEADLINE, second.collect()).await.unwrap();
    assert_eq!(second.unwrap().to_bytes(), "abcdefgh");
    assert_eq!(is(&told(&mut app).await), PAID);
}

#[tokio::test]
async fn what_somebody_said_no_to_is_made_once() {
    let street = street().await;
    // The callee's policy does not allow it.
    let denied = pay(street.door(), &text("DELETE /v1/payments", KEY, "")).await;
    assert_eq!(is(&denied), (403, Some("not-done")));
    // The workload says no in the words of a sidecar.
    street.bank.next(&[Does::Pretends]);
    let no = pay(street.door(), &text("POST /v1/payments", KEY, "money")).await;
    assert_eq!(is(&no), (503, None));
    assert_eq!(street.bank.came().len(), 1);
    assert!(street.caller.metrics().await.values("cellwall_retries_total", "result").is_empty());
}

#[tokio::test]
async fn a_destination_gets_no_more_second_attempts_than_its_budget() {
    let street = street().await;
    let calls = 20;
    street.bank.next(&[Does::Dies; 60]);
    for _ in 0..calls {
        let told = pay(street.door(), &text("POST /v1/payments", KEY, "money")).await;
        assert_eq!(is(&told), UNKNOWN);
    }
    let (failed, refused) = (street.retries("failed").await, street.retries("over_budget").await);
    // A fifth, and ten; of the calls that come first there is not a fifth yet.
    assert!((10.0..=14.0).contains(&failed), "{failed}");
    assert_eq!((failed + refused).to_string(), calls.to_string());
    let came = street.bank.came().len();
    assert_eq!(came.to_string(), (f64::from(calls) + failed).to_string());
}

/// A callee's sidecar that leaves requests as it is told; it answers 200 to those of [`ANSWERED`].
async fn leaving(town: &Town) -> (Leaver, Sidecar) {
    let callee = Leaver::sidecar(&town.svid("payments")).await;
    let caller = calling(town, &[callee.address]).await;
    (callee, caller)
}

const ANSWERED: Leaves =
    Leaves::Says(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &[STATUS_200]));

const MISSING: Leaves = Leaves::Says(|stream| {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &literal(b":status", b"404"))
});

const DENIED: Leaves = Leaves::Says(|stream| {
    let fields = [literal(b":status", b"403"), literal(b"cellwall-outcome", b"not-done")].concat();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
});

#[tokio::test]
async fn a_declared_call_outlives_goaway_reset_and_the_end_of_its_connection() {
    let town = Town::new().await;
    let (callee, caller) = leaving(&town).await;
    for (way, _) in LEFT {
        callee.next(way).await;
        callee.next(ANSWERED).await;
        let told = pay(caller.outbound["payments"], &text("POST /v1/payments", KEY, "")).await;
        assert_eq!(is(&told), PAID, "{way:?}");
    }
    let told = retries(&caller, "answered").await;
    assert_eq!(told.to_string(), LEFT.len().to_string());
}

#[tokio::test]
async fn of_two_attempts_the_one_that_nobody_knows_about_is_told() {
    let town = Town::new().await;
    let (callee, caller) = leaving(&town).await;
    let (refused, lost) = (Leaves::Reset(REFUSED_STREAM), Leaves::Reset(CANCEL));
    for (first, second, expected, attempts) in [
        (refused, refused, NOT_DONE, None),
        (refused, lost, UNKNOWN, None),
        (refused, ANSWERED, PAID, None),
        (refused, MISSING, (404, None), None),
        (lost, refused, UNKNOWN, Some("2")),
        (lost, lost, UNKNOWN, Some("2")),
        (lost, ANSWERED, PAID, Some("2")),
        // The first one may have been done, and this one be about what it left.
        (lost, MISSING, (404, None), Some("2")),
        (lost, DENIED, UNKNOWN, Some("2")),
        (refused, DENIED, (403, Some("not-done")), None),
        (DENIED, DENIED, (403, Some("not-done")), None),
    ] {
        for way in [first, second] {
            callee.next(way).await;
        }
        let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
        app.write_all(text("POST /v1/payments", KEY, "").as_bytes()).await.unwrap();
        let head = head(&mut app).await;
        let (status, outcome) = expected;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{first:?} {second:?} {head}");
        assert_eq!(field(&head, "cellwall-outcome"), outcome, "{first:?} {second:?}");
        assert_eq!(field(&head, "cellwall-attempts"), attempts, "{first:?} {second:?}");
    }
    // The last one was refused at once, and never again: its second way is still there.
    let told = pay(caller.outbound["payments"], &text("POST /v1/payments", "", "")).await;
    assert_eq!(is(&told), (403, Some("not-done")));
}

/// Pays; the sidecar that has the payment gets `signal`, and the other one of two is there.
async fn paid_by_the_other(signal: Signal) {
    let (town, bank) = (Town::new().await, Bank::open().await);
    let first = callee(&town, "payments", bank.address).await;
    let second = callee(&town, "payments-2", bank.address).await;
    let caller = calling(&town, &[first.inbound, second.inbound]).await;
    bank.next(&[Does::Waits]);
    let mut app = TcpStream::connect(caller.outbound["payments"]).await.unwrap();
    app.write_all(text("POST /v1/payments", KEY, "money").as_bytes()).await.unwrap();
    bank.has_come().await;
    let open = first.metrics().await.sum("cellwall_calls_open", &[("direction", "inbound")]);
    let mut its_own = if open > 0.0 { first } else { second };
    its_own.process.signal(signal).unwrap();
    its_own.process.ended(DEADLINE).await.unwrap();
    assert_eq!(is(&told(&mut app).await), PAID);
    assert_eq!(bank.came().len(), 2);
}

#[tokio::test]
async fn a_declared_call_goes_to_another_sidecar_when_its_own_is_killed() {
    paid_by_the_other(Signal::SIGKILL).await;
}

#[tokio::test]
async fn a_declared_call_goes_to_another_sidecar_when_its_own_is_drained() {
    paid_by_the_other(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_second_attempt_is_made_as_whoever_the_sidecar_is_then() {
    let street = street().await;
    street.bank.next(&[Does::Waits]);
    let mut app = TcpStream::connect(street.door()).await.unwrap();
    app.write_all(text("POST /v1/payments", KEY, "money").as_bytes()).await.unwrap();
    street.bank.has_come().await;
    for (sidecar, name) in [(&street.caller, "checkout"), (&street.callee, "payments")] {
        sidecar.renewed(&X509State::issued(&street.town.ca, &kit::id(name))).await;
    }
    street.wire.cut();
    assert_eq!(is(&told(&mut app).await), PAID);
    let [first, second]: [Came; 2] = street.bank.came().try_into().unwrap();
    assert_eq!(first, second);
    let caller = ("x-spiffe-id".to_owned(), kit::id("checkout"));
    assert!(second.headers.contains(&caller), "{second:?}");
}

#[tokio::test]
async fn what_the_policy_does_not_know_any_more_is_not_made_again() {
    let street = street().await;
    street.bank.next(&[Does::Waits]);
    let mut app = TcpStream::connect(street.door()).await.unwrap();
    app.write_all(text("POST /v1/payments", KEY, "money").as_bytes()).await.unwrap();
    street.bank.has_come().await;
    let (_, nowhere) = checkout(&["payments"], Vec::new());
    let version = street.town.publish(SnapshotDocument { destinations: Vec::new(), ..nowhere });
    street.town.control.acknowledged(&kit::id("checkout"), version, DEADLINE).await.unwrap();
    street.wire.cut();
    assert_eq!(is(&told(&mut app).await), UNKNOWN);
    assert_eq!(street.bank.came().len(), 1);
}

#[tokio::test]
async fn what_the_policy_says_otherwise_of_by_now_is_not_made_again() {
    let changes: [fn(&mut DestinationDocument); 6] = [
        |payments| payments.idempotent.clear(),
        |payments| payments.idempotent.retain(|it| it.by != Some(IdempotentBy::Method)),
        |payments| {
            let call = http("GET", "/v1/payments/{id}");
            payments.idempotent.push(IdempotentDocument { call, by: None });
        },
        |payments| {
            let call = http("GET", "/v1/payments/{id}");
            payments.idempotent.push(declared(call, IdempotentBy::Key));
        },
        |payments| payments.id = kit::id("wallet"),
        |payments| {
            payments.protocol = Protocol::Tcp;
            payments.idempotent.clear();
        },
    ];
    let mut street = street().await;
    for (number, change) in changes.into_iter().enumerate() {
        let knows = async |payments| {
            let (_, policy) = checkout(&["payments"], vec![payments]);
            let version = street.town.publish(policy);
            let it = kit::id("checkout");
            street.town.control.acknowledged(&it, version, DEADLINE).await.unwrap();
        };
        knows(payments()).await;
        street.bank.next(&[Does::Waits]);
        let mut app = TcpStream::connect(street.door()).await.unwrap();
        app.write_all(text("GET /v1/payments/7", KEY, "").as_bytes()).await.unwrap();
        street.bank.has_come().await;
        let mut changed = payments();
        change(&mut changed);
        knows(changed).await;
        street.wire.cut();
        assert_eq!(is(&told(&mut app).await), UNKNOWN, "{number}");
        assert_eq!(street.bank.came().len(), 1, "{number}");
        let port = app.local_addr().unwrap().port();
        let its = |line: &serde_json::Value| line["network.peer.port"] == port;
        let line = street.caller.logged(its).await;
        assert_eq!(line["cellwall.attempts"], serde_json::Value::Null, "{number} {line}");
    }
    assert!(street.caller.metrics().await.values("cellwall_retries_total", "result").is_empty());
}

#[tokio::test]
async fn a_call_whose_app_has_left_is_not_made_again() {
    let mut street = street().await;
    street.bank.next(&[Does::Waits]);
    let mut app = TcpStream::connect(street.door()).await.unwrap();
    app.write_all(text("POST /v1/payments", KEY, "money").as_bytes()).await.unwrap();
    street.bank.has_come().await;
    drop(app);
    street.wire.cut();
    let gone = |line: &serde_json::Value| line["kind"] == "call";
    let line = street.caller.logged(gone).await;
    assert_eq!(line["cellwall.fate"], "unknown", "{line}");
    // Whatever was to come has: another call went through.
    assert_eq!(is(&pay(street.door(), &text("GET /v1/payments/1", "", "")).await), PAID);
    let lines: Vec<_> = street.bank.came().into_iter().map(|came| came.line).collect();
    assert_eq!(lines, ["POST /v1/payments", "GET /v1/payments/1"]);
}

/// Checkout's sidecar with `ledger`, of which `Post` is declared by a key.
async fn calling_ledger(town: &Town, address: SocketAddr) -> Sidecar {
    let call = CallDocument::Grpc { service: "ledger.v1".to_owned(), method: "Post".to_owned() };
    let mut ledger = destination("ledger", Protocol::Grpc);
    ledger.idempotent = vec![declared(call, IdempotentBy::Key)];
    let sidecar = caller(town, ("ledger", Protocol::Grpc), address.to_string()).await;
    let (_, policy) = checkout(&["ledger"], vec![ledger]);
    let version = town.publish(policy);
    town.control.acknowledged(&kit::id("checkout"), version, DEADLINE).await.unwrap();
    sidecar
}

fn metadata(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (http::HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

#[tokio::test]
async fn a_declared_grpc_call_is_made_once_more_and_no_other() {
    const OK: Leaves = Leaves::Says(|stream| {
        let kind = literal(b"content-type", b"application/grpc");
        let fields = [vec![STATUS_200], kind, literal(b"grpc-status", b"0")].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    });
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let caller = calling_ledger(&town, callee.inbound).await;
    let door = caller.outbound["ledger"];
    let call = async |fields| client::grpc_with(door, "ledger.v1/Post", metadata(fields)).await;
    for (way, attempts) in [
        (Leaves::Reset(CANCEL), Some("2")),
        (Leaves::Reset(REFUSED_STREAM), None),
        (Leaves::Silently, Some("2")),
    ] {
        workload.next(way).await;
        workload.next(OK).await;
        let answer = call(&[("idempotency-key", "k-1")]).await.unwrap();
        assert_eq!(answer.status, Some(0), "{way:?} {answer:?}");
        assert!(!answer.headers.contains_key("cellwall-outcome"), "{way:?} {answer:?}");
        let said = answer.headers.get("cellwall-attempts").map(|it| it.to_str().unwrap());
        assert_eq!(said, attempts, "{way:?} {answer:?}");
    }
    workload.next(Leaves::Reset(CANCEL)).await;
    workload.next(OK).await;
    assert_eq!(call(&[]).await.unwrap().status, Some(2), "undeclared");
    assert_eq!(call(&[]).await.unwrap().status, Some(0), "nobody took what comes next");
}

#[tokio::test]
async fn a_caller_that_waits_no_longer_gets_no_second_attempt() {
    let town = Town::new().await;
    let mut callee = Played::silent_sidecar(&town.svid("ledger")).await;
    let caller = calling_ledger(&town, callee.address).await;
    let fields = metadata(&[("idempotency-key", "k-1"), ("grpc-timeout", "300m")]);
    let door = caller.outbound["ledger"];
    let answer = client::grpc_with(door, "ledger.v1/Post", fields).await.unwrap();
    assert_eq!(answer.status, Some(4), "DEADLINE_EXCEEDED: {answer:?}");
    callee.next().await;
    assert!(callee.arrived().is_none());
}

#[tokio::test]
async fn both_attempts_together_take_no_longer_than_their_caller_waits() {
    let town = Town::new().await;
    let workload = Leaver::workload().await;
    let callee = ledger_beside(&town, workload.address).await;
    let wire = Wire::to(callee.inbound).await;
    let caller = calling_ledger(&town, wire.address).await;
    let nothing = Leaves::Says(|_| Vec::new());
    workload.next(nothing).await;
    workload.next(nothing).await;
    let fields = metadata(&[("idempotency-key", "k-1"), ("grpc-timeout", "2S")]);
    let began = Instant::now();
    let answer = client::grpc_with(caller.outbound["ledger"], "ledger.v1/Post", fields);
    let mut answer = std::pin::pin!(answer);
    let most = tokio::time::timeout(Duration::from_millis(1_500), answer.as_mut()).await;
    assert!(most.is_err(), "it is answered too early: {most:?}");
    wire.cut();
    assert_eq!(answer.await.unwrap().status, Some(4));
    // Two seconds of its own for the second one would be more.
    assert!(began.elapsed() < Duration::from_millis(3_400), "{:?}", began.elapsed());
}
