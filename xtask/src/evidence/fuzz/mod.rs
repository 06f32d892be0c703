//! Fuzz targets: the corpora replayed, each target run afresh, and the ledger of the long runs.
//!
//! A long run takes half an hour a target and more, so its result is committed (`fuzz/ledger.json`). Here each
//! target runs for seconds or minutes, on the committed corpus.

mod run;

use std::{collections::BTreeSet, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use self::run::{Ran, build, run};
use super::{Effort, Shown, steps};
use crate::cargo::{self, Profile};

/// The committed result of the long runs, which `cargo run -p cellwall-xtask -- fuzz 30` writes.
const LEDGER: &str = "fuzz/ledger.json";

/// Fuzz targets that one item is about.
pub(super) struct Targets {
    /// Each with the test that replays its corpus.
    replays: &'static [(&'static str, steps::Probe)],
    /// How many minutes each has run since its last finding, at least.
    each: f64,
    /// How many minutes of a processor all of them have taken, at least.
    all: f64,
}

/// What reads policy documents.
pub(super) const LANGUAGE: Targets = Targets {
    replays: &[
        (
            "policy_documents",
            corpora("corpora::the_corpus_of_policy_documents_is_read_without_a_panic"),
        ),
        (
            "path_template",
            corpora("corpora::the_corpus_of_path_templates_is_decided_as_the_naive_matcher_does"),
        ),
        (
            "condition",
            corpora("corpora::the_corpus_of_conditions_decides_alike_what_means_the_same"),
        ),
        ("fmt", corpora("corpora::the_corpus_of_files_says_the_same_when_formatted")),
    ],
    each: 30.0,
    all: 0.0,
};

/// What reads requests.
pub(super) const REQUESTS: Targets = Targets {
    replays: &[
        (
            "request_head",
            (
                "cellwall-proxy",
                "lib",
                "http::fuzzing::tests::the_corpus_of_request_heads_has_one_reading_or_none",
            ),
        ),
        (
            "http1_front",
            replayed("replayed::the_corpus_of_the_http1_front_leaves_one_reading_each"),
        ),
        ("http2_frames", replayed("replayed::the_corpus_of_http2_frames_leaves_one_reading_each")),
    ],
    each: 30.0,
    all: 120.0,
};

/// The committed result of the long runs.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Ledger {
    runs: Vec<Run>,
}

/// One long run of one target.
#[derive(Debug, Deserialize, Serialize)]
struct Run {
    target: String,
    /// The commit that it ran on.
    commit: String,
    minutes: f64,
    /// Of a processor; what ran before this was counted does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_minutes: Option<f64>,
    executions: u64,
    /// What it found: none, or it does not count.
    findings: Vec<String>,
}

/// Replays the corpora, reads the ledger, runs each target.
pub(super) fn targets(wanted: &Targets, effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let sets = [&LANGUAGE, &REQUESTS];
    let known = sets.iter().flat_map(|set| set.replays).map(|(target, _)| (*target).to_owned());
    let known: BTreeSet<_> = known.collect();
    shown.goal("each target has a test that replays its corpus", known == names()?);
    replay(&mut shown, wanted)?;
    ledger(&mut shown, wanted)?;
    afresh(&mut shown, wanted, effort)?;
    Ok(shown)
}

/// Runs these targets (none: all) beside each other for some minutes, and writes the ledger.
pub(crate) fn long(minutes: u32, wanted: &[String]) -> anyhow::Result<ExitCode> {
    let mut targets = names()?;
    let unknown: Vec<_> = wanted.iter().filter(|name| !targets.contains(*name)).collect();
    ensure!(unknown.is_empty(), "no fuzz target {unknown:?}: there are {targets:?}");
    targets.retain(|name| wanted.is_empty() || wanted.contains(name));
    let root = cargo::root()?;
    let place = root.to_string_lossy();
    let git = |arguments: &[&str]| steps::output("git", &[&["-C", &place], arguments].concat());
    let dirty = git(&["status", "--porcelain", "--", "*.rs", "*.toml", "fuzz/corpus"]);
    ensure!(dirty.is_some_and(|text| text.is_empty()), "commit what is to be run first");
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).context("git rev-parse")?;
    let programs = build()?;
    let results = std::thread::scope(|scope| {
        let spawn = |target: String| {
            let programs = &programs;
            scope.spawn(move || {
                let ran = run(&programs.join(&target), &target, minutes * 60);
                (target, ran)
            })
        };
        let running: Vec<_> = targets.into_iter().map(spawn).collect();
        anyhow::Ok(running.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>())
    })?;
    let mut ledger: Ledger = read(&root)?;
    let mut all = true;
    for (target, ran) in results {
        let Ran { held, executions, took, seconds, end } = ran?;
        println!("{target}: {executions} executions, {}", if held { "no finding" } else { &end });
        let findings = if held { Vec::new() } else { vec![end] };
        let minutes = tenths(took.as_secs_f64() / 60.0);
        let cpu_minutes = Some(tenths(seconds / 60.0));
        let commit = commit.clone();
        let run = Run { target, commit, minutes, cpu_minutes, executions, findings };
        ledger.runs.push(run);
        all &= held;
    }
    fs::write(root.join(LEDGER), serde_json::to_string_pretty(&ledger)? + "\n")?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(root: &Path) -> anyhow::Result<Ledger> {
    let text = fs::read(root.join(LEDGER)).context(LEDGER)?;
    serde_json::from_slice(&text).context(LEDGER)
}

/// The targets that there are.
fn names() -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(cargo::root()?.join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a target without a name")?;
        names.insert(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

/// A figure that does not look more exact than it is.
fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn replay(shown: &mut Shown, targets: &Targets) -> anyhow::Result<()> {
    let programs = cargo::build(Profile::Dev)?;
    for (target, probe) in targets.replays {
        let figures = steps::figures_of(*probe, &programs, Effort::Quick)?;
        let inputs = figures.get("inputs").and_then(serde_json::Value::as_u64).unwrap_or_default();
        shown.figure(&format!("{target}_corpus_inputs"), inputs);
        shown.goal(&format!("{target}: the corpus replays"), inputs > 0);
    }
    Ok(())
}

fn ledger(shown: &mut Shown, targets: &Targets) -> anyhow::Result<()> {
    let ledger = read(&cargo::root()?)?;
    let mut all = 0.0;
    for (target, _) in targets.replays {
        // A run that found something says nothing about what was changed after it, nor does what ran
        // before it.
        let runs = ledger.runs.iter().filter(|run| run.target == *target);
        let runs: Vec<&Run> = runs.rev().take_while(|run| run.findings.is_empty()).collect();
        all += runs.iter().filter_map(|run| run.cpu_minutes).sum::<f64>();
        let last = runs.first();
        if let Some(run) = last {
            shown.figure(&format!("{target}_ledger"), serde_json::to_value(run)?);
        }
        let minutes = tenths(runs.iter().map(|run| run.minutes).sum());
        shown.figure(&format!("{target}_minutes_without_a_finding"), minutes);
        let held = minutes >= targets.each && runs.iter().all(|run| run.executions > 0);
        shown.goal(&format!("{target}: {} minutes without a finding", targets.each), held);
        let known = last.is_some_and(|run| is_commit(&run.commit));
        shown.goal(&format!("{target}: on a commit that is here"), known);
    }
    if targets.all > 0.0 {
        shown.figure("cpu_minutes", tenths(all));
        let goal = format!("{} minutes of a processor in all", targets.all);
        shown.goal(&goal, all >= targets.all);
    }
    Ok(())
}

fn is_commit(commit: &str) -> bool {
    let root = cargo::root().unwrap_or_default();
    let object = format!("{commit}^{{commit}}");
    let legal = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    legal
        && steps::output("git", &["-C", &root.to_string_lossy(), "cat-file", "-t", &object])
            .is_some()
}

/// Builds the targets and runs each on a copy of its corpus.
fn afresh(shown: &mut Shown, targets: &Targets, effort: Effort) -> anyhow::Result<()> {
    let version = steps::output("rustup", &["run", "nightly", "cargo", "fuzz", "--version"]);
    shown.goal("nightly Rust and cargo-fuzz are here (or it did not run)", version.is_some());
    let Some(version) = version else {
        println!("  did not run: rustup toolchain install nightly; cargo install cargo-fuzz");
        return Ok(());
    };
    shown.figure("fuzzer", version);
    let seconds = match effort {
        Effort::Quick => 10,
        Effort::Full => 120,
    };
    let programs = build()?;
    for (target, _) in targets.replays {
        let result = run(&programs.join(target), target, seconds)?;
        shown.figure(&format!("{target}_executions_in_{seconds}_s"), result.executions);
        shown.goal(&format!("{target}: no finding"), result.held && result.executions > 0);
        if !result.held {
            println!("{}", result.end);
        }
    }
    Ok(())
}

/// A test of the language that replays a corpus.
const fn corpora(name: &'static str) -> steps::Probe {
    ("cellwall-policy-language", "tools", name)
}

/// A test of the sidecar that replays one.
const fn replayed(name: &'static str) -> steps::Probe {
    ("cellwall-proxy", "main", name)
}
