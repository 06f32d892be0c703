//! The plots of a result as files of their own: which there are, and what is on each.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use super::{
    PERCENTILES, Plot,
    axis::Scale,
    bars_of, class,
    curves::drawings,
    plot::{Bar, Drawing, Measure, bars},
    sheet::{Sheet, width},
    title_of,
    unit::{MS_OF_US, PER_SECOND, Unit},
};
use crate::{
    compare::{Comparison, Conditions, Measured},
    curves::{Curves, Drawn},
};

/// A plot as a file: the same result makes the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The file's name.
    pub name: String,
    /// What is in it.
    pub svg: String,
}

/// Why there are no plots of a result.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// A curve's name names no file.
    #[error("curves[].name: {name:?} has other than letters, digits and -")]
    Name {
        /// The name.
        name: String,
    },
}

/// What the bars of a panel are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A figure of which less is better, of everybody, with the goal for ours.
    Least(Scale),
    /// Answers per second of everybody.
    Rate,
    /// Percentiles of ours and of those that come nearest.
    Percentiles,
}

/// One file.
struct Choice {
    name: &'static str,
    title: &'static str,
    kind: Kind,
    /// Rows, each with the figure that is drawn of it.
    panels: &'static [(&'static str, &'static str)],
}

const CPU: &str = "cpu_us_per_call";
const GIB: &str = "cpu_s_per_gib";
const RATE: &str = "calls_per_second";
const P999: &str = "p999_us";
const IDLE: &str = "kib_per_connection";
const REST: &str = "rss_mib_of_one_side";

const CHOICES: &[Choice] = &[
    Choice {
        name: "cpu-per-call",
        title: "CPU of both proxies for a call",
        kind: Kind::Least(Scale::Linear),
        panels: &[
            ("http1-1", CPU),
            ("http1-32", CPU),
            ("http1-256", CPU),
            ("http1-new", CPU),
            ("tcp-new", CPU),
            ("open-4000", CPU),
            ("grpc-1", CPU),
            ("grpc-8", CPU),
        ],
    },
    Choice {
        name: "cpu-per-gib",
        title: "CPU of both proxies for a GiB",
        kind: Kind::Least(Scale::Linear),
        panels: &[("bulk-1", GIB), ("bulk-8", GIB)],
    },
    Choice {
        name: "latency-tails",
        title: "The slowest answers: p99.9, and p99 of the caller with 4 connections; logarithmic",
        kind: Kind::Least(Scale::Logarithmic),
        panels: &[
            ("tail-256", P999),
            ("tail-1000", P999),
            ("tail-50", P999),
            ("tail-80", P999),
            ("tail-two", "few_p99_us"),
        ],
    },
    Choice {
        name: "latency-percentiles",
        title: "Latency of ours, its libraries and the three peers of the lowest p99.9; logarithmic",
        kind: Kind::Percentiles,
        panels: &[("http1-1", P999), ("http1-32", P999), ("http1-256", P999), ("grpc-8", P999)],
    },
    Choice {
        name: "throughput",
        title: "Answers per second, the proxies on one core: more is better",
        kind: Kind::Rate,
        panels: &[("http1-32", RATE), ("http1-256", RATE)],
    },
    Choice {
        name: "memory",
        title: "Memory of idle connections, and at rest",
        kind: Kind::Least(Scale::Linear),
        panels: &[("idle-http", IDLE), ("idle-tcp", IDLE), ("idle-http", REST), ("idle-tcp", REST)],
    },
    Choice {
        name: "start",
        title: "Start, identity included, and the program's size",
        kind: Kind::Least(Scale::Linear),
        panels: &[("start", "start_ms"), ("start", "program_mb")],
    },
];

/// The plots of a comparison, as far as it has their rows.
pub fn pictures(comparison: &Comparison) -> Vec<Picture> {
    CHOICES.iter().filter_map(|choice| picture(choice, comparison)).collect()
}

/// The plots of curves, one for each.
///
/// # Errors
///
/// [`PictureError`] where a curve's name names no file.
pub fn pictures_of_curves(curves: &Curves) -> Result<Vec<Picture>, PictureError> {
    let all = curves.curves.iter().filter_map(|curve| picture_of(curve, &curves.conditions));
    all.collect()
}

fn picture(choice: &Choice, comparison: &Comparison) -> Option<Picture> {
    let panels = choice.panels.iter().filter_map(|(name, figure)| {
        let row = comparison.rows.iter().find(|row| row.name == *name)?;
        let (bars, unit) = bars_in(row, figure, choice.kind);
        (!bars.is_empty()).then_some((row, *figure, bars, unit))
    });
    let panels = panels.collect::<Vec<_>>();
    if panels.is_empty() {
        return None;
    }
    let wide = width(panels.len());
    let unit = |(_, figure): &(&str, &str)| title_of(figure).1;
    let is_mixed = choice.panels.iter().any(|it| choice.panels.first().map(unit) != Some(unit(it)));
    let is_goal = |row: &str, figure| goal_of(choice, comparison, row, figure).is_some();
    let has_goals = panels.iter().any(|(row, figure, ..)| is_goal(&row.name, figure));
    let mut notes = vec![legend(&comparison.conditions, has_goals)];
    let draw = |(row, figure, all, unit): &(&Measured, &str, Vec<Bar>, Unit)| {
        let scale = match choice.kind {
            Kind::Least(scale) => scale,
            Kind::Rate => Scale::Linear,
            Kind::Percentiles => Scale::Logarithmic,
        };
        let goal = goal_of(choice, comparison, &row.name, figure);
        let measure = Measure { scale, unit: unit.word, goal: goal.map(|goal| unit.one(goal)) };
        let what = if is_mixed { title_of(figure).0 } else { &row.title };
        (format!("{}: {what}", row.name), bars(all, &measure, wide))
    };
    let drawings = panels.iter().map(draw).collect::<Vec<_>>();
    let failed = panels.iter().flat_map(|(row, ..)| {
        let failed = row.summaries.iter().filter(|summary| summary.failed > 0);
        failed.map(|summary| format!("{} ({})", summary.contender, row.name))
    });
    let failed = failed.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    if !failed.is_empty() {
        notes.push(format!("Not measured in every round: {}.", failed.join(", ")));
    }
    Some(sheet(choice.name, choice.title.to_owned(), drawings, (notes, &comparison.conditions)))
}

fn picture_of(curve: &Drawn, conditions: &Conditions) -> Option<Result<Picture, PictureError>> {
    let Drawn { name, title, axis, absent, .. } = curve;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Some(Err(PictureError::Name { name: name.clone() }));
    }
    let drawings = drawings(curve, width);
    if drawings.is_empty() {
        return None;
    }
    let rounds = rounds(conditions);
    let (shape, growing) =
        if axis.is_empty() { ("Bars", "") } else { ("Points", "; what grows is logarithmic") };
    let mut notes = vec![format!(
        "{shape}: medians, thin lines from the lowest to the highest of {rounds}{growing}."
    )];
    notes.extend(absent.iter().map(|(label, why)| format!("{label} was not measured: {why}.")));
    let drawings = drawings.into_iter().map(|(title, drawing)| (title.to_owned(), drawing));
    let (file, title) = (format!("curve-{name}"), format!("{name}: {title}"));
    Some(Ok(sheet(&file, title, drawings.collect(), (notes, conditions))))
}

fn sheet(
    name: &str,
    title: String,
    drawings: Vec<(String, Drawing)>,
    (mut notes, conditions): (Vec<String>, &Conditions),
) -> Picture {
    notes.push(place(conditions));
    let svg = Sheet { title, drawings, notes }.svg();
    Picture { name: format!("{name}.svg"), svg }
}

/// The bars of a panel, best first.
fn bars_in(row: &Measured, figure: &str, kind: Kind) -> (Vec<Bar>, Unit) {
    let one = [(figure, "")];
    let (figures, unit) = match kind {
        Kind::Least(_) => (&one[..], title_of(figure).1),
        Kind::Rate => (&one[..], PER_SECOND),
        Kind::Percentiles => (PERCENTILES, MS_OF_US),
    };
    let plot = Plot { title: "", figures, scale: Scale::Linear, unit };
    let names = row.summaries.iter().filter_map(|summary| {
        Some((summary.figures.get(figure)?.median, summary.contender.as_str()))
    });
    let mut names = names.collect::<Vec<_>>();
    names.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    match kind {
        Kind::Least(_) => {}
        Kind::Rate => names.reverse(),
        Kind::Percentiles => nearest(&mut names),
    }
    let all = names.iter().flat_map(|(_, contender)| bars_of(row, contender, &plot, ""));
    (all.collect(), unit)
}

/// Leaves ours, its libraries, and the first three of the others.
fn nearest(names: &mut Vec<(f64, &str)>) {
    let mut left = 3_u8;
    names.retain(|(_, name)| match class(name) {
        "theirs" if left > 0 => {
            left -= 1;
            true
        }
        "theirs" => false,
        _ => matches!(*name, "ours" | "bare"),
    });
}

/// What was set for this figure; after it come goals that are only to be ahead of somebody.
fn goal_of(choice: &Choice, comparison: &Comparison, row: &str, figure: &str) -> Option<f64> {
    let goal = comparison.goals.iter().find(|goal| goal.row == row && goal.figure == figure);
    goal.filter(|_| matches!(choice.kind, Kind::Least(_))).map(|goal| goal.wanted)
}

fn legend(conditions: &Conditions, has_goals: bool) -> String {
    format!(
        "Bars: medians, thin lines from the lowest to the highest of {}. Blue is ours, light what has \
         no TLS (relay), no proxy (none), or the libraries of ours alone (bare){}.",
        rounds(conditions),
        if has_goals { "; dashed the goal of ours" } else { "" }
    )
}

fn rounds(Conditions { settings, .. }: &Conditions) -> String {
    format!("{} rounds of {} s", settings.rounds, settings.seconds)
}

/// When and where.
fn place(conditions: &Conditions) -> String {
    let Conditions { machine, network, at, was_stopped, .. } = conditions;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*at));
    let at = at.map(|at| humantime::format_rfc3339_seconds(at).to_string()).unwrap_or_default();
    let day = at.split('T').next().unwrap_or_default();
    let stopped = if *was_stopped { " Stopped before all was measured." } else { "" };
    format!("{day}, {}, {} cores, {network}.{stopped}", machine.cpu, machine.cores)
}
