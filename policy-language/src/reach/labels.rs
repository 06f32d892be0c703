//! How the kinds of calls of one callee are named, and which of them are one in what they get.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    alike::{Alike, Group},
    classes::Who,
    survey::{About, Answer, Pair, Row, any_other},
};

/// What a kind of call gets, from whom and where.
type Gets<'a> = Vec<(Pair, &'a Who, &'a [Vec<Answer>])>;

impl About {
    /// The kinds that are told apart, each with its name. Of several kinds that one template owns
    /// and that get the same everywhere, the first stands for all.
    pub(crate) fn labels(&self) -> BTreeMap<usize, String> {
        let mut gets: BTreeMap<usize, Gets<'_>> = BTreeMap::new();
        for Row { kind, pair, who, answers } in &self.rows {
            gets.entry(*kind).or_default().push((*pair, who, answers));
        }
        for gets in gets.values_mut() {
            gets.sort_by_key(|(pair, who, _)| (*pair, *who));
        }
        let mut by_name: BTreeMap<String, Alike<Gets<'_>, usize>> = BTreeMap::new();
        for kind in 0..self.kinds.len() {
            let gets = gets.remove(&kind).unwrap_or_default();
            let groups = by_name.entry(self.name(kind)).or_default();
            groups.add(gets, kind);
        }
        let mut labels = BTreeMap::new();
        for (name, groups) in by_name {
            for Group { key: gets, members: kinds } in &groups.0 {
                let others = groups.0.iter().filter(|other| other.members != *kinds);
                let others: Vec<&[usize]> = others.map(|other| other.members.as_slice()).collect();
                if let (Some(first), false) = (kinds.first(), gets.is_empty()) {
                    labels.insert(*first, self.told_apart(&name, kinds, &others));
                }
            }
        }
        labels
    }

    /// The template that owns a kind, by the newest version that has one.
    fn name(&self, kind: usize) -> String {
        let owner = self.owners.get(kind).into_iter().flatten().rev().flatten().next();
        let Some(about) = self.kinds.get(kind) else { return String::new() };
        match (owner, about.example.method()) {
            (Some(owner), Some(method)) => format!("{method} {owner}"),
            (Some(owner), None) => owner.to_string(),
            // A port has a name although no rule is about it.
            (None, _) if about.protocol == cellwall_policy::Protocol::Tcp => {
                about.templates.join("")
            }
            (None, _) => {
                let protocols: BTreeSet<_> = self.kinds.iter().map(|kind| kind.protocol).collect();
                any_other(about.protocol, protocols.len() == 1)
            }
        }
    }

    fn told_apart(&self, name: &str, kinds: &[usize], others: &[&[usize]]) -> String {
        if others.is_empty() {
            return name.to_owned();
        }
        let mut also: BTreeSet<String> = kinds.iter().map(|kind| self.also(*kind)).collect();
        if also.remove("") {
            let less: BTreeSet<_> =
                others.iter().flat_map(|it| it.iter()).map(|kind| self.also(*kind)).collect();
            return format!("{name} but {}", Vec::from_iter(less).join(", "));
        }
        format!("{name} as {}", Vec::from_iter(also).join(", "))
    }

    /// What else matches a kind, beside the template that owns it, and whether its paths have two
    /// readings.
    fn also(&self, kind: usize) -> String {
        let owners: BTreeSet<&str> =
            self.owners.get(kind).into_iter().flatten().flatten().map(|owner| &**owner).collect();
        let Some(about) = self.kinds.get(kind) else { return String::new() };
        let method = about.example.method().filter(|_| owners.is_empty());
        let method = method.map_or_else(String::new, |method| format!("{method} "));
        // What two templates of guards say with a slash and without one, one of them says.
        let bare = |text: &str| text.trim_end_matches('/').to_owned();
        let matching = || about.templates.iter().chain(&about.refusing);
        let said: BTreeSet<String> = matching().map(|text| bare(text)).collect();
        let guards = about.but_for_slash.iter().filter(|text| !said.contains(&bare(text)));
        let templates = matching().chain(guards);
        let templates = templates.filter(|text| !owners.contains(text.as_str()));
        let mut also: Vec<_> = templates.map(|text| format!("{method}{text}")).collect();
        if about.example.has_encoded_slash() {
            also.push("%2F within".to_owned());
        }
        also.join(" and ")
    }
}
