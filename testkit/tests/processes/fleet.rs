//! `cellwall-bench fleet` before a real control plane, small.

use std::{fs, path::Path, time::Duration};

use cellwall_testkit::process::{Spawn, binary};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(9);

/// Runs one with these flags: its result, and what it printed.
async fn fleet(folder: &Path, flags: &[&str]) -> (Value, String) {
    let out = folder.join("fleet.json");
    let spawn = Spawn::new("fleet", &binary("cellwall-bench").unwrap(), folder);
    let spawn = spawn.args(["fleet", "--workloads", "2", "--rules", "8", "--deadline", "8s"]);
    let spawn = spawn.args(["--out", out.to_str().unwrap()]).args(flags);
    let mut process = spawn.start().unwrap();
    let status = process.ended(SOON).await.unwrap();
    let said = fs::read_to_string(folder.join("fleet.err")).unwrap();
    assert!(status.success(), "{said}");
    let table = fs::read_to_string(folder.join("fleet.out")).unwrap();
    (serde_json::from_slice(&fs::read(out).unwrap()).unwrap(), table)
}

#[tokio::test]
async fn everybody_connects_follows_and_is_told_of_a_workload_that_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--proxies", "10", "--agents", "6", "--pushes", "2", "--ttl", "0s"];

    let (result, table) = fleet(folder.path(), &flags).await;

    let connected = &result["connected"];
    let count = |wave: &Value| wave["count"].as_u64().unwrap();
    assert_eq!((count(&connected["issuance"]), count(&connected["storm"])), (6, 10));
    let pushes = connected["pushes"].as_array().unwrap();
    assert_eq!(pushes.iter().map(count).collect::<Vec<_>>(), [10, 10]);
    // Of six agents, ten sidecars with their SVIDs, every other one is the last workload's.
    let revoked = ["cut", "withdrawn", "told"].map(|wave| count(&connected[wave]));
    assert_eq!(revoked, [5, 3, 5]);
    assert!(connected["memory"]["alone_kib"].as_u64().unwrap() > 1000, "{connected:#}");
    assert!(connected["storm"]["seconds"].as_f64().unwrap() > 0.0, "{connected:#}");
    assert!(result["machine"]["open_files"].as_u64().unwrap() > 0 && result["rotated"].is_null());
    assert!(table.contains("revocation: the others told"), "{table}");
}

#[tokio::test]
async fn every_svid_is_renewed_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();

    let (result, _) = fleet(folder.path(), &["--proxies", "0", "--agents", "6"]).await;

    let rotated = &result["rotated"];
    assert_eq!(rotated["wave"]["count"], 6);
    let longest = rotated["longest_between_seconds"].as_f64().unwrap();
    assert!(longest > 4.0 && longest < 10.0, "{rotated:#}");
    assert!(result["connected"].is_null());
}
