//! What the design wants of curves.

use super::{
    Drawn,
    lines::{CHANGES, CHANGES_OPEN, DARK, DECISION, DECISIONS, IDLE, POLICY, ROTATION, STEADY},
};
use crate::compare::{CPU, DENIED_PASSED, DENIED_SEEN, P99, Reached, Sample, Spread};

/// How many times as much as among the fewest rights a decision may cost among the most.
const TIMES: f64 = 2.0;
/// How many nanoseconds it may take there.
const NANOSECONDS: f64 = 100.0;
/// How much longer 99 % of answers may take while certificates change, in percent.
const SHIFT: f64 = 5.0;
/// How much of the CPU telemetry may cost, in percent.
const TELEMETRY: f64 = 3.0;

/// Every goal of these curves. What could not be measured is not reached.
pub(super) fn reached(curves: &[Drawn]) -> Vec<Reached> {
    let find = |name: &str| curves.iter().find(|curve| curve.name == name);
    let mut all = Vec::new();
    if let Some(decision) = find(DECISION) {
        all.extend(decided(decision));
    }
    if let Some(changes) = find(CHANGES) {
        let costs = more(&changes.samples, (STEADY, DARK), CPU);
        let because = format!("telemetry on against off{}", noise(&changes.samples, CPU));
        all.push(goal(CHANGES, "cpu_percent_of_telemetry", costs, (TELEMETRY, &because)));
    }
    if let Some(open) = find(CHANGES_OPEN) {
        let shift = more(&open.samples, (ROTATION, STEADY), P99);
        let because = format!("rotation each second against none{}", noise(&open.samples, P99));
        all.push(goal(CHANGES_OPEN, "p99_percent_more", shift, (SHIFT, &because)));
    }
    for curve in curves.iter().filter(|curve| [CHANGES, CHANGES_OPEN].contains(&&*curve.name)) {
        for label in [ROTATION, POLICY] {
            let failed = highest(curve.samples.iter().filter(|it| it.contender == label), "failed");
            let because = format!("no call fails: {label}");
            all.push(goal(&curve.name, "failed", failed, (0.0, &because)));
        }
    }
    if let Some(idle) = find(IDLE) {
        let failed = highest(idle.samples.iter(), "failed");
        all.push(goal(IDLE, "failed", failed, (0.0, "all connections are held")));
    }
    for curve in curves.iter().filter(|curve| ![DECISION, IDLE].contains(&&*curve.name)) {
        all.push(complete(curve));
        for (figure, because) in [
            (DENIED_PASSED, "no call that the policy denies is answered"),
            (DENIED_SEEN, "none reaches the backend"),
        ] {
            let most = highest(curve.samples.iter(), figure);
            all.push(goal(&curve.name, figure, most, (0.0, because)));
        }
    }
    all
}

fn goal(row: &str, figure: &str, ours: Option<f64>, (wanted, because): (f64, &str)) -> Reached {
    Reached {
        row: row.to_owned(),
        figure: figure.to_owned(),
        ours,
        wanted,
        because: because.to_owned(),
        bare: None,
        is_reached: ours.is_some_and(|ours| ours <= wanted),
    }
}

/// Every measurement was one.
fn complete(curve: &Drawn) -> Reached {
    let errors = curve.samples.iter().filter(|sample| sample.error.is_some()).count();
    let errors = u32::try_from(errors).map_or(f64::INFINITY, f64::from);
    let ours = (!curve.samples.is_empty()).then_some(errors);
    goal(&curve.name, "measurements_failed", ours, (0.0, "every measurement was one"))
}

fn decided(curve: &Drawn) -> [Reached; 2] {
    let best = |name: &str| {
        let point = curve.points.iter().find(|point| point.label == name)?;
        point.figures.get("best_ns").map(|spread| spread.median)
    };
    let [few, .., many] = &DECISIONS;
    let most = best(many.name);
    let ratio = best(few.name).zip(most).map(|(few, many)| many / few);
    let because = format!("{} rights against {}", many.name, few.name);
    [
        goal(DECISION, "times_as_much", ratio, (TIMES, &because)),
        goal(DECISION, "best_ns", most, (NANOSECONDS, &format!("{} rights", many.name))),
    ]
}

/// How many percent more one point has of a figure than the other, round by round, in the median.
fn more(samples: &[Sample], (of, than): (&str, &str), figure: &str) -> Option<f64> {
    let value = |label: &str, round: usize| {
        let fits = |sample: &&Sample| sample.contender == label && sample.round == round;
        samples.iter().find(fits)?.figures.get(figure).copied()
    };
    let rounds = samples.iter().filter(|sample| sample.contender == of);
    let percent = rounds.filter_map(|sample| {
        let (of, than) = (value(of, sample.round)?, value(than, sample.round)?);
        (than > 0.0).then(|| (of / than - 1.0) * 100.0)
    });
    Spread::of(&percent.collect::<Vec<_>>()).map(|spread| spread.median)
}

/// By how much the rounds differ in which nothing changes: a goal that is nearer than that is a
/// matter of the machine.
fn noise(samples: &[Sample], figure: &str) -> String {
    let steady = samples.iter().filter(|sample| sample.contender == STEADY);
    let values = steady.filter_map(|sample| sample.figures.get(figure).copied());
    match Spread::of(&values.collect::<Vec<_>>()) {
        Some(Spread { low, high, .. }) if low > 0.0 && high > low => {
            let percent = (high / low - 1.0) * 100.0;
            format!("; rounds of the same differ by up to {percent:.0} %")
        }
        Some(_) | None => String::new(),
    }
}

/// The highest of a figure; nothing where it was never seen.
fn highest<'a>(samples: impl Iterator<Item = &'a Sample>, figure: &str) -> Option<f64> {
    samples.filter_map(|sample| sample.figures.get(figure).copied()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::Dot, *};

    fn sample(label: &str, round: usize, figures: &[(&str, f64)]) -> Sample {
        Sample {
            contender: label.to_owned(),
            round,
            figures: figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            error: None,
            report: None,
        }
    }

    fn curve(name: &str, samples: Vec<Sample>) -> Drawn {
        Drawn {
            name: name.to_owned(),
            title: String::new(),
            axis: String::new(),
            points: Vec::new(),
            samples,
            absent: BTreeMap::new(),
        }
    }

    fn of<'a>(goals: &'a [Reached], figure: &str) -> &'a Reached {
        goals.iter().find(|goal| goal.figure == figure).unwrap()
    }

    #[test]
    fn a_decision_is_to_cost_little_and_no_more_among_many() {
        for (few, many, reached_times, reached_ns) in
            [(60.0, 90.0, true, true), (60.0, 130.0, false, false), (90.0, 101.0, true, false)]
        {
            let dot = |label: &str, value| {
                let spread = Spread { median: value, low: value, high: value };
                let figures = BTreeMap::from([("best_ns".to_owned(), spread)]);
                Dot { label: label.to_owned(), x: 0.0, figures, failed: 0 }
            };
            let mut decision = curve(DECISION, Vec::new());
            decision.points = vec![dot("10", few), dot("1,000", 1e6), dot("100,000", many)];
            let goals = reached(&[decision]);
            assert_eq!(goals.len(), 2);
            assert_eq!(of(&goals, "times_as_much").is_reached, reached_times);
            assert_eq!(of(&goals, "best_ns").is_reached, reached_ns);
        }
    }

    #[test]
    fn telemetry_is_what_calls_cost_more_with_it_within_a_round() {
        let cost = |label: &str, round, value| sample(label, round, &[(CPU, value)]);
        let rounds = |with: f64| {
            vec![
                cost(STEADY, 1, with),
                cost(DARK, 1, 100.0),
                cost(STEADY, 2, 2.0 * with),
                cost(DARK, 2, 200.0),
            ]
        };
        for (with, is_reached) in [(102.9, true), (103.1, false)] {
            let goals = reached(&[curve(CHANGES, rounds(with))]);
            let goal = of(&goals, "cpu_percent_of_telemetry");
            assert_eq!(goal.is_reached, is_reached);
            // The second round costs twice as much.
            assert!(goal.because.ends_with("rounds of the same differ by up to 100 %"), "{goal:?}");
        }
        let goals = reached(&[curve(CHANGES, vec![cost(STEADY, 1, 1.0)])]);
        assert_eq!(of(&goals, "cpu_percent_of_telemetry").ours, None);
    }

    #[test]
    fn a_call_that_fails_or_a_denied_one_that_is_seen_in_any_round_misses() {
        let denied = [(DENIED_PASSED, 0.0), (DENIED_SEEN, 0.0), ("failed", 0.0), (P99, 100.0)];
        let change = |name: &str, value: f64| {
            let mut figures = denied.to_vec();
            figures.push((name, value));
            let samples = [STEADY, ROTATION, POLICY].map(|label| sample(label, 1, &figures));
            reached(&[curve(CHANGES_OPEN, samples.to_vec())])
        };
        let missed = |goals: &[Reached]| {
            goals.iter().filter(|goal| !goal.is_reached).map(|it| it.figure.clone()).collect()
        };
        let none: Vec<String> = missed(&change("other", 1.0));
        assert_eq!(none, Vec::<String>::new());
        for name in [DENIED_PASSED, DENIED_SEEN] {
            let some: Vec<String> = missed(&change(name, 1.0));
            assert_eq!(some, [name]);
        }
        let some: Vec<String> = missed(&change("failed", 1.0));
        assert_eq!(some, ["failed", "failed"]);
    }

    #[test]
    fn a_curve_without_measurements_reaches_nothing() {
        let goals = reached(&[curve("rules", Vec::new())]);
        assert!(goals.len() == 3 && goals.iter().all(|goal| !goal.is_reached), "{goals:?}");
    }
}
