//! Curves as one HTML page with plots in it.

use std::fmt::{self, Write as _};

use super::{
    HEAD, Plot, escaped, linear,
    plot::{Bar, Scale, bars},
    write_goals, write_place,
};
use crate::{
    compare::{Spread, figure},
    curves::{Curves, Drawn},
};

/// The page of these curves, or of several beside each other, each with its name.
pub fn curves_page(all: &[(String, Curves)]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, all);
    text
}

fn write(text: &mut String, all: &[(String, Curves)]) -> fmt::Result {
    text.push_str(HEAD);
    writeln!(text, "<h1>What ours cost as something grows or changes</h1>")?;
    for (name, curves) in all {
        write_place(text, name, &curves.conditions)?;
        for curve in &curves.curves {
            write_curve(text, curve)?;
        }
        write_goals(text, name, &curves.goals)?;
    }
    text.push_str("</body></html>\n");
    Ok(())
}

/// What is drawn of each curve.
const PLOTS: &[Plot<'_>] = &[
    linear("a decision, nanoseconds", &[("best_ns", "best"), ("median_ns", "median")]),
    linear(
        "CPU for a call, microseconds",
        &[
            ("cpu_us_per_call", "both proxies"),
            ("client_cpu_us_per_call", "caller's"),
            ("server_cpu_us_per_call", "callee's"),
        ],
    ),
    linear("answers per second", &[("calls_per_second", "")]),
    linear("latency, microseconds", &[("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")]),
    linear("what the slowest client has of the mean", &[("fairness", "")]),
    linear("resident memory of both sides, MiB", &[("rss_mib", "")]),
    linear(
        "memory of an open connection, KiB",
        &[("kib_per_connection", "both"), ("kib_per_connection_of_caller", "caller's")],
    ),
    linear("connections held", &[("connections", "")]),
];

fn write_curve(text: &mut String, curve: &Drawn) -> fmt::Result {
    let title = escaped(&curve.title);
    writeln!(text, "<h2>{}: {title}</h2><div class=\"plots\">", escaped(&curve.name))?;
    for Plot { title, figures, scale } in PLOTS {
        let has = |name: &str| curve.points.iter().any(|it| it.figures.contains_key(name));
        if figures.iter().any(|(name, _)| has(name)) {
            let svg = if curve.axis.is_empty() {
                beside(curve, figures, *scale)
            } else {
                lines(curve, figures)
            };
            writeln!(text, "<div><h3>{title}</h3>{svg}</div>")?;
        }
    }
    writeln!(text, "</div>")?;
    for (label, why) in &curve.absent {
        let (label, why) = (escaped(label), escaped(why));
        writeln!(text, "<p class=\"miss\">{label} was not measured: {why}</p>")?;
    }
    for sample in &curve.samples {
        let Some(error) = &sample.error else { continue };
        let (who, error) = (escaped(&sample.contender), escaped(error));
        writeln!(text, "<p class=\"miss\">{who}, round {}: {error}</p>", sample.round)?;
    }
    Ok(())
}

/// Points that are different things: bars.
fn beside(curve: &Drawn, figures: &[(&str, &str)], scale: Scale) -> String {
    let mut all = Vec::new();
    for point in &curve.points {
        for (name, word) in figures {
            let Some(spread) = point.figures.get(*name) else { continue };
            let label = format!("{} {word}", point.label);
            all.push(Bar { label: label.trim_end().to_owned(), class: "ours", spread: *spread });
        }
    }
    bars(&all, scale)
}

/// Places, in units of the drawing.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 30.0;
/// Between the words of two lines.
const WORD: f64 = 180.0;
const BOTTOM: f64 = 36.0;

/// Colours of the lines, by their place.
const COLOURS: [&str; 3] = ["#1f6feb", "#b3261e", "#1b6e3c"];

/// Lines over what grows: that on a logarithmic scale, the figures on a linear one from nothing.
fn lines(curve: &Drawn, figures: &[(&str, &str)]) -> String {
    let all = || figures.iter().filter_map(|(name, _)| highest(curve, name));
    let top = all().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let scaled = |x: f64| x.max(0.0).ln_1p();
    let ends = curve.points.iter().map(|point| scaled(point.x));
    let (from, to) =
        ends.fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    let span = (to - from).max(f64::MIN_POSITIVE);
    let across = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * ((scaled(x) - from) / span).min(1.0);
    let down = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    // Writing to a string does not fail.
    let _ = write_axes(&mut svg, curve, top, &across);
    let mut left = LEFT;
    for ((name, word), colour) in figures.iter().zip(COLOURS) {
        let seen = curve.points.iter().filter_map(|it| Some((it.x, *it.figures.get(*name)?)));
        let seen = seen.collect::<Vec<_>>();
        let _ = write_line(&mut svg, &seen, colour, (&across, &down));
        let _ = write_word(&mut svg, &seen, (word, colour), left);
        left += WORD;
    }
    svg.push_str("</svg>");
    svg
}

fn highest(curve: &Drawn, name: &str) -> Option<f64> {
    let values = curve.points.iter().filter_map(|point| point.figures.get(name));
    values.map(|spread| spread.high).reduce(f64::max)
}

fn write_axes(
    svg: &mut String,
    curve: &Drawn,
    top: f64,
    across: &impl Fn(f64) -> f64,
) -> fmt::Result {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
         <text x=\"{0}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\
         <text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{2}</text>\
         <text x=\"{right}\" y=\"{3}\" text-anchor=\"end\">{4}</text>",
        LEFT - 6.0,
        TOP + 4.0,
        figure(top),
        HEIGHT - 4.0,
        escaped(&curve.axis)
    )?;
    for point in &curve.points {
        write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            across(point.x),
            bottom + 16.0,
            escaped(&point.label)
        )?;
    }
    Ok(())
}

fn write_line(
    svg: &mut String,
    seen: &[(f64, Spread)],
    colour: &str,
    (across, down): (&impl Fn(f64) -> f64, &impl Fn(f64) -> f64),
) -> fmt::Result {
    let mut path = String::new();
    for (x, Spread { median, low, high }) in seen {
        let (x, y) = (across(*x), down(*median));
        write!(path, "{x:.1},{y:.1} ")?;
        write!(
            svg,
            "<line stroke=\"{colour}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <circle fill=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>",
            down(*low),
            down(*high),
            figure(*median)
        )?;
    }
    write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", path.trim_end())
}

/// What the line is, and where it begins and ends.
fn write_word(
    svg: &mut String,
    seen: &[(f64, Spread)],
    (word, colour): (&str, &str),
    left: f64,
) -> fmt::Result {
    let (Some((_, first)), Some((_, last))) = (seen.first(), seen.last()) else { return Ok(()) };
    let text = format!("{word} {} .. {}", figure(first.median), figure(last.median));
    let text = escaped(text.trim_start());
    write!(svg, "<text x=\"{left}\" y=\"12\" style=\"fill: {colour}\">{text}</text>")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        compare::Sample,
        curves::{Dot, Extent},
        page::tests::conditions,
    };

    fn dot(label: &str, x: f64, figures: &[(&str, f64)]) -> Dot {
        let spread = |value: f64| Spread { median: value, low: value / 2.0, high: value * 2.0 };
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), spread(*value)));
        Dot { label: label.to_owned(), x, figures: figures.collect(), failed: 0 }
    }

    fn drawn(axis: &str, points: Vec<Dot>) -> Drawn {
        let failed = Sample {
            contender: "10".to_owned(),
            round: 2,
            figures: BTreeMap::new(),
            error: Some("no <answer>".to_owned()),
            report: None,
        };
        Drawn {
            name: "rules".to_owned(),
            title: "a <title>".to_owned(),
            axis: axis.to_owned(),
            points,
            samples: vec![failed],
            absent: BTreeMap::from([("dark".to_owned(), "not & there".to_owned())]),
        }
    }

    #[test]
    fn what_grows_is_a_line_and_different_things_are_bars_and_nothing_comes_from_elsewhere() {
        let figures = [("cpu_us_per_call", 30.0), ("p99_us", 900.0), ("p50_us", 100.0)];
        let points = || vec![dot("0", 0.0, &figures), dot("10", 10.0, &figures)];
        let curves = Curves {
            conditions: conditions(),
            extent: Extent::All,
            curves: vec![drawn("rules", points()), drawn("", points())],
            goals: Vec::new(),
        };

        let text = curves_page(&[("one".to_owned(), curves)]);

        for forbidden in ["http://", "https://", "<script", "src=", "url(", "@import", "<link"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
        // CPU and latency, each as lines and as bars.
        assert_eq!(text.matches("<svg").count(), 4);
        // CPU of both proxies only, and two latencies: three lines of two points each.
        assert_eq!(text.matches("<circle").count(), 6);
        assert_eq!(text.matches("<rect").count(), 6);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("no &lt;answer&gt;") && text.contains("not &amp; there"));
        assert!(text.contains("stopped before all was measured"));
    }
}
