//! The control plane killed for longer than an SVID lives, with the identities that it hands out:
//! nothing fails before they end, nothing passes after, everything is back soon (AZ-01, ROT-09).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cellwall_testkit::{
    client,
    mesh::{Mesh, MeshConfig, WorkloadSpec},
    workload::Protocol,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The shortest that there is.
const LIFE: Duration = Duration::from_secs(10);

/// What is left of a life when the control plane is killed, in a test beside others.
const SOON: u64 = 6;

const DEADLINE: Duration = Duration::from_secs(15);
const PAY: &str = "POST /v1/payments";
const CLIENTS: usize = 2;
/// Long enough for a refused call not to become a busy loop.
const PAUSE: Duration = Duration::from_millis(10);

/// When a call was answered, and what went wrong with it.
type Call = (SystemTime, Result<(), String>);

#[derive(Default)]
struct Load {
    done: AtomicBool,
    /// Where the clients call.
    entry: Mutex<Option<SocketAddr>>,
    calls: Mutex<Vec<Call>>,
}

/// What one outage showed.
#[derive(Default)]
struct Shown {
    calls_before_end: usize,
    /// How long before the end, and why.
    failed_before_end: Vec<String>,
    calls_after_end: usize,
    passed_after_end: usize,
    back_after: f64,
}

fn config() -> MeshConfig {
    let payments = WorkloadSpec::new("prod/payments", Some(Protocol::Http));
    let shopper = WorkloadSpec::new("prod/shopper", None).calls(&["payments"]);
    MeshConfig {
        trust_domain: "pay.example".to_owned(),
        policy: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes/policy"),
        workloads: vec![payments, shopper.clone(), shopper.instance("restarted")],
        svid_ttl: Some(LIFE),
        control_flags: Vec::new(),
    }
}

fn evidence_asked() -> bool {
    std::env::var_os("CELLWALL_EVIDENCE_SECONDS").is_some()
}

async fn pay(entry: SocketAddr) -> Result<(), String> {
    match client::request(entry, PAY).await {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(format!("{:?}", answer.body())),
        Err(error) => Err(format!("{error:#}")),
    }
}

async fn paid(entry: SocketAddr) -> bool {
    pay(entry).await.is_ok()
}

async fn keep_calling(load: Arc<Load>) {
    while !load.done.load(Ordering::Relaxed) {
        let entry = load.entry.lock().unwrap().unwrap();
        let outcome = pay(entry).await;
        load.calls.lock().unwrap().push((SystemTime::now(), outcome));
        tokio::time::sleep(PAUSE).await;
    }
}

/// When the first of the SVIDs that a call needs ends: through its last second.
async fn end(mesh: &Mesh) -> SystemTime {
    let mut first = u64::MAX;
    for name in ["prod/shopper", "prod/payments"] {
        let config = mesh.member(name).unwrap().sidecar.config().await.unwrap();
        first = first.min(config.get("svid_not_after").and_then(Value::as_u64).unwrap());
    }
    UNIX_EPOCH + Duration::from_secs(first)
}

async fn until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left).await;
    }
}

async fn ready(mesh: &Mesh, name: &str) -> u16 {
    mesh.member(name).unwrap().sidecar.admin_status("/readyz").await.unwrap()
}

/// A life that has just begun would only make the test longer.
async fn late_in_life(mesh: &Mesh) {
    while !evidence_asked() && end(mesh).await > SystemTime::now() + Duration::from_secs(SOON) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// A sidecar that is restarted has no identity to take: the embedded agent died with cellwalld.
async fn restart_in_vain(mesh: &mut Mesh) -> SocketAddr {
    mesh.respawn_sidecar("prod/shopper.restarted").await.unwrap();
    assert_eq!(ready(mesh, "prod/shopper.restarted").await, 503);
    let entry = mesh.member("prod/shopper.restarted").unwrap().sidecar.to("payments").unwrap();
    assert!(!paid(entry).await);
    entry
}

/// How long until a payment goes through each sidecar again.
async fn back(mesh: &Mesh) -> f64 {
    let returned = Instant::now();
    for name in ["prod/shopper", "prod/shopper.restarted"] {
        let entry = mesh.member(name).unwrap().sidecar.to("payments").unwrap();
        while !paid(entry).await {
            assert!(returned.elapsed() < DEADLINE, "{name} is not back within {DEADLINE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    returned.elapsed().as_secs_f64()
}

/// Kills the control plane, restarts a sidecar meanwhile, and brings it back.
async fn outage(mesh: &mut Mesh, load: &Load) -> Shown {
    late_in_life(mesh).await;
    load.calls.lock().unwrap().clear();
    mesh.control.process.kill().await.unwrap();
    let ends = end(mesh).await;
    let restarted = restart_in_vain(mesh).await;
    // Longer than a whole life since the kill, if there is time for it.
    let over = if evidence_asked() { LIFE } else { Duration::from_millis(1_500) };
    until(ends + over).await;
    let states = [ready(mesh, "prod/shopper").await, ready(mesh, "prod/payments").await];
    assert_eq!((paid(restarted).await, states), (false, [503, 503]));
    let calls = std::mem::take(&mut *load.calls.lock().unwrap());
    mesh.control.restart().await.unwrap();
    let back_after = back(mesh).await;
    mesh.synced().await.unwrap();
    shown(&calls, ends, back_after)
}

fn shown(calls: &[Call], ends: SystemTime, back_after: f64) -> Shown {
    let before = calls.iter().filter(|(at, _)| *at < ends);
    let failed = before.clone().filter_map(|(at, outcome)| {
        let left = ends.duration_since(*at).unwrap_or_default();
        outcome.as_ref().err().map(|error| format!("{left:?} before the end: {error}"))
    });
    // A certificate holds through its last second.
    let after = calls.iter().filter(|(at, _)| *at >= ends + Duration::from_secs(1));
    Shown {
        calls_before_end: before.clone().count(),
        failed_before_end: failed.collect(),
        calls_after_end: after.clone().count(),
        passed_after_end: after.filter(|(_, outcome)| outcome.is_ok()).count(),
        back_after,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_until_the_svids_end_are_denied_then_and_come_back() {
    let mut mesh = Mesh::start(config()).await.unwrap();
    let load = Arc::new(Load::default());
    let entry = mesh.member("prod/shopper").unwrap().sidecar.to("payments").unwrap();
    *load.entry.lock().unwrap() = Some(entry);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(keep_calling(load.clone()));
    }
    let outages = if evidence_asked() { 3 } else { 1 };
    let mut shown = Vec::new();
    for _ in 0..outages {
        shown.push(outage(&mut mesh, &load).await);
    }
    load.done.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let failed: Vec<&String> = shown.iter().flat_map(|one| &one.failed_before_end).collect();
    let sum = |of: fn(&Shown) -> usize| shown.iter().map(of).sum::<usize>();
    let back: Vec<f64> = shown.iter().map(|one| one.back_after).collect();
    let figures = BTreeMap::from([
        ("outages", json!(outages)),
        ("svid_life_seconds", json!(LIFE.as_secs())),
        ("restarted_sidecars", json!(outages)),
        ("calls_before_end", json!(sum(|one| one.calls_before_end))),
        ("failed_before_end", json!(failed.len())),
        ("calls_after_end", json!(sum(|one| one.calls_after_end))),
        ("passed_after_end", json!(sum(|one| one.passed_after_end))),
        ("back_after_seconds", json!(back)),
    ]);
    println!("evidence: {}", json!(figures));
    assert!(sum(|one| one.calls_before_end) > 50 && sum(|one| one.calls_after_end) > 0);
    assert_eq!(failed, Vec::<&String>::new(), "{figures:?}");
    assert_eq!(sum(|one| one.passed_after_end), 0, "{figures:?}");
    assert!(back.iter().all(|seconds| *seconds < 5.0), "{figures:?}");
    let report = mesh.witness().unwrap();
    assert_eq!(report.violations, Vec::new());
    mesh.stop().await.unwrap();
}
