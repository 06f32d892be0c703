//! Bars as SVG.

use std::fmt::Write as _;

use super::escaped;
use crate::compare::{Spread, figure};

/// One bar, from nothing to its median, with a line from its lowest to its highest.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Its class in the page's style.
    pub(super) class: &'static str,
    pub(super) spread: Spread,
}

/// How values become lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// Places, in units of the drawing.
const WIDTH: f64 = 640.0;
const LEFT: f64 = 190.0;
const LENGTH: f64 = 340.0;
const STEP: f64 = 20.0;

/// The bars below each other.
pub(super) fn bars(all: &[Bar], scale: Scale) -> String {
    let highest = all.iter().map(|bar| bar.spread.high).fold(0.0, f64::max);
    let length = |value: f64| scale.length(value, highest);
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let height = f64::from(count) * STEP + 4.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    let mut top = 2.0;
    for bar in all {
        let Spread { median, low, high } = bar.spread;
        let (middle, text) = (top + STEP / 2.0, top + STEP / 2.0 + 4.0);
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\
             <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>",
            LEFT - 6.0,
            escaped(&bar.label),
            bar.class,
            top + 2.0,
            length(median),
            STEP - 4.0,
            LEFT + length(low),
            LEFT + length(high),
            LEFT + length(high) + 6.0,
            figure(median),
        );
        top += STEP;
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"0\" y2=\"{height}\"/></svg>"
    );
    svg
}

impl Scale {
    fn length(self, value: f64, highest: f64) -> f64 {
        let part = match self {
            Self::Linear if highest > 0.0 => value / highest,
            // From 1 on.
            Self::Logarithmic if highest > 1.0 => value.max(1.0).ln() / highest.ln(),
            Self::Linear | Self::Logarithmic => 0.0,
        };
        LENGTH * part.clamp(0.0, 1.0)
    }
}
