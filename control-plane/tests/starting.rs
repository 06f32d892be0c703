//! `init`, `run` and what they say to whoever starts them wrongly.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    process::Output,
};

use nix::unistd::geteuid;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    daemon::{DEADLINE, Daemon, cellwalld, data_of},
    roles::NOBODY,
};

/// Runs cellwalld to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cellwalld"));
    let output = command.args(arguments).kill_on_drop(true).output();
    tokio::time::timeout(DEADLINE, output).await.expect("still running").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn init_founds_a_trust_domain_once_and_says_what_is_next() {
    let dir = TempDir::new().unwrap();
    let data = data_of(&dir);
    let init = ["init", "--data-dir", &data, "--trust-domain", "pay.example"];
    let output = run(&init).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in [
        "Trust domain pay.example",
        "90 days",
        &format!("cellwalld run --data-dir {data}"),
        &format!("--policy-key {data}/policy-key.pem"),
        "sealing.key",
        "bundle.pem",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let key = fs::read(dir.path().join("data/sealing.key")).unwrap();
    let again = run(&init).await;
    assert_eq!(again.status.code(), Some(1));
    let expected =
        format!("cellwalld: {data}: trust domain `pay.example` was founded here already\n");
    assert_eq!(text(&again.stderr), expected);
    assert_eq!(fs::read(dir.path().join("data/sealing.key")).unwrap(), key);
    Daemon::start_in(dir, &[]).await;
}

#[tokio::test]
async fn init_goes_on_where_an_earlier_one_was_cut_off() {
    let dir = TempDir::new().unwrap();
    let data = data_of(&dir);
    fs::DirBuilder::new().mode(0o700).create(&data).unwrap();
    let key = dir.path().join("data/sealing.key");
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key).unwrap();
    fs::write(&key, "ab".repeat(32)).unwrap();
    let init = ["init", "--data-dir", &data, "--trust-domain", "pay.example"];
    assert_eq!(run(&init).await.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&key).unwrap(), "ab".repeat(32));
    Daemon::start_in(dir, &[]).await;
}

#[tokio::test]
async fn the_sealing_key_may_be_kept_elsewhere() {
    let (dir, safe) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let key = safe.path().join("the.key");
    let key = key.to_str().unwrap();
    let data = data_of(&dir);
    let init = ["init", "--data-dir", &data, "--trust-domain", "pay.example", "--sealing-key", key];
    assert_eq!(run(&init).await.status.code(), Some(0));
    assert!(!dir.path().join("data/sealing.key").exists());
    Daemon::start_in(dir, &["--sealing-key", key]).await;
}

#[tokio::test]
async fn mistakes_are_named_by_flag_or_file() {
    let dir = TempDir::new().unwrap();
    let data = data_of(&dir);
    let missing =
        format!("cellwalld: --data-dir {data}: run `cellwalld init --data-dir {data}` first");
    let ttl = "cellwalld: --svid-ttl: 5s is not between 10s and 1day";
    let name = "cellwalld: --trust-domain: `Pay` is not a bare lower-case name";
    for (arguments, expected) in [
        (&["run", "--data-dir", &data][..], &*missing),
        (&["run", "--data-dir", &data, "--svid-ttl", "5s"], ttl),
        (&["init", "--data-dir", &data, "--trust-domain", "Pay"], name),
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).lines().last(), Some(expected));
        assert!(output.stdout.is_empty());
    }
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn a_trust_domain_is_not_taken_for_another() {
    let dir = Daemon::start().await.stop().await;
    let data = data_of(&dir);
    let other = ["run", "--dev", "--trust-domain", "other.example", "--data-dir", &data];
    let output = run(&other).await;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("cellwalld: --trust-domain other.example: {data} holds `pay.example`");
    assert_eq!(text(&output.stderr).lines().last(), Some(&*expected));
}

#[tokio::test]
async fn a_life_longer_than_the_authority_s_is_refused_at_the_start() {
    // CA-07
    let dir = TempDir::new().unwrap();
    let data = data_of(&dir);
    let init = ["init", "--data-dir", &data, "--trust-domain", "pay.example", "--ca-ttl", "1h"];
    assert_eq!(run(&init).await.status.code(), Some(0));
    let ports = ["--mesh-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
    let arguments = [&["run", "--data-dir", &data, "--svid-ttl", "2h"][..], &ports].concat();
    let output = run(&arguments).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.ends_with("the authority ends before the certificate would\n"), "{said}");
}

#[tokio::test]
async fn the_process_leaves_no_core_and_hides_its_memory() {
    // SEC-01
    let daemon = Daemon::start().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    if !geteuid().is_root() {
        return; // only root can start it as another user
    }
    // proc(5): what belongs to a process that is not dumpable belongs to root.
    let dir = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
    let data = data_of(&dir);
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let arguments = ["run", "--dev", "--trust-domain", "pay.example", "--data-dir", &data];
    let ports = ["--mesh-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
    let spawn = cellwalld(dir.path(), &arguments).args(ports).user(NOBODY);
    let mut process = spawn.start().unwrap();
    process.message("listening", DEADLINE).await.unwrap();
    let owner = fs::metadata(format!("/proc/{}/environ", process.id())).unwrap().uid();
    assert_eq!(owner, 0);
}

fn open_to_all() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

#[tokio::test]
async fn health_answers_and_nothing_else_does() {
    let daemon = Daemon::start().await;
    let ask = async |call: &str| {
        let answer = cellwall_testkit::client::request(daemon.health, call).await.unwrap();
        (answer.status().as_u16(), text(answer.body()))
    };
    assert_eq!(ask("GET /livez").await, (200, "ok\n".into()));
    assert_eq!(ask("GET /readyz").await, (200, "ok\n".into()));
    assert_eq!(ask("GET /v1/status").await.0, 404);
    assert_eq!(ask("POST /livez").await.0, 405); // OBS-10
    let metrics = daemon.metrics().await;
    let issued = metrics.sum("cellwall_ca_svids_issued_total", &[("result", "issued")]);
    assert_eq!(issued, 1.0);
    assert_eq!(metrics.sum("cellwall_audit_sequence", &[]), 2.0);
    assert!(metrics.sum("cellwall_ca_expiration_timestamp_seconds", &[]) > 1.7e9);
    assert!(metrics.sum("cellwall_audit_verified_timestamp_seconds", &[]) > 1.7e9);
}
