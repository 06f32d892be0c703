//! Edges as a picture: for Graphviz, and drawn.

mod dot;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy_language::{Callers, Difference, Edges, PolicySet, Turn};

/// Who calls whom, one arrow for all calls between two.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) nodes: Vec<Node>,
    pub(super) arrows: Vec<Arrow>,
    /// The names of the segments, each with its mode.
    pub(super) segments: Vec<(String, String)>,
}

/// A workload, or a set of callers.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// The number of its segment; `None` for a set of callers.
    pub(super) segment: Option<usize>,
}

/// All calls from one node to another that pass alike.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: Kind,
    pub(super) calls: Vec<String>,
}

/// How an arrow is drawn.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    /// Allowed.
    Allow,
    /// Passes in audit.
    Audit,
    /// Of a change.
    Turn(Turn),
}

/// What all calls of one arrow share.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Between {
    from: usize,
    to: usize,
    kind: Kind,
}

/// Collects nodes and arrows.
#[derive(Default)]
struct Sketch {
    nodes: BTreeMap<String, usize>,
    picture: Picture,
    arrows: BTreeMap<Between, BTreeSet<String>>,
}

/// The picture of a policy's edges.
pub(super) fn edges(set: &PolicySet, found: &Edges) -> Picture {
    let mut sketch = Sketch::default();
    for edge in &found.edges {
        let kind = if edge.passage.verdict == "audit" { Kind::Audit } else { Kind::Allow };
        let mut call = edge.call.clone();
        let note = super::edges::note(&edge.passage);
        if !note.is_empty() {
            call.push_str(&format!(" ({note})"));
        }
        sketch.arrow(Some(set), (&edge.caller, &edge.callee), kind, call);
    }
    sketch.finish()
}

/// The difference of two policies, for Graphviz.
pub(super) fn changes(difference: &Difference) -> String {
    let mut sketch = Sketch::default();
    for change in &difference.changes {
        let call = format!("{} {}", change.turn.sign(), change.call);
        let between = (&change.caller, change.callee.as_str());
        sketch.arrow(None, between, Kind::Turn(change.turn), call);
    }
    sketch.finish().dot()
}

impl Sketch {
    fn arrow(
        &mut self,
        set: Option<&PolicySet>,
        (callers, callee): (&Callers, &str),
        kind: Kind,
        call: String,
    ) {
        let to = self.node(set, callee);
        let from: Vec<usize> = match callers {
            Callers::Workloads(names) | Callers::Foreign(names) => {
                names.iter().map(|name| self.node(set, name)).collect()
            }
            // One node for all of them: a mesh has thousands.
            Callers::AllBut(_) => vec![self.node(None, &callers.to_string())],
        };
        for from in from {
            self.arrows.entry(Between { from, to, kind }).or_default().insert(call.clone());
        }
    }

    fn node(&mut self, set: Option<&PolicySet>, name: &str) -> usize {
        if let Some(known) = self.nodes.get(name) {
            return *known;
        }
        let segment = set.and_then(|set| set.segment_of(name)).map(|(segment, mode)| {
            let segments = &mut self.picture.segments;
            match segments.iter().position(|(known, _)| known == segment) {
                Some(at) => at,
                None => {
                    segments.push((segment.to_owned(), mode.to_owned()));
                    segments.len() - 1
                }
            }
        });
        let number = self.picture.nodes.len();
        self.picture.nodes.push(Node { name: name.to_owned(), segment });
        self.nodes.insert(name.to_owned(), number);
        number
    }

    fn finish(mut self) -> Picture {
        for (Between { from, to, kind }, calls) in self.arrows {
            let calls = calls.into_iter().collect();
            self.picture.arrows.push(Arrow { from, to, kind, calls });
        }
        self.picture
    }
}

impl Arrow {
    /// The one call, or how many.
    pub(super) fn label(&self) -> String {
        match self.calls.as_slice() {
            [one] => one.clone(),
            many => format!("{} calls", many.len()),
        }
    }
}
