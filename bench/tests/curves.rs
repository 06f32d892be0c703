//! `cellwall-bench curves` as it is run, with a pair of plain relays in the place of ours.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use cellwall_bench::curves::{Curves, NAMES};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cellwall-bench");

/// A folder in which ours are relays that write down with which options they were started.
fn relays() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    fs::create_dir(folder.path().join("ours")).unwrap();
    for name in ["pair.sh", "ours/about.json"] {
        fs::copy(own.join(name), folder.path().join(name)).unwrap();
    }
    let run = fs::read_to_string(own.join("relay/run")).unwrap();
    let note = format!("\necho \"$PAIR\" >> {}/options\nneed", folder.path().display());
    fs::write(folder.path().join("ours/run"), run.replacen("\nneed", &note, 1)).unwrap();
    folder
}

/// One short run.
fn curves(peers: &Path, more: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", PROGRAM, "curves", "--seconds=0.05", "--warm-up=0.02", "--rounds=1"]);
    command.arg("--peers-folder").arg(peers).arg("--out").arg(peers.join("out.json"));
    command.args(more).output().unwrap()
}

fn read(peers: &Path) -> Curves {
    serde_json::from_slice(&fs::read(peers.join("out.json")).unwrap()).unwrap()
}

#[test]
fn every_curve_is_measured_and_what_did_not_happen_is_said() {
    let folder = relays();
    let peers = folder.path();
    let empty = format!("--without-telemetry={}", peers.display());

    let output = curves(peers, &["--ends", &empty]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let drawn = read(peers);
    assert_eq!(drawn.curves.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), NAMES);
    for curve in &drawn.curves {
        let is_about_changes = curve.name.starts_with("changes");
        let points = match curve.name.as_str() {
            "decision" => 5,
            _ if is_about_changes => 4,
            _ => 2,
        };
        assert_eq!(curve.points.len(), points, "{curve:?}");
        // A relay takes neither certificates nor policies.
        let failed = curve.points.iter().map(|point| point.failed).sum::<usize>();
        assert_eq!(failed, if is_about_changes { 2 } else { 0 }, "{curve:?}");
    }
    let missed = drawn.goals.iter().filter(|goal| !goal.is_reached);
    let missed = missed.map(|goal| goal.figure.as_str()).collect::<BTreeSet<_>>();
    // Nobody said where it denies: that is no goal reached.
    assert!(missed.contains("denied_seen") && missed.contains("measurements_failed"));
    let options = fs::read_to_string(peers.join("options")).unwrap();
    for option in [
        "--rules=10 ",
        "--callers=100 --rules=1000 ",
        " --denied",
        "--endpoints=5 ",
        "--rotate-every=1000 ",
        "--change-every=1000 ",
    ] {
        assert!(options.contains(option), "{option}: {options}");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("certificates_taken is 0"), "{table}");
    let page = peers.join("page.html");
    let mut report = Command::new(PROGRAM);
    report.arg("report").arg(peers.join("out.json")).arg("--out").arg(&page);
    assert!(report.status().unwrap().success());
    let page = fs::read_to_string(page).unwrap();
    assert!(NAMES.iter().all(|name| page.contains(&format!("<h2>{name}: "))));
}

#[test]
fn without_a_sidecar_that_tells_nothing_its_point_is_named_and_missing() {
    let folder = relays();
    let output = curves(folder.path(), &["--curves=changes"]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let drawn = read(folder.path());
    let [curve] = drawn.curves.as_slice() else { panic!("{drawn:?}") };
    let why = "there is no sidecar without telemetry";
    assert_eq!(curve.absent.get("no telemetry").map(String::as_str), Some(why));
}

#[test]
fn a_curve_that_does_not_exist_is_named() {
    let folder = relays();
    let errors = curves(folder.path(), &["--curves=weather"]).stderr;
    let errors = String::from_utf8_lossy(&errors);
    assert!(errors.contains("no curve weather; there are decision, rules, callers"), "{errors}");
}
