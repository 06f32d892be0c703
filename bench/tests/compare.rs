//! `cellwall-bench compare` as it is run, with peers of the repository and some of the test's own.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use cellwall_bench::compare::{Comparison, Sample};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cellwall-bench");

/// A folder of peers: those of the repository that need no program of others, and more.
fn peers(more: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let copy = |name: &str| {
        let to = folder.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(own.join(name), to).unwrap();
    };
    for name in ["pair.sh", "none/run", "none/about.json", "relay/run", "relay/about.json"] {
        copy(name);
    }
    for (name, script) in more {
        let peer = folder.path().join(name);
        fs::create_dir(&peer).unwrap();
        let about = format!(
            r#"[{{"name": "{name}", "layer": 4, "protocols": ["http1"], "about": "a test's"}}]"#
        );
        fs::write(peer.join("about.json"), about).unwrap();
        fs::write(peer.join("run"), script).unwrap();
    }
    folder
}

/// One short run.
fn compare(peers: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", PROGRAM, "compare", "--seconds=0.1", "--warm-up=0.05", "--idle=20"]);
    command.arg("--peers-folder").arg(peers).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

fn read(out: &Path) -> Comparison {
    serde_json::from_slice(&fs::read(out).unwrap()).unwrap()
}

fn of<'a>(samples: &'a [Sample], contender: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.contender == contender).collect()
}

#[test]
fn rounds_are_interleaved_and_what_fails_or_is_absent_is_written_down() {
    let absent = r#"echo '{"ready":false,"why":"no such program"}'"#;
    let peers = peers(&[("missing", absent), ("broken", "echo to be read >&2; exit 1")]);
    let out = peers.path().join("result.json");

    let output = compare(peers.path(), &out, &["--rounds=2", "--rows=http1-1"]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read(&out);
    assert_eq!(result.absent.get("missing").map(String::as_str), Some("no such program"));
    let [row] = result.rows.as_slice() else { panic!("{:?}", result.rows) };
    let order = row.samples.iter().map(|sample| (sample.round, sample.contender.as_str()));
    let round = |number| [(number, "none"), (number, "broken"), (number, "relay")];
    assert_eq!(order.collect::<Vec<_>>(), [round(1), round(2)].concat());
    for sample in of(&row.samples, "broken") {
        let error = sample.error.as_deref().unwrap();
        assert_eq!(error, "broken: it ended without a word: to be read");
    }
    for sample in of(&row.samples, "none") {
        let figure = |name: &str| sample.figures.get(name).copied();
        assert!(figure("calls_per_second").unwrap() > 0.0, "{sample:?}");
        assert_eq!((figure("failed"), figure("cpu_us_per_call")), (Some(0.0), None));
    }
    for sample in of(&row.samples, "relay") {
        assert!(sample.figures.contains_key("cpu_us_per_call"), "{sample:?}");
        assert!(sample.figures["rss_mib"] > 0.0, "{sample:?}");
    }
    // Ours takes no part: there is nobody to reach a goal.
    assert_eq!(result.goals, []);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("missing       did not take part: no such program"), "{table}");
    assert!(table.contains("broken round 2: broken: it ended without a word"), "{table}");
}

#[test]
fn a_load_of_others_is_named_in_the_result_and_told_what_it_cannot_make() {
    let peers = peers(&[]);
    let out = peers.path().join("result.json");
    let folder = scripted_wrk(peers.path());
    let rows = "--rows=http1-1,open-4000,tail-256,tail-80,tail-two";
    let flags = ["--rounds=1", "--peers=none", rows, "--load=wrk", &folder];

    let output = compare(peers.path(), &out, &flags);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read(&out);
    assert_eq!(result.conditions.settings.load, "wrk 1.2");
    let samples = result.rows.iter().map(|row| row.samples.first().unwrap()).collect::<Vec<_>>();
    let (http, others) = samples.split_first().unwrap();
    assert_eq!((http.figures["p99_us"], http.figures["calls_per_second"]), (3000.0, 7.0));
    // It says nothing of these.
    assert!(!["p999_us", "max_us", "starved"].iter().any(|name| http.figures.contains_key(*name)));
    let cannot = Some("wrk cannot make the load of this row");
    assert_eq!(others.iter().map(|it| it.error.as_deref()).collect::<Vec<_>>(), [cannot; 4]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.lines().any(|line| line == "load: wrk 1.2"), "{table}");
    let page = peers.path().join("page.html");
    let report = Command::new(PROGRAM).arg("report").arg(&out).arg("--out").arg(&page).status();
    assert!(report.unwrap().success());
    assert!(fs::read_to_string(page).unwrap().contains("<p>load: wrk 1.2</p>"));
}

/// Prints what `wrk` does; the flag for where it is.
fn scripted_wrk(folder: &Path) -> String {
    let script = "#!/bin/sh\ncase \"$1\" in -v) echo 'wrk 1.2'; exit 1;; esac\n\
        printf '  50%%  1.00ms\\n  90%%  2.00ms\\n  99%%  3.00ms\\n  7 requests in 1.00s, 1KB read\\n'\n";
    let wrk = folder.join("wrk");
    fs::write(&wrk, script).unwrap();
    fs::set_permissions(&wrk, fs::Permissions::from_mode(0o755)).unwrap();
    format!("--programs={}", folder.display())
}

/// Measures these rows of a relay, and makes a page of them.
fn check_rows(rows: &[&str]) {
    let peers = peers(&[]);
    let out = peers.path().join("result.json");

    let names = format!("--rows={}", rows.join(","));
    let output = compare(peers.path(), &out, &["--rounds=1", "--peers=relay", &names]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = read(&out);
    assert_eq!(result.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), rows);
    for row in &result.rows {
        assert_eq!(row.samples.len(), 1, "{}", row.name);
        let sample = row.samples.first().unwrap();
        assert_eq!(sample.error, None, "{}", row.name);
        assert!(sample.figures.contains_key(&row.figure), "{} {sample:?}", row.name);
        assert_eq!(sample.figures.get("failed").copied().unwrap_or_default(), 0.0, "{}", row.name);
    }
    let page = peers.path().join("page.html");
    let report = Command::new(PROGRAM).arg("report").arg(&out).arg("--out").arg(&page).status();
    assert!(report.unwrap().success());
    let page = fs::read_to_string(page).unwrap();
    for row in rows {
        assert!(page.contains(&format!("<h2>{row}: ")), "{row}");
    }
}

#[test]
fn rows_of_calls_can_be_measured() {
    check_rows(&["http1-1", "http1-32", "http1-256", "http1-new", "tcp-new"]);
}

#[test]
fn rows_of_streams_and_of_a_schedule_can_be_measured() {
    check_rows(&["bulk-1", "bulk-8", "grpc-1", "grpc-8", "open-4000"]);
}

#[test]
fn rows_of_the_slowest_can_be_measured() {
    check_rows(&["tail-256", "tail-1000", "tail-50", "tail-80", "tail-two"]);
}

#[test]
fn where_a_call_that_has_to_be_denied_is_answered_there_is_no_measurement() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/relay/run");
    let run = fs::read_to_string(own).unwrap();
    // It says that it denies whoever comes where in truth everybody is let through.
    let run = run.replace(r#"--version)""#, r#"--version)" ",\"denied\":\"$ENTRY\"""#);
    let peers = peers(&[("open", &run)]);
    let out = peers.path().join("result.json");

    let others = scripted_wrk(peers.path());
    for load in ["--load=own", "--load=wrk"] {
        let flags = ["--rounds=1", "--rows=http1-1", "--peers=open", load, &others];
        let output = compare(peers.path(), &out, &flags);

        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let result = read(&out);
        let error = result.rows[0].samples[0].error.as_deref().unwrap();
        assert!(error.starts_with("the policy and its witness: "), "{load} {error}");
        assert!(error.ends_with(" ended with Status(200)"), "{load} {error}");
    }
}

#[test]
fn rows_of_memory_and_of_the_start_can_be_measured() {
    check_rows(&["idle-http", "idle-tcp", "start"]);
}

#[test]
fn what_was_measured_before_a_stop_is_written() {
    let peers = peers(&[]);
    let out = peers.path().join("result.json");

    // SIGTERM after a second, in the middle of a load of a minute.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=8", "1", PROGRAM, "compare", "--seconds=60", "--warm-up=0"]);
    command.args(["--rows=start,http1-1", "--peers=none", "--rounds=1"]);
    let output = command.arg("--peers-folder").arg(peers.path()).arg("--out").arg(&out).output();
    let errors = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();

    assert!(errors.contains("Error: stopped"), "{errors}");
    let result = read(&out);
    assert!(result.conditions.was_stopped);
    assert!(result.rows.iter().all(|row| row.name == "start" || row.samples.is_empty()));
}

#[test]
fn a_peer_that_does_not_end_is_ended_with_all_that_it_started() {
    let stubborn = r#"
        trap '' TERM
        sleep 1000 & echo $! > "$NOTE"
        echo "{\"ready\":true,\"pids\":[[],[]],\"entry\":\"$DIRECT\"}"
        sleep 1001"#;
    let note = tempfile::NamedTempFile::new().unwrap();
    let stubborn = stubborn.replace("$NOTE", &note.path().display().to_string());
    let peers = peers(&[("stubborn", &stubborn)]);
    let out = peers.path().join("result.json");

    let more = ["--rounds=1", "--rows=start", "--peers=stubborn"];
    let output = compare(peers.path(), &out, &more);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let child = fs::read_to_string(note.path()).unwrap();
    let command = PathBuf::from("/proc").join(child.trim()).join("cmdline");
    // Its number may be another's by now; then it is another command.
    let runs = || fs::read_to_string(&command).unwrap_or_default().contains("1000");
    let end = Instant::now() + Duration::from_secs(3);
    while runs() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(!runs(), "it still runs");
}
