//! From the id that a caller is told to the reason, through the whole mesh.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use cellwall_testkit::{
    client,
    mesh::{Mesh, MeshConfig, WorkloadSpec},
    process::binary,
    workload::Protocol,
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

const SOON: Duration = Duration::from_secs(8);

fn policy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/policy")
}

fn config() -> MeshConfig {
    let db = WorkloadSpec::new("prod/ledger-db", Some(Protocol::Tcp));
    let ledger = WorkloadSpec::new("prod/ledger", Some(Protocol::Grpc));
    let payments = WorkloadSpec::new("prod/payments", Some(Protocol::Http));
    let shopper =
        WorkloadSpec::new("prod/shopper", None).calls(&["payments", "ledger", "ledger-db"]);
    MeshConfig {
        trust_domain: "pay.example".to_owned(),
        policy: policy(),
        workloads: vec![db, ledger, payments, shopper],
        svid_ttl: None,
        control_flags: Vec::new(),
    }
}

/// `cellwall` on the mesh's operators' socket: exit code and what it printed.
fn cellwall(mesh: &Mesh, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(binary("cellwall").unwrap())
        .args(arguments)
        .arg("--socket")
        .arg(&mesh.control.operator_socket)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout) + &text(stderr))
}

/// Asks until the decision is there: what `explain` says, and how long it took from `since`.
async fn explained(mesh: &Mesh, id: &str, since: Instant) -> (String, Duration) {
    loop {
        let (code, text) = cellwall(mesh, &["explain", id]);
        if code == Some(0) {
            return (text, since.elapsed());
        }
        assert_eq!(code, Some(1), "{text}");
        assert!(since.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The newest decision of a member's sidecar, once there is one.
async fn newest(mesh: &Mesh, member: &str) -> Value {
    let began = Instant::now();
    loop {
        let admin = mesh.member(member).unwrap().sidecar.admin;
        let answer = client::request(admin, "GET /decisions?limit=1").await.unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        if let Some(decision) = answer["decisions"].as_array().and_then(|all| all.first()) {
            return decision.clone();
        }
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call that `payments` denies: the id in the answer.
async fn denied(mesh: &Mesh) -> String {
    let payments = mesh.member("prod/shopper").unwrap().sidecar.to("payments").unwrap();
    let began = Instant::now();
    // Where a callee is may be known a moment after the policy.
    let answer = loop {
        let answer = client::request(payments, "DELETE /v1/payments").await.unwrap();
        if answer.status() != 503 || began.elapsed() > SOON {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(answer.status(), 403);
    let problem: Value = serde_json::from_slice(answer.body()).unwrap();
    problem["decision"].as_str().unwrap().to_owned()
}

/// Waits until nothing that `check` looks at is amiss: a sidecar that has just connected anew is a
/// warning for a moment.
async fn well(mesh: &Mesh) {
    let began = Instant::now();
    loop {
        let (code, text) = cellwall(mesh, &["check", "-o", "json"]);
        let checked: Value = serde_json::from_str(&text).unwrap();
        let found = (code, &checked["failures"], &checked["warnings"]);
        if found == (Some(0), &0.into(), &0.into()) {
            return;
        }
        assert!(began.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_denial_of_the_mesh_is_explained_by_its_id() {
    let mut mesh = Mesh::start(config()).await.unwrap();
    let shopper = mesh.member("prod/shopper").unwrap();

    let since = Instant::now();
    let http = denied(&mesh).await;
    let (text, http_took) = explained(&mesh, &http, since).await;
    assert_lines(
        &text,
        &[
            "DENIED  ",
            "(v1)  by default\n",
            "  caller   prod/shopper           spiffe://pay.example/prod/shopper\n           serial ",
            "  callee   prod/payments          spiffe://pay.example/prod/payments\n",
            "  rules    shopper-pays           no   call is not POST /v1/payments  <- nearest\n",
            "  so       default deny (segment all: enforce)\n",
        ],
    );

    let since = Instant::now();
    let ledger = shopper.sidecar.to("ledger").unwrap();
    let answer = client::grpc(ledger, "ledger.v1.Ledger/Post").await.unwrap();
    assert_eq!(answer.status, Some(7));
    let grpc = answer.headers["cellwall-decision"].to_str().unwrap();
    let (text, grpc_took) = explained(&mesh, grpc, since).await;
    assert_lines(
        &text,
        &[
            "  call     ledger.v1.Ledger/Post\n",
            "  rules    payments-posts         no   caller is not payments  <- nearest\n",
        ],
    );

    let since = Instant::now();
    let mut tcp = TcpStream::connect(shopper.sidecar.to("ledger-db").unwrap()).await.unwrap();
    assert_eq!(tcp.read(&mut [0; 1]).await.unwrap_or(0), 0, "closed without a byte");
    let told = newest(&mesh, "prod/ledger-db").await;
    let (text, tcp_took) = explained(&mesh, told["id"].as_str().unwrap(), since).await;
    assert_lines(
        &text,
        &["  rules    ledger-stores          no   caller is not ledger  <- nearest\n"],
    );
    println!(
        "evidence: {}",
        json!({
            "explained_ms": {"http": http_took.as_millis() as u64, "grpc": grpc_took.as_millis() as u64,
                "tcp": tcp_took.as_millis() as u64},
        })
    );

    well(&mesh).await;
    // A policy that allows it: the decision stays what it was.
    mesh.apply(&policy().join("../policy-wider")).await.unwrap();
    let (_, text) = cellwall(&mesh, &["explain", grpc]);
    assert_lines(
        &text,
        &["default deny", "  now      v2 would allow it: allowed by payments-posts"],
    );
    // Of the other one nobody knows the path.
    let (_, text) = cellwall(&mesh, &["explain", &http]);
    assert_lines(&text, &["default deny", "  now      v2: the path was not recorded"]);
    mesh.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_while_the_control_plane_is_away_are_counted_once_when_it_is_back() {
    let mut mesh = Mesh::start(config()).await.unwrap();
    let first = denied(&mesh).await;
    explained(&mesh, &first, Instant::now()).await;
    let mut ids = vec![first];
    for _ in 0..3 {
        // With batches acknowledged, on their way, and not begun.
        ids.push(denied(&mesh).await);
        mesh.control.process.kill().await.unwrap();
        ids.push(denied(&mesh).await);
        let admin = mesh.member("prod/payments").unwrap().sidecar.admin.to_string();
        let (code, text) = cellwall(&mesh, &["explain", ids.last().unwrap(), "--proxy", &admin]);
        assert_eq!(code, Some(0), "{text}");
        assert_lines(
            &text,
            &["DENIED", "policy_denied; no policy to explain it by", "--policy DIR"],
        );
        mesh.control.restart().await.unwrap();
    }
    for id in &ids {
        explained(&mesh, id, Instant::now()).await;
    }
    // The end of a sidecar tells what it had counted.
    mesh.member_mut("prod/payments").unwrap().sidecar.process.stop(SOON).await.unwrap();
    let kept = mesh.control.get("/v1/decisions?limit=1000").await.unwrap();
    assert_eq!(kept["decisions"].as_array().unwrap().len(), ids.len());
    let edges = mesh.control.get("/v1/edges").await.unwrap();
    let edges = edges["edges"].as_array().unwrap();
    let denied: u64 = edges.iter().map(|edge| edge["count"].as_u64().unwrap()).sum();
    assert_eq!(denied, ids.len() as u64, "{edges:#?}");
    println!("evidence: {}", json!({"kills": 3, "denied": ids.len(), "kept": denied}));
}
