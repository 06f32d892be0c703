//! Axes: where a value stands between both ends, and which values are written beside them.

use crate::compare::figure;

/// How values become lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From nothing.
    Linear,
    /// From a power of ten below the lowest.
    Logarithmic,
}

/// From its begin to the highest value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
}

/// So much above its begin the lowest value stands at least, so that its bar can be seen.
const CLEAR: f64 = 1.5;

/// About how many ticks there are on a linear axis.
const TICKS: u8 = 5;

impl Axis {
    /// On which all of these are.
    pub(super) fn of(scale: Scale, values: impl IntoIterator<Item = f64>) -> Self {
        let above = values.into_iter().filter(|value| value.is_normal() && *value > 0.0);
        let (low, high) = above
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if scale == Scale::Linear || high <= 0.0 {
            return Self { scale: Scale::Linear, from: 0.0, to: high };
        }
        let from = 10_f64.powf((low / CLEAR).log10().floor()).max(f64::MIN_POSITIVE);
        Self { scale, from, to: high }
    }

    /// Where a value is, of 1.
    pub(super) fn part(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear if self.to > 0.0 => value / self.to,
            Scale::Linear => 0.0,
            Scale::Logarithmic => {
                (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
            }
        };
        part.clamp(0.0, 1.0)
    }

    /// What is written beside it, lowest first.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.to <= 0.0 {
            return vec![0.0];
        }
        match self.scale {
            Scale::Linear => {
                let step = round(self.to / f64::from(TICKS));
                let all = (0..=TICKS).map(|tick| f64::from(tick) * step);
                all.filter(|tick| *tick <= self.to).collect()
            }
            Scale::Logarithmic => {
                let powers = self.multiples(&[1.0]);
                if powers.len() > 2 { powers } else { self.multiples(&[1.0, 2.0, 5.0]) }
            }
        }
    }

    /// These times each power of ten, as far as they are on it.
    fn multiples(&self, of: &[f64]) -> Vec<f64> {
        let power = |from: f64| from.log10().round();
        let mut all = Vec::new();
        let mut begin = 10_f64.powf(power(self.from));
        while begin <= self.to && begin > 0.0 {
            all.extend(of.iter().map(|times| times * begin).filter(|tick| *tick <= self.to));
            begin = 10_f64.powf(power(begin) + 1.0);
        }
        all
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below.
fn round(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value);
    times.unwrap_or(10.0) * power
}

/// A tick in words: no digits that say nothing.
pub(super) fn word(tick: f64) -> String {
    let text = figure(tick);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scale: Scale, values: &[f64], words: &[&str]) {
        let axis = Axis::of(scale, values.iter().copied());
        let ticks = axis.ticks();
        assert_eq!(ticks.iter().copied().map(word).collect::<Vec<_>>(), words, "{values:?}");
        let parts = ticks.iter().map(|tick| axis.part(*tick)).collect::<Vec<_>>();
        assert!(parts.is_sorted() && parts.iter().all(|part| part.is_finite()), "{parts:?}");
    }

    #[test]
    fn ticks_are_round_few_and_on_the_axis() {
        check(Scale::Linear, &[], &["0"]);
        check(Scale::Linear, &[0.0], &["0"]);
        check(Scale::Linear, &[0.79, 2.4], &["0", "0.5", "1", "1.5", "2"]);
        check(Scale::Linear, &[5.0], &["0", "1", "2", "3", "4", "5"]);
        check(Scale::Linear, &[28_291.0], &["0", "10,000", "20,000"]);
        check(Scale::Logarithmic, &[0.0, f64::NAN], &["0"]);
        check(Scale::Logarithmic, &[4.0, 2791.0], &["1", "10", "100", "1,000"]);
        check(Scale::Logarithmic, &[10.0, 25.0], &["1", "2", "5", "10", "20"]);
    }

    #[test]
    fn the_lowest_value_of_a_logarithmic_axis_is_not_at_its_begin() {
        for lowest in [1.0, 1.4, 9.0, 10.0, 0.001] {
            let axis = Axis::of(Scale::Logarithmic, [lowest, 100.0]);
            assert!(axis.part(lowest) > 0.05, "{lowest}");
            assert_eq!(axis.part(100.0), 1.0);
            assert_eq!(axis.part(0.0), 0.0);
        }
    }
}
