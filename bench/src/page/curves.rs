//! Curves as one HTML page with plots in it.

use std::fmt::{self, Write as _};

use super::{
    Plot, WIDTH, escaped, linear,
    lines::{Line, lines},
    plot::{Bar, Drawing, Measure, bars},
    unit::{KIB, MIB, MS_OF_US, NS, PART, PER_SECOND, US},
    write_goals, write_head, write_place,
};
use crate::curves::{Curves, Drawn};

/// The page of these curves, or of several beside each other, each with its name.
pub fn curves_page(all: &[(String, Curves)]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, all);
    text
}

fn write(text: &mut String, all: &[(String, Curves)]) -> fmt::Result {
    write_head(text, "What ours cost as something grows or changes")?;
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
    linear("a decision", NS, &[("best_ns", "best"), ("median_ns", "median")]),
    linear(
        "CPU for a call",
        US,
        &[
            ("cpu_us_per_call", "both"),
            ("client_cpu_us_per_call", "caller's"),
            ("server_cpu_us_per_call", "callee's"),
        ],
    ),
    linear("answers per second", PER_SECOND, &[("calls_per_second", "")]),
    linear("latency", MS_OF_US, &[("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")]),
    linear("what the slowest client has of the mean", PART, &[("fairness", "")]),
    linear("resident memory of both sides", MIB, &[("rss_mib", "")]),
    linear(
        "memory of an open connection",
        KIB,
        &[("kib_per_connection", "both"), ("kib_per_connection_of_caller", "caller's")],
    ),
    linear("connections held", PART, &[("connections", "")]),
];

/// A curve in its plots, each with its heading.
pub(super) fn drawings(curve: &Drawn, width: impl Fn(usize) -> f64) -> Vec<(&str, Drawing)> {
    let has = |name: &str| curve.points.iter().any(|it| it.figures.contains_key(name));
    let there = |plot: &&Plot<'_>| plot.figures.iter().any(|(name, _)| has(name));
    let plots = PLOTS.iter().filter(there).collect::<Vec<_>>();
    let width = width(plots.len());
    let draw = |plot: &Plot<'_>| {
        if curve.axis.is_empty() { beside(curve, plot, width) } else { over(curve, plot, width) }
    };
    plots.into_iter().map(|plot| (plot.title, draw(plot))).collect()
}

fn write_curve(text: &mut String, curve: &Drawn) -> fmt::Result {
    let title = escaped(&curve.title);
    writeln!(text, "<h2>{}: {title}</h2><div class=\"plots\">", escaped(&curve.name))?;
    for (title, drawing) in drawings(curve, |_| WIDTH) {
        writeln!(text, "<div><h3>{title}</h3>{}</div>", drawing.svg())?;
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
fn beside(curve: &Drawn, plot: &Plot<'_>, width: f64) -> Drawing {
    let mut all = Vec::new();
    for point in &curve.points {
        for (name, word) in plot.figures {
            let Some(spread) = point.figures.get(*name) else { continue };
            let label = format!("{} {word}", point.label).trim_end().to_owned();
            all.push(Bar { label, class: "own", spread: plot.unit.of(*spread) });
        }
    }
    bars(&all, &Measure { scale: plot.scale, unit: plot.unit.word, goal: None }, width)
}

/// Points of what grows: lines.
fn over(curve: &Drawn, plot: &Plot<'_>, width: f64) -> Drawing {
    let points = |name: &str| {
        let points = curve.points.iter();
        points.filter_map(|it| Some((it.x, plot.unit.of(*it.figures.get(name)?)))).collect()
    };
    let all = plot.figures.iter().map(|(name, word)| Line { word, points: points(name) });
    let all = all.collect::<Vec<_>>();
    lines(curve, &all, plot.unit.word, width)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        compare::{Sample, Spread},
        curves::{Dot, Extent},
        page::{
            PictureError, pictures_of_curves,
            tests::{conditions, is_well_formed},
        },
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
        let curves = curves(vec![drawn("rules", points()), drawn("", points())]);

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

    fn curves(drawn: Vec<Drawn>) -> Curves {
        let (conditions, extent) = (conditions(), Extent::All);
        Curves { conditions, extent, curves: drawn, goals: Vec::new() }
    }

    #[test]
    fn each_curve_is_a_file_and_one_without_figures_is_none() {
        let many = (0..40).map(f64::from);
        let many = many.map(|x| dot(&format!("{x}0,000"), x, &[("p99_us", 1.0 + 900.0 * x)]));
        let silent = Drawn { name: "silent".to_owned(), ..drawn("rules", Vec::new()) };
        let curves = curves(vec![drawn("rules", many.collect()), silent]);

        let pictures = pictures_of_curves(&curves).unwrap();

        assert_eq!(pictures, pictures_of_curves(&curves).unwrap());
        let [picture] = pictures.as_slice() else { panic!("{pictures:?}") };
        assert_eq!(picture.name, "curve-rules.svg");
        assert!(is_well_formed(&picture.svg), "{}", picture.svg);
        assert!(picture.svg.contains("dark was not measured: not &amp; there."));
        assert_eq!(picture.svg.matches("<circle").count(), 40);
        // Labels as far as there is room, and that of the last. Values are far apart: powers of ten.
        let labels = picture.svg.matches("0,000</text>").count();
        assert!((3..20).contains(&labels), "{labels}");
        assert!(picture.svg.contains(">390,000</text>"));
        assert!(picture.svg.contains(">0.1</text>") && picture.svg.contains(">10</text>"));
    }

    #[test]
    fn a_curve_whose_name_leads_elsewhere_is_no_file() {
        for name in ["", "../x", "a/b", "a b", "a.svg"] {
            let evil = Drawn { name: name.to_owned(), ..drawn("rules", Vec::new()) };
            let Err(PictureError::Name { name: told }) = pictures_of_curves(&curves(vec![evil]))
            else {
                panic!("{name}");
            };
            assert_eq!(told, name);
        }
    }
}
