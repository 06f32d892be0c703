//! From a caller's SPIFFE ID to its number in a snapshot, without allocating.

use std::{collections::HashMap, sync::Arc};

use spiffe::{SpiffeId, TrustDomain};

use super::{IdentityTemplate, Shape, is_reserved};

/// A caller's number in one snapshot.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct CallerIndex(u32);

/// Every caller of a snapshot by its ID, seen from the callee's side of the boundary.
#[derive(Debug)]
pub(crate) struct IdentityIndex {
    trust_domain: TrustDomain,
    /// Where the variables stand, in ascending order, with what the callee has there.
    boundary: Vec<Side>,
    /// A trie over the segments between the variables. The first node is the root.
    nodes: Vec<Node>,
    names: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Side {
    place: usize,
    variable: Arc<str>,
    own: Box<str>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, usize>,
    caller: Option<CallerIndex>,
}

/// What an ID says about a caller.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Reading<'a> {
    /// Its number, if the snapshot knows it.
    pub(crate) caller: Option<CallerIndex>,
    /// The first variable in which it differs from the callee.
    pub(crate) crossed: Option<&'a Arc<str>>,
}

impl IdentityIndex {
    /// An index without callers. `None` when `callee` lacks one of the template's variables.
    pub(crate) fn new(template: &IdentityTemplate, callee: &SpiffeId) -> Option<Self> {
        let own: Vec<_> = callee.path().split('/').skip(1).collect();
        let boundary = template.places().map(|(place, name)| {
            let own = own.get(place)?;
            Some(Side { place, variable: Arc::from(name), own: Box::from(*own) })
        });
        Some(Self {
            trust_domain: template.trust_domain().clone(),
            boundary: boundary.collect::<Option<_>>()?,
            nodes: vec![Node::default()],
            names: Vec::new(),
        })
    }

    /// Adds a caller and gives its number. `None` when another one has the same IDs.
    pub(crate) fn insert(&mut self, name: Arc<str>, shape: &Shape) -> Option<CallerIndex> {
        let mut at = 0;
        for segment in shape.segments.iter().flatten() {
            let fresh = self.nodes.len();
            let node = self.nodes.get_mut(at)?;
            at = *node.children.entry(Box::from(segment.as_str())).or_insert(fresh);
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        let caller = CallerIndex(u32::try_from(self.names.len()).ok()?);
        let node = self.nodes.get_mut(at).filter(|node| node.caller.is_none())?;
        node.caller = Some(caller);
        self.names.push(name);
        Some(caller)
    }

    /// The callee's own values, joined by `/`.
    pub(crate) fn environment(&self) -> String {
        self.boundary.iter().map(|side| &*side.own).collect::<Vec<_>>().join("/")
    }

    /// The name of a caller.
    pub(crate) fn name(&self, caller: CallerIndex) -> Option<&Arc<str>> {
        self.names.get(usize::try_from(caller.0).ok()?)
    }

    /// Reads a caller's ID. One of another trust domain, or a reserved one, is unknown and on the
    /// far side of every boundary.
    pub(crate) fn read(&self, id: &SpiffeId) -> Reading<'_> {
        let mut boundary = self.boundary.iter();
        let mut next = boundary.next();
        if *id.trust_domain() != self.trust_domain || is_reserved(id) {
            return Reading { caller: None, crossed: next.map(|side| &side.variable) };
        }
        let mut crossed = None;
        let mut node = self.nodes.first();
        for (place, segment) in id.path().split('/').skip(1).enumerate() {
            match next {
                Some(side) if side.place == place => {
                    // AZ-04, SPID-09: whole segments, byte by byte.
                    if *segment != *side.own && crossed.is_none() {
                        crossed = Some(&side.variable);
                    }
                    next = boundary.next();
                }
                _ => {
                    let child = node.and_then(|node| node.children.get(segment));
                    node = child.and_then(|at| self.nodes.get(*at));
                }
            }
        }
        // A variable that the ID does not reach is one in which it differs.
        if let Some(side) = next {
            return Reading { caller: None, crossed: crossed.or(Some(&side.variable)) };
        }
        Reading { caller: node.and_then(|node| node.caller), crossed }
    }
}
