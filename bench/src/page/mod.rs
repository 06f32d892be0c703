//! Comparisons, and curves, as one HTML page with plots in it, which needs no network and no script, and
//! the same plots as files of their own.

mod axis;
mod book;
mod curves;
mod lines;
mod plot;
mod sheet;
mod unit;

use std::fmt::{self, Write as _};

use self::{
    axis::Scale,
    plot::{Bar, Measure, STYLE, bars},
    unit::{GB_PER_SECOND, KIB, MB, MIB, MS, MS_OF_US, PER_SECOND, S_PER_GIB, US, Unit},
};
pub use self::{
    book::{Picture, PictureError, pictures, pictures_of_curves},
    curves::curves_page,
};
use crate::compare::{Comparison, Conditions, Measured, Reached, Summary, figure, notes, pinned};

/// The page of one comparison, or of several beside each other, each with its name.
pub fn page(comparisons: &[(String, Comparison)]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, comparisons);
    text
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Proxies compared</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: #1c2430; background: #fff }
h2 { margin: 2.5rem 0 .5rem } h3 { font-size: 1rem; margin: 0 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(34rem, 1fr)); gap: 1.5rem }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left;
  vertical-align: top } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.miss { color: #b3261e } .ok { color: #1b6e3c } .quiet { color: #5b6675 }
svg { width: 100%; height: auto }
";

/// How wide a plot is on the page, in units of the drawing.
const WIDTH: f64 = 640.0;

/// The begin of a page, with its title.
fn write_head(text: &mut String, title: &str) -> fmt::Result {
    writeln!(text, "{HEAD}{STYLE}</style></head><body>\n<h1>{title}</h1>")
}

fn write(text: &mut String, comparisons: &[(String, Comparison)]) -> fmt::Result {
    write_head(text, "Proxies compared")?;
    for (name, comparison) in comparisons {
        write_machine(text, name, comparison)?;
    }
    let mut names = Vec::new();
    for row in comparisons.iter().flat_map(|(_, comparison)| &comparison.rows) {
        if !names.contains(&&row.name) {
            names.push(&row.name);
        }
    }
    for name in names {
        let of = |(label, comparison)| {
            let comparison: &Comparison = comparison;
            let row = comparison.rows.iter().find(|row| row.name == *name)?;
            Some((label, row))
        };
        let rows = comparisons.iter().map(|(label, comparison)| (label.as_str(), comparison));
        write_row(text, &rows.filter_map(of).collect::<Vec<_>>())?;
    }
    for (name, comparison) in comparisons {
        write_goals(text, name, &comparison.goals)?;
    }
    text.push_str("</body></html>\n");
    Ok(())
}

fn write_place(text: &mut String, name: &str, conditions: &Conditions) -> fmt::Result {
    let Conditions { machine, settings, network, pinning, was_stopped, .. } = conditions;
    writeln!(text, "<h2>{}</h2><p>", escaped(name))?;
    writeln!(
        text,
        "{}, {} cores, Linux {}, {} files a process; {}; {}. {} rounds of {} s after {} s.</p>",
        escaped(&machine.cpu),
        machine.cores,
        escaped(&machine.kernel),
        machine.open_files,
        escaped(network),
        escaped(&pinned(pinning)),
        settings.rounds,
        settings.seconds,
        settings.warm_up_seconds
    )?;
    if settings.load != "own" {
        writeln!(text, "<p>load: {}</p>", escaped(&settings.load))?;
    }
    if *was_stopped {
        writeln!(text, "<p class=\"miss\">stopped before all was measured</p>")?;
    }
    Ok(())
}

fn write_machine(text: &mut String, name: &str, comparison: &Comparison) -> fmt::Result {
    write_place(text, name, &comparison.conditions)?;
    writeln!(text, "<table>")?;
    for stand in &comparison.contenders {
        let [name, about, version] =
            [&stand.name, &stand.about, &stand.version].map(|cell| escaped(cell));
        writeln!(text, "<tr><td>{name}</td><td>{about}</td><td>{version}</td></tr>")?;
    }
    for (name, why) in &comparison.absent {
        let (name, why) = (escaped(name), escaped(why));
        writeln!(text, "<tr><td>{name}</td><td class=\"miss\">did not take part: {why}</td></tr>")?;
    }
    writeln!(text, "</table>")
}

/// A plot of some figures, one bar each.
struct Plot<'a> {
    title: &'a str,
    /// By name, and what is added to the contender's name.
    figures: &'a [(&'a str, &'a str)],
    scale: Scale,
    unit: Unit,
}

const fn linear<'a>(title: &'a str, unit: Unit, figures: &'a [(&'a str, &'a str)]) -> Plot<'a> {
    Plot { title, figures, scale: Scale::Linear, unit }
}

/// Beside the one of the row's own figure.
const PLOTS: &[Plot<'_>] = &[
    linear("answers per second", PER_SECOND, &[("calls_per_second", "")]),
    linear("GB per second", GB_PER_SECOND, &[("gb_per_second", "")]),
    Plot {
        title: "latency, on a logarithmic scale",
        figures: PERCENTILES,
        scale: Scale::Logarithmic,
        unit: MS_OF_US,
    },
    linear("resident memory of both sides under load", MIB, &[("rss_mib", "")]),
    linear("resident memory of the larger side at rest", MIB, &[("rss_mib_of_one_side", "")]),
    linear("program", MB, &[("program_mb", "")]),
];

const PERCENTILES: &[(&str, &str)] =
    &[("p50_us", " p50"), ("p99_us", " p99"), ("p999_us", " p99.9")];

fn write_row(text: &mut String, rows: &[(&str, &Measured)]) -> fmt::Result {
    let Some((_, first)) = rows.first() else { return Ok(()) };
    let title = escaped(&first.title);
    writeln!(text, "<h2>{}: {title}</h2><div class=\"plots\">", escaped(&first.name))?;
    let own = [(first.figure.as_str(), "")];
    let (title, unit) = title_of(&first.figure);
    write_plot(text, &linear(title, unit, &own), rows)?;
    for plot in PLOTS {
        write_plot(text, plot, rows)?;
    }
    writeln!(text, "</div>")?;
    for (label, row) in rows {
        for note in notes(row) {
            writeln!(text, "<p class=\"quiet\">{}: {}</p>", escaped(label), escaped(&note))?;
        }
        for estimate in &row.estimates {
            writeln!(
                text,
                "<p class=\"quiet\">{}: {} would have {}, by the ratio of {:.2} to {} elsewhere</p>",
                escaped(label),
                escaped(&estimate.peer),
                figure(estimate.value),
                estimate.ratio,
                escaped(&estimate.from)
            )?;
        }
        for sample in &row.samples {
            let Some(error) = &sample.error else { continue };
            let (who, error) = (escaped(&sample.contender), escaped(error));
            writeln!(text, "<p class=\"miss\">{who}, round {}: {error}</p>", sample.round)?;
        }
    }
    Ok(())
}

/// What a figure of which less is better is called.
fn title_of(figure: &str) -> (&'static str, Unit) {
    match figure {
        "cpu_us_per_call" => ("CPU of both proxies for a call", US),
        "cpu_s_per_gib" => ("CPU of both proxies for a GiB", S_PER_GIB),
        "p999_us" => ("99.9 % of answers took no longer", MS_OF_US),
        "few_p99_us" => ("99 % of the caller's with few connections took no longer", MS_OF_US),
        "kib_per_connection" => ("memory of both proxies for an idle connection", KIB),
        "rss_mib_of_one_side" => ("memory of the larger side at rest", MIB),
        "program_mb" => ("program", MB),
        _ => ("start to the first answer", MS),
    }
}

fn write_plot(text: &mut String, plot: &Plot<'_>, rows: &[(&str, &Measured)]) -> fmt::Result {
    let mut all = Vec::new();
    for contender in order(rows) {
        for (label, row) in rows {
            let whose = if rows.len() > 1 { format!(" ({label})") } else { String::new() };
            all.extend(bars_of(row, contender, plot, &whose));
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let measure = Measure { scale: plot.scale, unit: plot.unit.word, goal: None };
    let drawing = bars(&all, &measure, WIDTH);
    writeln!(text, "<div><h3>{}</h3>{}</div>", escaped(plot.title), drawing.svg())
}

/// What a contender has of a plot's figures in a row.
fn bars_of(row: &Measured, contender: &str, plot: &Plot<'_>, whose: &str) -> Vec<Bar> {
    let summary = row.summaries.iter().find(|summary| summary.contender == contender);
    let bar = |(name, suffix): &(&str, &str)| {
        let spread = plot.unit.of(*summary?.figures.get(*name)?);
        let label = format!("{contender}{suffix}{whose}");
        Some(Bar { label, class: class(contender), spread })
    };
    plot.figures.iter().filter_map(bar).collect()
}

/// Contenders, best first by what the first comparison that has them says; so the same one stands
/// beside itself.
fn order<'a>(rows: &[(&str, &'a Measured)]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (_, row) in rows {
        let main = |summary: &Summary| {
            summary.figures.get(&row.figure).map_or(0.0, |spread| spread.median)
        };
        let mut summaries = row.summaries.iter().collect::<Vec<_>>();
        summaries.sort_by(|a, b| main(a).total_cmp(&main(b)));
        for summary in summaries {
            if !names.contains(&summary.contender.as_str()) {
                names.push(&summary.contender);
            }
        }
    }
    names
}

fn class(contender: &str) -> &'static str {
    match contender {
        "ours" => "ours",
        "none" | "relay" | "bare" => "floor",
        _ => "theirs",
    }
}

fn write_goals(text: &mut String, name: &str, goals: &[Reached]) -> fmt::Result {
    writeln!(text, "<h2>Goals: {}</h2><table>", escaped(name))?;
    writeln!(
        text,
        "<tr><th></th><th>row</th><th>figure</th><th class=\"n\">ours</th>\
         <th class=\"n\">at most</th><th class=\"n\">libraries alone</th><th>because</th></tr>"
    )?;
    for goal in goals {
        let (class, word) = if goal.is_reached { ("ok", "reached") } else { ("miss", "missed") };
        writeln!(
            text,
            "<tr><td class=\"{class}\">{word}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escaped(&goal.row),
            escaped(&goal.figure),
            goal.ours.map_or_else(|| "-".to_owned(), figure),
            figure(goal.wanted),
            goal.bare.map_or_else(|| "-".to_owned(), figure),
            escaped(&goal.because)
        )?;
    }
    writeln!(text, "</table>")
}

/// Text in HTML and SVG: what programs say about themselves is not ours.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // No XML has them.
            control if control.is_control() => safe.push(' '),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
