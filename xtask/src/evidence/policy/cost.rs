//! What a decision and a compilation cost.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Effort, Shown, properties};
use crate::cargo;

/// How much more a decision may cost with a thousand times the rules and callers. Caches, not
/// the engine, are what differs: the working set is a thousand times as large.
const FLAT: f64 = 2.0;

/// 3. By programs that do nothing else, in release.
pub(super) fn figures(effort: Effort) -> anyhow::Result<Shown> {
    let mut shown = Shown::default();
    let rounds = if effort == Effort::Quick { "5" } else { "25" };
    let decided = example("cellwall-policy", "cost", &[rounds])?;
    let cases = decided.get("cases").and_then(Value::as_array).context("no cases")?;
    for case in cases {
        println!("  {case}");
    }
    let best = |case: &Value| case.get("best_ns").and_then(Value::as_f64).unwrap_or(f64::MAX);
    for when in [false, true] {
        let of: Vec<f64> =
            cases.iter().filter(|case| case.get("when") == Some(&when.into())).map(best).collect();
        let (least, most) = of
            .iter()
            .fold((f64::MAX, 0.0_f64), |(least, most), ns| (least.min(*ns), most.max(*ns)));
        let with = if when { "with" } else { "without" };
        shown.figure(&format!("ns_{with}_conditions"), serde_json::json!([least, most]));
        shown.goal(&format!("flat in rules and callers, {with} conditions"), most < least * FLAT);
    }
    shown.figure("decisions", decided);
    let sizes: &[&str] = if effort == Effort::Quick { &["1000"] } else { &["1000", "10000"] };
    for workloads in sizes {
        let compiled = example("cellwall-policy-language", "scale", &[workloads])?;
        println!("  {compiled}");
        shown.figure(&format!("compiled_{workloads}"), compiled);
    }
    let cedar = properties::cedar(&["cost"])?;
    let rows = cedar.get("rows").and_then(Value::as_array).context("no rows")?;
    for row in rows {
        println!("  {row}");
    }
    shown.figure("beside_cedar", cedar);
    Ok(shown)
}

fn example(package: &str, name: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = cargo::cargo()?;
    command.args(["run", "-q", "--release", "-p", package, "--example", name, "--"]);
    let output = command.args(arguments).output().with_context(|| format!("running {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).with_context(|| format!("{name} printed no figures"))
}
