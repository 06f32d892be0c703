//! `cellwall-bench calls` as it is run, with peers that need no program of others.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use cellwall_bench::calls::{Counted, Sample};

/// Counts a short load of these shapes through the relay and without any proxy.
fn calls(out: &Path, more: &[&str]) -> Output {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_cellwall-bench"), "calls", "--seconds=0.2"]);
    command.arg("--peers-folder").arg(peers).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn each_side_of_a_relay_receives_and_sends_twice_for_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let [out, sequence] = ["calls.json", "sequence"].map(|name| folder.path().join(name));

    let sequence_flag = format!("--sequence={}", sequence.display());
    let options = ["--rows=tcp,http2", "--peers=none,relay", "--counter=strace", &sequence_flag];
    let output = calls(&out, &options);

    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !is_there("strace") {
        assert!(errors.contains("nothing counts: perf: not wanted; strace: "), "{errors}");
        return;
    }
    assert!(output.status.success(), "{errors}");
    let counted: Counted = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let named = |sample: &Sample| format!("{} {}", sample.shape, sample.contender);
    let samples = counted.samples.iter().map(named).collect::<Vec<_>>();
    assert_eq!(samples, ["tcp none", "tcp relay", "http2 none", "http2 relay"].map(str::to_owned));
    for sample in &counted.samples {
        assert_eq!((&sample.error, sample.failed), (&None, 0), "{sample:?}");
        assert!(sample.calls > 0, "{sample:?}");
        let totals = sample.sides.each_ref().map(|side| side.total().calls);
        assert_eq!(sample.contender == "none", totals == [0, 0], "{sample:?}");
    }
    let relayed = counted.samples.iter().find(|sample| named(sample) == "tcp relay").unwrap();
    for side in &relayed.sides {
        for name in ["recvfrom", "sendto"] {
            // Whatever a connection costs to begin comes on top, and reads that found nothing.
            let done = side.by_name[name].calls - side.by_name[name].failed;
            assert!(done >= 2 * relayed.calls, "{name} {done}: {relayed:?}");
        }
    }
    let sequence = fs::read_to_string(sequence).unwrap();
    for part in ["tcp relay\n", "http2 relay\n", " client cellwall-bench ", " sendto("] {
        assert!(sequence.contains(part), "{part}: {sequence}");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("tcp: TCP, a message and its echo, 1 connection"), "{table}");
}

#[test]
fn a_row_that_does_not_exist_is_named() {
    let output = calls(Path::new("/dev/null"), &["--rows=udp"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no row udp; there are http1-1, http1-32, http2, tcp"), "{errors}");
}
