//! What each command does.

mod apply;
mod check;
mod decision;
mod explain;
mod fleet;
mod format;
mod load;
mod policy;
mod reach;

use cellwall_policy_language::Findings;
use serde_json::json;

pub(crate) use apply::{Apply, apply};
pub(crate) use check::check;
pub(crate) use decision::{Sources, explain_decision, is_decision};
pub(crate) use explain::{explain, explain_code, explain_offline, is_code};
pub(crate) use fleet::{identities, proxies};
pub(crate) use format::{Format, format_files, print_schema};
pub(crate) use load::{load_report, load_run};
pub(crate) use policy::{test, validate};
pub(crate) use reach::reach;

use crate::{Outcome, output::Output};

/// `version`.
pub(crate) fn version(output: &Output) -> anyhow::Result<Outcome> {
    let version = env!("CARGO_PKG_VERSION");
    if output.is_json() {
        output.json(&json!({"schema_version": 1, "version": version}))?;
    } else {
        output.data(&format!("cellwall {version}"))?;
    }
    Ok(Outcome::Done)
}

/// Names the page of the first code that was found.
fn hint_code(findings: &Findings, output: &Output) {
    if let Some(first) = findings.0.first() {
        output.hint(&format!("`cellwall explain {}` says more", first.code));
    }
}
