//! One payment call, end to end: what the first slice asks to show.

use std::{fs, process::Command, time::Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Effort, Item, Shown, at_rest::AtRest, steps};
use crate::{
    cargo::{self, PROGRAMS, Profile},
    interop,
};

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item { title: "the demo and every test, on a fresh clone", run: fresh_clone },
    Item { title: "64 clients, leaf rotation every 50 ms, 5 root rotations", run: rotation },
    Item { title: "the hostile certificate corpus, both directions", run: hostile },
    Item { title: "openssl, curl and py-spiffe against the running pieces", run: peers },
    Item { title: "sizes, memory at idle, start to first served call", run: sizes },
];

/// 1. `cargo demo --script` and `cargo check-all` on a clone of what is committed.
fn fresh_clone(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("cellwall");
    let mut git = Command::new("git");
    cargo::run(git.args(["clone", "-q"]).arg(cargo::root()?).arg(&clone))?;
    // Nothing that was compiled here helps the clone.
    let target = folder.path().join("target");
    let run = |arguments: &[&str]| {
        let started = Instant::now();
        let output = Command::new("cargo")
            .args(arguments)
            .current_dir(&clone)
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .context("starting cargo")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::Ok((text, errors, output.status.success(), started.elapsed().as_secs_f64()))
    };
    let (text, errors, held, seconds) = run(&["demo", "--script"])?;
    shown.figure("demo_seconds_with_build", seconds.round());
    shown.figure("demo", text.trim());
    shown.goal("cargo demo --script exits 0", held);
    if !held {
        println!("{errors}");
    }
    if effort == Effort::Full {
        let (text, errors, held, seconds) = run(&["check-all"])?;
        let last = text.lines().last().unwrap_or_default().to_owned();
        shown.figure("check_all_seconds", seconds.round());
        shown.figure("check_all", last.clone());
        shown.goal(
            "cargo check-all ends `N passed, 0 failed`",
            held && last.ends_with(", 0 failed"),
        );
        if !held {
            println!("{text}\n{errors}");
        }
    }
    Ok(shown)
}

/// 2. Rotation under load, against running sidecars over real sockets (ROT-01).
fn rotation(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let test = "rotation::rotation_fails_no_handshake_and_no_request";
    let figures = steps::test_figures("cellwall-proxy", test, &programs, effort)?;
    let zero = |name: &str| figures.get(name) == Some(&Value::from(0));
    shown.goal("0 failed handshakes", zero("handshakes_failed"));
    shown.goal("0 failed HTTP requests", zero("requests_failed"));
    shown.goal("0 closed client connections", zero("client_connections_closed"));
    shown.goal("5 root rotations", figures.get("root_rotations") == Some(&Value::from(5)));
    for (name, value) in figures {
        shown.figure(&name, value);
    }
    Ok(shown)
}

/// 3. The hostile corpus against a running sidecar (T4).
fn hostile(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let test = "corpus::no_hostile_certificate_reaches_a_workload_or_gets_a_call";
    let figures = steps::test_figures("cellwall-proxy", test, &programs, effort)?;
    shown.goal("accepted 0", figures.get("accepted") == Some(&Value::from(0)));
    let cases = figures.get("cases").and_then(Value::as_u64).unwrap_or_default();
    shown.goal("at least 60 cases", cases >= 60);
    for (name, value) in figures {
        shown.figure(&name, value);
    }
    Ok(shown)
}

/// 4. Independent clients.
fn peers(_: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    for leg in interop::run_all(&programs)? {
        shown.figure(leg.peer, leg.transcript.trim_end());
        if leg.held() != Some(true) {
            leg.print();
        }
        shown.goal(leg.peer, leg.held() == Some(true));
    }
    Ok(shown)
}

/// 5. What it costs to have it: release builds, processes at rest.
fn sizes(_: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Release)?;
    for program in PROGRAMS.iter().filter(|name| !name.ends_with("workload")) {
        let bytes = fs::metadata(programs.join(program))?.len();
        shown.figure(&format!("{program}_bytes"), bytes);
    }
    let this = std::env::current_exe().context("where this program is")?;
    let output = Command::new(this).arg("at-rest").env("CELLWALL_BIN_DIR", &programs).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: AtRest = serde_json::from_slice(&output.stdout).context("reading figures")?;
    let AtRest { proxies, control, starts } = figures;
    shown.figure("sidecar_idle_rss_kib", json!(proxies));
    shown.figure("control_plane_idle_rss_kib", control);
    let mut sorted = starts.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    shown.figure("start_to_first_served_call_ms", json!(starts));
    shown.figure("start_to_first_served_call_ms_median", median);
    let largest = proxies.iter().copied().max().unwrap_or_default();
    shown.goal("a sidecar at idle below 20 MiB", largest > 0 && largest < 20 * 1024);
    shown.goal("start to first served call below 150 ms", median > 0.0 && median < 150.0);
    Ok(shown)
}
