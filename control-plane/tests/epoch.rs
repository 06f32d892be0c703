//! After a restore: versions are counted again, and an operator's act orders them (POL-02).

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use cellwall_policy::{NotNewer, Publication};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    daemon::{DEADLINE, Daemon, cellwalld, data_of},
    policy::we_are_web,
    sidecar::{Sidecar, hello, open},
    workload::svid,
};

const WEB: &str = "spiffe://pay.example/prod/web";

/// `epoch raise` on a directory: its code, and its last line.
async fn raise(dir: &TempDir, flags: &[&str]) -> (Option<i32>, String) {
    let data = data_of(dir);
    let spawn = cellwalld(dir.path(), &["epoch", "raise", "--data-dir", &data]).args(flags);
    let mut process = spawn.start().unwrap();
    let (mut said, mut complained) = (process.stdout(), process.stderr());
    let code = process.ended(DEADLINE).await.unwrap().code();
    let lines = [said.lines().unwrap(), complained.lines().unwrap()].concat();
    (code, lines.last().cloned().unwrap_or_default())
}

fn database(dir: &TempDir) -> Connection {
    Connection::open(Path::new(&data_of(dir)).join("cellwall.db")).unwrap()
}

/// A copy of the database, as the manual makes it.
fn back_up(dir: &TempDir) {
    let copy = dir.path().join("backup.db");
    database(dir).execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
}

fn restore(dir: &TempDir) {
    let data = data_of(dir);
    for name in ["cellwall.db-wal", "cellwall.db-shm"] {
        let _ = fs::remove_file(Path::new(&data).join(name));
    }
    let database = Path::new(&data).join("cellwall.db");
    fs::copy(dir.path().join("backup.db"), &database).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a sidecar is told to enforce.
async fn published(daemon: &Daemon) -> Publication {
    let web = svid(&daemon.workload_socket, "/prod/web").await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &web, hello("web-1", &[])).await.unwrap();
    let key = daemon.data().join("policy-key.pem");
    let (snapshot, _) = open(&key, sidecar.snapshot().await, WEB);
    *snapshot.publication()
}

fn with_comment(text: &str) -> String {
    format!("{text}# another policy\n")
}

#[tokio::test]
async fn after_a_restore_a_version_means_another_policy_until_the_epoch_is_raised() {
    // POL-02
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let dir = daemon.stop().await;
    back_up(&dir);
    let daemon = Daemon::start_in(dir, &[]).await;
    assert_eq!(daemon.apply(&we_are_web()).await, 2);
    let lost = published(&daemon).await;
    assert_eq!((lost.epoch, lost.version.0), (1, 2));
    let dir = daemon.stop().await;
    restore(&dir);
    let daemon = Daemon::start_in(dir, &[]).await;
    let older = published(&daemon).await;
    assert!(matches!(lost.admit(&older), Err(NotNewer::Older { .. })), "{older}");
    assert_eq!(daemon.apply(&with_comment(&we_are_web())).await, 2);
    let other = published(&daemon).await;
    assert!(matches!(lost.admit(&other), Err(NotNewer::Differs { .. })), "{other}");
    let dir = daemon.stop().await;

    let said = (Some(0), "epoch 2, it was 1; sidecars follow once cellwalld runs again".to_owned());
    assert_eq!(raise(&dir, &[]).await, said);
    let daemon = Daemon::start_in(dir, &[]).await;
    let raised = published(&daemon).await;
    assert_eq!((raised.epoch, raised.version.0, raised.digest), (2, 2, other.digest));
    assert_eq!((lost.admit(&raised), other.admit(&raised)), (Ok(()), Ok(())));
    let (_, status) = daemon.get("/v1/status").await;
    assert_eq!((&status["policy_epoch"], &status["policy_version"]), (&2.into(), &2.into()));
    assert_eq!(daemon.get("/v1/policy").await.1["epoch"], 2);
    daemon.measured(|metrics| metrics.sum("cellwall_policy_epoch", &[]) == 2.0).await;
    assert_eq!(daemon.apply(&we_are_web()).await, 3);
    assert_eq!(published(&daemon).await.epoch, 2);
}

#[tokio::test]
async fn a_rise_is_on_record_and_only_upwards() {
    // CA-08
    let dir = Daemon::start().await.stop().await;
    assert_eq!(raise(&dir, &["--to", "7"]).await.0, Some(0));
    for (to, reason) in [
        ("7", "cellwalld: --to 7: the epoch is 7 already; it only goes up"),
        ("1", "cellwalld: --to 1: the epoch is 7 already; it only goes up"),
    ] {
        assert_eq!(raise(&dir, &["--to", to]).await, (Some(1), reason.to_owned()));
    }
    let last = u64::MAX.to_string();
    assert_eq!(raise(&dir, &["--to", &last]).await.0, Some(0));
    let expected = format!("cellwalld: the epoch {last} is the last one");
    assert_eq!(raise(&dir, &[]).await, (Some(1), expected));
    let database = database(&dir);
    let mut rows = database
        .prepare("SELECT actor, detail FROM audit WHERE kind = 'epoch.raised' ORDER BY sequence")
        .unwrap();
    let rows: Vec<(String, String)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let details = rows.iter().map(|(_, detail)| serde_json::from_str::<Value>(detail).unwrap());
    let details: Vec<_> =
        details.map(|it| (it["from"].as_u64().unwrap(), it["to"].as_u64().unwrap())).collect();
    assert_eq!(details, [(1, 7), (7, u64::MAX)]);
    let us = format!("uid:{} pid:", nix::unistd::getuid());
    assert!(rows.iter().all(|(actor, _)| actor.starts_with(&us)), "{rows:?}");
}

#[tokio::test]
async fn without_its_audit_record_the_epoch_is_not_raised() {
    // CA-08
    let dir = Daemon::start().await.stop().await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    database(&dir).execute_batch(full).unwrap();
    let (code, said) = raise(&dir, &["--to", "5"]).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("cellwalld: the epoch cannot be written"), "{said}");
    database(&dir).execute_batch("DROP TRIGGER full").unwrap();
    let daemon = Daemon::start_in(dir, &[]).await;
    assert_eq!(daemon.get("/v1/status").await.1["policy_epoch"], 1);
}

#[tokio::test]
async fn an_epoch_that_was_written_into_the_database_is_not_believed() {
    // CP-07: or an old policy could be made to look new.
    let dir = Daemon::start().await.stop().await;
    for forged in [
        "INSERT OR REPLACE INTO secrets VALUES ('policy-epoch', x'0000000000000009')",
        "INSERT OR REPLACE INTO secrets
         SELECT 'policy-epoch', sealed FROM secrets WHERE purpose = 'policy-key/1'",
    ] {
        database(&dir).execute(forged, []).unwrap();
        let (code, said) = raise(&dir, &[]).await;
        let expected = "cellwalld: cannot read the epoch: `policy-epoch` in the database: cannot \
                        be opened with this sealing key: it is another's, or the database was \
                        changed";
        assert_eq!((code, said.as_str()), (Some(1), expected));
    }
}

#[tokio::test]
async fn the_epoch_is_not_raised_under_a_running_cellwalld_or_without_a_trust_domain() {
    // CP-11
    let daemon = Daemon::start().await;
    let data = daemon.data();
    let expected = format!("cellwalld: {}: in use by another cellwalld", data.display());
    assert_eq!(raise(&daemon.dir, &[]).await, (Some(1), expected));
    let nothing = TempDir::new().unwrap();
    let expected = format!("cellwalld: --data-dir {}: no trust domain here", data_of(&nothing));
    assert_eq!(raise(&nothing, &[]).await, (Some(1), expected));
}
