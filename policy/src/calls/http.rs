//! Path templates, compiled to a tree that a request walks once, segment by segment.
//!
//! Each node stands for a set of templates that are still possible, so the walk never goes back:
//! its cost is one hash lookup per segment, however many templates there are.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{
    CallError,
    tree::{HttpIndex, Node},
};
use crate::{
    PathTemplate,
    lookup::{Lookup, Texts},
    template::Segment,
};

/// The most different path templates of one callee.
pub const MAX_HTTP_TEMPLATES: usize = 1024;
/// The most nodes of the tree. Templates that interleave literals and parameters multiply.
const MAX_NODES: usize = 65_536;

/// Templates as they are declared, each with a value for each method.
#[derive(Debug)]
pub(super) struct Declared<V> {
    all: Vec<Declaration<V>>,
    /// By the text of their template.
    places: Lookup<Arc<str>, usize>,
}

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
        Self { all: Vec::new(), places: Lookup::default() }
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
        let at = match self.places.get(path) {
            Some(at) => *at,
            None if self.all.len() >= MAX_HTTP_TEMPLATES => return Err(CallError::TooMany),
            None => {
                let template = PathTemplate::parse(path)?;
                let at = self.all.len();
                self.places.insert(template.text(), at);
                self.all.push(Declaration { template, methods: BTreeMap::new() });
                at
            }
        };
        let declaration = self.all.get_mut(at).ok_or(CallError::TooMany)?;
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
        self.all.sort_by(|one, other| one.template.specificity(&other.template));
        let root = self.all.iter().enumerate().map(|(at, _)| (at, Progress::Segments(0))).collect();
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
            let (literals, others) = self.after(&possible);
            for (literal, mut next) in literals {
                next.extend(&others);
                node.literals.insert(literal.as_bytes(), reach(next)?);
            }
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
        self.check_among(self.all.iter().collect(), 0)
    }

    /// The same of those that agree in all segments before this one. Those that name different
    /// literals in it never meet: a thousand templates are not half a million pairs.
    fn check_among(&self, among: Vec<&Declaration<V>>, depth: usize) -> Result<(), CallError> {
        let mut literals = BTreeMap::<&str, Vec<_>>::new();
        let (mut parameters, mut over) = (Vec::new(), Vec::new());
        for one in among {
            match one.template.segments.get(depth) {
                Some(Segment::Literal(text)) => literals.entry(text).or_default().push(one),
                Some(Segment::Any(_)) => parameters.push(one),
                None => over.push(one),
            }
        }
        for (at, one) in over.iter().enumerate() {
            let others = over.iter().skip(at + 1).chain(&parameters);
            self.check_beside(one, others.chain(literals.values().flatten()))?;
        }
        for one in &parameters {
            self.check_beside(one, literals.values().flatten())?;
        }
        let groups = literals.into_values().chain([parameters]);
        groups
            .filter(|group| group.len() > 1)
            .try_for_each(|group| self.check_among(group, depth + 1))
    }

    /// One template beside others that it may meet.
    fn check_beside<'a>(
        &self,
        one: &Declaration<V>,
        mut others: impl Iterator<Item = &'a &'a Declaration<V>>,
    ) -> Result<(), CallError>
    where
        V: 'a,
    {
        others.try_for_each(|other| {
            let is_shared = || one.methods.keys().any(|method| other.methods.contains_key(method));
            match one.template.conflict(&other.template).filter(|_| is_shared()) {
                None => Ok(()),
                Some(conflict) => {
                    let mut both = [one.template.text(), other.template.text()];
                    both.sort_by_key(|text| self.places.get(text)); // as they were declared
                    let [first, second] = both;
                    Err(CallError::Conflict { first, second, conflict })
                }
            }
        })
    }

    /// What is possible after one more segment: behind each literal that leads on, of what names it; and
    /// behind any segment at all.
    fn after(&self, possible: &Possible) -> (BTreeMap<&str, Possible>, Possible) {
        let (mut literals, mut others) = (BTreeMap::<_, Possible>::new(), Possible::new());
        for &(at, progress) in possible {
            match (self.next(at, progress), progress) {
                (Some(Segment::Literal(text)), Progress::Segments(matched)) => {
                    let behind = literals.entry(&**text).or_default();
                    behind.insert((at, Progress::Segments(matched + 1)));
                }
                (Some(Segment::Any(_)), Progress::Segments(matched)) => {
                    others.insert((at, Progress::Segments(matched + 1)));
                }
                (None, _) | (Some(_), Progress::Tail) => {
                    if self.all.get(at).is_some_and(|one| one.template.tail) {
                        others.insert((at, Progress::Tail));
                    }
                }
            }
        }
        (literals, others)
    }

    /// The segment that a template wants next; `None` at its end or in its tail.
    fn next(&self, at: usize, progress: Progress) -> Option<&Segment> {
        match progress {
            Progress::Segments(matched) => self.all.get(at)?.template.segments.get(matched),
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
            let Some(Declaration { template, methods }) = self.all.get(*at) else { continue };
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
