//! The difference between two versions: what opens, what closes, and what is decided otherwise.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{By, Mode, Verdict};
use serde::Serialize;

use super::{
    classes::Who,
    edges::{Callers, Passage, Places, passages},
    governance::{Governed, Needed},
    survey::{About, Answer, Row, Versions},
};
use crate::{CompileError, PolicySet, TestReport};

/// What a change of policy comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The environments that were looked at. `any other` stands for all that no document writes.
    pub environments: Vec<String>,
    /// The edges that differ, by callee.
    pub changes: Vec<Change>,
    /// Segments whose mode differs.
    pub modes: Vec<ModeChange>,
    /// Guards and invariants: which stay, come, go, or say something else.
    pub statements: Governed,
    /// The tests of the new version.
    pub tests: TestReport,
    /// Who must say yes.
    pub approvals: Vec<Needed>,
}

/// How an edge differs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// Calls pass that did not.
    Opened,
    /// Calls do not pass that did.
    Closed,
    /// Some do and some do not, or what decides is another.
    Changed,
    /// The mode of the callee's segment is another.
    Mode,
}

/// An edge that differs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Change {
    /// How.
    pub turn: Turn,
    /// The callers.
    pub caller: Callers,
    /// The callee.
    pub callee: String,
    /// What is called.
    pub call: String,
    /// Where.
    #[serde(flatten)]
    pub places: Places,
    /// What passed.
    pub was: Vec<Passage>,
    /// What passes.
    pub now: Vec<Passage>,
    /// Whether a test asserts that it is allowed: of the new version for what passes, else of the
    /// old one.
    pub tested: bool,
}

/// A segment whose mode differs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ModeChange {
    /// Its name.
    pub segment: String,
    /// `enforce` or `audit`.
    pub was: String,
    /// `enforce` or `audit`.
    pub now: String,
    /// How many workloads could call by the mode alone, and cannot, or now can.
    pub callers: usize,
}

/// What makes an edge of a difference.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    turn: Turn,
    call: String,
    who: Who,
    was: Vec<Passage>,
    now: Vec<Passage>,
}

impl PolicySet {
    /// What this policy changes, when it replaces `old`: found by asking both about everything that
    /// either of them can tell apart.
    ///
    /// # Errors
    ///
    /// [`CompileError`] when a callee has no policy, which loading would have found.
    pub fn difference(&self, old: &Self) -> Result<Difference, CompileError> {
        let versions = Versions::new(&[old, self])?;
        let mut changes = Vec::new();
        let mut affected: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for callee in versions.callees() {
            let about = versions.about(callee)?;
            if about.rows.iter().all(|row| row.answers.first() == row.answers.last()) {
                continue;
            }
            let mode = mode_change(old, self, callee);
            let found = compared(&about, mode.is_some());
            for (key, pairs) in found {
                if let (Turn::Mode, Some(segment)) = (key.turn, mode) {
                    affected.entry(segment).or_default().extend(self.named(old, &key.who));
                }
                for places in versions.environments.places(&pairs) {
                    changes.push(Change {
                        turn: key.turn,
                        caller: Callers::from(&key.who),
                        callee: callee.to_owned(),
                        call: key.call.clone(),
                        places,
                        was: key.was.clone(),
                        now: key.now.clone(),
                        tested: false,
                    });
                }
            }
        }
        let tests = self.run_tests();
        let then = old.tested();
        let now = self.tested();
        for change in &mut changes {
            let tests = if change.now.is_empty() { &then } else { &now };
            change.tested = tests.iter().any(|test| test.covers(change));
        }
        let modes = self.modes(old, &affected);
        let statements = Governed::of(old, self);
        let approvals = statements.approvals((old, self), &changes, &modes);
        let environments = versions.environments.labels();
        Ok(Difference { environments, changes, modes, statements, tests, approvals })
    }

    fn modes(&self, old: &Self, affected: &BTreeMap<&str, BTreeSet<String>>) -> Vec<ModeChange> {
        let mode = |set: &Self, name: &str| {
            set.segments.iter().find(|segment| segment.name == name).map(|segment| segment.mode)
        };
        let change = |name: &String| {
            let (was, now) = (mode(old, name)?, mode(self, name)?);
            (was != now).then(|| ModeChange {
                segment: name.clone(),
                was: was.as_str().to_owned(),
                now: now.as_str().to_owned(),
                callers: affected.get(name.as_str()).map_or(0, BTreeSet::len),
            })
        };
        self.segments.iter().filter_map(|segment| change(&segment.name)).collect()
    }

    /// The names of some callers.
    fn named(&self, old: &Self, who: &Who) -> BTreeSet<String> {
        match who {
            Who::These(names) | Who::Foreign(names) => {
                names.iter().map(|it| it.to_string()).collect()
            }
            Who::AllBut(names) => {
                let all = self.workloads().chain(old.workloads());
                all.filter(|name| !names.contains(*name)).map(str::to_owned).collect()
            }
        }
    }
}

/// The segment of a callee, where its mode differs.
fn mode_change<'a>(old: &PolicySet, new: &'a PolicySet, callee: &str) -> Option<&'a str> {
    let segment = |set: &'a PolicySet| {
        let workload = set.workload(*set.by_name.get(callee)?)?;
        set.segments.get(workload.segment)
    };
    let before: Mode = {
        let workload = old.workload(*old.by_name.get(callee)?)?;
        old.segments.get(workload.segment)?.mode
    };
    let after = segment(new)?;
    (before != after.mode).then_some(after.name.as_str())
}

fn compared(about: &About, mode: bool) -> BTreeMap<Key, BTreeSet<super::survey::Pair>> {
    let labels = about.labels();
    let mut found: BTreeMap<Key, BTreeSet<_>> = BTreeMap::new();
    for Row { kind, pair, who, answers } in &about.rows {
        let (Some(call), [was, now]) = (labels.get(kind), answers.as_slice()) else { continue };
        if was == now {
            continue;
        }
        let key = Key {
            turn: Turn::of(was, now, mode),
            call: call.clone(),
            who: who.clone(),
            was: passages(was, &about.moments),
            now: passages(now, &about.moments),
        };
        // What does not pass under either is no edge, whatever denies it.
        if key.was != key.now {
            found.entry(key).or_default().insert(*pair);
        }
    }
    found
}

impl Turn {
    fn of(was: &[Answer], now: &[Answer], mode: bool) -> Self {
        let both = || was.iter().zip(now);
        let opens = both().any(|(was, now)| !was.passes() && now.passes());
        let closes = both().any(|(was, now)| was.passes() && !now.passes());
        let softened = |one: &Answer, other: &Answer| {
            one.verdict == Verdict::Audit && one.by == By::Default && !other.passes()
        };
        let by_mode =
            |(was, now): (&Answer, &Answer)| was == now || softened(was, now) || softened(now, was);
        match (opens, closes) {
            (true, false) | (false, true) if mode && both().all(by_mode) => Self::Mode,
            (true, false) => Self::Opened,
            (false, true) => Self::Closed,
            (true, true) | (false, false) => Self::Changed,
        }
    }

    /// `+`, `-` or `~`.
    pub const fn sign(self) -> char {
        match self {
            Self::Opened => '+',
            Self::Closed => '-',
            Self::Changed | Self::Mode => '~',
        }
    }
}

impl Difference {
    /// How many edges turn in this way.
    pub fn count(&self, turn: Turn) -> usize {
        self.changes.iter().filter(|change| change.turn == turn).count()
    }

    /// Whether nothing of it differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.modes.is_empty() && self.statements.is_same()
    }

    /// The edges that no test of an allowed call is about.
    pub fn untested(&self) -> impl Iterator<Item = &Change> {
        let asked = |change: &&Change| matches!(change.turn, Turn::Opened | Turn::Closed);
        self.changes.iter().filter(asked).filter(|change| !change.tested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `allow`, `deny` or `audit`, and what decides; separated by commas.
    fn answers(text: &str) -> Vec<Answer> {
        let answer = |text: &str| {
            let (verdict, by) = text.split_once(' ').unwrap();
            let verdict = match verdict {
                "allow" => Verdict::Allow,
                "audit" => Verdict::Audit,
                _ => Verdict::Deny,
            };
            let by = match by.split_once('/') {
                Some((_, name)) => By::Guard(name.into()),
                None if by == "default" => By::Default,
                None => By::Rule(by.into()),
            };
            Answer { verdict, by }
        };
        text.split(", ").map(answer).collect()
    }

    #[test]
    fn an_edge_turns_by_its_segments_mode_only_where_the_default_deny_is_all_that_differs() {
        let audit = "audit default";
        for (was, now, mode, expected) in [
            ("deny default", "allow r", false, Turn::Opened),
            ("allow r", "deny default", false, Turn::Closed),
            ("allow r", "allow s", false, Turn::Changed),
            ("allow r, deny default", "deny default, allow r", false, Turn::Changed),
            (audit, "deny default", false, Turn::Closed),
            ("deny default", audit, false, Turn::Opened),
            (audit, "deny default", true, Turn::Mode),
            (audit, "deny guard/g", true, Turn::Mode),
            ("deny default", audit, true, Turn::Mode),
            ("allow r, audit default", "allow r, deny default", true, Turn::Mode),
            // The mode of the segment is another as well, and it is not what opens or closes.
            ("deny default", "allow r", true, Turn::Opened),
            ("allow r", "deny default", true, Turn::Closed),
            ("audit guard/g", "deny default", true, Turn::Closed),
            ("deny default", "audit guard/g", true, Turn::Opened),
            ("allow r, audit default", "allow s, deny default", true, Turn::Closed),
            ("audit default, audit default", "allow r, deny default", true, Turn::Closed),
            ("audit default, deny default", "deny default, audit default", true, Turn::Changed),
        ] {
            let turn = Turn::of(&answers(was), &answers(now), mode);
            assert_eq!(turn, expected, "{was} -> {now}, {mode}");
        }
    }
}
