//! `cellwall-bench flames` as it is run, with a pair of plain relays in the place of ours.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use cellwall_bench::flames::Flames;
use tempfile::TempDir;

/// A folder in which ours are relays.
fn relays() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    fs::create_dir(folder.path().join("ours")).unwrap();
    for (from, to) in
        [("pair.sh", "pair.sh"), ("ours/about.json", "ours/about.json"), ("relay/run", "ours/run")]
    {
        fs::copy(own.join(from), folder.path().join(to)).unwrap();
    }
    folder
}

/// One short run.
fn flames(folder: &Path, path: Option<&str>) -> Output {
    let mut command = Command::new("/usr/bin/timeout");
    command.args(["60", env!("CARGO_BIN_EXE_cellwall-bench"), "flames", "--seconds=0.3"]);
    command.arg("--rows=http1-1").arg("--peers-folder").arg(folder);
    command.arg("--folder").arg(folder).arg("--out").arg(folder.join("out.json"));
    command.envs(path.map(|path| ("PATH", path)));
    command.output().unwrap()
}

#[test]
fn both_sides_are_drawn_or_it_is_said_why_nobody_may_look() {
    let folder = relays();

    let output = flames(folder.path(), None);

    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        assert!(errors.contains("perf cannot be used: "), "{errors}");
        return;
    }
    let drawn = fs::read(folder.path().join("out.json")).unwrap();
    let drawn = serde_json::from_slice::<Flames>(&drawn).unwrap();
    let sides = drawn.sides.iter().map(|side| side.side.as_str()).collect::<Vec<_>>();
    assert_eq!(sides, ["caller", "callee"]);
    for side in &drawn.sides {
        assert!(side.samples > 0 && side.kernel_samples > 0, "{side:?}");
        assert!(side.user_seconds + side.kernel_seconds > 0.0, "{side:?}");
        let svg = fs::read_to_string(&side.svg).unwrap();
        assert!(svg.contains(&format!("the {}'s sidecar: {} samples", side.side, side.samples)));
        assert!(svg.contains("class=\"k\"") && svg.contains("class=\"u\""), "{svg}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("http1-1   caller"));
}

#[test]
fn without_perf_it_is_said_and_nothing_is_drawn() {
    let folder = relays();

    let output = flames(folder.path(), Some("/nowhere"));

    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("perf cannot be used: perf: No such file"), "{errors}");
    assert!(!output.status.success() && !folder.path().join("out.json").exists());
}
