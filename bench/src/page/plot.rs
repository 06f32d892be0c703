//! Bars as SVG, and what all drawings have in common.

use std::fmt::{self, Write as _};

use super::{
    axis::{Axis, Scale, word},
    escaped,
};
use crate::compare::{Spread, figure};

/// How all drawings look: on the page, and standing alone.
pub(super) const STYLE: &str = "svg text { font: 12px system-ui, sans-serif; fill: #1c2430 }
svg text.ours { font-weight: 600 } svg text.tick { font-size: 11px; fill: #5b6675 }
svg text.goal { font-size: 11px; fill: #b3261e }
rect.theirs { fill: #93a4b8 } rect.ours, rect.own { fill: #1f6feb } rect.floor { fill: #d3dae3 }
line.whisker { stroke: #1c2430 } line.axis { stroke: #8793a1 } line.grid { stroke: #e6eaef }
line.goal { stroke: #b3261e; stroke-dasharray: 4 3 }
";

/// What is drawn, in a place of its own.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) text: String,
}

impl Drawing {
    /// On the page.
    pub(super) fn svg(&self) -> String {
        let Self { width, height, text } = self;
        format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\">{text}</svg>")
    }
}

/// One bar, to its median, with a line from its lowest to its highest.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Its class in the style.
    pub(super) class: &'static str,
    pub(super) spread: Spread,
}

/// What bars are measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) scale: Scale,
    pub(super) unit: &'static str,
    /// The most that ours may have.
    pub(super) goal: Option<f64>,
}

/// Places, in units of the drawing: beside the bars the figures of the longest.
const STEP: f64 = 18.0;
const RIGHT: f64 = 66.0;
const BELOW: f64 = 20.0;
const GOAL: f64 = 14.0;

/// The least room for labels: below each other, bars of several drawings begin at the same place.
const LEAST_LEFT: f64 = 96.0;

/// About how wide a text is.
pub(super) fn wide(text: &str) -> f64 {
    f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)) * 6.8
}

/// The bars below each other.
pub(super) fn bars(all: &[Bar], measure: &Measure, width: f64) -> Drawing {
    let longest = all.iter().map(|bar| wide(&bar.label)).fold(0.0, f64::max);
    let left = (longest + 8.0).clamp(LEAST_LEFT, width / 2.0);
    let top = if measure.goal.is_some() { GOAL } else { 2.0 };
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let bottom = top + f64::from(count) * STEP + 2.0;
    let ends = all.iter().flat_map(|bar| [bar.spread.low, bar.spread.high]);
    let axis = Axis::of(measure.scale, ends.chain(measure.goal));
    let across = |value: f64| left + (width - left - RIGHT) * axis.part(value);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_axis(&mut text, &axis, &across, (top, bottom));
    let _ = write!(
        text,
        "<text class=\"tick\" x=\"{width}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        bottom + 14.0,
        escaped(measure.unit)
    );
    let goal = measure.goal.map(across);
    for (bar, place) in all.iter().zip(0_u32..) {
        let top = top + f64::from(place) * STEP;
        let _ = write_bar(&mut text, bar, (left, top), &across);
        let _ = write_value(&mut text, bar, (across(bar.spread.high) + 6.0, top), goal);
    }
    if let (Some(goal), Some(x)) = (measure.goal, goal) {
        let _ = write_goal(&mut text, goal, x, (top, bottom));
    }
    Drawing { width, height: bottom + BELOW, text }
}

fn write_axis(
    text: &mut String,
    axis: &Axis,
    across: &impl Fn(f64) -> f64,
    (top, bottom): (f64, f64),
) -> fmt::Result {
    for (place, tick) in axis.ticks().into_iter().enumerate() {
        let (x, class) = (across(tick), if place == 0 { "axis" } else { "grid" });
        write!(
            text,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 14.0,
            word(tick)
        )?;
    }
    Ok(())
}

fn write_bar(
    text: &mut String,
    Bar { label, class, spread: Spread { median, low, high } }: &Bar,
    (left, top): (f64, f64),
    across: &impl Fn(f64) -> f64,
) -> fmt::Result {
    let middle = top + STEP / 2.0;
    write!(
        text,
        "<text class=\"{class}\" x=\"{:.1}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <rect class=\"{class}\" x=\"{left:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\
         <line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
        left - 6.0,
        middle + 4.0,
        escaped(label),
        top + 2.0,
        across(*median) - left,
        STEP - 4.0,
        across(*low),
        across(*high),
    )
}

/// The median beside the bar, or beside the line of the goal where that would go through it.
fn write_value(
    text: &mut String,
    Bar { class, spread, .. }: &Bar,
    (left, top): (f64, f64),
    goal: Option<f64>,
) -> fmt::Result {
    let value = figure(spread.median);
    let taken = left - 3.0..left + wide(&value) + 3.0;
    let left = goal.filter(|goal| taken.contains(goal)).map_or(left, |goal| goal + 5.0);
    let line = top + STEP / 2.0 + 4.0;
    write!(text, "<text class=\"{class}\" x=\"{left:.1}\" y=\"{line}\">{value}</text>")
}

fn write_goal(text: &mut String, goal: f64, x: f64, (top, bottom): (f64, f64)) -> fmt::Result {
    write!(
        text,
        "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
         <text class=\"goal\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">goal {}</text>",
        top - 3.0,
        figure(goal)
    )
}
