//! Recorded calls, asked again under two versions.

mod lines;
mod progress;
mod rows;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::SystemTime,
};

use cellwall_policy_language::{
    Change, Judge, Outcome as Judged, PolicySet, Recorded, Verdict, parse_instant,
};
use serde::Serialize;
use spiffe::SpiffeId;

use super::grouped;
use crate::output::Output;
use tally::{Entry, Tallies, Tally};

/// How many unreadable lines are named.
const SHOWN: usize = 5;

/// What recorded calls would get.
#[derive(Debug, Default, Serialize)]
pub(super) struct Replay {
    /// How many calls were recorded.
    pub(super) calls: u64,
    /// How many of them differ in caller, callee, call or answer.
    pub(super) distinct: usize,
    /// Those that pass by the old version and not by the new one.
    pub(super) denied: Vec<Call>,
    /// Those that pass by the new version and not by the old one.
    pub(super) allowed: Vec<Call>,
    /// Those that pass by both, once as `audit`.
    pub(super) audited: Vec<Call>,
    /// Those of which it cannot be said.
    pub(super) undecided: Vec<Undecided>,
    /// Lines that are no decided inbound call.
    pub(super) other_lines: u64,
    /// Lines that cannot be read.
    pub(super) unreadable_lines: u64,
    /// The first of them, each with its reason.
    pub(super) unreadable: Vec<String>,
    #[serde(skip)]
    seen: BTreeSet<(String, String, String)>,
}

/// Recorded calls that would be answered otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Call {
    pub(super) caller: String,
    pub(super) callee: String,
    pub(super) call: String,
    #[serde(rename = "calls")]
    pub(super) count: u64,
    /// When the last one was.
    pub(super) last: String,
    pub(super) was: &'static str,
    pub(super) was_by: String,
    pub(super) now: &'static str,
    pub(super) now_by: String,
}

/// Recorded calls of which nothing can be said.
#[derive(Debug, Serialize)]
pub(super) struct Undecided {
    reason: &'static str,
    calls: u64,
    /// One of them.
    example: String,
    last: String,
}

/// Reads recorded calls and asks both versions about each kind of them once.
pub(super) fn replay(
    files: &[PathBuf],
    (old, new): (&PolicySet, &PolicySet),
    edge: Option<&(String, String)>,
    output: &Output,
) -> anyhow::Result<Replay> {
    let mut tallies = Tallies::default();
    let mut progress = progress::Progress::start(files, output);
    for file in files {
        lines::read(file, &mut tallies, &mut progress)?;
    }
    progress.finish();
    Ok(judged(&tallies, (old, new), edge))
}

/// Two versions that are asked about one kind of call after the other.
struct Judging<'a> {
    sets: (&'a PolicySet, &'a PolicySet),
    judge: Judge<'a>,
    replay: Replay,
    found: BTreeMap<Key, Call>,
    unsure: BTreeMap<&'static str, Undecided>,
}

/// Calls that are shown in one line.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    caller: String,
    callee: String,
    call: String,
    was: &'static str,
    now: &'static str,
}

/// A side of a call: its name, and with its environment.
struct Side {
    name: String,
    place: String,
}

fn judged(
    tallies: &Tallies,
    (old, new): (&PolicySet, &PolicySet),
    edge: Option<&(String, String)>,
) -> Replay {
    let replay = Replay {
        other_lines: tallies.other,
        unreadable_lines: tallies.unreadable,
        unreadable: tallies.reasons.iter().take(SHOWN).cloned().collect(),
        ..Replay::default()
    };
    let mut judging = Judging {
        sets: (old, new),
        judge: Judge::new(old, new),
        replay,
        found: BTreeMap::new(),
        unsure: BTreeMap::new(),
    };
    for tally in tallies.each() {
        judging.take(tally, edge);
    }
    let Judging { mut replay, found, mut unsure, .. } = judging;
    for call in found.into_values() {
        let denied = Verdict::Deny.as_str();
        let list = match (call.was == denied, call.now == denied) {
            (false, true) => &mut replay.denied,
            (true, false) => &mut replay.allowed,
            _ => &mut replay.audited,
        };
        list.push(call);
    }
    for list in [&mut replay.denied, &mut replay.allowed, &mut replay.audited] {
        list.sort_by_key(|call| std::cmp::Reverse(call.count));
    }
    if tallies.beyond > 0 {
        let reason = "more different calls than are told apart";
        let (calls, none) = (tallies.beyond, String::new());
        unsure.insert(reason, Undecided { reason, calls, example: none.clone(), last: none });
        replay.calls += tallies.beyond;
    }
    replay.undecided = unsure.into_values().collect();
    replay
}

impl Judging<'_> {
    fn take(&mut self, tally: &Tally, edge: Option<&(String, String)>) {
        let Entry { caller, callee, verdict, .. } = &tally.entry;
        let (from, to) = (self.side(caller), self.side(callee));
        if edge.is_some_and(|edge| edge.0 != from.name || edge.1 != to.name) {
            return;
        }
        self.replay.calls += tally.count;
        self.replay.distinct += 1;
        let call = tally.entry.call.text();
        let last = tally.last();
        let at = parse_instant(&last).unwrap_or(SystemTime::UNIX_EPOCH);
        let verdict = Some(verdict.as_str()).filter(|verdict| !verdict.is_empty());
        let recorded = Recorded { caller, callee, call: tally.entry.call.ask(), verdict, at };
        let (from_place, to_place) = (from.place, to.place);
        self.replay.seen.insert((from.name, to.name, call.clone()));
        match self.judge.judge(&recorded) {
            Judged::Unsure(reason) => {
                let kind = self.unsure.entry(reason).or_insert_with(|| Undecided {
                    reason,
                    calls: 0,
                    example: format!("{from_place} -> {to_place} {call}"),
                    last: String::new(),
                });
                kind.calls += tally.count;
                kind.last = std::mem::take(&mut kind.last).max(last);
            }
            Judged::Judged { was, now } if was.0 == now.0 => {}
            Judged::Judged { was, now } => {
                let (before, after) = (was.0.as_str(), now.0.as_str());
                let key = Key {
                    caller: from_place.clone(),
                    callee: to_place.clone(),
                    call: call.clone(),
                    was: before,
                    now: after,
                };
                let row = self.found.entry(key).or_insert_with(|| Call {
                    caller: from_place,
                    callee: to_place,
                    call,
                    count: 0,
                    last: String::new(),
                    was: before,
                    was_by: was.1,
                    now: after,
                    now_by: now.1,
                });
                row.count += tally.count;
                row.last = std::mem::take(&mut row.last).max(last);
            }
        }
    }

    fn side(&self, text: &str) -> Side {
        let (old, new) = self.sets;
        let id = SpiffeId::new(text).ok();
        let known = id.as_ref().and_then(|id| old.identify(id).or_else(|| new.identify(id)));
        match known {
            None => Side { name: text.to_owned(), place: text.to_owned() },
            Some((name, environment)) if environment.is_empty() => {
                Side { name: name.to_owned(), place: name.to_owned() }
            }
            Some((name, environment)) => {
                Side { name: name.to_owned(), place: format!("{environment}/{name}") }
            }
        }
    }
}

impl Replay {
    pub(super) fn denied_calls(&self) -> u64 {
        self.denied.iter().map(|call| call.count).sum()
    }

    pub(super) fn allowed_calls(&self) -> u64 {
        self.allowed.iter().map(|call| call.count).sum()
    }

    pub(super) fn undecided_calls(&self) -> u64 {
        self.undecided.iter().map(|undecided| undecided.calls).sum()
    }

    /// Whether no call would be answered otherwise.
    pub(super) const fn is_same(&self) -> bool {
        self.denied.is_empty() && self.allowed.is_empty() && self.audited.is_empty()
    }

    /// Whether a recorded call went over this edge.
    pub(super) fn saw(&self, change: &Change) -> bool {
        self.seen.iter().any(|(caller, callee, call)| {
            let rest = change.call.strip_prefix(call.as_str());
            *callee == change.callee
                && change.caller.contain(caller)
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    }

    /// A line for each thing that cannot be said.
    pub(super) fn unsure(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Undecided { reason, calls, example, last } in &self.undecided {
            let such = if *calls == 1 { "call" } else { "calls" };
            let example =
                if example.is_empty() { String::new() } else { format!(", such as {example}") };
            let last = if last.is_empty() { String::new() } else { format!(" (last {last})") };
            lines.push(format!("{} {such}: {reason}{example}{last}", grouped(*calls)));
        }
        if self.unreadable_lines > 0 {
            let count = grouped(self.unreadable_lines);
            let such = if self.unreadable_lines == 1 { "line" } else { "lines" };
            let first = self.unreadable.join(", ");
            lines.push(format!("{count} {such} could not be read: {first}"));
        }
        lines
    }
}
