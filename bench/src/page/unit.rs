//! What figures are measured in.

use crate::compare::Spread;

/// A unit, and how many of a figure's own are one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Unit {
    pub(super) word: &'static str,
    size: f64,
}

const fn plain(word: &'static str) -> Unit {
    Unit { word, size: 1.0 }
}

pub(super) const NS: Unit = plain("ns");
pub(super) const US: Unit = plain("µs");
pub(super) const MS: Unit = plain("ms");
pub(super) const MS_OF_US: Unit = Unit { word: "ms", size: 1000.0 };
pub(super) const S_PER_GIB: Unit = plain("s/GiB");
pub(super) const GB_PER_SECOND: Unit = plain("GB/s");
pub(super) const KIB: Unit = plain("KiB");
pub(super) const MIB: Unit = plain("MiB");
pub(super) const MB: Unit = plain("MB");
pub(super) const PER_SECOND: Unit = plain("per s");
/// Of numbers and parts.
pub(super) const PART: Unit = plain("");

impl Unit {
    /// A figure in it.
    pub(super) fn of(self, Spread { median, low, high }: Spread) -> Spread {
        let Self { size, .. } = self;
        Spread { median: median / size, low: low / size, high: high / size }
    }

    /// One value in it.
    pub(super) fn one(self, value: f64) -> f64 {
        value / self.size
    }
}
