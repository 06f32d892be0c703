//! Steps that several items take: a test that prints figures, a program's output.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use super::Effort;
use crate::cargo;

/// A line of a test that carries figures begins so.
const MARK: &str = "evidence: ";

/// Runs one test against the programs in `folder`, and returns the figures that it printed.
pub(super) fn test_figures(
    package: &str,
    name: &str,
    folder: &Path,
    effort: Effort,
) -> anyhow::Result<Map<String, Value>> {
    let seconds = match effort {
        Effort::Quick => "5",
        Effort::Full => "60",
    };
    let output = cargo::cargo()?
        .args(["test", "-q", "-p", package, "--test", "main", "--", "--exact", name])
        .arg("--nocapture")
        .env("CELLWALL_BIN_DIR", folder)
        .env("CELLWALL_EVIDENCE_SECONDS", seconds)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {package} {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A test runner may print its own words before the mark on the same line.
    let figures = text.lines().find_map(|line| line.split_once(MARK).map(|(_, json)| json));
    ensure!(output.status.success(), "{package} {name} failed:\n{text}");
    let figures = figures.with_context(|| format!("{package} {name} printed no figures"))?;
    serde_json::from_str(figures).context("reading the figures")
}

/// What a program prints, or `None` when it is not there or fails.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}
