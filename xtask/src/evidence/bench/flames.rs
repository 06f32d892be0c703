//! Where the time of a call and of bytes goes, drawn for both sidecars.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cargo::{self, Profile},
    evidence::{Effort, Shown},
    interop,
};

/// What is drawn: calls over HTTP/1.1 and HTTP/2, and bytes; each of both sides.
const ROWS: [&str; 3] = ["http1-32", "grpc-1", "bulk-1"];

/// As `cellwall-bench flames` writes them.
#[derive(Debug, Deserialize)]
struct Flames {
    machine: Value,
    pinning: Value,
    perf: String,
    sides: Vec<Side>,
}

#[derive(Debug, Deserialize)]
struct Side {
    row: String,
    side: String,
    svg: PathBuf,
    samples: u64,
    kernel_samples: u64,
    user_seconds: f64,
    kernel_seconds: f64,
}

/// 3. Flame graphs, and the share of user and kernel of each side.
pub(super) fn drawn(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let root = cargo::root()?;
    let programs = cargo::build(Profile::Release)?;
    // It fails by itself where nobody may look; here only where the program comes from.
    let perf = interop::perf(&programs)?;
    let profiled = profiled()?;
    let folder = root.join("evidence");
    fs::create_dir_all(&folder)?;
    let out = folder.join("bench-flames.json");
    let usual = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([perf].into_iter().chain(env::split_paths(&usual)))?;
    let mut flames = Command::new(programs.join("cellwall-bench"));
    flames.current_dir(&root).arg("flames").arg(seconds(effort)).env("PATH", path);
    flames.arg("--rows").arg(ROWS.join(",")).arg("--folder").arg(&folder);
    flames.arg("--programs").arg(&profiled).arg("--programs").arg(&programs);
    cargo::run(flames.arg("--out").arg(&out))?;
    let text = fs::read(&out).with_context(|| out.display().to_string())?;
    let flames = serde_json::from_slice(&text).with_context(|| out.display().to_string())?;
    show(&mut shown, &flames, effort);
    Ok(shown)
}

const fn seconds(effort: Effort) -> &'static str {
    match effort {
        Effort::Quick => "--seconds=1.5",
        Effort::Full => "--seconds=8",
    }
}

/// The release build of the sidecar with frame pointers and with the names of its functions.
fn profiled() -> anyhow::Result<PathBuf> {
    let target = cargo::target()?.join("flames");
    let mut build = cargo::cargo()?;
    build.args(["build", "-q", "--release", "-p", "cellwall-proxy"]);
    build.args(["--config", "profile.release.strip=\"none\""]);
    build.args(["--config", "profile.release.package.cellwall-proxy.codegen-units=1"]);
    build.env("CARGO_TARGET_DIR", &target);
    build.env("CARGO_ENCODED_RUSTFLAGS", "-Cforce-frame-pointers=yes");
    println!("  building the sidecar with names");
    cargo::run(&mut build)?;
    Ok(target.join(Profile::Release.folder()))
}

/// The table has been printed by the program itself: here is what is kept, and the goals.
fn show(shown: &mut Shown, flames: &Flames, effort: Effort) {
    let Flames { machine, pinning, perf, sides } = flames;
    shown.figures.insert("machine".to_owned(), machine.clone());
    shown.figures.insert("pinning".to_owned(), pinning.clone());
    shown.figure("perf", perf.as_str());
    // A second of a full core is a thousand samples; both sides share one.
    let enough = if effort == Effort::Quick { 50 } else { 500 };
    for Side { row, side, svg, samples, kernel_samples, user_seconds, kernel_seconds } in sides {
        let name = format!("{row}, {side}");
        let all = user_seconds + kernel_seconds;
        shown.figures.insert(
            name.clone(),
            json!({
                "svg": svg, "samples": samples, "kernel_samples": kernel_samples,
                "user_seconds": user_seconds, "kernel_seconds": kernel_seconds,
                "kernel_share": if all > 0.0 { kernel_seconds / all } else { 0.0 },
            }),
        );
        shown.goal(&format!("{name}: at least {enough} samples"), *samples >= enough);
        shown.goal(&format!("{name}: user and kernel are told apart"), all > 0.0);
        shown.goal(&format!("{name}: functions have names"), has_names(svg));
    }
    let there = sides.iter().map(|side| (side.row.as_str(), side.side.as_str()));
    let wanted = ROWS.iter().flat_map(|row| [(*row, "caller"), (*row, "callee")]);
    let missing = wanted.collect::<BTreeSet<_>>().difference(&there.collect()).count();
    shown.goal("HTTP/1.1, HTTP/2 and bytes, both sides of each", missing == 0);
}

/// Ours are among the frames, and the drawing is one.
fn has_names(svg: &Path) -> bool {
    fs::read_to_string(svg).is_ok_and(|text| text.contains("cellwall_proxy::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_is_missing_or_hardly_seen_or_nameless_fails_the_item() {
        let folder = tempfile::tempdir().unwrap();
        let [named, nameless] = ["named.svg", "nameless.svg"].map(|name| folder.path().join(name));
        fs::write(&named, "<svg>cellwall_proxy::app</svg>").unwrap();
        fs::write(&nameless, "<svg>[unknown]</svg>").unwrap();
        let side = |row: &str, side: &str, svg: &Path, samples: u64| {
            json!({
                "row": row, "side": side, "svg": svg, "samples": samples, "kernel_samples": 1,
                "user_seconds": 0.5, "kernel_seconds": 0.5,
            })
        };
        let whole = |svg: &Path, samples: u64| {
            let sides = ROWS.iter().flat_map(|row| ["caller", "callee"].map(|it| (row, it)));
            let mut all: Vec<_> = sides.map(|(row, it)| side(row, it, &named, 500)).collect();
            all[0] = side(ROWS[0], "caller", svg, samples);
            all
        };
        let mut short = whole(&named, 500);
        short.pop();
        for (sides, missed) in [
            (whole(&named, 500), vec![]),
            (whole(&named, 499), vec!["http1-32, caller: at least 500 samples"]),
            (whole(&nameless, 500), vec!["http1-32, caller: functions have names"]),
            (short, vec!["HTTP/1.1, HTTP/2 and bytes, both sides of each"]),
        ] {
            let document = json!({"machine": {}, "pinning": {}, "perf": "6.1", "sides": sides});
            let mut shown = Shown::default();
            show(&mut shown, &serde_json::from_value(document).unwrap(), Effort::Full);
            assert_eq!(shown.missed, missed);
        }
    }
}
