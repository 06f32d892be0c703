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

/// Where a test is: its package, its binary (`lib` for unit tests) and its name.
pub(super) type Probe = (&'static str, &'static str, &'static str);

/// Runs one test against the programs in `folder`, and returns the figures that it printed.
pub(super) fn test_figures(
    package: &str,
    name: &str,
    folder: &Path,
    effort: Effort,
) -> anyhow::Result<Map<String, Value>> {
    figures_of((package, "main", name), folder, effort)
}

/// The same, of any test binary.
pub(super) fn figures_of(
    (package, binary, name): (&str, &str, &str),
    folder: &Path,
    effort: Effort,
) -> anyhow::Result<Map<String, Value>> {
    let text = test_output((package, binary, name), folder, effort)?;
    // A test runner may print its own words before the mark on the same line.
    let figures = text.lines().find_map(|line| line.split_once(MARK).map(|(_, json)| json));
    let figures = figures.with_context(|| format!("{package} {name} printed no figures"))?;
    serde_json::from_str(figures).context("reading the figures")
}

/// All lines of figures that the tests of one module print.
pub(super) fn all_figures(
    (package, binary, module): Probe,
    folder: &Path,
) -> anyhow::Result<Vec<Map<String, Value>>> {
    let mut command = cargo::cargo()?;
    command.args(["test", "-q", "-p", package, "--test", binary]);
    command.args(["--", module, "--nocapture", "--test-threads=1"]);
    let output = command.env("CELLWALL_BIN_DIR", folder).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("running {package} {module}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{package} {module} failed:\n{text}");
    let figures = text.lines().filter_map(|line| line.split_once(MARK).map(|(_, json)| json));
    figures.map(|json| serde_json::from_str(json).context("reading the figures")).collect()
}

/// The figures of a role: an ignored test that needs a program of somebody else, whose path it
/// finds in a variable.
pub(super) fn figures_with(
    (package, binary, name): Probe,
    (variable, value): (&str, &str),
) -> anyhow::Result<Map<String, Value>> {
    let mut command = cargo::cargo()?;
    command.args(["test", "-q", "-p", package, "--test", binary]);
    command.args(["--", "--exact", name, "--ignored", "--nocapture"]).env(variable, value);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("running {package} {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures = text.lines().find_map(|line| line.split_once(MARK).map(|(_, json)| json));
    let figures =
        figures.with_context(|| format!("{package} {name} printed no figures: {text}"))?;
    if !output.status.success() {
        println!("{text}");
    }
    serde_json::from_str(figures).context("reading the figures")
}

/// The figures of a role of the proxy's tests that needs several foreign programs, and has to pass.
pub(super) fn role_figures(
    name: &str,
    peers: &str,
    effort: Effort,
) -> anyhow::Result<Map<String, Value>> {
    let mut command = cargo::cargo()?;
    command.args(["test", "-q", "-p", "cellwall-proxy", "--test", "main"]);
    command.args(["--", "--exact", name, "--ignored", "--nocapture"]);
    command
        .env("RUST_BACKTRACE", "0")
        .env("CELLWALL_PEERS", peers)
        .env("CELLWALL_EVIDENCE_SECONDS", seconds(effort));
    let output = command.output().with_context(|| format!("running {name}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(output.status.success(), "{name} failed:\n{text}");
    let figures = text.lines().find_map(|line| line.split_once(MARK).map(|(_, json)| json));
    let figures = figures.with_context(|| format!("{name} printed no figures:\n{text}"))?;
    serde_json::from_str(figures).context("reading the figures")
}

/// What the tests take from the variable of their one setting.
const fn seconds(effort: Effort) -> &'static str {
    match effort {
        Effort::Quick => "5",
        Effort::Full => "60",
    }
}

/// Runs one test, which has to pass, and returns what it printed.
pub(super) fn test_output(
    (package, binary, name): (&str, &str, &str),
    folder: &Path,
    effort: Effort,
) -> anyhow::Result<String> {
    let mut command = cargo::cargo()?;
    command.args(["test", "-q", "-p", package]);
    match binary {
        "lib" => command.arg("--lib"),
        binary => command.args(["--test", binary]),
    };
    let output = command
        .args(["--", "--exact", name, "--nocapture"])
        .env("CELLWALL_BIN_DIR", folder)
        .env("CELLWALL_EVIDENCE_SECONDS", seconds(effort))
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {package} {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{package} {name} failed:\n{text}");
    ensure!(text.contains("1 passed"), "{package} has no test {name}:\n{text}");
    Ok(text)
}

/// What a program prints, or `None` when it is not there or fails.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// As [`output`], of a program that has to succeed.
pub(super) fn must(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let text = output(&program.to_string_lossy(), arguments);
    text.with_context(|| format!("{} failed", program.display()))
}
