//! `policy plan`: what a change would open, close and deny.

mod document;
mod markdown;
mod text;

use std::path::{Path, PathBuf};

use cellwall_policy_language::{Change, Difference, Turn};

use super::{
    Loaded, picture,
    replay::{Replay, replay},
};
use crate::{Outcome, args::Format, commands::policy::plural, output::Output};

/// What `policy plan` was told.
pub(super) struct Plan<'a> {
    pub(super) dir: &'a Path,
    pub(super) against: &'a Path,
    pub(super) replay: &'a [PathBuf],
    pub(super) edge: Option<&'a (String, String)>,
    pub(super) tells_changes: bool,
}

/// What a change comes to, and what it is between.
struct Planned {
    old: String,
    new: String,
    difference: Difference,
    replay: Option<Replay>,
}

/// `policy plan`.
pub(super) fn plan(plan: &Plan<'_>, output: &Output) -> anyhow::Result<Outcome> {
    let Some(old) = Loaded::read(plan.against, output)? else { return Ok(Outcome::Found) };
    let Some(new) = Loaded::read(plan.dir, output)? else { return Ok(Outcome::Found) };
    let mut difference = new.set.difference(&old.set)?;
    for result in &mut difference.tests.results {
        result.file = new.folder.path(&result.file);
    }
    let replay = match plan.replay {
        [] => None,
        files => Some(replay(files, (&old.set, &new.set), plan.edge, output)?),
    };
    if let Some((caller, callee)) = plan.edge {
        difference.changes.retain(|it| it.callee == *callee && it.caller.contain(caller));
    }
    let name = |dir: &Path| dir.display().to_string();
    let planned = Planned { old: name(plan.against), new: name(plan.dir), difference, replay };
    match output.format() {
        Format::Json => output.json(&document::document(&planned))?,
        Format::Md => output.data(&markdown::markdown(&planned))?,
        Format::Dot => output.data(&picture::changes(&planned.difference))?,
        Format::Table | Format::Csv | Format::Svg | Format::Github => {
            output.data(&text::text(&planned, output))?;
        }
    }
    Ok(match planned.blocks().is_empty() {
        false => Outcome::Found,
        true if plan.tells_changes && !planned.difference.is_empty() => Outcome::Changes,
        true => Outcome::Done,
    })
}

impl Planned {
    /// Why the change must not be applied as it is.
    fn blocks(&self) -> Vec<String> {
        let mut blocks = Vec::new();
        let failed = self.difference.tests.failed();
        if failed > 0 {
            blocks.push(format!("{} failed", plural(failed, "test")));
        }
        if self.replay.as_ref().is_some_and(|replay| replay.denied_calls() > 0) {
            blocks.push("observed calls would be denied".to_owned());
        }
        blocks
    }

    /// `1 edge opens, 2 close, 1 mode change`.
    fn summary(&self) -> String {
        let count = |turn| self.difference.count(turn);
        let mut parts = Vec::new();
        let verbs = [(Turn::Opened, "opens", "open"), (Turn::Closed, "closes", "close")];
        for (turn, one, many) in verbs {
            match count(turn) {
                0 => {}
                1 if parts.is_empty() => parts.push(format!("1 edge {one}")),
                1 => parts.push(format!("1 {one}")),
                number if parts.is_empty() => parts.push(format!("{number} edges {many}")),
                number => parts.push(format!("{number} {many}")),
            }
        }
        match count(Turn::Changed) {
            0 => {}
            number => parts.push(format!("{number} decided otherwise")),
        }
        match self.difference.modes.len() {
            0 => {}
            number => parts.push(plural(number, "mode change")),
        }
        if parts.is_empty() { "no edge changes".to_owned() } else { parts.join(", ") }
    }

    /// Whether no recorded call went over an edge that closes.
    fn is_unused(&self, change: &Change) -> bool {
        let closes = change.turn == Turn::Closed;
        closes && self.replay.as_ref().is_some_and(|replay| !replay.saw(change))
    }
}

/// What a change says of its edge beside who and what.
fn remark(change: &Change) -> String {
    let passages = |passages: &[cellwall_policy_language::Passage], plain: bool| {
        let each = passages.iter().map(|it| {
            let verdict = if plain && it.verdict == "allow" {
                String::new()
            } else {
                format!("{} ", it.verdict)
            };
            let note = super::edges::note(it);
            format!("{verdict}{} {note}", it.by).trim_end().to_owned()
        });
        each.collect::<Vec<_>>().join("; ")
    };
    match change.turn {
        Turn::Opened if change.was.is_empty() => passages(&change.now, true),
        Turn::Closed if change.now.is_empty() => format!("was {}", passages(&change.was, true)),
        Turn::Mode if change.now.is_empty() => "audit -> deny".to_owned(),
        Turn::Mode if change.was.is_empty() => "deny -> audit".to_owned(),
        _ => {
            let side = |passing: &[_]| match passing {
                [] => "deny".to_owned(),
                some => passages(some, false),
            };
            format!("{} -> {}", side(&change.was), side(&change.now))
        }
    }
}

/// The lines about guards, invariants, tests and approvals, each with a head.
fn standing(planned: &Planned) -> Vec<String> {
    let Difference { statements, tests, approvals, .. } = &planned.difference;
    let mut lines = Vec::new();
    let mut line = format!("Guards: {}.", stands(&statements.guards));
    if statements.never != Default::default() {
        line.push_str(&format!("  Never: {}.", stands(&statements.never)));
    }
    if statements.idempotent != Default::default() {
        line.push_str(&format!("  Idempotent: {}.", stands(&statements.idempotent)));
    }
    line.push_str(&format!("  Tests: {} passed", tests.passed()));
    if tests.failed() > 0 {
        let failed = tests.results.iter().filter(|result| !result.passed);
        let places: Vec<_> = failed.map(|it| format!("{}:{}", it.file, it.line)).collect();
        line.push_str(&format!(", {} failed ({})", tests.failed(), places.join(", ")));
    }
    line.push('.');
    lines.push(line);
    if !statements.governance.is_empty() {
        lines.push(format!("Root file: {} changed.", statements.governance.join(", ")));
    }
    let untested: Vec<_> = planned
        .difference
        .untested()
        .map(|it| format!("{} {} -> {} {}", it.turn.sign(), it.caller, it.callee, it.call))
        .collect();
    if !untested.is_empty() {
        let edges = plural(untested.len(), "edge");
        lines.push(format!("Untested by `tests:`: {edges} ({}).", shortened(&untested)));
    }
    for needed in approvals {
        let (count, from) = (needed.count, needed.from.join(", "));
        lines.push(format!("Approvals: {count} of {from} ({})", needed.touches.join(", ")));
    }
    lines
}

/// The lines of reachability alone.
pub(super) fn reachability(
    (old, new): (&str, &str),
    difference: Difference,
    output: &Output,
) -> String {
    let (old, new) = (old.to_owned(), new.to_owned());
    let planned = Planned { old, new, difference, replay: None };
    text::edges(&planned, output)
}

fn stands(statements: &cellwall_policy_language::Statements) -> String {
    let hold = statements.hold.len();
    let mut text = format!("{hold} hold{}", if hold == 1 { "s" } else { "" });
    let rest = [
        ("new", &statements.added),
        ("changed", &statements.changed),
        ("REMOVED", &statements.removed),
    ];
    for (what, names) in rest {
        if !names.is_empty() {
            text.push_str(&format!(", {} {what} ({})", names.len(), names.join(", ")));
        }
    }
    text
}

/// The first few of a list.
fn shortened(list: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if list.len() > SHOWN {
        text.push_str(&format!("; {} more", list.len() - SHOWN));
    }
    text
}
