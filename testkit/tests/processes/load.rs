//! `cellwall load run` through two real sidecars, and without them.

use std::time::Duration;

use cellwall_testkit::{
    process::{Spawn, binary},
    workload::Protocol,
};

use super::{compared::pair, pair::workload};

const SOON: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_both_ways_and_the_sidecars_cost_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let callee = workload(folder.path(), Protocol::Http).await;
    let (mut process, entry, pids) = pair(folder.path(), "http1", callee.address()).await;
    let out = folder.path().join("load.json");
    let spawn = Spawn::new("load", &binary("cellwall").unwrap(), folder.path());
    let spawn = spawn.args(["load", "run", "--rate", "50", "--for", "400ms", "-o", "json"]);
    let spawn = spawn.args(["--call", "GET /v1/bench/call", "--compare", "direct"]);
    let spawn =
        spawn.args(["--via", &entry.to_string(), "--direct", &callee.address().to_string()]);
    let spawn = spawn.args(pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]));
    let mut load = spawn.args(["--save", out.to_str().unwrap()]).start().unwrap();

    let status = load.ended(SOON).await.unwrap();

    assert!(status.success(), "{status}");
    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    let count = |way: &str| saved[way]["ok"].as_u64().unwrap();
    assert!(count("via") > 0 && count("direct") > 0, "{saved:#}");
    assert_eq!(callee.stats().requests, count("via") + count("direct"));
    assert!(saved["proxies"]["rss_kib"].as_u64().unwrap() > 1000, "{saved:#}");
    assert!(process.stop(SOON).await.unwrap().success());
}
