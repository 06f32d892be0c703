//! What sidecars decided: whose word counts for what, how often, and what operators are told.

use cellwall_api::distribution::{DecisionRecord, EdgeCount, FlowBatch};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    daemon::{DEADLINE, Daemon},
    policy::{we_are_both, we_are_web, web_alone},
    sidecar::{Sidecar, hello},
    svid::Svid,
    workload::svid,
};

const WEB: &str = "spiffe://pay.example/prod/web";
const DB: &str = "spiffe://pay.example/prod/db";

/// The end of an id, padded to its length.
fn id(number: usize) -> String {
    format!("d_{number:0>26}")
}

fn batch(sequence: u64) -> FlowBatch {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let edge = EdgeCount {
        caller: WEB.into(),
        call: "tcp:5432".into(),
        verdict: "allow".into(),
        by: "web-db".into(),
        policy_version: 1,
        count: 10,
        first_ms: now,
        last_ms: now,
    };
    let decision = DecisionRecord {
        id: id(usize::try_from(sequence).unwrap()),
        at_ms: now,
        kind: "connection".into(),
        protocol: "tcp".into(),
        verdict: "deny".into(),
        by: "default".into(),
        reason: "policy_denied".into(),
        policy_version: 1,
        caller: DB.into(),
        ..DecisionRecord::default()
    };
    FlowBatch {
        instance: "db-1".into(),
        sequence,
        callee: DB.into(),
        edges: vec![edge],
        decisions: vec![decision],
        dropped: 0,
    }
}

/// A control plane where this process is both workloads, and a sidecar of `db`.
async fn attached() -> (Daemon, Sidecar, Svid) {
    let daemon = Daemon::start_with_policy(&[], &we_are_both()).await;
    let db = svid(&daemon.workload_socket, "/prod/db").await;
    let sidecar = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    (daemon, sidecar, db)
}

async fn edges(daemon: &Daemon) -> Value {
    daemon.get("/v1/edges").await.1["edges"].clone()
}

#[tokio::test]
async fn what_is_acknowledged_is_shown_to_operators() {
    let (daemon, sidecar, _) = attached().await;
    assert_eq!(sidecar.report(batch(1)).await.unwrap(), 1);
    assert_eq!(sidecar.report(batch(2)).await.unwrap(), 2);
    let (status, document) = daemon.get(&format!("/v1/decisions/{}", id(1))).await;
    assert_eq!((status, &document["schema_version"]), (200, &1.into()));
    let decision = &document["decision"];
    assert_eq!((&decision["id"], &decision["callee"]), (&id(1).into(), &DB.into()));
    assert_eq!(
        (&decision["callee_workload"], &decision["environment"]),
        (&"db".into(), &"prod".into())
    );
    assert_eq!(decision["instance"], "db-1");
    assert!(decision["received_at"].is_string());
    let (_, list) = daemon.get("/v1/decisions?limit=1").await;
    assert_eq!(list["decisions"][0]["id"], id(2));
    assert_eq!(list["decisions"].as_array().unwrap().len(), 1);
    let edges = edges(&daemon).await;
    assert_eq!(edges.as_array().unwrap().len(), 1);
    let counted =
        json!([edges[0]["caller"], edges[0]["callee"], edges[0]["call"], edges[0]["count"]]);
    assert_eq!(counted, json!([WEB, DB, "tcp:5432", 20]));
    let (status, problem) = daemon.get(&format!("/v1/decisions/{}", id(3))).await;
    assert_eq!((status, &problem["title"]), (404, &"no such decision".into()));
    for path in ["/v1/decisions?limit=x", "/v1/edges?callee=db"] {
        assert_eq!(daemon.get(path).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_sidecar_reports_for_itself_and_for_nobody_else() {
    // CP-03, CP-05
    let (daemon, sidecar, _) = attached().await;
    let forged = sidecar.report(FlowBatch { callee: WEB.into(), ..batch(1) }).await;
    assert_eq!(forged.unwrap_err().code(), Code::PermissionDenied);
    let mut long = batch(1);
    long.edges[0].call = "x".repeat(601);
    assert_eq!(sidecar.report(long).await.unwrap_err().code(), Code::InvalidArgument);
    let decisions = vec![batch(1).decisions[0].clone(); 257];
    let many = sidecar.report(FlowBatch { decisions, ..batch(1) }).await;
    assert_eq!(many.unwrap_err().code(), Code::InvalidArgument);
    let large = FlowBatch { instance: "x".repeat(200_000), ..batch(1) };
    assert_eq!(sidecar.report(large).await.unwrap_err().code(), Code::OutOfRange);
    // Whoever is no workload any more says nothing.
    daemon.apply(&web_alone()).await;
    assert_eq!(sidecar.report(batch(1)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(edges(&daemon).await, json!([]));
    let results = |metrics: &cellwall_testkit::scrape::Metrics| {
        let count = |result| metrics.sum("cellwall_ledger_batches_total", &[("result", result)]);
        (count("forbidden"), count("malformed"), count("kept")) == (2.0, 2.0, 0.0)
    };
    daemon.measured(results).await;
}

#[tokio::test]
async fn a_batch_counts_once_also_over_a_crash() {
    let (mut daemon, sidecar, db) = attached().await;
    for sequence in [1, 1, 2, 1] {
        assert_eq!(sidecar.report(batch(sequence)).await.unwrap(), sequence);
    }
    daemon.process.signal(Signal::SIGKILL).unwrap();
    daemon.process.ended(DEADLINE).await.unwrap();
    let daemon = Daemon::start_in(daemon.dir, &[]).await;
    let sidecar = Sidecar::attach(daemon.mesh, &db, hello("db-1", &[])).await.unwrap();
    for sequence in [2, 3, 3] {
        assert_eq!(sidecar.report(batch(sequence)).await.unwrap(), sequence);
    }
    assert_eq!(edges(&daemon).await[0]["count"], 30);
    assert_eq!(daemon.get("/v1/decisions").await.1["decisions"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn many_batches_at_once_are_kept_or_refused_and_policy_goes_on() {
    // CP-10: the writer's important work does not wait behind the ledger
    let (daemon, sidecar, _) = attached().await;
    let mut tasks = tokio::task::JoinSet::new();
    let senders = 24;
    for number in 0..senders {
        let mut report = batch(1);
        report.instance = format!("db-{number}");
        report.edges = (0..1000)
            .map(|call| EdgeCount { call: format!("c{call}"), ..report.edges[0].clone() })
            .collect();
        report.decisions.clear();
        let client = sidecar.clone_client();
        tasks.spawn(
            async move { crate::sidecar::report(client, report).await.map_err(|it| it.code()) },
        );
    }
    let began = std::time::Instant::now();
    daemon.apply(&we_are_both()).await;
    let applied_in = began.elapsed();
    let results = tasks.join_all().await;
    let kept = results.iter().filter(|result| result.is_ok()).count();
    let busy = results.iter().filter(|result| **result == Err(Code::ResourceExhausted)).count();
    assert_eq!(kept + busy, senders, "{results:?}");
    assert!(kept >= 1);
    let sum: u64 = edges(&daemon)
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| edge["count"].as_u64().unwrap())
        .sum();
    assert!(sum > 0 && sum.is_multiple_of(10));
    println!(
        "evidence: {}",
        json!({"policy_applied_ms": applied_in.as_millis() as u64, "batches_kept": kept, "batches_busy": busy})
    );
}

#[tokio::test]
async fn a_decision_is_explained_by_the_version_that_made_it_and_by_the_one_in_force() {
    let (daemon, sidecar, _) = attached().await;
    sidecar.report(batch(1)).await.unwrap();
    let (_, document) = daemon.get(&format!("/v1/decisions/{}", id(1))).await;
    let ask = async || daemon.post("/v1/explain", &json!({"decision": document["decision"]})).await;
    let (status, reasons) = ask().await;
    assert_eq!((status, &reasons["now"]), (200, &Value::Null));
    let then = &reasons["then"];
    assert_eq!((&then["version"], &then["explanation"]["verdict"]), (&1.into(), &"deny".into()));
    assert_eq!(then["explanation"]["rules"][0]["because"], "caller is not web");
    // Now db may call itself.
    let wider = we_are_both().replace("    from: web\n", "    from: [web, db]\n");
    daemon.apply(&wider).await;
    let (_, reasons) = ask().await;
    assert_eq!(reasons["then"]["explanation"]["verdict"], "deny");
    assert_eq!(
        (&reasons["now"]["version"], &reasons["now"]["explanation"]["verdict"]),
        (&2.into(), &"allow".into())
    );
    let mut never = document["decision"].clone();
    never["policy_version"] = 77.into();
    let (_, reasons) = daemon.post("/v1/explain", &json!({"decision": never})).await;
    assert_eq!(reasons["then"]["unexplained"], "this version is not in the policy book");
    never["protocol"] = "quic".into();
    assert_eq!(daemon.post("/v1/explain", &json!({"decision": never})).await.0, 422);
}

#[tokio::test]
async fn the_status_says_what_a_check_looks_at() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let (_, status) = daemon.get("/v1/status").await;
    assert_eq!((&status["policy_version"], &status["issues"]), (&1.into(), &true.into()));
    for field in ["now", "authority_not_after", "policy_applied_at", "policy_applied_by"] {
        assert!(status[field].is_string(), "{field}: {status}");
    }
}
