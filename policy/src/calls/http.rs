//! Path templates, compiled to a tree that a request walks once, segment by segment.
//!
//! Each node stands for a set of templates that are still possible, so the walk never goes back:
//! its cost is one hash lookup per segment, however many templates there are.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    CallError,
    tree::{HttpIndex, Node},
};
use crate::{PathTemplate, lookup::Texts, template::Segment};

/// The most different path templates of one callee.
pub const MAX_HTTP_TEMPLATES: usize = 1024;
/// The most nodes of the tree. Templates that interleave literals and parameters multiply.
const MAX_NODES: usize = 65_536;

/// Templates as they are declared, each with a value for each method.
#[derive(Debug)]
pub(super) struct Declared<V>(Vec<Declaration<V>>);

#[derive(Debug)]
struct Declaration<V> {
    template: PathTemplate,
    methods: BTreeMap<Box<str>, V>,
}

/// Which ends of a path its template stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    /// Its own: what opens, opens no path that nobody wrote.
    Written,
    /// With a slash and without one: what closes holds however the workload reads the slash.
    Both,
}

/// How far a template has come on the way to a node.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Progress {
    /// This many of its segments are matched.
    Segments(usize),
    /// Its tail has taken at least one segment, and takes every further one.
    Tail,
}

/// The templates that are possible at a node, by number.
type Possible = BTreeSet<(usize, Progress)>;

impl<V> Default for Declared<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Declared<V> {
    /// The value of a template and a method, `new` where there is none yet.
    pub(super) fn entry(
        &mut self,
        method: &str,
        path: &str,
        new: impl FnOnce(&PathTemplate) -> Result<V, CallError>,
    ) -> Result<&mut V, CallError> {
        let known = self.0.iter().position(|known| known.template.as_str() == path);
        let at = match known {
            Some(at) => at,
            None if self.0.len() >= MAX_HTTP_TEMPLATES => return Err(CallError::TooMany),
            None => {
                let template = PathTemplate::parse(path)?;
                self.0.push(Declaration { template, methods: BTreeMap::new() });
                self.0.len() - 1
            }
        };
        let declaration = self.0.get_mut(at).ok_or(CallError::TooMany)?;
        match declaration.methods.entry(Box::from(method)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(new(&declaration.template)?)),
        }
    }

    /// Compiles the templates. `merge` makes one value of those of all templates that match a path
    /// and carry a method: the most specific template's, and the others'.
    pub(super) fn compile<T>(
        mut self,
        ends: Ends,
        mut merge: impl FnMut(&V, &[&V]) -> T,
    ) -> Result<HttpIndex<T>, CallError> {
        // Most specific first, so that each set of templates is in that order.
        self.0.sort_by(|one, other| one.template.specificity(&other.template));
        let root = self.0.iter().enumerate().map(|(at, _)| (at, Progress::Segments(0))).collect();
        let mut index = HttpIndex::default();
        let mut numbers = BTreeMap::from([(root, 0)]);
        let mut waiting: Vec<Possible> = numbers.keys().cloned().collect();
        index.nodes.push(Node::default());
        while let Some(possible) = waiting.pop() {
            let mut node = self.ends(&possible, ends, &mut merge);
            let mut reach = |next: Possible| -> Result<usize, CallError> {
                if let Some(number) = numbers.get(&next) {
                    return Ok(*number);
                }
                if index.nodes.len() >= MAX_NODES {
                    return Err(CallError::TooMany);
                }
                index.nodes.push(Node::default());
                numbers.insert(next.clone(), index.nodes.len() - 1);
                waiting.push(next);
                Ok(index.nodes.len() - 1)
            };
            for literal in self.literals(&possible) {
                let number = reach(self.after(&possible, Some(literal)))?;
                node.literals.insert(literal.as_bytes(), number);
            }
            let others = self.after(&possible, None);
            if !others.is_empty() {
                node.others = Some(reach(others)?);
            }
            let number = numbers.get(&possible).copied().unwrap_or_default();
            if let Some(place) = index.nodes.get_mut(number) {
                *place = node;
            }
        }
        Ok(index)
    }

    /// No two templates that may meet in a request may stand beside each other without an order.
    pub(super) fn check_conflicts(&self) -> Result<(), CallError> {
        for (at, one) in self.0.iter().enumerate() {
            for other in self.0.iter().skip(at + 1) {
                if let Some(conflict) = one.template.conflict(&other.template)
                    && one.methods.keys().any(|method| other.methods.contains_key(method))
                {
                    let (first, second) = (one.template.text(), other.template.text());
                    return Err(CallError::Conflict { first, second, conflict });
                }
            }
        }
        Ok(())
    }

    /// The literals that lead on from a node.
    fn literals(&self, possible: &Possible) -> BTreeSet<&str> {
        let literal = |(at, progress): &(usize, Progress)| match self.next(*at, *progress)? {
            Segment::Literal(text) => Some(&**text),
            Segment::Any(_) => None,
        };
        possible.iter().filter_map(literal).collect()
    }

    /// What is possible after one more segment; `None` is one that no template names here.
    fn after(&self, possible: &Possible, segment: Option<&str>) -> Possible {
        let next = |(at, progress): &(usize, Progress)| {
            let template = &self.0.get(*at)?.template;
            match (self.next(*at, *progress), progress) {
                (Some(Segment::Literal(text)), _) if Some(&**text) != segment => None,
                (Some(_), Progress::Segments(matched)) => {
                    Some((*at, Progress::Segments(matched + 1)))
                }
                (None, _) | (Some(_), Progress::Tail) => {
                    template.tail.then_some((*at, Progress::Tail))
                }
            }
        };
        possible.iter().filter_map(next).collect()
    }

    /// The segment that a template wants next; `None` at its end or in its tail.
    fn next(&self, at: usize, progress: Progress) -> Option<&Segment> {
        match progress {
            Progress::Segments(matched) => self.0.get(at)?.template.segments.get(matched),
            Progress::Tail => None,
        }
    }

    /// The node of a set, so far only with what ends there.
    fn ends<T>(
        &self,
        possible: &Possible,
        ends: Ends,
        merge: &mut impl FnMut(&V, &[&V]) -> T,
    ) -> Node<T> {
        let mut found: [BTreeMap<&str, Vec<&V>>; 2] = Default::default();
        // In the order of the templates: the most specific first.
        for (at, progress) in possible {
            let Some(Declaration { template, methods }) = self.0.get(*at) else { continue };
            let whole = match progress {
                Progress::Segments(matched) => {
                    *matched == template.segments.len() && !template.tail
                }
                Progress::Tail => true,
            };
            if !whole {
                continue;
            }
            for (end, slash) in found.iter_mut().zip([false, true]) {
                if template.slash == slash || ends == Ends::Both {
                    methods.iter().for_each(|(method, value)| {
                        end.entry(method).or_default().push(value);
                    });
                }
            }
        }
        let [end, end_slash] = found.map(|end| {
            let mut merged = Texts::default();
            for (method, values) in end {
                if let Some((first, others)) = values.split_first() {
                    merged.insert(method.as_bytes(), merge(first, others));
                }
            }
            merged
        });
        Node { end, end_slash, ..Node::default() }
    }
}
