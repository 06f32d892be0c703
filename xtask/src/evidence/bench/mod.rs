//! What ours costs beside the proxies of others, measured in one interleaved run.

mod curves;
mod flames;
mod optimisations;
mod suites;

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Effort, Item, Shown};
use crate::{
    cargo::{self, Profile},
    interop,
};

/// In the order of the issue.
pub(super) const ITEMS: &[Item] = &[
    Item { title: "each row beside each peer", run: compared },
    Item { title: "before and after each optimisation", run: optimisations::measured },
    Item { title: "where the time goes: flame graphs, user and kernel", run: flames::drawn },
    Item { title: "curves as something grows or changes", run: curves::measured },
    Item { title: "the suites of before pass, and nobody denied was seen", run: suites::passed },
];

/// As `cellwall-bench compare` writes it, as far as it is shown here.
#[derive(Debug, Deserialize)]
struct Comparison {
    machine: Value,
    pinning: Value,
    network: Value,
    settings: Value,
    contenders: Vec<Value>,
    absent: Value,
    rows: Vec<Row>,
    goals: Vec<Goal>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    figure: String,
    summaries: Vec<Summary>,
    estimates: Value,
}

#[derive(Debug, Deserialize)]
struct Summary {
    contender: String,
    figures: serde_json::Map<String, Value>,
    to_ours: Value,
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct Goal {
    row: String,
    figure: String,
    ours: Option<f64>,
    wanted: f64,
    because: String,
    is_reached: bool,
    /// What the libraries of ours have by themselves.
    #[serde(default)]
    bare: Option<f64>,
}

/// 1. Ours beside each peer, on the release build.
fn compared(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Release)?;
    let rivals = interop::rivals(&programs)?;
    for (name, why) in &rivals.absent {
        println!("  {name} is not there: {why}");
    }
    let folder = cargo::root()?.join("evidence");
    fs::create_dir_all(&folder)?;
    let out = folder.join("bench-compare.json");
    let mut compare = Command::new(programs.join("cellwall-bench"));
    compare.current_dir(cargo::root()?).arg("compare").args(settings(effort));
    compare.arg("--programs").arg(&programs).arg("--programs").arg(&rivals.folder);
    cargo::run(compare.arg("--out").arg(&out))?;
    draw(&programs, &out)?;
    let comparison = read(&out)?;
    show(&mut shown, &comparison);
    Ok(shown)
}

/// Draws a result beside itself, on a page and in files of their own, and says how the book's are renewed.
fn draw(programs: &Path, result: &Path) -> anyhow::Result<()> {
    let program = programs.join("cellwall-bench");
    let mut report = Command::new(&program);
    report.arg("report").arg(result).arg("--out").arg(result.with_extension("html"));
    cargo::run(report.arg("--plots").arg(result.with_file_name("plots")))?;
    let (program, result) = (program.display(), result.display());
    println!("  for the book: {program} report {result} --plots docs/plots");
    Ok(())
}

/// Three rounds and long loads, or one round to see that all of it works.
fn settings(effort: Effort) -> [&'static str; 4] {
    match effort {
        Effort::Quick => ["--rounds=1", "--seconds=1", "--warm-up=0.3", "--idle=200"],
        Effort::Full => ["--rounds=3", "--seconds=2", "--warm-up=0.5", "--idle=1000"],
    }
}

fn read(path: &Path) -> anyhow::Result<Comparison> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// The table has been printed by the program itself: here is what is kept, and the goals.
fn show(shown: &mut Shown, comparison: &Comparison) {
    let Comparison { machine, pinning, network, settings, contenders, absent, .. } = comparison;
    shown.figures.insert("machine".to_owned(), machine.clone());
    shown.figures.insert("pinning".to_owned(), pinning.clone());
    shown.figures.insert("network".to_owned(), network.clone());
    shown.figures.insert("settings".to_owned(), settings.clone());
    shown.figures.insert("contenders".to_owned(), json!(contenders));
    shown.figures.insert("absent".to_owned(), absent.clone());
    for row in &comparison.rows {
        let peers = row.summaries.iter().map(|summary| {
            let figure = summary.figures.get(&row.figure).cloned().unwrap_or_default();
            let value =
                json!({"value": figure, "to_ours": summary.to_ours, "failed": summary.failed});
            (summary.contender.clone(), value)
        });
        let peers = peers.collect::<serde_json::Map<_, _>>();
        let row_figures = json!({"figure": row.figure, "peers": peers, "by_ratio": row.estimates});
        shown.figures.insert(row.name.clone(), row_figures);
    }
    for goal in &comparison.goals {
        shown.goal(&goal.words(), goal.is_reached);
    }
    // A comparison in which ours has no goal shows nothing.
    shown.goal("ours took part", !comparison.goals.is_empty());
    let ours = comparison.rows.iter().flat_map(|row| &row.summaries);
    let failed = ours.filter(|summary| summary.contender == "ours" && summary.failed > 0).count();
    shown.goal("no measurement of ours failed", failed == 0);
}

impl Goal {
    fn words(&self) -> String {
        let Self { row, figure, wanted, because, .. } = self;
        let ours = self.ours.map_or_else(|| "nothing".to_owned(), |ours| format!("{ours:.2}"));
        let bare = self.bare.map_or_else(String::new, |bare| format!("; bare {bare:.2}"));
        format!("{row} {figure}: {ours}, at most {wanted:.2} ({because}{bare})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(is_reached: bool, failed: u64) -> Comparison {
        let document = json!({
            "machine": {}, "pinning": {}, "network": "loopback", "settings": {}, "contenders": [],
            "absent": {},
            "rows": [{"name": "http1-32", "figure": "cpu", "estimates": [], "summaries": [
                {"contender": "ours", "figures": {}, "to_ours": null, "failed": failed},
            ]}],
            "goals": [{
                "row": "http1-32", "figure": "cpu", "ours": 25.0, "wanted": 24.0,
                "because": "0.91 times nginx", "is_reached": is_reached, "bare": 23.5,
            }],
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_goal_that_is_missed_or_a_measurement_that_failed_fails_the_item() {
        for (is_reached, failed, missed) in [
            (true, 0, vec![]),
            (false, 0, vec!["http1-32 cpu: 25.00, at most 24.00 (0.91 times nginx; bare 23.50)"]),
            (true, 1, vec!["no measurement of ours failed"]),
        ] {
            let mut shown = Shown::default();
            show(&mut shown, &comparison(is_reached, failed));
            assert_eq!(shown.missed, missed);
        }
    }
}
