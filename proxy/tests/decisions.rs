//! Every denial has a name, under which the sidecar shows who was denied what.

use bytes::Bytes;
use cellwall_policy::{CallDocument, Mode, Protocol, SnapshotDocument};
use cellwall_testkit::{client, tls::DangerousParty};
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kit::{DEADLINE, Plan, Sidecar, Town, eventually, id, payments, policy};

/// What the admin listener answers: status and document.
async fn ask(sidecar: &Sidecar, path: &str) -> (u16, Value) {
    let answer = client::request(sidecar.admin, &format!("GET {path}")).await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

/// The newest decision, once there are so many.
pub(crate) async fn newest(sidecar: &Sidecar, count: usize) -> Value {
    let kept = async || ask(sidecar, "/decisions?limit=1000").await.1["decisions"].clone();
    eventually("decisions", async || kept().await.as_array().unwrap().len() == count).await;
    kept().await[0].clone()
}

#[tokio::test]
async fn the_id_that_a_caller_is_told_finds_the_decision() {
    // OBS-01, OBS-02
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let secret = "POST /v1/payment/4111111111111111?card=4111111111111111";
    let (status, body) = callee.call(&town.svid("notifier"), secret).await;
    assert_eq!(status, 403);
    let told: Value = serde_json::from_str(&body).unwrap();
    let told = told["decision"].as_str().unwrap();
    let (status, document) = ask(&callee, &format!("/decisions/{told}")).await;
    assert_eq!((status, &document["schema_version"]), (200, &1.into()));
    let decision = &document["decision"];
    assert_eq!(decision["id"], told);
    assert_eq!((&decision["verdict"], &decision["by"]), (&"deny".into(), &"default".into()));
    assert_eq!((&decision["reason"], &decision["kind"]), (&"policy_denied".into(), &"call".into()));
    assert_eq!(
        (&decision["caller"], &decision["callee"]),
        (&id("notifier").into(), &id("payments").into())
    );
    assert_eq!((&decision["method"], &decision["route"]), (&"POST".into(), &Value::Null));
    assert_eq!(decision["policy_version"], 1);
    assert!(!document.to_string().contains("4111"), "{document}");
    // One that is allowed has no name and is not kept.
    assert_eq!(callee.call(&town.svid("checkout"), "POST /v1/payments").await.0, 200);
    let (_, list) = ask(&callee, "/decisions").await;
    assert_eq!(list["decisions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_denied_grpc_call_is_told_its_id_in_the_headers() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger", speaks: Protocol::Grpc, outbound: &[] };
    let call = CallDocument::Grpc { service: "ledger.v1.Ledger".into(), method: "GetEntry".into() };
    let callee = town.sidecar(plan, policy("ledger", Protocol::Grpc, &[call])).await;
    let io = TokioIo::new(callee.dial(&town.svid("checkout"), &["h2"]).await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let request = Request::post("http://ledger/ledger.v1.Ledger/Post")
        .header("content-type", "application/grpc")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.unwrap(),
        ended = connection => panic!("{ended:?}"),
    };
    assert_eq!(answer.headers()["grpc-status"], "7");
    let told = answer.headers()["cellwall-decision"].to_str().unwrap();
    let (status, document) = ask(&callee, &format!("/decisions/{told}")).await;
    assert_eq!(status, 200);
    let decision = &document["decision"];
    assert_eq!(
        (&decision["rpc"], &decision["protocol"]),
        (&"ledger.v1.Ledger/Post".into(), &"grpc".into())
    );
}

#[tokio::test]
async fn a_denied_tcp_connection_is_kept_although_its_caller_is_told_nothing() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    let mut callee = town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await;
    let mut stream = callee.dial(&town.svid("notifier"), &["cellwall-tcp/1"]).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.unwrap().ok();
    assert_eq!(answer, b"");
    let decision = newest(&callee, 1).await;
    assert_eq!((&decision["protocol"], &decision["kind"]), (&"tcp".into(), &"connection".into()));
    let line = callee.logged(|line| line["cellwall.reason"] == "policy_denied").await;
    assert_eq!(line["cellwall.decision"], decision["id"]);
}

#[tokio::test]
async fn a_connection_that_a_new_policy_cuts_has_a_name_too() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let allowing = policy("ledger-db", Protocol::Tcp, &[CallDocument::Tcp { port: 8443 }]);
    let mut callee = town.sidecar(plan, allowing).await;
    let mut stream = callee.dial(&town.svid("checkout"), &["cellwall-tcp/1"]).await;
    // Once the workload answers, the connection was decided on.
    stream.write_all(b"HELLO prod/checkout\nPOST p_1 1\n").await.unwrap();
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut [0; 2])).await.unwrap().unwrap();
    town.publish(policy("ledger-db", Protocol::Tcp, &[]));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(DEADLINE, read).await.unwrap().ok();
    let decision = newest(&callee, 1).await;
    assert_eq!(decision["reason"], "policy_revoked");
    assert_eq!((&decision["verdict"], &decision["policy_version"]), (&"allow".into(), &1.into()));
    let line = callee.logged(|line| line["cellwall.reason"] == "policy_revoked").await;
    assert_eq!(line["cellwall.decision"], decision["id"]);
}

#[tokio::test]
async fn a_call_that_passes_in_audit_is_kept_once_it_is_over() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, SnapshotDocument { mode: Mode::Audit, ..policy }).await;
    let (status, _) = callee.call(&town.svid("checkout"), "GET /v1/payments/p_1?x=1").await;
    assert_eq!(status, 200);
    let (status, _) = callee.call(&town.svid("checkout"), "DELETE /v1/payments/p_1").await;
    assert_eq!(status, 200);
    let decision = newest(&callee, 1).await;
    assert_eq!((&decision["verdict"], &decision["method"]), (&"audit".into(), &"DELETE".into()));
    assert_eq!(decision["reason"], "done");
}

#[tokio::test]
async fn without_a_policy_whoever_comes_is_denied_by_a_name() {
    // AZ-01
    let town = Town::new().await;
    let (plan, _) = payments();
    let mut callee = town.bare(plan).await;
    let state = cellwall_testkit::workload_api::X509State::issued(&town.ca, &id("payments"));
    callee.renewed(&state).await;
    let tcp = TcpStream::connect(callee.inbound).await.unwrap();
    let caller = DangerousParty::presenting(&town.svid("checkout")).alpn(&["http/1.1"]);
    let seen = caller.probe_server(tcp, b"GET / HTTP/1.1\r\n\r\n", DEADLINE).await;
    assert!(!seen.is_let_in(), "{seen:?}");
    let decision = newest(&callee, 1).await;
    assert_eq!((&decision["reason"], &decision["by"]), (&"no_policy".into(), &Value::Null));
    let line = callee.logged(|line| line["cellwall.reason"] == "no_policy").await;
    assert_eq!(line["cellwall.decision"], decision["id"]);
}

#[tokio::test]
async fn what_is_no_decision_is_said_to_be_none() {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    let (status, problem) = ask(&callee, "/decisions/d_%1b%5B31m").await;
    assert_eq!((status, &problem["title"]), (404, &"no such decision".into()));
    for path in ["/decisions?limit=many", "/decisions?x=1"] {
        let answer = client::request(callee.admin, &format!("GET {path}")).await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
    }
    let (status, list) = ask(&callee, "/decisions?limit=99999999999").await;
    assert_eq!((status, &list["decisions"]), (200, &serde_json::json!([])));
}
