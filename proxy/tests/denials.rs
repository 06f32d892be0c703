//! Who is not let in, what they are told, and that the workload never hears of it.

use std::time::Duration;

use cellwall_policy::SnapshotDocument;
use cellwall_testkit::{client, tls::DangerousParty};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kit::{DEADLINE, Town, http, id, payments};

#[tokio::test]
async fn a_caller_without_a_rule_gets_a_decision_id_and_no_rule_name() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut callee = town.sidecar(plan, policy).await;
    let (status, body) = callee.call(&town.svid("notifier"), "POST /v1/payments").await;
    assert_eq!(status, 403);
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    let decision = problem["decision"].as_str().unwrap();
    assert_eq!((problem["title"].as_str(), decision.len()), (Some("denied by policy"), 28));
    assert_eq!(problem.as_object().unwrap().len(), 3, "{body}");
    let line = callee.logged(|line| line["cellwall.verdict"] == "deny").await;
    assert_eq!(line["cellwall.decision"], decision);
    assert_eq!(line["cellwall.by"], "default");
    assert_eq!(line["cellwall.caller.id"], id("notifier"));
    assert_eq!(callee.seen(), []);
}

#[tokio::test]
async fn a_verdict_holds_for_method_path_and_identity_and_nothing_near_it() {
    // AZ-04, SPID-09: near misses of what is allowed
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let checkout = town.svid("checkout");
    for call in [
        "GET /v1/payments",
        "POST /v1/payment",
        "POST /v1/payments/p_1",
        "POST /V1/payments",
        "GET /v1/payments/p_1/x",
        "DELETE /v1/payments/p_1",
        "POST /v1/payments/",
    ] {
        assert_eq!(callee.call(&checkout, call).await.0, 403, "{call}");
    }
    for caller in [
        "spiffe://pay.example/staging/checkout",
        "spiffe://pay.example/prod/Checkout",
        "spiffe://pay.example/prod/checkout2",
        "spiffe://pay.example/prod/checkout/x",
        "spiffe://pay.example/prod/x/checkout",
        "spiffe://pay.example/checkout",
        "spiffe://pay.example/cellwall/control-plane",
    ] {
        let svid = town.ca.svid(caller);
        assert_eq!(callee.call(&svid, "POST /v1/payments").await.0, 403, "{caller}");
    }
    assert_eq!(callee.seen(), []);
    assert_eq!(callee.call(&checkout, "POST /v1/payments").await.0, 200);
    assert_eq!(callee.call(&checkout, "GET /v1/payments/p_1").await.0, 200);
}

#[tokio::test]
async fn a_guard_names_itself_only_in_our_own_log() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut callee = town.sidecar(plan, policy).await;
    let (status, body) = callee.call(&town.svid("intruder"), "POST /v1/payments").await;
    assert_eq!((status, body.contains("intruders")), (403, false));
    let line = callee.logged(|line| line["cellwall.verdict"] == "deny").await;
    assert_eq!(line["cellwall.by"], "guard/no-intruders");
}

#[tokio::test]
async fn a_request_with_two_readings_is_answered_before_policy() {
    // HTTP-08
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let checkout = town.svid("checkout");
    for path in [
        "//v1/payments",
        "/v1/../v1/payments",
        "/v1/./payments",
        "/v1%2Fpayments",
        "/v1/%2e%2e/payments",
        "/v1/payments;a=b",
        "/v1/payments%00",
    ] {
        let (status, body) = callee.call(&checkout, &format!("POST {path}")).await;
        assert_eq!(status, 400, "{path}");
        assert!(body.contains(r#""reason":"path_ambiguous""#), "{body}");
    }
    assert_eq!(callee.seen(), []);
}

#[tokio::test]
async fn a_caller_cannot_say_who_it_is() {
    // HTTP-16, on the wire
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let victim = id("ledger");
    let request = client::build("POST /v1/payments")
        .unwrap()
        .header("x-spiffe-id", &victim)
        .header("X-Spiffe-ID", &victim)
        .header("x_spiffe_id", &victim)
        .header("connection", "x-spiffe-id");
    let request = request.body(Default::default()).unwrap();
    let response = callee.http(&town.svid("checkout")).await.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(callee.seen()[0].caller, [id("checkout")]);
}

#[tokio::test]
async fn framing_in_doubt_is_refused_and_the_connection_closed() {
    // HTTP-02, HTTP-05: what hyper lets us see (it reads `chunked` beside a length as chunked alone)
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let head = "POST /v1/payments HTTP/1.1\r\nhost: payments\r\n";
    for rest in ["transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "host: ledger\r\n\r\n"] {
        let mut stream = callee.dial(&town.svid("checkout"), &["http/1.1"]).await;
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.expect("closed in time").ok();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{rest:?}: {answer}");
    }
    assert_eq!(callee.seen(), []);
}

#[tokio::test]
async fn no_certificate_no_session() {
    // TLS-03
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut callee = town.sidecar(plan, policy).await;
    let tcp = TcpStream::connect(callee.inbound).await.unwrap();
    let nobody = DangerousParty::anonymous().alpn(&["http/1.1"]);
    let seen = nobody.probe_server(tcp, b"GET / HTTP/1.1\r\n\r\n", DEADLINE).await;
    assert!(!seen.is_let_in(), "{seen:?}");
    let line = callee.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.tls.reason"], "no_certificate");
    let labels = [("reason", "no_certificate")];
    assert_eq!(callee.metrics().await.sum("cellwall_tls_handshakes_total", &labels), 1.0);
}

#[tokio::test]
async fn plain_text_gets_no_answer() {
    // AZ-14
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let mut tcp = TcpStream::connect(callee.inbound).await.unwrap();
    tcp.write_all(b"POST /v1/payments HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = tcp.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(6), read).await.expect("closed in time").ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(callee.seen(), []);
}

#[tokio::test]
async fn an_audited_call_passes_and_is_recorded_as_such() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let policy = SnapshotDocument { mode: cellwall_policy::Mode::Audit, ..policy };
    let mut callee = town.sidecar(plan, policy).await;
    let (status, _) = callee.call(&town.svid("checkout"), "DELETE /v1/payments/p_1").await;
    assert_eq!(status, 200);
    let line = callee.logged(|line| line["kind"] == "call").await;
    assert_eq!(
        (line["cellwall.verdict"].as_str(), line["cellwall.by"].as_str()),
        (Some("audit"), Some("default"))
    );
    assert!(line["cellwall.decision"].as_str().unwrap().starts_with("d_"));
}

#[tokio::test]
async fn labels_come_from_the_policy_and_never_from_a_caller() {
    // OBS-08: a hundred identities and paths make no series
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let series = async || callee.metrics().await.len();
    callee.call(&town.svid("nobody-0"), "GET /x/0").await;
    let before = series().await;
    for n in 1..40 {
        callee.call(&town.svid(&format!("nobody-{n}")), &format!("GET /x/{n}")).await;
    }
    assert_eq!(series().await, before);
    let sources = callee.metrics().await;
    assert_eq!(sources.values("cellwall_requests_total", "src"), ["unknown"]);
}

#[tokio::test]
async fn policy_is_asked_anew_for_each_request_of_a_connection() {
    // AZ-09
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy.clone()).await;
    let mut connection = callee.http(&town.svid("checkout")).await;
    let mut call = async || {
        let request = client::build("POST /v1/payments").unwrap();
        let request = request.body(Default::default()).unwrap();
        connection.send(request).await.unwrap().status().as_u16()
    };
    assert_eq!(call().await, 200);
    let narrower = SnapshotDocument {
        rules: vec![cellwall_policy::RuleDocument {
            calls: vec![http("GET", "/v1/payments/{id}")],
            ..policy.rules[0].clone()
        }],
        ..policy
    };
    let events = town.control.events().len();
    town.publish(narrower);
    let acked = |event: &cellwall_testkit::distribution::Event| {
        matches!(event.said, cellwall_testkit::distribution::Said::Ack(_))
    };
    town.control.event(events, DEADLINE, acked).await.unwrap();
    assert_eq!(call().await, 403);
}
