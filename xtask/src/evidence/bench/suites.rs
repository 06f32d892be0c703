//! That being fast has changed nothing: the suites of before pass, and whatever the policy denies was
//! refused in every benchmark that has one.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cargo::{self, Profile},
    check::Tally,
    evidence::{Effort, Item, Shown, policy, slice, trust},
    suites,
};

/// Items of an issue before that take little time.
struct Earlier {
    topic: &'static str,
    items: &'static [Item],
    numbers: &'static [usize],
}

const EARLIER: [Earlier; 3] = [
    Earlier { topic: "slice", items: slice::ITEMS, numbers: &[3] },
    Earlier { topic: "trust", items: trust::ITEMS, numbers: &[2] },
    Earlier { topic: "policy", items: policy::ITEMS, numbers: &[6] },
];

/// Packages whose tests are the suites of the issues before.
const EARLY: [&str; 7] = [
    "cellwall-agent",
    "cellwall-cli",
    "cellwall-control-plane",
    "cellwall-mtls",
    "cellwall-policy",
    "cellwall-policy-language",
    "cellwall-proxy",
];

fn ran(suites: &BTreeMap<String, Tally>, package: &str) -> bool {
    suites.get(package).is_some_and(|tally| tally.passed > 0)
}

/// Benchmarks that leave a result, and what makes it.
const LAST: [(&str, &str); 2] = [
    ("bench-compare.json", "cargo evidence bench 1"),
    ("bench-curves.json", "cargo evidence bench 4"),
];

/// Rows in which nothing is called while something is measured.
const AT_REST: [&str; 3] = ["idle-http", "idle-tcp", "start"];

/// Any of the two documents, as far as the witness is in it.
#[derive(Debug, Deserialize)]
struct Result {
    #[serde(default)]
    rows: Vec<Measured>,
    #[serde(default)]
    curves: Vec<Measured>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    name: String,
    samples: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    contender: String,
    figures: Map<String, Value>,
    error: Option<String>,
}

/// What the witness has told in one document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    loads: u64,
    without: u64,
    refused: f64,
    passed: f64,
    seen: f64,
}

/// 5. Every test, by package; short items of earlier issues; the witness of each benchmark.
pub(super) fn passed(_: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let programs = cargo::build(Profile::Dev)?;
    let suites = suites::run(&programs)?;
    for (package, tally) in &suites {
        let counts = json!({"passed": tally.passed, "failed": tally.failed});
        shown.figure(&format!("suite {package}"), counts);
        shown.goal(&format!("{package} passes"), tally.failed == 0);
    }
    shown.goal("every suite of an earlier issue ran", EARLY.iter().all(|it| ran(&suites, it)));
    for Earlier { topic, items, numbers } in EARLIER {
        for number in numbers {
            let item = items.get(number - 1).context("an item of an earlier issue")?;
            println!("  {topic} {number}: {}", item.title);
            let missed = (item.run)(Effort::Quick)?.missed;
            shown.goal(&format!("{topic} {number}: {}", item.title), missed.is_empty());
        }
    }
    let afresh = tempfile::tempdir()?;
    let out = afresh.path().join("bench.json");
    let mut compare = Command::new(programs.join("cellwall-bench"));
    compare.current_dir(cargo::root()?).args(["compare", "--peers=ours", "--rounds=1"]);
    compare.args(["--seconds=1", "--warm-up=0.3", "--idle=50"]).arg("--programs").arg(&programs);
    cargo::run(compare.arg("--out").arg(&out))?;
    judge(&mut shown, "a short run of every row", &out)?;
    for (name, command) in LAST {
        let path = cargo::root()?.join("evidence").join(name);
        if path.is_file() {
            judge(&mut shown, command, &path)?;
        } else {
            shown.figure(command, "has not run here: its witness is that of the short run");
        }
    }
    Ok(shown)
}

/// What the witness of one document says.
fn judge(shown: &mut Shown, what: &str, path: &Path) -> anyhow::Result<()> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let result: Result =
        serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let told = told(&result);
    let Told { loads, without, refused, passed, seen } = told;
    shown.figure(
        what,
        json!({
            "loads": loads, "loads_without_a_witness": without, "denied_refused": refused,
            "denied_passed": passed, "denied_but_seen": seen,
        }),
    );
    shown.goal(&format!("{what}: denied but seen is 0"), told.holds());
    Ok(())
}

fn told(result: &Result) -> Told {
    let rows = result.rows.iter().filter(|row| !AT_REST.contains(&row.name.as_str()));
    let of_rows = rows.flat_map(|row| &row.samples).filter(|sample| sample.contender == "ours");
    // All points of a curve are ours.
    let curves = result.curves.iter().filter(|curve| curve.name != "idle");
    let mut told = Told::default();
    for sample in of_rows.chain(curves.flat_map(|curve| &curve.samples)) {
        let figure = |name: &str| sample.figures.get(name).and_then(Value::as_f64);
        told.loads += 1;
        match (&sample.error, figure("denied_refused")) {
            (None, Some(refused)) if refused > 0.0 => told.refused += refused,
            (Some(_) | None, _) => told.without += 1,
        }
        told.passed += figure("denied_passed").unwrap_or_default();
        told.seen += figure("denied_seen").unwrap_or_default();
    }
    told
}

impl Told {
    fn holds(&self) -> bool {
        self.loads > 0 && self.without == 0 && self.passed <= 0.0 && self.seen <= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(document: Value) -> bool {
        told(&serde_json::from_value(document).unwrap()).holds()
    }

    fn row(name: &str, contender: &str, figures: Value) -> Value {
        json!({"rows": [{"name": name, "samples": [{"contender": contender, "figures": figures}]}]})
    }

    #[test]
    fn one_denied_call_that_came_through_anywhere_is_found() {
        let right = json!({"denied_refused": 20.0, "denied_passed": 0.0, "denied_seen": 0.0});
        let passed = json!({"denied_refused": 20.0, "denied_passed": 1.0, "denied_seen": 0.0});
        let seen = json!({"denied_refused": 20.0, "denied_passed": 0.0, "denied_seen": 1.0});
        let nothing = json!({"denied_refused": 0.0, "denied_passed": 0.0, "denied_seen": 0.0});
        for (figures, expected) in [
            (&right, true),
            (&passed, false),
            (&seen, false),
            (&nothing, false),
            (&json!({}), false),
        ] {
            assert_eq!(holds(row("http1-32", "ours", figures.clone())), expected, "{figures}");
            let samples = [json!({"contender": "10", "figures": figures})];
            let curves = json!({"curves": [{"name": "rules", "samples": samples}]});
            assert_eq!(holds(curves), expected, "{figures}");
        }
    }

    #[test]
    fn a_load_that_failed_proves_nothing_and_neither_does_none_of_ours() {
        let right = json!({"denied_refused": 20.0, "denied_passed": 0.0, "denied_seen": 0.0});
        let failed = json!({"rows": [{"name": "http1-32", "samples": [
            {"contender": "ours", "figures": right, "error": "no answer"},
        ]}]});
        assert!(!holds(failed));
        assert!(!holds(row("http1-32", "nginx", right.clone())));
        assert!(!holds(row("idle-http", "ours", right)));
    }
}
