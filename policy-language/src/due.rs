//! Days that have come: reviews that nobody did, and grants that are over. What documents say never
//! depends on the clock, so these are no findings of [`check`](crate::check).

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    Finding, Findings, PolicySet, Severity,
    codes::Code,
    model::{Grant, Guard, Rule, Stewardship},
    place::{Files, Place, Position},
};

const DAY_SECONDS: u64 = 24 * 3600;

/// A second from which on something is due.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    /// Unix seconds.
    at: u64,
    position: Position,
    what: Due,
}

#[derive(Clone, Debug)]
enum Due {
    /// To look at statements again.
    Review {
        /// How many.
        rules: usize,
        guards: usize,
        grants: usize,
    },
    /// To remove a grant.
    Grant(String),
}

impl PolicySet {
    /// What is due at `now`: warnings about days of review that have passed and grants that are
    /// over, in the order of files and lines.
    pub fn due(&self, now: SystemTime) -> Findings {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let due = self.deadlines.iter().filter(|deadline| deadline.at <= now);
        Findings(due.map(|deadline| deadline.finding(now)).collect())
    }
}

impl Deadline {
    /// The deadlines of all statements.
    pub(crate) fn all(
        files: &Files<'_>,
        rules: &[Rule],
        grants: &[Grant],
        guards: &[Guard],
    ) -> Vec<Self> {
        let mut reviews: BTreeMap<Place, (u64, [usize; 3])> = BTreeMap::new();
        let mut note = |stewardship: &Stewardship, kind: usize| {
            let Some(review_by) = stewardship.review_by else { return };
            let (_, counts) =
                reviews.entry(review_by.place).or_insert_with(|| (review_by.ends, [0; 3]));
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
        };
        rules.iter().for_each(|rule| note(&rule.stewardship, 0));
        guards.iter().for_each(|guard| note(&guard.stewardship, 1));
        grants.iter().for_each(|grant| note(&grant.rule.stewardship, 2));
        let mut deadlines: BTreeMap<Place, (u64, Due)> = BTreeMap::new();
        for (place, (at, [rules, guards, grants])) in reviews {
            deadlines.insert(place, (at, Due::Review { rules, guards, grants }));
        }
        for grant in grants {
            let due = Due::Grant(grant.rule.name.clone());
            deadlines.insert(grant.expires_place, (grant.expires, due));
        }
        let deadline = |(place, (at, what))| Self { at, position: files.position(place), what };
        deadlines.into_iter().map(deadline).collect()
    }

    fn finding(&self, now: u64) -> Finding {
        let passed = now.saturating_sub(self.at);
        let (code, message, label, help) = match &self.what {
            Due::Review { rules, guards, grants } => {
                // The day itself still counted.
                let days = passed / DAY_SECONDS + 1;
                let each = [(*rules, "rule"), (*guards, "guard"), (*grants, "grant")];
                let who: Vec<_> = each
                    .into_iter()
                    .filter(|(count, _)| *count > 0)
                    .map(|(count, what)| counted(count, what))
                    .collect();
                let one = rules + guards + grants == 1;
                (
                    Code::ReviewPassed,
                    format!("`review_by` passed {} ago", counted(days, "day")),
                    format!("{} {} this date", who.join(", "), if one { "has" } else { "inherit" }),
                    format!(
                        "`cellwall policy review {}` prints what to look at and bumps the date",
                        self.position.file
                    ),
                )
            }
            Due::Grant(name) => (
                Code::GrantOver,
                format!("grant `{name}` has been over for {}", ago(passed)),
                "it allows nothing any more".to_owned(),
                "remove it; the history of the files keeps it".to_owned(),
            ),
        };
        Finding {
            code: code.as_str().to_owned(),
            severity: Severity::Warning,
            file: self.position.file.clone(),
            line: self.position.line,
            column: self.position.column,
            end: self.position.end,
            message,
            label,
            help: Some(help),
            related: Vec::new(),
        }
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..3600 => counted(seconds / 60, "minute"),
        3600..DAY_SECONDS => counted(seconds / 3600, "hour"),
        _ => counted(seconds / DAY_SECONDS, "day"),
    }
}

fn counted<N: PartialEq + From<u8> + std::fmt::Display>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}
