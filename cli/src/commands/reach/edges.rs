//! `policy edges`: who may call whom.

use std::path::Path;

use cellwall_policy_language::{Callers, Edge, Edges, Passage};

use super::{
    Loaded, picture,
    sections::{crossing, sections},
    utc,
};
use crate::{Outcome, args::Format, output::Output, paint::Colour, table::table};

/// Which edges are asked for.
pub(super) struct Wanted<'a> {
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) environment: Option<&'a str>,
}

/// `policy edges`.
pub(super) fn edges(dir: &Path, wanted: &Wanted<'_>, output: &Output) -> anyhow::Result<Outcome> {
    let Some(loaded) = Loaded::read(dir, output)? else { return Ok(Outcome::Found) };
    for name in [wanted.from, wanted.to].into_iter().flatten() {
        if !name.contains(':') && !loaded.set.workloads().any(|known| known == name) {
            output.complain(&format!("there is no workload `{name}`"));
            return Ok(Outcome::Usage);
        }
    }
    let mut found = loaded.set.edges()?;
    wanted.keep(&mut found);
    match output.format() {
        Format::Json => output.json(&found)?,
        Format::Csv => output.data(&csv(&found))?,
        Format::Dot => output.data(&picture::edges(&loaded.set, &found).dot())?,
        Format::Svg => output.data(&picture::edges(&loaded.set, &found).svg())?,
        Format::Table | Format::Md | Format::Github => {
            output.data(&text(&found, output))?;
        }
    }
    Ok(Outcome::Done)
}

impl Wanted<'_> {
    fn keep(&self, found: &mut Edges) {
        found.edges.retain(|edge| {
            self.from.is_none_or(|from| edge.caller.contain(from))
                && self.to.is_none_or(|to| edge.callee == to)
        });
        let Some(environment) = self.environment else { return };
        // A name that no document writes is like any other such name.
        let is_known = found.environments.iter().any(|known| known == environment);
        let meant = if is_known { environment } else { "any other" };
        found.environments.retain(|known| known == meant);
        for edge in &mut found.edges {
            edge.places.environments.retain(|known| known == meant);
            edge.places.across.retain(|(from, to)| from == meant || to == meant);
        }
        found
            .edges
            .retain(|edge| !edge.places.environments.is_empty() || !edge.places.across.is_empty());
    }
}

fn text(found: &Edges, output: &Output) -> String {
    let painter = output.painter();
    let mut text = String::new();
    let places = found.edges.iter().map(|edge| &edge.places);
    for section in sections(&found.environments, places) {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        if !section.head.is_empty() {
            text.push_str(&painter.paint(Colour::Bold, &section.head));
            text.push('\n');
        }
        let edges = section.rows.iter().filter_map(|at| found.edges.get(*at));
        let rows = edges.map(|edge| {
            let Edge { caller, callee, call, passage, places } = edge;
            let mut note = note(passage);
            if section.head == "across a boundary" {
                note = format!("{} {note}", crossing(places)).trim_end().to_owned();
            }
            let verdict = passage.verdict.clone();
            vec![
                caller.to_string(),
                callee.clone(),
                call.clone(),
                verdict,
                passage.by.clone(),
                note,
            ]
        });
        text.push_str(&table(&["CALLER", "CALLEE", "CALL", "VERDICT", "BY", ""], rows.collect()));
    }
    text
}

/// On which condition, and until when.
pub(super) fn note(passage: &Passage) -> String {
    let mut notes = Vec::new();
    notes.extend(passage.when.as_ref().map(|when| format!("when {when}")));
    notes.extend(passage.starts.map(|starts| format!("from {}", utc(starts))));
    notes.extend(passage.expires.map(|expires| format!("until {}", utc(expires))));
    notes.join(" ")
}

fn csv(found: &Edges) -> String {
    let mut text =
        String::from("caller,callee,call,verdict,by,when,starts,expires,environments,across\n");
    for Edge { caller, callee, call, passage, places } in &found.edges {
        let cells = [
            all(caller),
            callee.clone(),
            call.clone(),
            passage.verdict.clone(),
            passage.by.clone(),
            passage.when.clone().unwrap_or_default(),
            passage.starts.map(utc).unwrap_or_default(),
            passage.expires.map(utc).unwrap_or_default(),
            places.environments.join(";"),
            crossing(places),
        ];
        text.push_str(&cells.map(|cell| field(&cell)).join(","));
        text.push('\n');
    }
    text
}

/// Callers with every name spelled out.
fn all(callers: &Callers) -> String {
    match callers {
        Callers::Workloads(names) | Callers::Foreign(names) => names.join(";"),
        Callers::AllBut(names) if names.is_empty() => "any".to_owned(),
        Callers::AllBut(names) => format!("any but {}", names.join(";")),
    }
}

/// RFC 4180 §2: quoted where it must be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
