//! Workloads, segments, and the selectors that name them.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Members, Segment, Who, WorkloadNumber},
    read::describe,
    suggest::nearest,
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
                    let problem = Problem::error(Code::Membership, member.place, message);
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
        let names = self.parts.by_name.keys().map(String::as_str);
        let message = format!("unknown workload `{}`", name.value);
        let problem = Problem::error(Code::UnknownWorkload, name.place, message)
            .label("not in `workloads`")
            .suggest(nearest(&name.value, names));
        self.problems.push(problem);
        None
    }

    /// Looks a selector up. `None` after a mistake in it.
    pub(super) fn who(&mut self, selector: &Selector) -> Option<Who> {
        let members = match &selector.kind {
            SelectorKind::Any => Members::Any,
            SelectorKind::List(picks) => {
                let mut members = BTreeSet::new();
                let mut whole = true;
                for pick in picks {
                    match self.pick(pick) {
                        Some(picked) => members.extend(picked),
                        None => whole = false,
                    }
                }
                if !whole {
                    return None;
                }
                Members::Some(members)
            }
            SelectorKind::Labels(labels) => Members::Some(self.labelled(labels)?),
        };
        Some(Who { members, foreign: BTreeSet::new(), text: describe(selector) })
    }

    /// The members of a selector, `any` spelled out.
    pub(super) fn each(&self, who: &Who) -> BTreeSet<WorkloadNumber> {
        match &who.members {
            Members::Any => (0..self.parts.workloads.len()).map(WorkloadNumber).collect(),
            Members::Some(members) => members.clone(),
        }
    }

    fn pick(&mut self, pick: &Pick) -> Option<BTreeSet<WorkloadNumber>> {
        let name = match pick {
            Pick::Workload(name) => return self.workload(name).map(|number| [number].into()),
            Pick::Segment(name) => name,
            Pick::Foreign(_) => return Some(BTreeSet::new()),
        };
        if let Some(members) = self.parts.members.get(&name.value) {
            return Some(members.clone());
        }
        let names = self.parts.members.keys().map(String::as_str);
        let message = format!("unknown segment `{}`", name.value);
        let problem =
            Problem::error(Code::UnknownSegment, name.place, message).label("not in `segments`");
        let problem = match nearest(&name.value, names) {
            Some(near) => problem.help(format!("did you mean `segment/{near}`?")),
            None => problem,
        };
        self.problems.push(problem);
        None
    }

    /// The workloads that have all of these labels.
    fn labelled(&mut self, wanted: &[(Text, Text)]) -> Option<BTreeSet<WorkloadNumber>> {
        let mut known = true;
        for (label, value) in wanted {
            let declared = self.parts.workloads.iter().flat_map(|workload| &workload.labels);
            let names: Vec<&str> = declared.clone().map(|(name, _)| name.as_str()).collect();
            let values: Vec<&str> = declared
                .filter(|(name, _)| **name == label.value)
                .map(|(_, value)| value.as_str())
                .collect();
            let problem = if values.is_empty() {
                let message = format!("no workload has a label `{}`", label.value);
                Problem::error(Code::UnknownLabel, label.place, message)
                    .suggest(nearest(&label.value, names))
            } else if values.contains(&value.value.as_str()) {
                continue;
            } else {
                let message = format!("no workload has `{}: {}`", label.value, value.value);
                Problem::error(Code::UnknownLabel, value.place, message)
                    .suggest(nearest(&value.value, values))
            };
            self.problems.push(problem);
            known = false;
        }
        let has = |labels: &BTreeMap<String, String>| {
            wanted.iter().all(|(label, value)| labels.get(&label.value) == Some(&value.value))
        };
        let members: BTreeSet<_> = self
            .parts
            .workloads
            .iter()
            .enumerate()
            .filter(|(_, workload)| has(&workload.labels))
            .map(|(number, _)| WorkloadNumber(number))
            .collect();
        if known && members.is_empty() {
            let place = wanted.first().map(|(label, _)| label.place)?;
            let message = "no workload has all of these labels";
            self.problems.push(Problem::error(Code::UnknownLabel, place, message));
            return None;
        }
        known.then_some(members)
    }
}
