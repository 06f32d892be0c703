//! What ours cost as rules, callers, connections, addresses and answers grow, while certificates and
//! policies change, and without telemetry.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Goal,
    optimisations::{Places, State},
};
use crate::{
    cargo::{self, Profile},
    evidence::{Effort, Shown},
};

/// Makes of this commit's sidecar one that tells nothing of its calls: no configuration does.
const DARK: &str = "without-telemetry.patch";

/// As `cellwall-bench curves` writes them, as far as they are shown here.
#[derive(Debug, Deserialize)]
struct Curves {
    machine: Value,
    pinning: Value,
    network: Value,
    settings: Value,
    extent: Value,
    curves: Vec<Curve>,
    goals: Vec<Goal>,
}

#[derive(Debug, Deserialize)]
struct Curve {
    name: String,
    axis: String,
    points: Vec<Point>,
    absent: Value,
}

#[derive(Debug, Deserialize)]
struct Point {
    label: String,
    x: f64,
    figures: Map<String, Value>,
    failed: u64,
}

/// 4. The curves, on the release build, with plots.
pub(super) fn measured(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let root = cargo::root()?;
    let programs = cargo::build(Profile::Release)?;
    let places = Places::make(&root)?;
    let dark = State::of("HEAD", Some(DARK.to_owned()))?;
    places.build(&root, &dark)?;
    let folder = root.join("evidence");
    fs::create_dir_all(&folder)?;
    let out = folder.join("bench-curves.json");
    let mut command = Command::new(programs.join("cellwall-bench"));
    command.current_dir(&root).arg("curves").args(settings(effort));
    command.arg("--without-telemetry").arg(places.sidecar(&dark));
    cargo::run(command.arg("--programs").arg(&programs).arg("--out").arg(&out))?;
    super::draw(&programs, &out)?;
    show(&mut shown, &read(&out)?);
    Ok(shown)
}

/// All points in three rounds, or the ends in one to see that all of it works.
const fn settings(effort: Effort) -> &'static [&'static str] {
    match effort {
        Effort::Quick => &["--rounds=1", "--seconds=1.5", "--warm-up=0.3", "--ends"],
        Effort::Full => &["--rounds=3", "--seconds=4", "--warm-up=1"],
    }
}

fn read(path: &Path) -> anyhow::Result<Curves> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// The tables have been printed by the program itself: here is what is kept, and the goals.
fn show(shown: &mut Shown, curves: &Curves) {
    let Curves { machine, pinning, network, settings, extent, .. } = curves;
    let all = [
        ("machine", machine),
        ("pinning", pinning),
        ("network", network),
        ("settings", settings),
        ("extent", extent),
    ];
    shown.figures.extend(all.map(|(name, value)| (name.to_owned(), value.clone())));
    for Curve { name, axis, points, absent } in &curves.curves {
        let points = points.iter().map(|Point { label, x, figures, failed }| {
            json!({"label": label, "x": x, "figures": figures, "failed": failed})
        });
        let points = points.collect::<Vec<_>>();
        let drawn = json!({"axis": axis, "points": points, "absent": absent});
        shown.figures.insert(name.clone(), drawn);
    }
    for goal in &curves.goals {
        shown.goal(&goal.words(), goal.is_reached);
    }
    for name in ["decision", "rules", "changes", "idle"] {
        let there = curves.curves.iter().any(|curve| curve.name == name);
        shown.goal(&format!("there is a curve of {name}"), there);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_is_one_of_these_sources() {
        let root = cargo::root().unwrap();
        let patch = root.join("bench/patches").join(DARK);
        let mut git = Command::new("git");
        let applied =
            git.current_dir(&root).args(["apply", "--check"]).arg(patch).output().unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    #[test]
    fn a_goal_that_is_missed_or_a_curve_that_is_not_there_fails_the_item() {
        let document = |is_reached: bool, names: &[&str]| {
            let curve = |name: &&str| json!({"name": name, "axis": "", "points": [], "absent": {}});
            json!({
                "machine": {}, "pinning": {}, "network": "loopback", "settings": {}, "extent": "all",
                "curves": names.iter().map(curve).collect::<Vec<_>>(),
                "goals": [{
                    "row": "changes", "figure": "failed", "ours": null, "wanted": 0.0,
                    "because": "no call fails", "is_reached": is_reached,
                }],
            })
        };
        let all = ["decision", "rules", "changes", "idle"];
        for (is_reached, names, missed) in [
            (true, &all[..], vec![]),
            (false, &all, vec!["changes failed: nothing, at most 0.00 (no call fails)"]),
            (true, &all[..3], vec!["there is a curve of idle"]),
        ] {
            let mut shown = Shown::default();
            show(&mut shown, &serde_json::from_value(document(is_reached, names)).unwrap());
            assert_eq!(shown.missed, missed);
        }
    }
}
