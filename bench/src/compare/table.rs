//! A comparison as text.

use std::fmt::Write as _;

use super::{
    Conditions,
    result::{Comparison, Measured, Reached, Summary},
};
use crate::machine::Pinning;

/// The comparison as tables of plain text: a row's contenders, best first, then the goals.
pub fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, comparison);
    text
}

fn write(text: &mut String, comparison: &Comparison) -> std::fmt::Result {
    write_place(text, &comparison.conditions)?;
    for stand in &comparison.contenders {
        writeln!(text, "  {:<13} {} ({})", stand.name, stand.about, stand.version)?;
    }
    for (name, why) in &comparison.absent {
        writeln!(text, "  {name:<13} did not take part: {why}")?;
    }
    for row in &comparison.rows {
        write_row(text, row)?;
    }
    write_goals(text, &comparison.goals)
}

/// Where it was measured, in a line; what else is to be known of it before all in one each.
pub(crate) fn write_place(text: &mut String, conditions: &Conditions) -> std::fmt::Result {
    let Conditions { machine, network, pinning, settings, was_stopped, .. } = conditions;
    writeln!(
        text,
        "{}, {} cores, Linux {}, {} files a process, {network}; {}",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.open_files,
        pinned(pinning)
    )?;
    if settings.load != "own" {
        writeln!(text, "load: {}", settings.load)?;
    }
    if *was_stopped {
        writeln!(text, "stopped before all was measured")?;
    }
    Ok(())
}

/// The goals, if there are any.
pub(crate) fn write_goals(text: &mut String, goals: &[Reached]) -> std::fmt::Result {
    if !goals.is_empty() {
        writeln!(text, "\ngoals")?;
    }
    for goal in goals {
        let ours = goal.ours.map_or_else(|| "-".to_owned(), figure);
        writeln!(
            text,
            "  {} {:<12} {:<24} {ours:>9}, at most {:>9}: {}{}",
            if goal.is_reached { "ok  " } else { "MISS" },
            goal.row,
            goal.figure,
            figure(goal.wanted),
            goal.because,
            goal.bare.map_or_else(String::new, |bare| format!("; bare {}", figure(bare)))
        )?;
    }
    Ok(())
}

fn write_row(text: &mut String, row: &Measured) -> std::fmt::Result {
    writeln!(text, "\n{}: {} ({})", row.name, row.title, row.figure)?;
    writeln!(
        text,
        "  {:<13}{:>9} {:>19} {:>7} {:>11} {:>9} {:>9} {:>6} {:>6}",
        "", "median", "low..high", "/ours", "per second", "p50 us", "p99 us", "busy", "failed"
    )?;
    let value = |summary: &Summary, name: &str| Some(summary.figures.get(name)?.median);
    let mut order = row.summaries.iter().collect::<Vec<_>>();
    let key = |summary: &Summary| value(summary, &row.figure).unwrap_or_default();
    order.sort_by(|a, b| key(a).total_cmp(&key(b)));
    for summary in order {
        let main = summary.figures.get(&row.figure);
        let cell = |name: &str| value(summary, name).map_or_else(|| "-".to_owned(), figure);
        let rate = match value(summary, "gb_per_second") {
            Some(rate) => format!("{rate:.2} GB"),
            None => cell("calls_per_second"),
        };
        writeln!(
            text,
            "  {:<13}{:>9} {:>19} {:>7} {rate:>11} {:>9} {:>9} {:>6} {:>6}",
            summary.contender,
            main.map_or_else(|| "-".to_owned(), |spread| figure(spread.median)),
            main.map_or_else(String::new, |spread| {
                format!("{}..{}", figure(spread.low), figure(spread.high))
            }),
            summary.to_ours.map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", ratio.median)),
            cell("p50_us"),
            cell("p99_us"),
            value(summary, "proxies_busy").map_or_else(String::new, |busy| format!("{busy:.2}")),
            failures(summary),
        )?;
    }
    for note in notes(row) {
        writeln!(text, "  {note}")?;
    }
    for estimate in &row.estimates {
        let (value, ratio) = (figure(estimate.value), estimate.ratio);
        writeln!(
            text,
            "  {:<13}{value:>9} by ratio: {ratio:.2} times {}",
            estimate.peer, estimate.from
        )?;
    }
    for sample in row.samples.iter().filter(|sample| sample.error.is_some()) {
        let error = sample.error.as_deref().unwrap_or_default();
        writeln!(text, "  {} round {}: {error}", sample.contender, sample.round)?;
    }
    Ok(())
}

/// Failed calls of a median round, and whole rounds.
fn failures(summary: &Summary) -> String {
    let calls = summary.figures.get("failed").map_or(0.0, |spread| spread.high);
    match summary.failed {
        0 => figure(calls),
        rounds => format!("{rounds} rounds"),
    }
}

/// What a reader must know of how a row was measured: what else the machine did meanwhile, and where
/// the load could not keep the proxies busy, so that they had smaller batches than they could have.
pub(crate) fn notes(row: &Measured) -> Vec<String> {
    let highest = |name: &str| {
        let values = row.samples.iter().filter_map(|sample| sample.figures.get(name).copied());
        values.reduce(f64::max)
    };
    let mut notes = Vec::new();
    if let (Some(steal), Some(foreign)) = (highest("steal_percent"), highest("foreign_percent")) {
        notes
            .push(format!("of the machine: steal up to {steal:.1} %, others up to {foreign:.1} %"));
    }
    for summary in &row.summaries {
        let busy = |name: &str| summary.figures.get(name).map(|spread| spread.median);
        let (Some(load), Some(proxies)) = (busy("load_busy"), busy("proxies_busy")) else {
            continue;
        };
        if load >= LIMIT && proxies > 0.0 && proxies < LIMIT {
            let name = &summary.contender;
            notes.push(format!("{name}: the load was the limit, the proxies' core was not full"));
        }
    }
    notes
}

/// From which share of a core on it counts as full.
const LIMIT: f64 = 0.93;

/// Which core did what, in words.
pub(crate) fn pinned(pinning: &Pinning) -> String {
    match pinning {
        Pinning::Cores { load, proxies } => {
            format!("load and backend on core {load}, both proxies on core {proxies}")
        }
        Pinning::None(why) => format!("not pinned to cores: {why}"),
    }
}

/// Three digits that matter, and no more than two behind the point.
pub(crate) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let mut grouped = String::new();
    let bare = whole.trim_start_matches('-');
    for (index, digit) in bare.chars().enumerate() {
        if index > 0 && (bare.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{rest}")
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_as_many_digits_as_matter() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.756, "0.76"),
            (26.44, "26.4"),
            (335.87, "336"),
            (36_813.2, "36,813"),
            (1_492_917.0, "1,492,917"),
            (-12.34, "-12.3"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
