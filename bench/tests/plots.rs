//! `cellwall-bench report --plots`, and the plots of the book.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cellwall-bench");

fn report(folder: &Path, results: &[(&str, Value)], flags: &[&str]) -> Output {
    let mut report = Command::new(PROGRAM);
    report.current_dir(folder).arg("report");
    for (name, result) in results {
        fs::write(folder.join(name), result.to_string()).unwrap();
        report.arg(name);
    }
    report.args(flags).output().unwrap()
}

fn written(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names = names.collect::<Vec<_>>();
    names.sort();
    names
}

/// What all results say of themselves.
fn conditions() -> Value {
    json!({
        "schema": 1, "was_stopped": false, "at": 1_795_425_744,
        "machine": {"cpu": "a processor", "cores": 2, "kernel": "6", "memory_kib": 1, "open_files": 9},
        "pinning": {"cores": {"load": 0, "proxies": 1}}, "network": "loopback",
        "settings": {"rounds": 1, "seconds": 1.0, "warm_up_seconds": 0.1, "idle_connections": 1},
    })
}

fn with(mut result: Value, more: Value) -> Value {
    result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    result
}

fn comparison(row: &str) -> Value {
    let spread = json!({"median": 35.0, "low": 34.0, "high": 36.0});
    let summary = json!({
        "contender": "ours", "figures": {"cpu_us_per_call": spread}, "to_ours": null, "failed": 0,
    });
    let row = json!({
        "name": row, "title": "a title", "figure": "cpu_us_per_call", "samples": [],
        "summaries": [summary], "estimates": [],
    });
    let more = json!({"contenders": [], "absent": {}, "rows": [row], "goals": []});
    with(conditions(), more)
}

fn curves() -> Value {
    let figures = json!({"best_ns": {"median": 1.0, "low": 1.0, "high": 2.0}});
    let point = json!({"label": "10", "x": 10.0, "figures": figures, "failed": 0});
    let curve = json!({
        "name": "decision", "title": "a title", "axis": "rights", "points": [point],
        "samples": [], "absent": {},
    });
    with(conditions(), json!({"extent": "all", "curves": [curve], "goals": []}))
}

#[test]
fn plots_of_both_kinds_are_written_together_and_named() {
    let folder = TempDir::new().unwrap();
    let results = [("rows.json", comparison("http1-32")), ("curves.json", curves())];

    let output = report(folder.path(), &results, &["--plots", "some/plots"]);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plots = folder.path().join("some/plots");
    assert_eq!(written(&plots), ["cpu-per-call.svg", "curve-decision.svg"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told,
        "written: some/plots/cpu-per-call.svg\nwritten: some/plots/curve-decision.svg\n"
    );
}

#[test]
fn a_page_and_plots_are_written_at_once() {
    let folder = TempDir::new().unwrap();
    let flags = ["--plots", "plots", "--out", "page.html"];

    let output = report(folder.path(), &[("rows.json", comparison("http1-32"))], &flags);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(written(folder.path()), ["page.html", "plots", "rows.json"]);
}

#[test]
fn what_cannot_be_drawn_is_named_and_nothing_is_written() {
    let one = || comparison("http1-32");
    let mut broken = one();
    broken["rows"][0].as_object_mut().unwrap().remove("summaries");
    let mut elsewhere = curves();
    elsewhere["curves"][0]["name"] = json!("../x");
    let mut empty = one();
    empty["rows"] = json!([]);
    let plots = ["--plots", "plots"];
    let both = ["--plots", "plots", "--out", "page.html"];
    for (results, flags, why) in [
        (vec![("a.json", one())], &[][..], "--out <HTML>|--plots <FOLDER>"),
        (vec![("a.json", json!({}))], &plots, "a.json: it has neither `rows`"),
        (vec![("a.json", json!([1]))], &plots, "a.json: "),
        (vec![("a.json", broken)], &plots, "a.json: missing field `summaries`"),
        (vec![("a.json", elsewhere)], &plots, "a.json: curves[].name: \"../x\""),
        (vec![("a.json", empty)], &both, "a.json: there is nothing to draw"),
        (vec![("a.json", comparison("weather"))], &plots, "a.json: there is nothing to draw"),
        (
            vec![("a.json", one()), ("b.json", one())],
            &plots,
            "b.json: cpu-per-call.svg is drawn already",
        ),
        (vec![("a.json", one()), ("b.json", curves())], &both, "--out: comparisons and curves"),
    ] {
        let folder = TempDir::new().unwrap();
        let output = report(folder.path(), &results, flags);
        let told = String::from_utf8_lossy(&output.stderr).replace(": \n", ": ");
        assert!(!output.status.success(), "{why}");
        let told = told.replace("\n\nCaused by:\n    ", ": ");
        assert!(told.contains(why), "{why}: {told}");
        let results = results.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(written(folder.path()), results, "{why}");
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn each_plot_of_the_book_is_shown_in_words_too_and_is_small() {
    let page = fs::read_to_string(docs().join("performance.md")).unwrap();
    let mut shown = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("![")) {
        let (alt, rest) = line.trim_start_matches("![").split_once("](plots/").unwrap();
        assert!(alt.len() > 20, "{line}");
        shown.push(rest.trim_end_matches(')').to_owned());
    }
    shown.sort();
    assert_eq!(shown, written(&docs().join("plots")));
    for name in shown {
        let svg = fs::read_to_string(docs().join("plots").join(&name)).unwrap();
        assert!(svg.len() < 40 * 1024, "{name}: {}", svg.len());
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{name}");
    }
}
