//! Properties on random policies, in release: the tests of the crates with more cases, and Cedar.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use super::{Effort, Shown};
use crate::cargo;

/// What a test or program prints before its figures.
const MARK: &str = "evidence: ";

/// A property, and the test that tries it.
struct Property {
    what: &'static str,
    binary: &'static str,
    test: &'static str,
    /// The figure that has to be 0, if the test prints one.
    zero: Option<&'static str>,
}

const TESTS: &[Property] = &[
    Property {
        what: "compiled = naive oracle",
        binary: "language",
        test: "oracle::the_engine_decides_as_the_naive_evaluator_does",
        zero: Some("different"),
    },
    Property {
        what: "suggestion applied = call allowed, nothing else changed",
        binary: "language",
        test: "suggested::applied_it_allows_the_call_and_changes_no_other",
        zero: Some("changed"),
    },
    Property {
        what: "fmt idempotent and meaning-preserving",
        binary: "tools",
        test: "format::promises::random_documents_say_the_same_when_formatted",
        zero: None,
    },
];

/// The comparison of edges and differences with an enumeration of every call.
const EDGES: &str = "reach::tests::brute::what_is_said_of_kinds_of_calls_holds_for_each_call";

/// 2. Each property afresh.
pub(super) fn random(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let (policies, calls, pairs) = match effort {
        Effort::Quick => (100, 24, 2),
        Effort::Full => (10_000, 100, 30),
    };
    for Property { what, binary, test: name, zero } in TESTS {
        let figures = test(&["--test", binary], name, (policies, calls, pairs))?;
        let held = match zero {
            Some(zero) => figures.get(*zero) == Some(&json!(0)),
            None => true, // the test itself
        };
        shown.figure(what, figures);
        shown.goal(what, held);
    }
    let figures = test(&["--lib"], EDGES, (policies, calls, pairs))?;
    shown.goal("edges = brute-force enumeration", figures.contains_key("calls"));
    shown.figure("edges = brute-force enumeration", figures);
    let wanted = [policies.to_string(), calls.to_string()];
    let figures = cedar(&[&wanted[0], &wanted[1]])?;
    shown.goal("compiled = Cedar", figures.get("policies") == Some(&json!(policies)));
    shown.figure("compiled = Cedar", figures);
    Ok(shown)
}

fn test(
    binary: &[&str],
    name: &str,
    (policies, calls, pairs): (u32, u32, u32),
) -> anyhow::Result<Map<String, Value>> {
    println!("  {name}");
    let mut command = cargo::cargo()?;
    command.args(["test", "--release", "-q", "-p", "cellwall-policy-language"]).args(binary);
    let output = command
        .args(["--", "--exact", name, "--nocapture"])
        .env("CELLWALL_PROPTEST_CASES", policies.to_string())
        .env("CELLWALL_PROPTEST_QUESTIONS", calls.to_string())
        .env("CELLWALL_REACH_PAIRS", pairs.to_string())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains("1 passed"), "{name} failed:\n{text}");
    Ok(figures(&text).unwrap_or_else(|| Map::from_iter([("policies".to_owned(), policies.into())])))
}

/// Runs the program that compares with Cedar, which the workspace's own builds leave out.
pub(super) fn cedar(arguments: &[&str]) -> anyhow::Result<Map<String, Value>> {
    println!("  interop/cedar {}", arguments.join(" "));
    let mut command = cargo::cargo()?;
    command.args(["run", "-q", "--release", "--manifest-path", "interop/cedar/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", cargo::target()?.join("cedar"));
    let output = command.arg("--").args(arguments).stderr(Stdio::inherit()).output();
    let output = output.context("running interop/cedar")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "interop/cedar failed:\n{text}");
    figures(&text).context("interop/cedar printed no figures")
}

fn figures(text: &str) -> Option<Map<String, Value>> {
    let line = text.lines().find_map(|line| line.split_once(MARK).map(|(_, json)| json))?;
    serde_json::from_str(line).ok()
}
