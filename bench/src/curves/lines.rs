//! The curves, and their points.

use std::collections::BTreeMap;

use super::Extent;
use crate::{
    compare::Load,
    micro::{Kind, Row},
};

/// What they are called on the command line.
pub const NAMES: &[&str] = &[
    DECISION,
    "rules",
    "callers",
    "connections",
    "endpoints",
    "bytes",
    CHANGES,
    CHANGES_OPEN,
    IDLE,
];

pub(super) const DECISION: &str = "decision";
pub(super) const CHANGES: &str = "changes";
pub(super) const CHANGES_OPEN: &str = "changes-open";
pub(super) const IDLE: &str = "idle";

/// Points of those that are about changes.
pub(super) const STEADY: &str = "nothing changes";
pub(super) const ROTATION: &str = "certificates each second";
pub(super) const POLICY: &str = "policy each second";
pub(super) const DARK: &str = "no telemetry";

/// Clients of most points: as many as the row of the design that is about cost.
const CLIENTS: usize = 32;

/// Requests a second of the schedule.
const RATE: f64 = 4000.0;

/// Open files that are something else's than a connection's.
const OTHERS: u64 = 300;

const fn right(name: &'static str, rights: usize) -> Row {
    Row { name, title: "a call decided", kind: Kind::Decide(rights) }
}

/// A decision by policies of more and more rights. A sidecar takes 10,000 rules of its workload;
/// 100,000 rights are those of 100,000 callers in 10,000 rules.
pub(super) static DECISIONS: [Row; 5] = [
    right("10", 10),
    right("100", 100),
    right("1,000", 1_000),
    right("10,000", 10_000),
    right("100,000", 100_000),
];

/// How many rights the row's policy has.
pub(super) fn rights(row: &Row) -> f64 {
    match row.kind {
        Kind::Decide(rights) => real(rights),
        Kind::Path(_) | Kind::Handle | Kind::Labels | Kind::Load | Kind::Verify => 0.0,
    }
}

/// One curve.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) axis: &'static str,
    pub(super) points: Vec<Point>,
}

/// One point.
pub(super) struct Point {
    pub(super) label: String,
    pub(super) x: f64,
    pub(super) load: Load,
    /// Options of `cellwall-pair`.
    pub(super) pair: Vec<String>,
    /// Connections of a load that rests.
    pub(super) idle: usize,
    pub(super) program: Program,
    /// A figure without which the point is not what it is called.
    pub(super) needs: Option<&'static str>,
}

/// Which sidecar.
#[derive(Clone, Copy)]
pub(super) enum Program {
    Usual,
    /// It tells nothing of its calls.
    Dark,
}

impl Point {
    fn new(label: impl Into<String>, x: usize, load: Load, pair: &[String]) -> Self {
        Self {
            label: label.into(),
            x: real(x),
            load,
            pair: pair.to_vec(),
            idle: 0,
            program: Program::Usual,
            needs: None,
        }
    }

    /// What did not happen although the point is about it.
    pub(super) fn missing(&self, figures: &BTreeMap<String, f64>) -> Option<String> {
        let name = self.needs?;
        let value = figures.get(name).copied().unwrap_or_default();
        (value < 1.0).then(|| format!("{name} is {value}: the point is not what it is called"))
    }
}

/// All but the decision's, for processes that may have so many files open.
pub(super) fn all(open_files: u64, extent: Extent) -> Vec<Curve> {
    let many = usize::try_from(open_files.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    let mut curves = vec![
        grown("rules", "HTTP/1.1, 32 connections; the last rule allows", &[10, 100, 1000, 10_000]),
        grown("callers", "HTTP/1.1, 32 connections; so many callers", &[10, 100, 1000, 10_000]),
        connections(many),
        grown("endpoints", "HTTP/1.1, 32 connections; so many addresses", &[1, 5, 50, 500]),
        bytes(),
    ];
    for curve in &mut curves {
        if extent == Extent::Ends && curve.points.len() > 2 {
            // The second is enough to be more than the first.
            curve.points.truncate(2);
        }
    }
    curves.push(changes(CHANGES, "as fast as 32 connections can", Load::Http(CLIENTS)));
    curves.push(changes(CHANGES_OPEN, "4,000 requests a second by a schedule", Load::Paced(RATE)));
    curves.push(idle(match extent {
        Extent::Ends => 100,
        Extent::All => many,
    }));
    curves
}

/// A curve by one option of `cellwall-pair`, which has its name.
fn grown(name: &'static str, title: &'static str, values: &[usize]) -> Curve {
    let point = |value: &usize| {
        let mut pair = vec![format!("--{name}={value}")];
        if name != "rules" {
            pair.push("--rules=1000".to_owned());
        }
        Point::new(grouped(*value), *value, Load::Http(CLIENTS), &pair)
    };
    Curve { name, title, axis: name, points: values.iter().map(point).collect() }
}

/// As many as the machine lets the load and a sidecar have.
fn connections(many: usize) -> Curve {
    let counts = [1, 8, 32, 256, 1000, 4000, 10_000].into_iter().filter(|count| *count <= many);
    let pair = ["--rules=1000".to_owned(), format!("--max-connections={}", many.max(1))];
    let point = |count| Point::new(grouped(count), count, Load::Tail(count), &pair);
    Curve {
        name: "connections",
        title: "HTTP/1.1, so many connections that never pause",
        axis: "connections",
        points: counts.map(point).collect(),
    }
}

fn bytes() -> Curve {
    let sizes = [
        ("0", 0),
        ("100", 100),
        ("1 KiB", 1 << 10),
        ("10 KiB", 10 << 10),
        ("100 KiB", 100 << 10),
        ("1 MiB", 1 << 20),
    ];
    let pair = ["--rules=1000".to_owned()];
    let point = |(label, size)| Point::new(label, size, Load::Sized(8, size), &pair);
    Curve {
        name: "bytes",
        title: "HTTP/1.1, 8 connections, answers of so many bytes",
        axis: "bytes of an answer",
        points: sizes.into_iter().map(point).collect(),
    }
}

fn changes(name: &'static str, title: &'static str, load: Load) -> Curve {
    let rules = "--rules=1000".to_owned();
    let with = |option: &str| [rules.clone(), option.to_owned()];
    let point = |label: &str, pair: &[String], needs| {
        let point = Point::new(label, 0, load, pair);
        Point { needs, ..point }
    };
    let rotation = with("--rotate-every=1000");
    let policy = with("--change-every=1000");
    let dark = Point::new(DARK, 0, load, std::slice::from_ref(&rules));
    let points = vec![
        point(STEADY, std::slice::from_ref(&rules), None),
        point(ROTATION, &rotation, Some("certificates_taken")),
        point(POLICY, &policy, Some("policies_taken")),
        Point { program: Program::Dark, ..dark },
    ];
    Curve { name, title, axis: "", points }
}

/// The most connections that a sidecar can hold: one file each where calls share those between the
/// sidecars, two where bytes are passed on.
fn idle(many: usize) -> Curve {
    let pair = ["--rules=1000".to_owned(), format!("--max-connections={}", many.max(1))];
    let point = |label: &str, load, idle: usize| {
        let point = Point::new(format!("{label}, {}", grouped(idle)), idle, load, &pair);
        Point { idle, ..point }
    };
    Curve {
        name: IDLE,
        title: "open connections, each used once",
        axis: "",
        points: vec![
            point("HTTP/1.1", Load::IdleHttp, many),
            point("TCP", Load::IdleTcp, many / 2),
        ],
    }
}

fn grouped(value: usize) -> String {
    match value {
        0..1000 => value.to_string(),
        _ => format!("{},{:03}", value / 1000, value % 1000),
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a MiB")]
const fn real(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_has_its_name_and_points_that_the_machine_allows() {
        let names = |curves: &[Curve]| {
            let names = curves.iter().map(|curve| curve.name);
            std::iter::once(DECISION).chain(names).collect::<Vec<_>>()
        };
        for (files, most) in [(20_000, 10_000.0), (1024, 256.0)] {
            let all = all(files, Extent::All);
            assert_eq!(names(&all), NAMES);
            let curve = all.iter().find(|curve| curve.name == "connections").unwrap();
            assert!((curve.points.last().unwrap().x - most).abs() < 0.5);
            let idle = all.last().unwrap().points.iter().map(|point| point.idle);
            let files = usize::try_from(files).unwrap();
            assert_eq!(idle.collect::<Vec<_>>(), [files - 300, (files - 300) / 2]);
        }
        let ends = all(20_000, Extent::Ends);
        assert_eq!(names(&ends), NAMES);
        assert!(ends.iter().filter(|curve| !curve.axis.is_empty()).all(|it| it.points.len() == 2));
    }

    #[test]
    fn a_point_in_which_nothing_changed_is_not_one_of_changes() {
        let curve = changes(CHANGES, "", Load::Http(1));
        let rotation = curve.points.iter().find(|point| point.label == ROTATION).unwrap();
        let figures = |taken: f64| BTreeMap::from([("certificates_taken".to_owned(), taken)]);
        assert_eq!(rotation.missing(&figures(2.0)), None);
        assert!(
            rotation.missing(&figures(0.0)).is_some() && rotation.missing(&[].into()).is_some()
        );
    }
}
