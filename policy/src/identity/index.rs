//! From a caller's SPIFFE ID to its number in a snapshot, without allocating.

use std::sync::Arc;

use spiffe::{SpiffeId, TrustDomain};

use super::{IdentityTemplate, Shape, is_reserved};
use crate::lookup::{Lookup, Texts};

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
    /// Callers of other trust domains, by their whole ID.
    foreign: Lookup<SpiffeId, CallerIndex>,
    names: Vec<Arc<str>>,
}

/// Some of the variables of a template: those in which two sides differ, or may.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Variables(u16);

#[derive(Debug)]
struct Side {
    place: usize,
    variable: Arc<str>,
    own: Box<str>,
}

#[derive(Debug, Default)]
struct Node {
    children: Texts<usize>,
    caller: Option<CallerIndex>,
}

/// What an ID says about a caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reading {
    /// Its number, if the snapshot knows it.
    pub(crate) caller: Option<CallerIndex>,
    /// The variables in which it differs from the callee, or which it does not have.
    pub(crate) crossed: Variables,
    /// Whether it is of the callee's trust domain.
    pub(crate) is_ours: bool,
}

impl CallerIndex {
    /// The number.
    pub(crate) fn at(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Variables {
    /// Whether all of `other` are among these.
    pub(crate) const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn with(self, at: usize) -> Self {
        Self(self.0 | 1 << at)
    }
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
            foreign: Lookup::default(),
            names: Vec::new(),
        })
    }

    /// Adds a caller of another trust domain, and gives its number. `None` for one of our own, one
    /// that is there already, and a reserved one.
    pub(crate) fn insert_foreign(&mut self, id: SpiffeId) -> Option<CallerIndex> {
        let caller = CallerIndex(u32::try_from(self.names.len()).ok()?);
        if *id.trust_domain() == self.trust_domain
            || is_reserved(&id)
            || self.foreign.contains_key(&id)
        {
            return None;
        }
        self.names.push(Arc::from(id.to_string()));
        self.foreign.insert(id, caller);
        Some(caller)
    }

    /// Adds a caller and gives its number. `None` when another one has the same IDs.
    pub(crate) fn insert(&mut self, name: Arc<str>, shape: &Shape) -> Option<CallerIndex> {
        let mut at = 0;
        for segment in shape.segments.iter().flatten() {
            let fresh = self.nodes.len();
            let node = self.nodes.get_mut(at)?;
            if let Some(known) = node.children.get(segment.as_bytes()) {
                at = *known;
            } else {
                node.children.insert(segment.as_bytes(), fresh);
                self.nodes.push(Node::default());
                at = fresh;
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

    /// Whether a caller is of another trust domain.
    pub(crate) fn is_foreign(&self, caller: CallerIndex) -> bool {
        caller.at() >= self.names.len() - self.foreign.len()
    }

    /// The place of a variable in an ID's path; `None` for one that the template does not have.
    pub(crate) fn place(&self, variable: &str) -> Option<usize> {
        self.boundary.iter().find(|side| *side.variable == *variable).map(|side| side.place)
    }

    /// The set of these variables; `None` where one is none of the template's.
    pub(crate) fn variables(&self, names: &[String]) -> Option<Variables> {
        names.iter().try_fold(Variables::default(), |set, name| {
            let at = self.boundary.iter().position(|side| *side.variable == **name)?;
            Some(set.with(at))
        })
    }

    /// The first of some variables, in the template's order.
    pub(crate) fn first(&self, variables: Variables) -> Option<&Arc<str>> {
        let at = usize::try_from(variables.0.trailing_zeros()).ok()?;
        self.boundary.get(at).map(|side| &side.variable)
    }

    /// Reads a caller's ID. One of another trust domain, or a reserved one, is on the far side of
    /// every boundary.
    pub(crate) fn read(&self, id: &SpiffeId) -> Reading {
        let is_ours = *id.trust_domain() == self.trust_domain;
        if !is_ours || is_reserved(id) {
            let crossed = (0..self.boundary.len()).fold(Variables::default(), Variables::with);
            let caller = if is_ours { None } else { self.foreign.get(id).copied() };
            return Reading { caller, crossed, is_ours: false };
        }
        let mut boundary = self.boundary.iter().enumerate().peekable();
        let mut crossed = Variables::default();
        let mut node = self.nodes.first();
        let segments = id.path().as_bytes().split(|byte| *byte == b'/');
        for (place, segment) in segments.skip(1).enumerate() {
            match boundary.next_if(|(_, side)| side.place == place) {
                // AZ-04, SPID-09: whole segments, byte by byte.
                Some((at, side)) if *segment != *side.own.as_bytes() => crossed = crossed.with(at),
                Some(_) => {}
                None => {
                    let child = node.and_then(|node| node.children.get(segment));
                    node = child.and_then(|at| self.nodes.get(*at));
                }
            }
        }
        // A variable that the ID does not reach is one in which it differs.
        let is_whole = boundary.peek().is_none();
        let crossed = boundary.fold(crossed, |crossed, (at, _)| crossed.with(at));
        let caller = node.filter(|_| is_whole).and_then(|node| node.caller);
        Reading { caller, crossed, is_ours }
    }
}
