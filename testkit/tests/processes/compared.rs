//! The two sidecars that comparisons with other proxies start: a real policy is in force.

use std::{net::SocketAddr, path::Path, time::Duration};

use cellwall_testkit::{
    client,
    process::{Process, Spawn, binary},
    workload::Protocol,
};

use super::pair::workload;

const SOON: Duration = Duration::from_secs(8);

/// Starts them before a workload: the program, where the load goes, and both sidecars' numbers.
async fn pair(
    folder: &Path,
    protocol: &str,
    workload: SocketAddr,
) -> (Process, SocketAddr, Vec<u64>) {
    let spawn = Spawn::new("pair", &binary("cellwall-pair").unwrap(), folder);
    let workload = workload.to_string();
    let spawn = spawn.args(["--protocol", protocol, "--workload", &workload, "--rules", "1000"]);
    let mut process = spawn.start().unwrap();
    let line = process.printed(SOON, |line| line["ready"] == true).await.unwrap();
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
