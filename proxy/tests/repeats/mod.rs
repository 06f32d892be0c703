//! Calls that the policy declares idempotent are made twice, at most; all others once, whatever
//! happens to them (issue 5, item 3).

mod attempts;
mod bodies;
mod grpc;
mod meanwhile;

use std::net::SocketAddr;

use cellwall_policy::{
    CallDocument, DestinationDocument, IdempotentBy, IdempotentDocument, Protocol,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    bank::{Bank, Came, Does, Wire},
    kit::{DEADLINE, Plan, Sidecar, Town, checkout, destination, eventually, http, policy},
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
