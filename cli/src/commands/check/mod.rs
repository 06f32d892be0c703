//! `check`: is the mesh well? Each thing that can be seen from here, and what to do about it.

mod seen;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::policy::plural;
use crate::{
    Outcome,
    output::Output,
    paint::{Colour, Painter},
};

/// How one thing is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    category: &'static str,
    level: Level,
    text: String,
    /// What to do.
    hint: Option<String>,
}

/// `check`.
pub(crate) async fn check(socket: &Path, output: &Output) -> anyhow::Result<Outcome> {
    let checks = match seen::look(socket).await {
        Ok(seen) => seen.checks(socket),
        Err(error) => vec![Check {
            category: seen::CONTROL,
            level: Level::Fail,
            text: format!("{error:#}"),
            hint: Some("calls go on with the last policy until the SVIDs end".to_owned()),
        }],
    };
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    let (failures, warnings) = (count(Level::Fail), count(Level::Warn));
    if output.is_json() {
        output.json(&json!({
            "schema_version": 1, "checks": checks, "failures": failures, "warnings": warnings,
        }))?;
    } else {
        let text: String = lines(&checks, output).concat();
        let (failed, warned) = (plural(failures, "failure"), plural(warnings, "warning"));
        output.data(&format!("{text}\nStatus: {failed}, {warned}, {} ok", count(Level::Ok)))?;
    }
    Ok(if failures > 0 { Outcome::Found } else { Outcome::Done })
}

/// The checks under the heads of their categories.
fn lines(checks: &[Check], output: &Output) -> Vec<String> {
    let painter = output.painter();
    let mut lines = Vec::new();
    let mut category = "";
    for check in checks {
        if check.category != category {
            let gap = if category.is_empty() { "" } else { "\n" };
            category = check.category;
            let rule = "-".repeat(category.len());
            lines.push(format!("{gap}{}\n{rule}\n", painter.paint(Colour::Bold, category)));
        }
        lines.push(format!("{} {}\n", sign(check.level, painter, output), check.text));
        if let Some(hint) = &check.hint {
            lines.push(format!("    {}\n", painter.paint(Colour::Dim, hint)));
        }
    }
    lines
}

fn sign(level: Level, painter: Painter, output: &Output) -> String {
    let (drawn, ascii, colour) = match level {
        Level::Ok => ("√", "ok", Colour::Green),
        Level::Warn => ("‼", "!!", Colour::Yellow),
        Level::Fail => ("×", "xx", Colour::Red),
    };
    painter.paint(colour, if output.draws() { drawn } else { ascii })
}
