//! What survives, and what is not believed when it comes back changed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use nix::sys::signal::Signal;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    daemon::{DEADLINE, Daemon, TRUST_DOMAIN, cellwalld, data_of},
    policy::we_are_web,
    sidecar::{Sidecar, hello},
    workload::{Svids, connect, svid},
};

/// Starts cellwalld on a directory where it must not start, and returns what it says.
async fn refusal(dir: &TempDir) -> String {
    let ports = ["--mesh-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
    let spawn = cellwalld(dir.path(), &["run", "--data-dir", &data_of(dir)]).args(ports);
    let mut process = spawn.start().unwrap();
    let mut said = process.stderr();
    assert_eq!(process.ended(DEADLINE).await.unwrap().code(), Some(1));
    said.lines().unwrap().last().unwrap().clone()
}

fn database(dir: &TempDir) -> Connection {
    Connection::open(Path::new(&data_of(dir)).join("cellwall.db")).unwrap()
}

#[tokio::test]
async fn a_restart_keeps_the_authority_the_policy_and_the_log() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    daemon.apply(&we_are_web()).await;
    let before = svid(&daemon.workload_socket, "/prod/web").await;
    let (_, policy) = daemon.get("/v1/policy").await;
    let last = daemon.row("identities", |_| true).await["last_issued_at"].clone();
    let daemon = Daemon::start_in(daemon.stop().await, &[]).await;
    assert_eq!(daemon.get("/v1/policy").await.1, policy);
    assert_eq!(daemon.row("identities", |_| true).await["last_issued_at"], last);
    let after = svid(&daemon.workload_socket, "/prod/web").await;
    assert_eq!(after.anchor, before.anchor);
    assert_ne!(after.serial(), before.serial());
    assert_eq!(daemon.apply(&we_are_web()).await, 3);
}

#[tokio::test]
async fn a_process_that_was_killed_starts_again_where_it_was() {
    // ROT-07
    let mut daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let before = svid(&daemon.workload_socket, "/prod/web").await;
    for version in 2..5 {
        daemon.process.kill().await.unwrap();
        assert!(daemon.workload_socket.exists() && daemon.operator_socket.exists());
        daemon = Daemon::start_in(daemon.dir, &[]).await;
        let after = svid(&daemon.workload_socket, "/prod/web").await;
        assert_eq!(after.anchor, before.anchor);
        assert_eq!(daemon.apply(&we_are_web()).await, version);
    }
}

#[tokio::test]
async fn sigterm_ends_open_streams_and_the_process_with_success() {
    let mut daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mut client = connect(&daemon.workload_socket).await;
    let mut svids = Svids::open(&mut client).await.unwrap();
    svids.next().await.unwrap();
    let web = svid(&daemon.workload_socket, "/prod/web").await;
    let mut sidecar = Sidecar::attach(daemon.mesh, &web, hello("web-1", &[])).await.unwrap();
    sidecar.snapshot().await;
    daemon.process.signal(Signal::SIGTERM).unwrap();
    assert_eq!(svids.next().await.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!(sidecar.end().await.code(), tonic::Code::Unavailable);
    let status = daemon.process.ended(Duration::from_secs(5)).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!daemon.workload_socket.exists() && !daemon.operator_socket.exists());
}

#[tokio::test]
async fn secrets_are_ours_alone_and_only_what_is_public_is_readable() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = daemon.data();
    assert_eq!(mode(&data), 0o700);
    let mut seen = Vec::new();
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = match name.as_str() {
            "bundle.pem" | "policy-key.pem" => 0o644,
            "workload.sock" => 0o666,
            _ => 0o600,
        };
        assert_eq!(mode(&path), expected, "{name}");
        seen.push(name);
    }
    for name in ["cellwall.db", "cellwall.db-wal", "sealing.key", "operator.sock"] {
        assert!(seen.contains(&name.to_owned()), "{name} in {seen:?}");
    }
}

#[tokio::test]
async fn no_private_key_is_in_any_file_in_the_clear() {
    // CA-06: the authority's key as it stands in memory is in no file but under seal.
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let web = svid(&daemon.workload_socket, "/prod/web").await;
    // PKCS #8 of a P-256 key begins with version, algorithm and curve (RFC 5208, RFC 5480).
    let pkcs8 = &web.key[3..26];
    for entry in fs::read_dir(daemon.data()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let found = bytes.windows(pkcs8.len()).any(|window| window == pkcs8);
        assert!(!found, "a private key in {}", path.display());
    }
}

#[tokio::test]
async fn a_secret_that_others_may_read_keeps_cellwalld_from_starting() {
    let dir = Daemon::start().await.stop().await;
    for name in ["sealing.key", "cellwall.db"] {
        let path = Path::new(&data_of(&dir)).join(name);
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        let path = path.display();
        let expected =
            format!("cellwalld: {path}: open to other users (mode 0644); run: chmod 600 {path}");
        assert_eq!(refusal(&dir).await, expected);
        set(0o600);
    }
    Daemon::start_in(dir, &[]).await;
}

#[tokio::test]
async fn a_policy_that_was_edited_in_the_database_is_not_put_in_force() {
    // CP-07: whoever can write the database cannot hand out identities.
    let dir = Daemon::start_with_policy(&[], &we_are_web()).await.stop().await;
    let edit = "UPDATE policies SET sources = replace(sources, 'why: a test', 'why: a tesT')";
    assert_eq!(database(&dir).execute(edit, []).unwrap(), 1);
    let said = refusal(&dir).await;
    assert!(said.starts_with("cellwalld: policy version 1 is not what was applied"), "{said}");
}

#[tokio::test]
async fn an_older_policy_cannot_be_passed_off_as_a_newer_one() {
    // CP-07, POL-02
    let dir = Daemon::start_with_policy(&[], &we_are_web()).await.stop().await;
    let copy = "INSERT INTO policies
                SELECT 2, applied_at, applied_by, message, sources, voucher FROM policies";
    assert_eq!(database(&dir).execute(copy, []).unwrap(), 1);
    let said = refusal(&dir).await;
    assert!(said.starts_with("cellwalld: policy version 2 is not what was applied"), "{said}");
}

#[tokio::test]
async fn a_log_that_was_edited_is_not_continued() {
    // OBS-05
    let dir = Daemon::start_with_policy(&[], &we_are_web()).await.stop().await;
    let edit = "DROP TRIGGER audit_is_not_edited; UPDATE audit SET actor = 'x' WHERE sequence = 2";
    database(&dir).execute_batch(edit).unwrap();
    let expected = "the audit log was changed at or before record 2";
    assert!(refusal(&dir).await.ends_with(expected));
}

#[tokio::test]
async fn another_sealing_key_opens_nothing() {
    let dir = Daemon::start().await.stop().await;
    let key = Path::new(&data_of(&dir)).join("sealing.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    let said = refusal(&dir).await;
    assert!(said.contains("cannot be opened with this sealing key"), "{said}");
    fs::remove_file(&key).unwrap();
    let said = refusal(&dir).await;
    assert!(said.contains("sealing.key: No such file"), "{said}");
    assert!(!key.exists());
}

#[tokio::test]
async fn one_cellwalld_at_a_time_uses_a_directory() {
    // CP-11
    let daemon = Daemon::start().await;
    let data = daemon.data();
    let expected = format!("cellwalld: {}: in use by another cellwalld", data.display());
    let other = TempDir::new().unwrap();
    let flags = ["run", "--data-dir", data.to_str().unwrap(), "--mesh-listen", "127.0.0.1:0"];
    let mut process = cellwalld(other.path(), &flags).start().unwrap();
    let mut said = process.stderr();
    assert_eq!(process.ended(DEADLINE).await.unwrap().code(), Some(1));
    assert_eq!(said.lines().unwrap().last(), Some(&expected));
    assert_eq!(daemon.get("/v1/status").await.1["trust_domain"], TRUST_DOMAIN);
}
