//! What a sidecar reports of its decisions: each once, none silently lost, and no call waits for it.

use std::time::{Duration, Instant};

use cellwall_policy::{CallDocument, Protocol};
use cellwall_testkit::distribution::{
    CONTROL_PLANE_PATH, ReportAnswer, Reported, ScriptedDistribution,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

use crate::kit::{
    DEADLINE, Plan, Sidecar, Town, eventually, evidence, evidence_time, id, payments, policy,
};

/// The ids of all decisions in acknowledged batches, and the calls counted in them.
fn kept(reports: &[Reported]) -> (Vec<String>, u64) {
    let kept = reports.iter().filter(|report| report.acknowledged);
    let (mut ids, mut count) = (Vec::new(), 0);
    for report in kept {
        ids.extend(report.batch.decisions.iter().map(|one| one.id.clone()));
        count += report.batch.edges.iter().map(|edge| edge.count).sum::<u64>();
    }
    (ids, count)
}

async fn town() -> (Town, Sidecar) {
    let town = Town::new().await;
    let (plan, policy) = payments();
    let callee = town.sidecar(plan, policy).await;
    (town, callee)
}

/// One denied call: the id that the caller is told.
async fn denied(town: &Town, callee: &Sidecar) -> String {
    let (status, body) = callee.call(&town.svid("notifier"), "POST /v1/payments").await;
    assert_eq!(status, 403);
    let problem: Value = serde_json::from_str(&body).unwrap();
    problem["decision"].as_str().unwrap().to_owned()
}

async fn dropped(callee: &Sidecar, reason: &str) -> f64 {
    callee.metrics().await.sum("cellwall_decision_dropped_total", &[("reason", reason)])
}

#[tokio::test]
async fn a_denial_is_reported_at_once_and_calls_are_counted() {
    let (town, mut callee) = town().await;
    for _ in 0..3 {
        assert_eq!(callee.call(&town.svid("checkout"), "GET /v1/payments/p_1").await.0, 200);
    }
    let began = Instant::now();
    let told = denied(&town, &callee).await;
    let reports = town.control.reported(DEADLINE, |all| kept(all).0.contains(&told)).await.unwrap();
    evidence(&json!({"denial_reported_ms": began.elapsed().as_millis() as u64}));
    let batch = &reports.last().unwrap().batch;
    assert_eq!(reports.last().unwrap().id, id("payments"));
    assert_eq!((batch.callee.as_str(), batch.sequence), (id("payments").as_str(), 1));
    assert_eq!(batch.decisions[0].caller, id("notifier"));
    callee.process.stop(DEADLINE).await.unwrap();
    let all = town.control.reports();
    assert_eq!(kept(&all), (vec![told], 4));
    let edges = all.iter().flat_map(|report| &report.batch.edges);
    let mut edges: Vec<_> =
        edges.map(|edge| (edge.call.as_str(), edge.verdict.as_str(), edge.count)).collect();
    edges.sort_unstable();
    assert_eq!(edges, [("GET /v1/payments/{id}", "allow", 3), ("POST /v1/payments", "deny", 1)]);
}

#[tokio::test]
async fn a_batch_that_was_not_answered_comes_again_under_its_number() {
    let (town, callee) = town().await;
    town.control.answer_reports(ReportAnswer::Refuse(Code::Unavailable));
    let first = denied(&town, &callee).await;
    town.control.reported(DEADLINE, |all| all.len() >= 2).await.unwrap();
    let second = denied(&town, &callee).await;
    town.control.answer_reports(ReportAnswer::Keep);
    let both = |all: &[Reported]| kept(all).0.len() == 2;
    let reports = town.control.reported(DEADLINE, both).await.unwrap();
    assert_eq!(kept(&reports).0, [first, second]);
    let ones: Vec<_> = reports.iter().filter(|one| one.batch.sequence == 1).collect();
    assert!(ones.len() >= 2 && ones.iter().all(|one| one.batch == ones[0].batch), "{ones:?}");
    assert_eq!(reports.last().unwrap().batch.sequence, 2);
    assert_eq!(dropped(&callee, "refused").await, 0.0);
}

#[tokio::test]
async fn a_collector_that_does_not_understand_is_not_asked_again_and_it_is_counted() {
    let (town, callee) = town().await;
    town.control.answer_reports(ReportAnswer::Refuse(Code::Unimplemented));
    denied(&town, &callee).await;
    eventually("the drop", async || dropped(&callee, "refused").await >= 1.0).await;
    town.control.answer_reports(ReportAnswer::Keep);
    let told = denied(&town, &callee).await;
    let reports = town.control.reported(DEADLINE, |all| kept(all).0.contains(&told)).await.unwrap();
    assert_eq!(reports.last().unwrap().batch.sequence, 2);
}

#[tokio::test]
async fn calls_do_not_wait_for_a_collector_that_never_answers() {
    // OBS-03: more denials than all queues hold, over one connection
    let (town, callee) = town().await;
    town.control.answer_reports(ReportAnswer::Never);
    let svid = town.svid("notifier");
    denied(&town, &callee).await;
    town.control.reported(DEADLINE, |all| !all.is_empty()).await.unwrap();
    let resident = resident_kib(&callee);
    let mut connection = callee.http(&svid).await;
    let calls = evidence_time().map_or(4000, |time| time.as_secs().max(1) * 4000);
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        let request = cellwall_testkit::client::build("POST /v1/payments").unwrap();
        let began = Instant::now();
        let answer = connection.send(request.body(Default::default()).unwrap()).await.unwrap();
        slowest = slowest.max(began.elapsed());
        assert_eq!(answer.status(), 403);
    }
    eventually("drops", async || dropped(&callee, "queue").await > 0.0).await;
    let grown = resident_kib(&callee).saturating_sub(resident);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(grown < 32 * 1024, "{grown} KiB");
    let drops = dropped(&callee, "queue").await;
    evidence(&json!({
        "denied_calls": calls, "slowest_ms": slowest.as_millis() as u64, "grown_kib": grown,
        "dropped": drops,
    }));
}

fn resident_kib(sidecar: &Sidecar) -> u64 {
    let path = format!("/proc/{}/status", sidecar.process.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn without_a_control_plane_denials_wait_and_go_when_it_is_back() {
    let (mut town, callee) = town().await;
    let address = town.control.address();
    let svid = town.ca.svid(&format!("spiffe://pay.example{CONTROL_PLANE_PATH}"));
    let elsewhere = ScriptedDistribution::start(&town.ca).await.unwrap();
    std::mem::replace(&mut town.control, elsewhere).stop().await;
    let told = denied(&town, &callee).await;
    town.control = ScriptedDistribution::start_on(address, &svid).await.unwrap();
    town.publish(payments().1);
    let reports = town.control.reported(DEADLINE, |all| kept(all).0.contains(&told)).await.unwrap();
    assert_eq!(kept(&reports).0, [told]);
}

#[tokio::test]
async fn what_was_decided_last_is_reported_within_the_drain() {
    let (town, mut callee) = town().await;
    let told = denied(&town, &callee).await;
    callee.process.signal(Signal::SIGTERM).unwrap();
    callee.process.ended(DEADLINE).await.unwrap();
    assert_eq!(kept(&town.control.reports()).0, [told]);
}

#[tokio::test]
async fn a_connection_that_the_drain_cuts_is_counted_too() {
    let town = Town::new().await;
    let plan = Plan { name: "ledger-db", speaks: Protocol::Tcp, outbound: &[] };
    let call = CallDocument::Tcp { port: 8443 };
    let mut callee = town.sidecar(plan, policy("ledger-db", Protocol::Tcp, &[call])).await;
    let mut stream = callee.dial(&town.svid("checkout"), &["cellwall-tcp/1"]).await;
    stream.write_all(b"HELLO prod/checkout\n").await.unwrap();
    callee.process.stop(DEADLINE).await.unwrap();
    let line = callee.logged(|line| line["kind"] == "connection").await;
    assert_eq!(line["cellwall.reason"], "drained");
    assert_eq!(kept(&town.control.reports()).1, 1);
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_hold_the_end_up() {
    let (town, mut callee) = town().await;
    town.control.answer_reports(ReportAnswer::Never);
    denied(&town, &callee).await;
    let began = Instant::now();
    let status = callee.process.stop(DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let line = callee.process.message("not reported before the end", DEADLINE).await.unwrap();
    assert!(line["decisions"].as_u64().unwrap() >= 1, "{line}");
}
