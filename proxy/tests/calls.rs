//! A call from one workload to another, through both sidecars.

use cellwall_policy::{CallDocument, Protocol, SnapshotDocument};
use cellwall_testkit::{client, workload::Saw};
use http_body_util::Full;
use tokio::task::JoinSet;

use crate::kit::{Plan, Sidecar, Town, checkout, destination, id, payments, policy};

#[tokio::test]
async fn a_payment_goes_through_both_sidecars_and_arrives_with_its_callers_id() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let mut caller = town.caller_of("payments", Protocol::Http).await;
    let (status, _) = caller.reach("payments", "POST /v1/payments").await;
    assert_eq!(status, 200);
    let seen = callee.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].caller, [id("checkout")]);
    assert_eq!(
        seen[0].saw,
        Saw::Http { method: "POST".to_owned(), path: "/v1/payments".to_owned() }
    );
    let line = caller.logged(|line| line["kind"] == "call").await;
    assert_eq!(line["cellwall.direction"], "outbound");
    assert_eq!(line["cellwall.caller.workload"], "checkout");
    assert_eq!(line["cellwall.callee.id"], id("payments"));
    assert_eq!(line["cellwall.reason"], "done");
}

#[tokio::test]
async fn several_threads_carry_and_judge_calls_as_one_does() {
    let town = Town::new().await;
    let threads = |_| vec!["--threads=3".to_owned()];
    let (plan, policy) = payments();
    let callee = town.flagged(plan, threads).await;
    let callee = town.made_ready(callee, "payments", policy).await;
    town.control.follow("payments", &id("payments"));
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let caller = town.flagged(plan, threads).await;
    let caller = town.made_ready(caller, "checkout", policy).await;
    caller.knows("payments").await;
    let mut callers = JoinSet::new();
    for number in 0..8 {
        let (call, expected) =
            [("POST /v1/payments", 200), ("DELETE /v1/payments", 403)][number % 2];
        let entry = caller.outbound["payments"];
        callers.spawn(async move {
            for _ in 0..25 {
                let answer = client::request(entry, call).await.unwrap();
                assert_eq!(answer.status().as_u16(), expected);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(callee.seen().len(), 100);
}

#[tokio::test]
async fn a_call_leaves_one_line_and_its_metrics() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut callee = town.sidecar(plan, policy).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = client::build("POST /v1/payments").unwrap().header("traceparent", trace);
    let request = request.body(Full::from("12345678")).unwrap();
    let response = callee.http(&town.svid("checkout")).await.send(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let line = callee.logged(|line| line["kind"] == "call").await;
    let expected = [
        ("level", "info"),
        ("cellwall.direction", "inbound"),
        ("cellwall.verdict", "allow"),
        ("cellwall.by", "checkout-calls"),
        ("cellwall.reason", "done"),
        ("cellwall.env", "prod"),
        ("cellwall.caller.workload", "checkout"),
        ("cellwall.caller.id", "spiffe://pay.example/prod/checkout"),
        ("cellwall.callee.workload", "payments"),
        ("http.request.method", "POST"),
        ("http.route", "/v1/payments"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ];
    for (key, value) in expected {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!(
        (line["http.response.status_code"].as_u64(), line["request_bytes"].as_u64()),
        (Some(200), Some(8))
    );
    assert_eq!(line["response_bytes"].as_u64(), u64::try_from(response.body().len()).ok());
    let metrics = callee.metrics().await;
    let labels = [
        ("direction", "inbound"),
        ("src", "checkout"),
        ("dst", "payments"),
        ("route", "/v1/payments"),
        ("verdict", "allow"),
        ("code", "200"),
    ];
    assert_eq!(metrics.sum("cellwall_requests_total", &labels), 1.0);
    assert_eq!(metrics.sum("cellwall_authz_decisions_total", &[("by", "checkout-calls")]), 1.0);
    assert_eq!(metrics.sum("cellwall_tls_handshakes_total", &[("result", "ok")]), 1.0);
}

#[tokio::test]
async fn grpc_travels_with_its_trailers() {
    let town = Town::new().await;
    let method = |method: &str| CallDocument::Grpc {
        service: "ledger.v1.Ledger".to_owned(),
        method: method.to_owned(),
    };
    let plan = Plan { name: "ledger", speaks: Protocol::Grpc, outbound: &[] };
    let callee = town.sidecar(plan, policy("ledger", Protocol::Grpc, &[method("Post")])).await;
    let mut caller = town.caller_of("ledger", Protocol::Grpc).await;
    let port = caller.outbound["ledger"];
    let allowed = client::grpc(port, "ledger.v1.Ledger/Post").await.unwrap();
    assert_eq!(allowed.status, Some(0));
    assert!(allowed.trailers.contains_key("grpc-status"), "a trailer, not a header");
    let denied = client::grpc(port, "ledger.v1.Ledger/Adjust").await.unwrap();
    assert_eq!(denied.status, Some(7), "PERMISSION_DENIED");
    assert!(denied.headers["cellwall-decision"].to_str().unwrap().starts_with("d_"));
    assert!(denied.body.is_empty());
    let seen: Vec<_> = callee.seen().into_iter().map(|record| record.saw).collect();
    let post = Saw::Grpc { service: "ledger.v1.Ledger".to_owned(), method: "Post".to_owned() };
    assert_eq!(seen, [post]);
    let line = caller.logged(|line| line["rpc.status_code"] == 0).await;
    assert_eq!(line["rpc.method"], "ledger.v1.Ledger/Post");
}

#[tokio::test]
async fn many_calls_share_a_connection_between_sidecars() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    for _ in 0..20 {
        assert_eq!(caller.reach("payments", "POST /v1/payments").await.0, 200);
    }
    let handshakes = callee.metrics().await.sum("cellwall_tls_handshakes_total", &[]);
    assert_eq!(handshakes, 1.0);
}

#[tokio::test]
async fn addresses_are_taken_by_turns_and_a_dead_one_costs_no_call() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = [dead.to_string(), callee.inbound.to_string()];
    town.control.set_endpoints("payments", &both);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    for _ in 0..10 {
        assert_eq!(caller.reach("payments", "POST /v1/payments").await.0, 200);
    }
}

#[tokio::test]
async fn an_address_where_somebody_else_answers_gets_no_byte() {
    // AZ-12: the ledger answers at payments' address, with a valid SVID of its own
    let town = Town::new().await;
    let (plan, policy) = payments();
    let mut ledger = town.bare(plan).await;
    ledger
        .identity
        .publish(&cellwall_testkit::workload_api::X509State::issued(&town.ca, &id("ledger")));
    town.publish(SnapshotDocument {
        callee: id("ledger"),
        workload: "ledger".to_owned(),
        ..policy
    });
    ledger.process.message("ready", crate::kit::DEADLINE).await.unwrap();
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    town.control.set_endpoints("payments", &[ledger.inbound.to_string()]);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    let (status, body) = caller.reach("payments", "POST /v1/payments").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""reason":"tls_refused","sent":"no""#), "{body}");
    assert_eq!(ledger.seen(), []);
    let labels = [("direction", "outbound"), ("reason", "unexpected_peer")];
    assert_eq!(caller.metrics().await.sum("cellwall_tls_handshakes_total", &labels), 1.0);
}

#[tokio::test]
async fn a_destination_that_nobody_serves_is_said_so() {
    let town = Town::new().await;
    let (plan, policy) =
        checkout(&["payments", "nowhere"], vec![destination("payments", Protocol::Http)]);
    let caller = town.sidecar(plan, policy).await;
    let (status, body) = caller.reach("payments", "POST /v1/payments").await;
    assert_eq!(status, 503);
    assert!(body.contains(r#""reason":"no_endpoint","sent":"no""#), "{body}");
    // A destination that the policy does not know: what is spoken there is not known either.
    assert!(client::request(caller.outbound["nowhere"], "GET /").await.is_err());
}

#[tokio::test]
async fn calls_that_wait_for_a_silent_address_fail_together() {
    // RES-03: it takes connections and says nothing; each call waits for one attempt, not for all
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let (plan, policy) = checkout(&["payments"], vec![destination("payments", Protocol::Http)]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let both = [silent.local_addr().unwrap().to_string(), callee.inbound.to_string()];
    town.control.set_endpoints("payments", &both);
    let caller = town.sidecar(plan, policy).await;
    caller.knows("payments").await;
    let port = caller.outbound["payments"];
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        calls.spawn(async move { client::request(port, "POST /v1/payments").await.unwrap() });
    }
    let answered = tokio::time::timeout(crate::kit::DEADLINE, calls.join_all()).await;
    let answers = answered.expect("all within one handshake's deadline");
    assert!(answers.iter().all(|answer| answer.status() == 200));
}

#[tokio::test]
async fn what_a_sidecar_takes_of_a_call_is_measured_once_of_each_that_is_answered() {
    // Of one that was refused nothing was sent on.
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let caller = town.caller_of("payments", Protocol::Http).await;
    for (call, expected) in
        [("POST /v1/payments", 200), ("GET /v1/payments/p_1", 200), ("POST /v1/refunds", 403)]
    {
        assert_eq!(caller.reach("payments", call).await.0, expected, "{call}");
    }
    let measured = async |sidecar: &Sidecar, direction| {
        let labels = [("direction", direction)];
        sidecar.metrics().await.sum("cellwall_proxy_overhead_seconds_count", &labels)
    };
    assert_eq!(measured(&callee, "inbound").await, 2.0);
    // To the caller's sidecar the other one's refusal is an answer.
    assert_eq!(measured(&caller, "outbound").await, 3.0);
}
