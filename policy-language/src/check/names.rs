//! Workloads, segments, and the selectors that name them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, outsiders::Outsiders};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Members, Segment, Who, WorkloadNumber},
    read::describe,
    syntax::{Pick, SegmentItem, Selector, SelectorKind, Text},
};

impl Checker<'_> {
    pub(super) fn segments(&mut self, items: &[SegmentItem]) {
        let mut places = BTreeMap::new();
        let mut home = BTreeMap::new();
        for item in items {
            if let Some(first) = places.insert(item.name.value.as_str(), item.name.place) {
                self.twice("segment", &item.name, first);
                continue;
            }
            let number = self.parts.segments.len();
            let name = item.name.value.clone();
            let place = item.name.place;
            self.parts.segments.push(Segment { name: name.clone(), place, mode: item.mode });
            let mut members = BTreeSet::new();
            for member in &item.members {
                let Some(workload) = self.workload(member) else { continue };
                members.insert(workload);
                if let Some(first) = home.insert(workload, member.place) {
                    let message = format!("`{}` is in two segments", member.value);
                    let problem = Problem::error(Code::Membership, member.place, message).help(
                        "a workload is in exactly one segment: remove it from one of the two",
                    );
                    self.problems.push(problem.related(first, "and here"));
                }
                if let Some(workload) = self.parts.workloads.get_mut(workload.0) {
                    workload.segment = number;
                }
            }
            self.parts.members.insert(name, members);
        }
        for (number, workload) in self.parts.workloads.iter().enumerate() {
            if !home.contains_key(&WorkloadNumber(number)) {
                let message = format!("`{}` is in no segment", workload.name);
                let problem = Problem::error(Code::Membership, workload.place, message)
                    .help("add it to the `members` of exactly one segment");
                self.problems.push(problem);
            }
        }
    }

    /// Looks a workload up.
    pub(super) fn workload(&mut self, name: &Text) -> Option<WorkloadNumber> {
        if let Some(number) = self.parts.by_name.get(&name.value) {
            return Some(*number);
        }
        let names = self.parts.by_name.keys();
        let message = format!("unknown workload `{}`", name.value);
        let problem = Problem::error(Code::UnknownWorkload, name.place, message)
            .label("not in `workloads`")
            .suggest(Self::meant(&mut self.suggestions, &name.value, names));
        self.problems.push(problem);
        None
    }

    /// Looks a selector up. `None` after a mistake in it.
    pub(super) fn who(&mut self, selector: &Selector, outsiders: Outsiders) -> Option<Who> {
        let mut foreign = BTreeSet::new();
        let members = match &selector.kind {
            SelectorKind::Any => Members::Any,
            SelectorKind::List(picks) => {
                let mut members = BTreeSet::new();
                let mut whole = true;
                for pick in picks {
                    whole &= match pick {
                        Pick::Workload(name) => {
                            let number = self.workload(name);
                            members.extend(number);
                            number.is_some()
                        }
                        Pick::Segment(name) => self.segment(name, &mut members).is_some(),
                        Pick::Foreign(text) => {
                            let id = self.outsider(text, outsiders);
                            let known = id.is_some();
                            foreign.extend(id);
                            known
                        }
                    };
                }
                if !whole {
                    return None;
                }
                if members.is_empty() && foreign.is_empty() {
                    self.nobody(selector);
                    return None;
                }
                Members::Some(members)
            }
            SelectorKind::Labels(labels) => Members::Some(self.labelled(labels)?),
        };
        Some(Who { members, foreign, text: describe(selector) })
    }

    /// Notes a selector of segments that have no members: it must not select nobody without a word.
    fn nobody(&mut self, selector: &Selector) {
        let message = format!("nobody is in `{}`", describe(selector));
        let problem = Problem::error(Code::UnknownSegment, selector.place, message)
            .label("without members")
            .help("give the segment members, or name somebody else");
        self.problems.push(problem);
    }

    /// The members of a selector, `any` spelled out.
    pub(super) fn each(&self, who: &Who) -> BTreeSet<WorkloadNumber> {
        match &who.members {
            Members::Any => (0..self.parts.workloads.len()).map(WorkloadNumber).collect(),
            Members::Some(members) => members.clone(),
        }
    }

    /// Adds the members of a segment.
    pub(super) fn segment(
        &mut self,
        name: &Text,
        members: &mut BTreeSet<WorkloadNumber>,
    ) -> Option<()> {
        if let Some(more) = self.parts.members.get(&name.value) {
            members.extend(more);
            return Some(());
        }
        let names = self.parts.members.keys();
        let message = format!("unknown segment `{}`", name.value);
        let problem =
            Problem::error(Code::UnknownSegment, name.place, message).label("not in `segments`");
        let problem = match Self::meant(&mut self.suggestions, &name.value, names) {
            Some(near) => problem.help(format!("did you mean `segment/{near}`?")),
            None => problem,
        };
        self.problems.push(problem);
        None
    }

    /// The workloads that have all of these labels.
    fn labelled(&mut self, wanted: &[(Text, Text)]) -> Option<BTreeSet<WorkloadNumber>> {
        let mut problems = Vec::new();
        let mut members: Option<BTreeSet<WorkloadNumber>> = None;
        for (label, value) in wanted {
            let Some(known) = self.parts.labels.get(&label.value) else {
                let names = self.parts.labels.keys();
                let message = format!("no workload has a label `{}`", label.value);
                let near = Self::meant(&mut self.suggestions, &label.value, names);
                let problem = Problem::error(Code::UnknownLabel, label.place, message);
                problems.push(problem.suggest(near));
                continue;
            };
            let Some(having) = known.values.get(&value.value) else {
                let names = known.values.keys();
                let message = format!("no workload has `{}: {}`", label.value, value.value);
                let near = Self::meant(&mut self.suggestions, &value.value, names);
                let problem = Problem::error(Code::UnknownLabel, value.place, message);
                problems.push(problem.suggest(near));
                continue;
            };
            members = Some(match members {
                Some(members) => members.intersection(having).copied().collect(),
                None => having.clone(),
            });
        }
        if problems.is_empty() && members.as_ref().is_none_or(BTreeSet::is_empty) {
            let place = wanted.first().map(|(label, _)| label.place)?;
            let message = "no workload has all of these labels";
            problems.push(Problem::error(Code::UnknownLabel, place, message));
        }
        let whole = problems.is_empty();
        problems.into_iter().for_each(|problem| self.problems.push(problem));
        members.filter(|_| whole)
    }
}
