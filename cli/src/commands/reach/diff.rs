//! `policy diff`: edges first, then text.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use similar::TextDiff;

use super::{Loaded, plan};
use crate::{Outcome, commands::policy::Folder, output::Output};

/// Whether lines that differ are printed too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Texts {
    /// They are.
    Shown,
    /// They are not.
    Left,
}

/// `policy diff`.
pub(super) fn diff(
    (old_dir, new_dir): (&Path, &Path),
    texts: Texts,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let Some(old) = Loaded::read(old_dir, output)? else { return Ok(Outcome::Found) };
    let Some(new) = Loaded::read(new_dir, output)? else { return Ok(Outcome::Found) };
    let difference = new.set.difference(&old.set)?;
    let text = match texts {
        Texts::Shown => text(&old.folder, &new.folder),
        Texts::Left => String::new(),
    };
    if output.is_json() {
        output.json(&json!({
            "schema_version": 1,
            "environments": difference.environments,
            "changes": difference.changes,
            "modes": difference.modes,
            "guards": difference.statements.guards,
            "never": difference.statements.never,
            "idempotent": difference.statements.idempotent,
            "text": (texts == Texts::Shown).then_some(text),
        }))?;
        return Ok(Outcome::Done);
    }
    let name = |dir: &Path| dir.display().to_string();
    let (old, new) = (name(old_dir), name(new_dir));
    let mut lines = plan::reachability((&old, &new), difference, output);
    if !text.is_empty() {
        lines.push_str(&format!("\n\n{text}"));
    }
    output.data(&lines)?;
    if texts == Texts::Left {
        output.hint("`--text` also shows the lines that differ");
    }
    Ok(Outcome::Done)
}

/// The lines of all files that differ.
fn text(old: &Folder, new: &Folder) -> String {
    let names: BTreeSet<&String> =
        old.sources.files.keys().chain(new.sources.files.keys()).collect();
    let mut text = String::new();
    for name in names {
        let lines = |folder: &Folder| folder.sources.files.get(name).cloned().unwrap_or_default();
        let (before, after) = (lines(old), lines(new));
        if before != after {
            let diff = TextDiff::from_lines(&before, &after);
            let (from, to) = (old.path(name), new.path(name));
            text.push_str(&diff.unified_diff().header(&from, &to).to_string());
        }
    }
    text
}
