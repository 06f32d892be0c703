//! Path templates, compiled to a tree that a request walks once, segment by segment.
//!
//! Each node stands for a set of templates that are still possible, so the walk never goes back:
//! its cost is one hash lookup per segment, however many templates there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CallError, RouteIndex, Routes};
use crate::{PathTemplate, RequestPath, template::Segment};

/// The most different path templates of one callee.
pub const MAX_HTTP_TEMPLATES: usize = 1024;
/// The most nodes of the tree. Templates that interleave literals and parameters multiply.
const MAX_NODES: usize = 65_536;

/// The compiled templates of one callee.
#[derive(Debug, Default)]
pub(crate) struct HttpIndex {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Where these segments lead.
    literals: HashMap<Box<str>, usize>,
    /// Where every other segment leads.
    others: Option<usize>,
    /// The routes of a path that ends here, by method.
    end: HashMap<Box<str>, RouteIndex>,
    /// The routes of a path that ends here in a slash, by method.
    end_slash: HashMap<Box<str>, RouteIndex>,
}

/// Templates as they are declared.
#[derive(Debug, Default)]
pub(super) struct Declared(Vec<Declaration>);

#[derive(Debug)]
struct Declaration {
    template: PathTemplate,
    /// Its route for each method.
    methods: BTreeMap<Box<str>, RouteIndex>,
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

impl HttpIndex {
    /// The most specific template that matches `path` and carries `method`.
    pub(crate) fn route(&self, method: &str, path: &RequestPath<'_>) -> Option<RouteIndex> {
        let inner = path.as_str().strip_prefix('/')?;
        let (inner, slash) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, inner.is_empty()),
        };
        let mut node = self.nodes.first()?;
        if !inner.is_empty() {
            for segment in inner.split('/') {
                let next = node.literals.get(segment).copied().or(node.others)?;
                node = self.nodes.get(next)?;
            }
        }
        let end = if slash { &node.end_slash } else { &node.end };
        end.get(method).copied()
    }
}

impl Declared {
    /// Adds a template for some methods, and gives its routes in their order.
    pub(super) fn declare(
        &mut self,
        methods: &[String],
        path: &str,
        routes: &mut Routes,
    ) -> Result<Vec<RouteIndex>, CallError> {
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
        let Some(Declaration { template, methods: by_method }) = self.0.get_mut(at) else {
            return Ok(Vec::new());
        };
        let mut declared = Vec::with_capacity(methods.len());
        for method in methods {
            let route = match by_method.get(method.as_str()) {
                Some(route) => *route,
                None => routes.push(template.text())?,
            };
            by_method.insert(Box::from(method.as_str()), route);
            declared.push(route);
        }
        Ok(declared)
    }

    /// Compiles the templates, unless two of them may not stand beside each other.
    pub(super) fn compile(mut self) -> Result<HttpIndex, CallError> {
        // Most specific first, so that the first route found for a method is the one.
        self.0.sort_by(|one, other| one.template.specificity(&other.template));
        self.check_conflicts()?;
        let root = self.0.iter().enumerate().map(|(at, _)| (at, Progress::Segments(0))).collect();
        let mut index = HttpIndex::default();
        let mut numbers = BTreeMap::from([(root, 0)]);
        let mut waiting: Vec<Possible> = numbers.keys().cloned().collect();
        index.nodes.push(Node::default());
        while let Some(possible) = waiting.pop() {
            let mut node = self.ends(&possible);
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
                node.literals.insert(Box::from(literal), number);
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

    fn check_conflicts(&self) -> Result<(), CallError> {
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
            Segment::Any => None,
        };
        possible.iter().filter_map(literal).collect()
    }

    /// What is possible after one more segment: this literal, or one that no template names here.
    fn after(&self, possible: &Possible, segment: Option<&str>) -> Possible {
        let step = |(at, progress): &(usize, Progress)| {
            let taken = match (self.next(*at, *progress), progress) {
                (Some(Segment::Literal(text)), _) if segment != Some(&**text) => return None,
                (Some(_), Progress::Segments(matched)) => Progress::Segments(matched + 1),
                (None, _) if self.0.get(*at)?.template.tail => Progress::Tail,
                _ => return None,
            };
            Some((*at, taken))
        };
        possible.iter().filter_map(step).collect()
    }

    /// The segment that a template wants next; `None` at its end or in its tail.
    fn next(&self, at: usize, progress: Progress) -> Option<&Segment> {
        match progress {
            Progress::Segments(matched) => self.0.get(at)?.template.segments.get(matched),
            Progress::Tail => None,
        }
    }

    /// The node of a set, so far only with what ends there.
    fn ends(&self, possible: &Possible) -> Node {
        let mut node = Node::default();
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
            let end = if template.slash { &mut node.end_slash } else { &mut node.end };
            for (method, route) in methods {
                end.entry(method.clone()).or_insert(*route);
            }
        }
        node
    }
}
