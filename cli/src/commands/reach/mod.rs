//! What the files of a policy come to: edges, differences, reviews and exports. Offline.

mod diff;
mod edges;
mod export;
mod picture;
mod plan;
mod replay;
mod review;
mod sections;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use cellwall_policy_language::{PolicySet, check};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{hint_code, policy::Folder};
use crate::{
    Outcome,
    args::Reach,
    output::{Output, grouped},
};

/// Does one of these commands.
pub(crate) fn reach(command: &Reach, output: &Output) -> anyhow::Result<Outcome> {
    match command {
        Reach::Edges { dir, from, to, env } => {
            let wanted = edges::Wanted {
                from: from.as_deref(),
                to: to.as_deref(),
                environment: env.as_deref(),
            };
            edges::edges(dir, &wanted, output)
        }
        Reach::Plan { dir, against, replay, edge, detailed_exitcode } => {
            let plan = plan::Plan {
                dir,
                against,
                replay,
                edge: edge.as_ref(),
                tells_changes: *detailed_exitcode,
            };
            plan::plan(&plan, output)
        }
        Reach::Diff { old, new, text } => {
            let texts = if *text { diff::Texts::Shown } else { diff::Texts::Left };
            diff::diff((old, new), texts, output)
        }
        Reach::Review { path, bump } => review::review(path, bump.as_deref(), output),
        Reach::Export { dir, format } => export::export(dir, *format, output),
    }
}

/// A policy without mistakes.
struct Loaded {
    folder: Folder,
    set: PolicySet,
}

impl Loaded {
    /// Reads a folder; prints its mistakes, if there are.
    fn read(dir: &Path, output: &Output) -> anyhow::Result<Option<Self>> {
        let folder = Folder::read(dir)?;
        let checked = check(&folder.sources);
        let Some(set) = checked.set else {
            if output.is_json() {
                let findings = folder.named(&checked.findings);
                output.json(&json!({"schema_version": 1, "findings": findings}))?;
            } else {
                let text = folder.render(&checked.findings, output);
                output.data(&format!("{text}{} in {}", checked.findings, checked.summary))?;
                hint_code(&checked.findings, output);
            }
            return Ok(None);
        };
        Ok(Some(Self { folder, set }))
    }
}

/// A second since 1970 as people read it.
fn utc(seconds: u64) -> String {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let text = at.and_then(|at| OffsetDateTime::from(at).format(&Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::{grouped, utc};

    #[test]
    fn numbers_and_times_are_written_as_people_read_them() {
        let pairs = [(0, "0"), (999, "999"), (1000, "1,000"), (46_012_814, "46,012,814")];
        for (number, text) in pairs {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(utc(1_772_445_600), "2026-03-02T10:00:00Z");
    }
}
