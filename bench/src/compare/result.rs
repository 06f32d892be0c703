//! What came of a comparison, as it is written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Conditions;
use crate::Report;

/// The form of this document.
pub const SCHEMA: u32 = 1;

/// A comparison: everything that was measured, nothing thrown away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// When, where and how; of the form [`SCHEMA`].
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Who took part.
    pub contenders: Vec<Stand>,
    /// Who could not: why.
    pub absent: BTreeMap<String, String>,
    /// What was measured.
    pub rows: Vec<Measured>,
    /// Each goal of these rows, if ours took part.
    pub goals: Vec<Reached>,
}

/// How it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How often each contender was measured, in turn.
    pub rounds: usize,
    /// How long each load was.
    pub seconds: f64,
    /// How long the same load was before, not measured.
    pub warm_up_seconds: f64,
    /// How many connections were idle.
    pub idle_connections: usize,
    /// Whose load it was: `own`, or what another program says of its version.
    #[serde(default = "own")]
    pub load: String,
}

/// Results of earlier builds had no other.
fn own() -> String {
    "own".to_owned()
}

/// A contender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// Its name.
    pub name: String,
    /// 4, 7, or 0 for no proxy.
    pub layer: u8,
    /// How it was set up.
    pub about: String,
    /// Its own words about its version.
    pub version: String,
}

/// A row, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// The figure by which contenders are compared.
    pub figure: String,
    /// Every measurement, in order.
    pub samples: Vec<Sample>,
    /// The medians.
    pub summaries: Vec<Summary>,
    /// What peers that could not be measured would have had: see [`Estimate`].
    pub estimates: Vec<Estimate>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Whose.
    pub contender: String,
    /// In which round, from 1.
    pub round: usize,
    /// By name; microseconds, seconds or KiB, as the name says.
    pub figures: BTreeMap<String, f64>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the load saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// All rounds of one contender in one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Whose.
    pub contender: String,
    /// By name.
    pub figures: BTreeMap<String, Spread>,
    /// The row's figure as a multiple of ours, round by round.
    pub to_ours: Option<Spread>,
    /// How many measurements failed.
    pub failed: usize,
}

/// Some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The one in the middle, or the mean of the two there.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// The row's figure of a peer that no package registry has: what a peer had that was measured, by
/// the ratio that both had in the tables of the design.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Who.
    pub peer: String,
    /// The figure.
    pub value: f64,
    /// Who was measured.
    pub from: String,
    /// The ratio of the two in the tables.
    pub ratio: f64,
}

/// A goal, and whether it was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// The row.
    pub row: String,
    /// The figure.
    pub figure: String,
    /// Ours: the median.
    pub ours: Option<f64>,
    /// The most that it may be in this run.
    pub wanted: f64,
    /// What makes it that.
    pub because: String,
    /// Whether it was reached.
    pub is_reached: bool,
    /// What the libraries of ours have by themselves in this run: where it is more than is wanted, it is they
    /// that are the limit.
    #[serde(default)]
    pub bare: Option<f64>,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = match middle.checked_sub(1).and_then(|lower| sorted.get(lower)) {
            Some(lower) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
            Some(_) | None => upper,
        };
        Some(Self { median, low, high })
    }
}

impl Measured {
    /// The median of a figure of a contender.
    pub fn median(&self, contender: &str, figure: &str) -> Option<f64> {
        let summary = self.summaries.iter().find(|summary| summary.contender == contender)?;
        summary.figures.get(figure).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_however_many_there_are() {
        let spread = |median, low, high| Some(Spread { median, low, high });
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[2.0]), spread(2.0, 2.0, 2.0));
        assert_eq!(Spread::of(&[4.0, 1.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of(&[9.0, 1.0, 3.0]), spread(3.0, 1.0, 9.0));
    }
}
