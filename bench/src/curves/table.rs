//! Curves as text.

use std::fmt::Write as _;

use super::{Curves, Drawn};
use crate::compare::{figure, write_goals, write_place};

/// What is told of each point: name and head.
const COLUMNS: &[(&str, &str)] = &[
    ("best_ns", "best ns"),
    ("median_ns", "median ns"),
    ("cpu_us_per_call", "CPU us"),
    ("calls_per_second", "per second"),
    ("p50_us", "p50 us"),
    ("p99_us", "p99 us"),
    ("p999_us", "p99.9 us"),
    ("fairness", "slowest"),
    ("rss_mib", "MiB"),
    ("connections", "held"),
    ("kib_per_connection", "KiB each"),
    ("kib_per_connection_of_caller", "of caller"),
    ("failed", "failed"),
    ("denied_refused", "refused"),
    ("denied_seen", "but seen"),
];

/// The curves as tables of plain text, then the goals.
pub fn table(curves: &Curves) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, curves);
    text
}

fn write(text: &mut String, curves: &Curves) -> std::fmt::Result {
    write_place(text, &curves.conditions)?;
    for curve in &curves.curves {
        write_curve(text, curve)?;
    }
    write_goals(text, &curves.goals)
}

fn write_curve(text: &mut String, curve: &Drawn) -> std::fmt::Result {
    writeln!(text, "\n{}: {}", curve.name, curve.title)?;
    let has = |name: &str| curve.points.iter().any(|point| point.figures.contains_key(name));
    let columns = COLUMNS.iter().filter(|(name, _)| has(name)).collect::<Vec<_>>();
    write!(text, "  {:<25}", curve.axis)?;
    for (_, head) in &columns {
        write!(text, "{head:>11}")?;
    }
    writeln!(text)?;
    for point in &curve.points {
        write!(text, "  {:<25}", point.label)?;
        for (name, _) in &columns {
            let value = point.figures.get(*name).map(|spread| figure(spread.median));
            write!(text, "{:>11}", value.unwrap_or_else(|| "-".to_owned()))?;
        }
        writeln!(text)?;
    }
    for (label, why) in &curve.absent {
        writeln!(text, "  {label} was not measured: {why}")?;
    }
    for sample in curve.samples.iter().filter(|sample| sample.error.is_some()) {
        let error = sample.error.as_deref().unwrap_or_default();
        writeln!(text, "  {} round {}: {error}", sample.contender, sample.round)?;
    }
    Ok(())
}
