//! The keys of a mapping: known, known later, elsewhere, unknown, missing, double.

use std::collections::{BTreeMap, btree_map::Entry};

use super::Reader;
use crate::{
    codes::Code,
    finding::Problem,
    place::Place,
    suggest::nearest,
    syntax::Text,
    yaml::{Node, Value},
};

/// What a mapping may have.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
    /// Keys of the language that this release cannot enforce.
    pub(super) later: &'static [&'static str],
    /// Keys that stand somewhere else, and where.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

/// The entries of a mapping whose keys are known.
pub(super) struct Fields<'n> {
    entries: Vec<(&'n str, Place, &'n Node)>,
    /// Where the mapping begins.
    pub(super) place: Place,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(_, _, node)| *node)
    }

    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(_, place, _)| *place)
    }

    /// The entries in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'n str, Place, &'n Node)> {
        self.entries.iter().copied()
    }
}

impl Reader<'_> {
    /// The fields of a mapping that is `what`: each other key is a problem.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &Keys,
    ) -> Option<Fields<'n>> {
        let mut known = Vec::new();
        for (key, value) in self.entries(node, what)? {
            match keys.known.iter().find(|known| **known == key.value) {
                Some(name) => known.push((*name, key.place, value)),
                None => self.unknown(&key, what, keys),
            }
        }
        Some(Fields { entries: known, place: start(node) })
    }

    /// A mapping from names to things: `workloads`, `segments`, `roles`.
    pub(super) fn named<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(Text, &'n Node)> {
        let entries = self.entries(node, what).unwrap_or_default();
        let mut named = Vec::new();
        for (key, value) in entries {
            let node = Node { place: key.place, value: Value::Text(key.value) };
            if let Some(name) = self.name(&node, "a name") {
                named.push((name, value));
            }
        }
        named
    }

    /// Any mapping from texts, each key once.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> Option<Vec<(Text, &'n Node)>> {
        let Value::Map(pairs) = &node.value else {
            let problem = self.wrong_type(node, what);
            self.problems.push(problem);
            return None;
        };
        let mut entries: Vec<(Text, &Node)> = Vec::new();
        let mut first: BTreeMap<&str, Place> = BTreeMap::new();
        for (key, value) in pairs {
            let Value::Text(name) = &key.value else {
                let problem = self.wrong_type(key, "a key").help("put it in quotes");
                self.problems.push(problem);
                continue;
            };
            match first.entry(name) {
                Entry::Occupied(first) => {
                    let message = format!("`{name}` stands twice");
                    let problem = Problem::error(Code::DuplicateKey, key.place, message)
                        .help("remove one of the two: YAML readers differ in which one counts")
                        .related(*first.get(), "first here");
                    self.problems.push(problem);
                }
                Entry::Vacant(free) => {
                    free.insert(key.place);
                    entries.push((Text { value: name.clone(), place: key.place }, value));
                }
            }
        }
        Some(entries)
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&mut self, fields: &Fields<'_>, key: &str, what: &str) {
        let message = format!("{what} needs `{key}`");
        self.problems.push(Problem::error(Code::MissingKey, fields.place, message));
    }

    /// The value of a key that must be there.
    pub(super) fn required<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        what: &str,
    ) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.missing(fields, key, what);
        }
        node
    }

    fn unknown(&mut self, key: &Text, what: &str, keys: &Keys) {
        if keys.later.contains(&key.value.as_str()) {
            let message = format!("this release does not know `{}` in {what} yet", key.value);
            let problem = Problem::error(Code::NotYet, key.place, message)
                .help("what is not enforced is refused; leave it out until a release knows it");
            return self.problems.push(problem);
        }
        if let Some((_, help)) = keys.elsewhere.iter().find(|(name, _)| *name == key.value) {
            let message = format!("`{}` does not stand in {what}", key.value);
            let problem = Problem::error(Code::Misplaced, key.place, message).help(*help);
            return self.problems.push(problem);
        }
        let problem = Problem::error(
            Code::UnknownKey,
            key.place,
            format!("unknown key `{}` in {what}", key.value),
        );
        self.problems.push(match nearest(&key.value, keys.known.iter().copied()) {
            Some(name) => problem.suggest(Some(name)),
            None => problem.help(format!("known are {}", keys.known.join(", "))),
        });
    }
}

/// The first key of a mapping, or its brace.
fn start(node: &Node) -> Place {
    match &node.value {
        Value::Map(pairs) => pairs.first().map_or(node.place, |(key, _)| key.place),
        _ => node.place,
    }
}
