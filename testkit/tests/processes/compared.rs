//! The two sidecars that comparisons with other proxies start: a real policy is in force.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use cellwall_testkit::{
    client,
    process::{Process, Spawn, binary},
    scrape::Metrics,
    workload::Protocol,
};
use serde_json::Value;

use super::pair::workload;

const SOON: Duration = Duration::from_secs(8);

/// Starts them before a workload: the program, and what it says.
async fn started(
    folder: &Path,
    protocol: &str,
    workload: SocketAddr,
    more: &[&str],
) -> (Process, Value) {
    let spawn = Spawn::new("pair", &binary("cellwall-pair").unwrap(), folder);
    let workload = workload.to_string();
    let spawn = spawn.args(["--protocol", protocol, "--workload", &workload]).args(more);
    let mut process = spawn.start().unwrap();
    let line = process.printed(SOON, |line| line["ready"] == true).await.unwrap();
    (process, line)
}

/// The same: the program, where the load goes, and both sidecars' numbers.
pub(crate) async fn pair(
    folder: &Path,
    protocol: &str,
    workload: SocketAddr,
) -> (Process, SocketAddr, Vec<u64>) {
    let (process, line) = started(folder, protocol, workload, &["--rules", "1000"]).await;
    let pids = line["pids"].as_array().unwrap().iter().flat_map(|side| side.as_array().unwrap());
    let pids = pids.map(|pid| pid.as_u64().unwrap()).collect();
    (process, line["entry"].as_str().unwrap().parse().unwrap(), pids)
}

fn runs(pid: u64) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_rules_the_last_one_lets_the_load_in_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let callee = workload(folder.path(), Protocol::Http).await;
    let (mut process, entry, pids) = pair(folder.path(), "http1", callee.address()).await;

    let mut statuses = Vec::new();
    for call in ["GET /v1/bench/call", "POST /v1/bench/call", "GET /v1/others/3/x", "GET /other"] {
        statuses.push(client::request(entry, call).await.unwrap().status().as_u16());
    }
    assert_eq!((statuses, callee.stats().requests), (vec![200, 403, 403, 403], 1));

    assert_eq!((pids.len(), pids.iter().all(|pid| runs(*pid))), (2, true));
    assert!(process.stop(SOON).await.unwrap().success());
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_declared_and_judged_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let callee = workload(folder.path(), Protocol::Grpc).await;
    let (mut process, entry, _) = pair(folder.path(), "http2", callee.address()).await;

    let allowed = client::grpc(entry, "bench.v1.Bench/Call").await.unwrap();
    let denied = client::grpc(entry, "bench.v1.Other3/Call").await.unwrap();

    assert_eq!((allowed.status, denied.status), (Some(0), Some(7)));
    assert!(process.stop(SOON).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_caller_has_the_rights_of_the_first_and_one_more_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let callee = workload(folder.path(), Protocol::Http).await;
    let more = ["--rules=3", "--callers=2", "--second", "--denied"];
    let (mut process, line) = started(folder.path(), "http1", callee.address(), &more).await;

    let mut statuses = Vec::new();
    for caller in ["entry", "second", "denied"] {
        let entry = line[caller].as_str().unwrap().parse::<SocketAddr>().unwrap();
        let answer = client::request(entry, "GET /v1/bench/call").await.unwrap();
        statuses.push(answer.status().as_u16());
    }
    assert_eq!((statuses, callee.stats().requests), (vec![200, 200, 403], 2));
    assert!(process.stop(SOON).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_the_policy_change_and_addresses_are_many_while_calls_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let callee = workload(folder.path(), Protocol::Http).await;
    let more = ["--rules=5", "--rotate-every=50", "--change-every=50", "--endpoints=5"];
    let (mut process, line) = started(folder.path(), "http1", callee.address(), &more).await;
    let at = |value: &Value| value.as_str().unwrap().parse::<SocketAddr>().unwrap();
    let (entry, admin) = (at(&line["entry"]), line["admin"].as_array().unwrap());

    let end = Instant::now() + SOON;
    loop {
        let answer = client::request(entry, "GET /v1/bench/call").await.unwrap();
        assert_eq!(answer.status(), 200);
        let metrics = Metrics::scrape(at(&admin[1])).await.unwrap();
        let accepted = [("result", "accepted"), ("reason", "svid")];
        let rotations = metrics.sum("cellwall_svid_rotations_total", &accepted);
        let changes = metrics.sum("cellwall_policy_updates_total", &[("result", "ack")]);
        let refused = metrics.sum("cellwall_policy_updates_total", &[("result", "nack")]);
        assert_eq!(refused, 0.0);
        if rotations > 5.0 && changes > 5.0 {
            break;
        }
        assert!(Instant::now() < end, "{rotations} rotations, {changes} policies");
    }
    let config = client::request(at(&admin[0]), "GET /config").await.unwrap();
    let config = serde_json::from_slice::<Value>(config.body()).unwrap();
    assert_eq!(config["endpoints"]["callee"].as_array().unwrap().len(), 5, "{config}");
    assert!(process.stop(SOON).await.unwrap().success());
}
