//! `cellwall-bench compare` with a network namespace for each side, where that is allowed.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use cellwall_bench::compare::Comparison;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cellwall-bench");

const JOINED: &str = "two network namespaces joined by veth";

/// A folder of peers: `none`, and a relay that writes down where both of its sides are.
fn peers() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    for peer in ["none", "relay"] {
        fs::create_dir(folder.path().join(peer)).unwrap();
    }
    for name in ["pair.sh", "none/run", "none/about.json", "relay/about.json"] {
        fs::copy(own.join(name), folder.path().join(name)).unwrap();
    }
    let run = fs::read_to_string(own.join("relay/run")).unwrap();
    let note = folder.path().join("note").display().to_string();
    let told = format!(
        "for side in \"${{clients[0]}}\" \"${{servers[0]}}\"; do
            until [[ \"$(readlink /proc/$side/exe)\" == */cellwall-bench ]] &&
                grep -qz relay /proc/$side/cmdline && ! grep -qz within /proc/$side/cmdline
            do :; done
            readlink /proc/$side/ns/net
        done > {note}
        ready "
    );
    fs::write(folder.path().join("relay/run"), run.replacen("ready ", &told, 1)).unwrap();
    folder
}

/// One short run.
fn compare(peers: &Path, seconds: &str, more: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", PROGRAM, "compare", "--warm-up=0.05", "--rounds=1"]);
    command
        .args(["--seconds", seconds])
        .args(more)
        .arg("--peers-folder")
        .arg(peers)
        .arg("--out")
        .arg(peers.join("out.json"));
    command.output().unwrap()
}

fn read(peers: &Path) -> Comparison {
    serde_json::from_slice(&fs::read(peers.join("out.json")).unwrap()).unwrap()
}

/// The namespaces of the two sides, as the relay has written them down.
fn sides(peers: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(peers.join("note")).unwrap();
    text.lines().map(PathBuf::from).collect()
}

/// The namespaces that processes are in.
fn inhabited() -> BTreeSet<PathBuf> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok()).collect()
}

/// The links that are seen from here, and the namespaces that have names.
fn seen() -> [BTreeSet<String>; 2] {
    ["/sys/class/net", "/run/netns"].map(|folder| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    })
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn each_side_is_in_a_namespace_of_its_own_and_nothing_is_left_behind() {
    let peers = peers();
    let before = seen();

    let rows = "--rows=http1-1,grpc-1,tcp-new,bulk-1,open-4000,idle-http,start";
    let output = compare(peers.path(), "0.1", &[rows]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read(peers.path());
    let network = result.conditions.network.as_str();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.lines().next().unwrap().contains(network), "{table}");
    for sample in result.rows.iter().flat_map(|row| &row.samples) {
        assert_eq!(sample.error, None, "{sample:?}");
        let failed = sample.figures.get("failed").copied().unwrap_or_default();
        assert!(failed.abs() < 0.5, "{sample:?}");
    }
    assert_eq!(result.rows.iter().map(|row| row.samples.len()).sum::<usize>(), 14);
    let page = peers.path().join("page.html");
    let mut report = Command::new(PROGRAM);
    report.arg("report").arg(peers.path().join("out.json")).arg("--out").arg(&page);
    assert!(report.status().unwrap().success());
    assert!(fs::read_to_string(page).unwrap().contains(network));
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let sides = sides(peers.path());
    if !network.starts_with(JOINED) {
        assert!(network.starts_with("loopback: no "), "{network}");
        assert_eq!(sides, [own.clone(), own]);
        return;
    }
    let apart = sides.iter().chain([&own]).collect::<BTreeSet<_>>();
    assert_eq!(apart.len(), 3, "{apart:?}");
    wait_until("somebody is left", || sides.iter().all(|side| !inhabited().contains(side)));
    assert_eq!(seen(), before);
}

#[test]
fn a_side_counts_what_its_process_uses_under_the_number_that_it_was_started_with() {
    let peers = peers();

    let output = compare(peers.path(), "0.5", &["--rows=http1-32", "--peers=relay"]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read(peers.path());
    let [sample] = result.rows[0].samples.as_slice() else { panic!("{result:?}") };
    for side in ["client_cpu_seconds", "server_cpu_seconds"] {
        assert!(sample.figures[side] > 0.02, "{side}: {sample:?}");
    }
}

#[test]
fn loopback_can_be_had_and_says_that_it_was_asked_for() {
    let peers = peers();

    let output = compare(peers.path(), "0.1", &["--rows=http1-1", "--network=loopback"]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let network = read(peers.path()).conditions.network;
    assert!(network.starts_with("loopback: as was asked for; congestion control "), "{network}");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(sides(peers.path()), [own.clone(), own]);
}

#[test]
fn whoever_may_not_have_namespaces_gets_loopback_with_the_reason_or_an_error_if_it_insists() {
    let peers = peers();
    // Nobody in particular, with a folder to write to.
    let run = |network: &str| {
        let mut command = Command::new("timeout");
        command.args(["30", "setpriv", "--bounding-set=-all", "--inh-caps=-all", PROGRAM]);
        command.args(["compare", "--seconds=0.1", "--warm-up=0", "--rounds=1", "--rows=http1-1"]);
        command.arg("--peers=none").arg(format!("--network={network}"));
        command.arg("--peers-folder").arg(peers.path());
        command.arg("--out").arg(peers.path().join("out.json")).output().unwrap()
    };

    let output = run("auto");

    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("No such file or directory") || errors.contains("setpriv:") {
        return;
    }
    assert!(output.status.success(), "{errors}");
    let network = read(peers.path()).conditions.network;
    let why = "loopback: no network namespace: Operation not permitted (os error 1);";
    assert!(network.starts_with(why), "{network}");
    let output = run("veth");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("no network namespace"), "{errors}");
}

#[test]
fn a_run_that_is_stopped_leaves_no_namespace() {
    let peers = peers();
    let before = seen();

    let mut command = Command::new("timeout");
    // In the middle of a load of a minute.
    command.args(["--signal=INT", "--kill-after=8", "2", PROGRAM, "compare", "--seconds=60"]);
    command.args(["--warm-up=0", "--rows=http1-1", "--peers=relay", "--rounds=1"]);
    command.arg("--peers-folder").arg(peers.path());
    command.arg("--out").arg(peers.path().join("out.json"));
    let output = command.output().unwrap();

    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("Error: stopped"), "{errors}");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let sides = sides(peers.path());
    assert_eq!(sides.len(), 2);
    if !sides.contains(&own) {
        wait_until("somebody is left", || sides.iter().all(|side| !inhabited().contains(side)));
    }
    assert_eq!(seen(), before);
}
