//! Mutants: what decides who may what, changed one place at a time; a test has to notice.
//!
//! A whole run takes hours, so its result is committed (`docs/mutants*.json`, with the commit that it
//! ran on), each survivor explained. Here a random shard is run again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::json;

use super::{Effort, Shown, steps};
use crate::cargo;

/// The version that the committed result was made with.
const VERSION: &str = "27.1.0";

/// How many shards the whole is cut into: one takes minutes, a short one seconds.
const SHARDS: u32 = 200;
const SHORT_SHARDS: u32 = 400;

/// The committed result.
#[derive(Debug, Deserialize)]
struct Committed {
    commit: String,
    /// Mutants that compiled.
    tried: u64,
    caught: u64,
    /// Those that no test noticed, each with the reason why none could, or what is missing.
    survivors: Vec<Survivor>,
    /// What was changed: a package, its files, and the tests that had to notice.
    sets: Vec<Set>,
}

#[derive(Debug, Deserialize)]
struct Survivor {
    mutant: String,
    why: String,
}

#[derive(Debug, Deserialize)]
struct Set {
    package: String,
    files: Vec<String>,
    /// Files among them that are not: the tests' own.
    #[serde(default)]
    exclude: Vec<String>,
    /// Arguments for `cargo test`.
    tests: Vec<String>,
    /// Whose tests; default: its own.
    #[serde(default)]
    test_packages: Vec<String>,
}

/// Checks a committed result, which is of all these packages, and runs a random shard of it again.
pub(super) fn shard(file: &str, packages: &[&str], effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let text = fs::read(cargo::root()?.join(file)).with_context(|| file.to_owned())?;
    let committed: Committed = serde_json::from_slice(&text).with_context(|| file.to_owned())?;
    shown.figure("commit", committed.commit.clone());
    shown.figure("tried", committed.tried);
    shown.figure("caught", committed.caught);
    for package in packages {
        let is_in = committed.sets.iter().any(|set| set.package == *package);
        shown.goal(&format!("{package} is in it"), is_in);
    }
    let share = committed.caught * 100 >= committed.tried * 95;
    shown.goal("at least 95 % killed", share && committed.tried > 0);
    let explained = committed.survivors.iter().all(|one| !one.why.is_empty());
    let all = committed.tried - committed.caught == committed.survivors.len() as u64;
    shown.goal("each survivor explained", explained && all);
    let program = installed()?;
    let survivors: BTreeSet<_> =
        committed.survivors.iter().map(|one| without_place(&one.mutant)).collect();
    let (sets, shards) = match effort {
        Effort::Quick => (1, SHORT_SHARDS),
        Effort::Full => (committed.sets.len(), SHARDS),
    };
    for set in committed.sets.iter().take(sets) {
        let (caught, missed) = run(&program, set, shards)?;
        let is_new = |one: &&String| !survivors.contains(&without_place(one));
        let new: Vec<_> = missed.iter().filter(is_new).collect();
        shown
            .figure(&format!("{} shard", set.package), json!({"caught": caught, "missed": missed}));
        shown.goal(&format!("{}: no survivor that is not explained", set.package), new.is_empty());
    }
    Ok(shown)
}

/// A mutant's file and what was changed: lines move.
fn without_place(mutant: &str) -> (&str, &str) {
    let (place, change) = mutant.split_once(": ").unwrap_or((mutant, ""));
    (place.split(':').next().unwrap_or_default(), change)
}

/// Runs one random shard of a set: how many were caught, and which were not.
fn run(program: &Path, set: &Set, shards: u32) -> anyhow::Result<(usize, Vec<String>)> {
    let folder = tempfile::tempdir()?;
    let shard = format!("{}/{shards}", std::process::id() % shards);
    let mut command = std::process::Command::new(program);
    command.current_dir(cargo::root()?).args(["mutants", "--no-shuffle", "--colors=never"]);
    command.args(["--package", &set.package, "--shard", &shard]);
    command.arg("--output").arg(folder.path());
    command.env("CARGO_TARGET_DIR", cargo::target()?.join("mutants"));
    for file in &set.files {
        command.args(["--file", file]);
    }
    for file in &set.exclude {
        command.args(["--exclude", file]);
    }
    for package in &set.test_packages {
        command.args(["--test-package", package]);
    }
    command.arg("--").args(&set.tests);
    let status = command.status().context("starting cargo-mutants")?;
    // 2: some were missed, 3: some hung. Both are in the lists.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "cargo-mutants: {status}");
    let lines = |name: &str| {
        let text = fs::read_to_string(folder.path().join("mutants.out").join(name));
        let lines = text.unwrap_or_default();
        lines.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    Ok((lines("caught.txt").len() + lines("timeout.txt").len(), lines("missed.txt")))
}

/// cargo-mutants, installed below the target folder when it is not there.
fn installed() -> anyhow::Result<PathBuf> {
    let root = cargo::target()?.join("tools");
    let program = root.join("bin/cargo-mutants");
    if steps::output(&program.to_string_lossy(), &["mutants", "--version"]).is_none() {
        let mut install = cargo::cargo()?;
        install.args(["install", "-q", "--locked", "cargo-mutants", "--version", VERSION]);
        cargo::run(install.arg("--root").arg(&root))?;
    }
    Ok(program)
}
