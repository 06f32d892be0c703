//! Lines as SVG: figures over what grows.

use std::fmt::{self, Write as _};

use super::{
    axis::{Axis, Scale, word},
    escaped,
    plot::{Drawing, wide},
};
use crate::{
    compare::{Spread, figure},
    curves::Drawn,
};

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// What it is.
    pub(super) word: &'a str,
    /// By how much there was of what grows.
    pub(super) points: Vec<(f64, Spread)>,
}

/// Places, in units of the drawing.
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 36.0;

/// Between two words beside each other.
const GAP: f64 = 8.0;

/// Colours of the lines, by their place.
const COLOURS: [&str; 3] = ["#1f6feb", "#b3261e", "#1b6e3c"];

/// From so many times the lowest on, the highest leaves nothing to be seen of it.
const FAR: f64 = 30.0;

/// Lines over what grows: that on a logarithmic scale, and the figures too where they are far apart.
pub(super) fn lines(curve: &Drawn, all: &[Line<'_>], unit: &str, width: f64) -> Drawing {
    let spreads = || all.iter().flat_map(|line| line.points.iter().map(|(_, spread)| *spread));
    let down = axis(spreads().flat_map(|it| [it.low, it.median, it.high]));
    let scaled = |x: f64| x.max(0.0).ln_1p();
    let ends = curve.points.iter().map(|point| scaled(point.x));
    let (from, to) =
        ends.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    let span = (to - from).max(f64::MIN_POSITIVE);
    let across = |x: f64| LEFT + (width - LEFT - RIGHT) * ((scaled(x) - from) / span).min(1.0);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_down(&mut text, &down, unit, width);
    let _ = write_across(&mut text, curve, &across, width);
    let mut left = LEFT;
    for (line, colour) in all.iter().zip(COLOURS) {
        let _ =
            write_line(&mut text, &line.points, colour, (&across, &|value| height(&down, value)));
        let _ = write_word(&mut text, line, colour, &mut left);
    }
    Drawing { width, height: HEIGHT, text }
}

fn axis(values: impl Iterator<Item = f64> + Clone) -> Axis {
    let highest = values.clone().fold(0.0, f64::max);
    let lowest = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let scale = if highest > FAR * lowest { Scale::Logarithmic } else { Scale::Linear };
    Axis::of(scale, values)
}

fn height(down: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * down.part(value)
}

fn write_down(text: &mut String, down: &Axis, unit: &str, width: f64) -> fmt::Result {
    for (place, tick) in down.ticks().into_iter().enumerate() {
        let (y, class) = (height(down, tick), if place == 0 { "axis" } else { "grid" });
        write!(
            text,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            width - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            word(tick)
        )?;
    }
    write!(
        text,
        "<text class=\"tick\" x=\"{}\" y=\"12\" text-anchor=\"end\">{}</text>",
        LEFT - 6.0,
        escaped(unit)
    )
}

/// The labels of points as far as there is room for them, and always that of the last.
fn write_across(
    text: &mut String,
    curve: &Drawn,
    across: &impl Fn(f64) -> f64,
    width: f64,
) -> fmt::Result {
    let mut taken: Vec<(f64, f64)> = Vec::new();
    let last = curve.points.last();
    let first = curve.points.iter().take(curve.points.len().saturating_sub(1));
    for point in last.into_iter().chain(first) {
        let (x, half) = (across(point.x), wide(&point.label) / 2.0 + 3.0);
        let (begin, end) = (x - half, x + half);
        if taken.iter().any(|(from, to)| begin < *to && end > *from) {
            continue;
        }
        taken.push((begin, end));
        write!(
            text,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM + 15.0,
            escaped(&point.label)
        )?;
    }
    write!(
        text,
        "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        width - RIGHT,
        HEIGHT - 5.0,
        escaped(&curve.axis)
    )
}

fn write_line(
    text: &mut String,
    seen: &[(f64, Spread)],
    colour: &str,
    (across, down): (&impl Fn(f64) -> f64, &impl Fn(f64) -> f64),
) -> fmt::Result {
    let mut path = String::new();
    for (x, Spread { median, low, high }) in seen {
        let (x, y) = (across(*x), down(*median));
        write!(path, "{x:.1},{y:.1} ")?;
        write!(
            text,
            "<line stroke=\"{colour}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <circle fill=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>",
            down(*low),
            down(*high),
            figure(*median)
        )?;
    }
    write!(text, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", path.trim_end())
}

/// What the line is, and where it begins and ends.
fn write_word(
    text: &mut String,
    Line { word, points }: &Line<'_>,
    colour: &str,
    left: &mut f64,
) -> fmt::Result {
    let (Some((_, first)), Some((_, last))) = (points.first(), points.last()) else {
        return Ok(());
    };
    let words = format!("{word} {} .. {}", figure(first.median), figure(last.median));
    let words = words.trim_start();
    write!(
        text,
        "<text x=\"{left:.1}\" y=\"12\" style=\"fill: {colour}\">{}</text>",
        escaped(words)
    )?;
    *left += wide(words) + GAP;
    Ok(())
}
