//! A connection belongs to the process that opened it, as long as that is what it was (ATT-05).

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Duration,
};

use cellwall_testkit::process::{Process, Tail};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
};

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
        self.listens().await.write_all(b"!").await.unwrap();
    }

    /// Waits until a role waits.
    async fn listens(&self) -> UnixStream {
        let accepted = tokio::time::timeout(DEADLINE, self.listener.accept()).await;
        accepted.expect("nobody waits").unwrap().0
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
    let printed = opener.stdout();
    opener.kill().await.unwrap();
    control.say().await;
    let outcome = last_words(printed).await;
    assert_eq!(outcome, json!({"code": "PermissionDenied"}));
    let failures = [("attestor", "unix"), ("reason", "exited")];
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.sum("cellwall_attestation_failures_total", &failures), 1.0);
    let issued = [("result", "issued")];
    assert_eq!(metrics.sum("cellwall_ca_svids_issued_total", &issued), 1.0); // cellwalld's own
}

/// The line that is printed by a process which outlives the one that was started.
async fn last_words(mut printed: Tail) -> Value {
    let look = async {
        loop {
            if let Some(line) = printed.json().unwrap().into_iter().find(Value::is_object) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, look).await.unwrap()
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

#[tokio::test]
async fn a_process_that_became_another_user_gets_no_svid() {
    // ATT-01
    if !geteuid().is_root() {
        return; // only root can become another user
    }
    for frozen in [false, true] {
        let daemon = Daemon::start_with_policy(&[], &we_are_web()).await;
        let control = Control::bind(&daemon);
        // The role must reach its word as another user.
        let open = Permissions::from_mode(0o777);
        fs::set_permissions(daemon.dir.path(), open.clone()).unwrap();
        fs::set_permissions(&control.path, open).unwrap();
        if frozen {
            // It changes between its connection and our attestation.
            daemon.process.signal(Signal::SIGSTOP).unwrap();
        }
        let arguments = [("socket", &*daemon.workload_socket), ("control", &*control.path)];
        let turncoat = role(&this_program(), "turncoat", daemon.dir.path(), &arguments);
        let mut turncoat = turncoat.start().unwrap();
        if !frozen {
            attested(&daemon).await;
        }
        control.say().await;
        turncoat.printed(DEADLINE, |line| line["ready"] == true).await.unwrap();
        if frozen {
            daemon.process.signal(Signal::SIGCONT).unwrap();
        }
        control.say().await;
        let said = turncoat.printed(DEADLINE, |line| line["ready"].is_null()).await.unwrap();
        // A caller that was nobody from the start has no connection to be told on.
        assert!(frozen || said["code"] == "PermissionDenied", "{said}");
        assert_eq!(said["svids"], Value::Null, "{said}");
        let failures = [("attestor", "unix"), ("reason", "changed")];
        let metrics = daemon.metrics().await;
        assert_eq!(metrics.sum("cellwall_attestation_failures_total", &failures), 1.0);
    }
}

/// The next process gets this number, unless another one is started in between.
fn aim(pid: u32) -> std::io::Result<()> {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
}

#[tokio::test]
async fn a_pid_that_was_used_again_does_not_lend_its_identity() {
    // ATT-01: an unknown program connects and dies before we look; then a known one has its pid.
    if !geteuid().is_root() || aim(10_000).is_err() {
        return; // only root chooses pids
    }
    let daemon = Daemon::start().await;
    let links = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let known = links.path().join("known");
    fs::hard_link(this_program(), &known).unwrap();
    daemon.apply(&policy(&[("web", &[path(&known)])])).await;
    let control = Control::bind(&daemon);
    let arguments = [("socket", &*daemon.workload_socket), ("control", &*control.path)];
    let reuse = async {
        loop {
            daemon.process.signal(Signal::SIGSTOP).unwrap();
            let opener = role(&this_program(), "opener", daemon.dir.path(), &arguments);
            let mut opener = opener.start().unwrap();
            let mut holder = control.listens().await;
            let printed = opener.stdout();
            opener.kill().await.unwrap();
            aim(opener.id()).unwrap();
            let sleeper = role(&known, "sleeper", daemon.dir.path(), &arguments[1..]);
            let sleeper = sleeper.start().unwrap();
            let _waits = control.listens().await;
            daemon.process.signal(Signal::SIGCONT).unwrap();
            holder.write_all(b"!").await.unwrap();
            let said = last_words(printed).await;
            assert_eq!(said["svids"], Value::Null, "{said}");
            // Somebody else was quicker to take the number, and was judged for who it is: again.
            if sleeper.id() != opener.id() {
                continue;
            }
            // Nobody from the start: there is no connection to be denied on.
            assert_ne!(said["code"], "PermissionDenied");
            return;
        }
    };
    tokio::time::timeout(DEADLINE, reuse).await.unwrap();
    let metrics = daemon.metrics().await;
    let failures = [("attestor", "unix"), ("reason", "exited")];
    assert!(metrics.sum("cellwall_attestation_failures_total", &failures) >= 1.0);
}
