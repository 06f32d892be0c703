//! A connection belongs to the process that opened it, as long as that is what it was (ATT-05).

use std::{fs, path::PathBuf, time::Duration};

use cellwall_testkit::process::Process;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::UnixListener};

use crate::{
    daemon::{DEADLINE, Daemon},
    policy::{path, policy, this_path, we_are_web},
    roles::{role, this_program},
};

/// Where roles wait for the word.
struct Control {
    path: PathBuf,
    listener: UnixListener,
}

impl Control {
    fn bind(daemon: &Daemon) -> Self {
        let path = daemon.dir.path().join("control.sock");
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// Lets the next role that waits go on.
    async fn say(&self) {
        let accepted = tokio::time::timeout(DEADLINE, self.listener.accept()).await;
        accepted.expect("nobody waits").unwrap().0.write_all(b"!").await.unwrap();
    }
}

/// Waits until cellwalld has attested whoever connected.
async fn attested(daemon: &Daemon) {
    daemon.measured(|metrics| metrics.sum("cellwall_workload_connections", &[]) == 1.0).await;
}

async fn outcome(role: &mut Process) -> Value {
    role.printed(DEADLINE, Value::is_object).await.unwrap()
}

#[tokio::test]
async fn whoever_holds_a_connection_gets_what_its_opener_earns() {
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let control = Control::bind(&daemon);
    let arguments = [("socket", &*daemon.workload_socket), ("control", &*control.path)];
    let mut opener =
        role(&this_program(), "opener", daemon.dir.path(), &arguments).start().unwrap();
    attested(&daemon).await;
    control.say().await;
    assert_eq!(outcome(&mut opener).await, json!({"svids": 1}));
}

#[tokio::test]
async fn a_connection_whose_opener_has_died_gets_no_svid() {
    // ATT-01, ATT-05, WAPI-30
    let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
    let control = Control::bind(&daemon);
    let arguments = [("socket", &*daemon.workload_socket), ("control", &*control.path)];
    let mut opener =
        role(&this_program(), "opener", daemon.dir.path(), &arguments).start().unwrap();
    attested(&daemon).await;
    let mut printed = opener.stdout();
    opener.kill().await.unwrap();
    control.say().await;
    let look = async {
        loop {
            if let Some(line) = printed.json().unwrap().into_iter().find(Value::is_object) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(DEADLINE, look).await.unwrap();
    assert_eq!(outcome, json!({"code": "PermissionDenied"}));
    let failures = [("attestor", "unix"), ("reason", "exited")];
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_attestation_failures_total", &failures), 1.0);
}

#[tokio::test]
async fn a_process_that_became_another_program_gets_no_svid() {
    // ATT-01: same process, same start time, other selectors; even if both programs are known.
    let daemon = Daemon::start().await;
    let control = Control::bind(&daemon);
    let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = other.path().join("other");
    fs::hard_link(this_program(), &program).unwrap();
    let entries = [("web", &[this_path()][..]), ("db", &[path(&program)])];
    daemon.apply(&policy(&entries)).await;
    let arguments =
        [("socket", &*daemon.workload_socket), ("control", &*control.path), ("program", &*program)];
    let changeling = role(&this_program(), "changeling", daemon.dir.path(), &arguments);
    let mut changeling = changeling.start().unwrap();
    attested(&daemon).await;
    control.say().await;
    control.say().await;
    assert_eq!(outcome(&mut changeling).await, json!({"code": "PermissionDenied"}));
    let failures = [("attestor", "unix"), ("reason", "changed")];
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_attestation_failures_total", &failures), 1.0);
}
