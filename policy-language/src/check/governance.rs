//! Approvals, probes, owners, and what must never be.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, outsiders::Outsiders};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Never, Stewardship},
    place::{FileNumber, Place},
    syntax::{Documents, NeverItem, Text},
};

impl Checker<'_> {
    pub(super) fn governance(&mut self, documents: &Documents) {
        self.parts.governance = documents.governance.clone();
        for (key, approval) in &documents.approvals {
            if let Some(name) = key.value.strip_prefix("segment/") {
                let name = Text { value: name.to_owned(), place: key.place };
                self.segment(&name, &mut BTreeSet::new());
            }
            self.parts.governance.approvals.insert(key.value.clone(), approval.clone());
        }
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for (place, probe) in &documents.probes {
            let text = format!("{} {}", probe.method, probe.path);
            if let Some(first) = places.get(&text) {
                let message = format!("the probe `{text}` stands twice");
                let problem = Problem::error(Code::DuplicateName, *place, message);
                self.problems.push(problem.related(*first, "the other one"));
                continue;
            }
            places.insert(text, *place);
            self.parts.probes.push(probe.clone());
        }
        self.never(&documents.never);
    }

    fn never(&mut self, items: &[NeverItem]) {
        self.unique("invariant", items.iter().map(|item| &item.name));
        for item in items {
            let from = self.who(&item.from, Outsiders::Welcome);
            let to = self.who(&item.to, Outsiders::Refused);
            let (Some(from), Some(to)) = (from, to) else { continue };
            self.parts.never.push(Never {
                name: item.name.value.clone(),
                place: item.name.place,
                from,
                to,
                through: item.through,
                why: item.why.clone(),
            });
        }
    }

    /// Where some statements have an owner, one without is an oversight. Said once for each file.
    pub(super) fn owners(&mut self, documents: &Documents) {
        let Documents { rules, grants, guards, .. } = documents;
        let rules = rules.iter().chain(grants.iter().map(|grant| &grant.rule));
        let rules = rules.map(|item| (&item.name, &item.stewardship));
        let guards = guards.iter().map(|item| (&item.name, &item.stewardship));
        let statements: Vec<(&Text, &Stewardship)> = rules.chain(guards).collect();
        if statements.iter().all(|(_, stewardship)| stewardship.owner.is_none()) {
            return;
        }
        let mut without: BTreeMap<FileNumber, Vec<&Text>> = BTreeMap::new();
        for (name, stewardship) in statements {
            if stewardship.owner.is_none() {
                without.entry(name.place.file).or_default().push(name);
            }
        }
        for names in without.into_values() {
            let Some(first) = names.iter().min_by_key(|name| name.place) else { continue };
            let message = match names.len() {
                1 => format!("`{}` has no owner", first.value),
                more => format!("`{}` and {} more have no owner", first.value, more - 1),
            };
            let problem = Problem::warning(Code::NoOwner, first.place, message)
                .help("begin the file with `owner: TEAM`, or give each its own");
            self.problems.push(problem);
        }
    }
}
