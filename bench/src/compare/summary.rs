//! From measurements to medians, ratios, and what peers that are not here would have had.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    goals,
    result::{Measured, Sample, Spread, Summary},
    rows::{ADDED_P50, ADDED_P99, Load, P50, P99, Row},
};

/// The contenders that have a part of their own in what follows.
pub(super) const OURS: &str = "ours";
pub(super) const NONE: &str = "none";

/// A row with its medians.
pub(super) fn measured(row: &Row, mut samples: Vec<Sample>) -> Measured {
    if matches!(row.load, Load::Open(_)) {
        add_what_proxies_add(&mut samples);
    }
    let summaries = summaries(row.figure, &samples);
    let mut measured = Measured {
        name: row.name.to_owned(),
        title: row.title.to_owned(),
        figure: row.figure.to_owned(),
        samples,
        summaries,
        estimates: Vec::new(),
    };
    measured.estimates = goals::estimates(&measured);
    measured
}

/// By round, because a disturbance of the machine is in both.
fn add_what_proxies_add(samples: &mut [Sample]) {
    let value = |sample: &Sample, figure: &str| sample.figures.get(figure).copied();
    let direct = samples.iter().filter(|sample| sample.contender == NONE);
    let direct = direct
        .filter_map(|sample| Some((sample.round, (value(sample, P50)?, value(sample, P99)?))))
        .collect::<BTreeMap<_, _>>();
    for sample in samples.iter_mut().filter(|sample| sample.contender != NONE) {
        let Some((p50, p99)) = direct.get(&sample.round) else { continue };
        let added = [(ADDED_P50, value(sample, P50), p50), (ADDED_P99, value(sample, P99), p99)];
        for (name, with, without) in added {
            sample.figures.extend(with.map(|with| (name.to_owned(), with - without)));
        }
    }
}

/// The medians of each contender.
pub(crate) fn summaries(figure: &str, samples: &[Sample]) -> Vec<Summary> {
    let mut names = Vec::new();
    for sample in samples {
        if !names.contains(&sample.contender) {
            names.push(sample.contender.clone());
        }
    }
    names.into_iter().map(|name| summary(&name, figure, samples)).collect()
}

fn summary(name: &str, figure: &str, samples: &[Sample]) -> Summary {
    let own = samples.iter().filter(|sample| sample.contender == name).collect::<Vec<_>>();
    let figures = own.iter().flat_map(|sample| sample.figures.keys()).collect::<BTreeSet<_>>();
    let spread = |figure: &str| {
        let values = own.iter().filter_map(|sample| sample.figures.get(figure).copied());
        Spread::of(&values.collect::<Vec<_>>())
    };
    let figures = figures
        .into_iter()
        .filter_map(|figure| Some((figure.clone(), spread(figure)?)))
        .collect::<BTreeMap<_, _>>();
    Summary {
        contender: name.to_owned(),
        figures,
        to_ours: Spread::of(&ratios(&own, figure, samples)),
        failed: own.iter().filter(|sample| sample.error.is_some()).count(),
    }
}

/// Round by round, where both were measured.
fn ratios(own: &[&Sample], figure: &str, samples: &[Sample]) -> Vec<f64> {
    let ours = samples.iter().filter(|sample| sample.contender == OURS);
    let ours = ours
        .filter_map(|sample| Some((sample.round, *sample.figures.get(figure)?)))
        .collect::<BTreeMap<_, _>>();
    let ratio = |sample: &&Sample| {
        let (theirs, ours) = (sample.figures.get(figure)?, ours.get(&sample.round)?);
        (*ours > 0.0).then(|| theirs / ours)
    };
    own.iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::rows::ROWS, *};

    fn sample(contender: &str, round: usize, figures: &[(&str, f64)]) -> Sample {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value));
        Sample {
            contender: contender.to_owned(),
            round,
            figures: figures.collect(),
            error: None,
            report: None,
        }
    }

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_and_a_failed_round_counts_as_failed() {
        let mut failed = sample("nginx", 3, &[]);
        failed.error = Some("it did not start".to_owned());
        let samples = vec![
            sample("ours", 1, &[("cpu_us_per_call", 10.0)]),
            sample("nginx", 1, &[("cpu_us_per_call", 20.0)]),
            sample("ours", 2, &[("cpu_us_per_call", 30.0)]),
            sample("nginx", 2, &[("cpu_us_per_call", 90.0)]),
            sample("ours", 3, &[("cpu_us_per_call", 20.0)]),
            failed,
        ];

        let measured = measured(row("http1-32"), samples);

        assert_eq!(measured.median("ours", "cpu_us_per_call"), Some(20.0));
        let nginx = &measured.summaries[1];
        assert_eq!((nginx.contender.as_str(), nginx.failed), ("nginx", 1));
        assert_eq!(nginx.to_ours, Some(Spread { median: 2.5, low: 2.0, high: 3.0 }));
    }

    #[test]
    fn what_proxies_add_is_told_against_the_same_round_without_them() {
        let latency = |p50, p99| [("p50_us", p50), ("p99_us", p99), ("cpu_us_per_call", 70.0)];
        let samples = vec![
            sample("none", 1, &latency(100.0, 150.0)[..2]),
            sample("ours", 1, &latency(190.0, 290.0)),
            sample("none", 2, &latency(500.0, 900.0)[..2]),
            sample("ours", 2, &latency(580.0, 1000.0)),
        ];

        let measured = measured(row("open-4000"), samples);

        assert_eq!(measured.median("ours", ADDED_P50), Some(85.0));
        assert_eq!(measured.median("ours", ADDED_P99), Some(120.0));
        assert_eq!(measured.median("none", ADDED_P50), None);
    }
}
