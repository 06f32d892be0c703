//! Fuzz targets: the corpora replayed, each target run afresh, and the ledger of the long runs.
//!
//! A long run takes half an hour a target, so its result is committed (`fuzz/ledger.json`). Here each
//! target runs for seconds or minutes, on the committed corpus.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Effort, Shown, steps};
use crate::cargo;

/// The committed result of the long runs, which `cargo run -p cellwall-xtask -- fuzz 30` writes.
const LEDGER: &str = "fuzz/ledger.json";

/// How long each target has run without a finding, at least.
const MINUTES: f64 = 30.0;

/// The longest input, as in the long runs.
const MAX_LEN: u32 = 8192;

/// The tests that replay the corpora.
const REPLAYS: &[(&str, &str)] = &[
    ("policy_documents", "the_corpus_of_policy_documents_is_read_without_a_panic"),
    ("path_template", "the_corpus_of_path_templates_is_decided_as_the_naive_matcher_does"),
    ("condition", "the_corpus_of_conditions_decides_alike_what_means_the_same"),
    ("fmt", "the_corpus_of_files_says_the_same_when_formatted"),
];

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
    executions: u64,
    /// What it found: none, or it does not count.
    findings: Vec<String>,
}

/// Replays the corpora, reads the ledger, runs each target.
pub(super) fn targets(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let targets = names()?;
    replay(&mut shown, &targets)?;
    ledger(&mut shown, &targets)?;
    afresh(&mut shown, &targets, effort)?;
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
    let dirty = git(&["status", "--porcelain", "--", "policy", "policy-language", "fuzz"]);
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
        let Ran { held, executions, end } = ran?;
        println!("{target}: {executions} executions, {}", if held { "no finding" } else { &end });
        let findings = if held { Vec::new() } else { vec![end] };
        let minutes = f64::from(minutes);
        let run = Run { target, commit: commit.clone(), minutes, executions, findings };
        ledger.runs.retain(|other| other.target != run.target);
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

fn replay(shown: &mut Shown, targets: &BTreeSet<String>) -> anyhow::Result<()> {
    let known: BTreeSet<_> = REPLAYS.iter().map(|(target, _)| (*target).to_owned()).collect();
    shown.goal("each target has a test that replays its corpus", known == *targets);
    for (target, test) in REPLAYS {
        let test = format!("corpora::{test}");
        let probe = ("cellwall-policy-language", "tools", test.as_str());
        let figures = steps::figures_of(probe, Path::new(""), Effort::Quick)?;
        let inputs = figures.get("inputs").and_then(serde_json::Value::as_u64).unwrap_or_default();
        shown.figure(&format!("{target}_corpus_inputs"), inputs);
        shown.goal(&format!("{target}: the corpus replays"), inputs > 0);
    }
    Ok(())
}

fn ledger(shown: &mut Shown, targets: &BTreeSet<String>) -> anyhow::Result<()> {
    let ledger = read(&cargo::root()?)?;
    for target in targets {
        let mut runs = ledger.runs.iter().filter(|run| run.target == *target);
        // A run that found something says nothing about what was changed after it.
        let last = runs.next_back();
        if let Some(run) = last {
            shown.figure(
                &format!("{target}_ledger"),
                json!({
                    "commit": run.commit, "minutes": run.minutes, "executions": run.executions,
                    "findings": run.findings,
                }),
            );
        }
        let held = last.is_some_and(|run| {
            run.minutes >= MINUTES && run.executions > 0 && run.findings.is_empty()
        });
        shown.goal(&format!("{target}: {MINUTES} minutes without a finding"), held);
        let known = last.is_some_and(|run| is_commit(&run.commit));
        shown.goal(&format!("{target}: on a commit that is here"), known);
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
fn afresh(shown: &mut Shown, targets: &BTreeSet<String>, effort: Effort) -> anyhow::Result<()> {
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
    for target in targets {
        let result = run(&programs.join(target), target, seconds)?;
        shown.figure(&format!("{target}_executions_in_{seconds}_s"), result.executions);
        shown.goal(&format!("{target}: no finding"), result.held && result.executions > 0);
        if !result.held {
            println!("{}", result.end);
        }
    }
    Ok(())
}

/// Builds the targets without a sanitizer: every crate of ours forbids unsafe code.
fn build() -> anyhow::Result<PathBuf> {
    let target = cargo::target()?.join("fuzz");
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "fuzz", "build", "--sanitizer", "none"]);
    // The toolchain that runs us is not the one to build with.
    build.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    cargo::run(build.current_dir(cargo::root()?).env("CARGO_TARGET_DIR", &target))?;
    let host = steps::output("rustc", &["-vV"]).context("rustc -vV")?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("no host")?;
    Ok(target.join(host).join("release"))
}

/// What a short run said.
struct Ran {
    held: bool,
    executions: u64,
    /// The last lines that it printed.
    end: String,
}

fn run(program: &Path, target: &str, seconds: u32) -> anyhow::Result<Ran> {
    ensure!(program.is_file(), "{} is not there after the build", program.display());
    let fuzz = cargo::root()?.join("fuzz");
    // What is new goes to a folder of its own; what is found stays to be looked at.
    let fresh = tempfile::tempdir()?;
    let found = cargo::target()?.join("fuzz/found");
    fs::create_dir_all(&found)?;
    let mut command = Command::new(program);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LEN}"));
    command.arg(format!("-dict={}", fuzz.join("policy.dict").display()));
    command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
    command.args(["-timeout=10", "-print_final_stats=1"]);
    command.arg(fresh.path()).arg(fuzz.join("corpus").join(target));
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let executions = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let end = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
    Ok(Ran { held: output.status.success(), executions, end })
}
