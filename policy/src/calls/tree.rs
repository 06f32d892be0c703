//! The tree of templates that a request walks: one lookup per segment.

use std::collections::BTreeSet;

use crate::{RequestPath, lookup::Texts, path::ENCODED_SLASH};

/// Where every path begins.
const ROOT: usize = 0;

/// Templates, compiled: what each path and method comes to.
#[derive(Debug)]
pub(crate) struct HttpIndex<T> {
    pub(super) nodes: Vec<Node<T>>,
}

#[derive(Debug)]
pub(super) struct Node<T> {
    /// Where these segments lead.
    pub(super) literals: Texts<usize>,
    /// Where every other segment leads.
    pub(super) others: Option<usize>,
    /// What a path that ends here comes to, by method.
    pub(super) end: Texts<T>,
    /// What a path that ends here in a slash comes to, by method.
    pub(super) end_slash: Texts<T>,
}

impl<T> Default for HttpIndex<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literals: Texts::default(),
            others: None,
            end: Texts::default(),
            end_slash: Texts::default(),
        }
    }
}

impl<T> HttpIndex<T> {
    /// What the templates that match `path` and carry `method` come to. A parameter takes every
    /// segment here, also one with an encoded slash: which template is the most specific does not
    /// depend on that.
    pub(crate) fn find(&self, method: &str, path: &RequestPath<'_>) -> Option<&T> {
        self.walk(method, path.as_str())
    }

    /// What the same comes to in any reading of a path: each of its encoded slashes is a part of a
    /// segment, or a slash, whatever the others are. Nothing where it has none.
    ///
    /// All readings are walked at once: by the nodes where the next segment begins in some of them,
    /// which are no more than the tree has, and no more than the readings that
    /// [`MAX_ENCODED_SLASHES`](crate::MAX_ENCODED_SLASHES) allows.
    pub(crate) fn find_readings(&self, method: &str, path: &RequestPath<'_>) -> Vec<&T> {
        if path.split().is_none() {
            return Vec::new();
        }
        let Some((inner, slash)) = inner(path.as_str()) else { return Vec::new() };
        let segments = inner.split('/');
        let ends = segments.fold(BTreeSet::from([ROOT]), |at, segment| self.through(at, segment));
        ends.into_iter().filter_map(|at| self.nodes.get(at)?.end(method, slash)).collect()
    }

    /// Where a segment leads that begins at any of these nodes, in each of its readings.
    fn through(&self, mut begun: BTreeSet<usize>, segment: &str) -> BTreeSet<usize> {
        // The nodes before a segment that goes on behind an encoded slash. No literal has one.
        let mut within: BTreeSet<usize> = BTreeSet::new();
        for piece in segment.split(ENCODED_SLASH) {
            let whole = begun.iter().filter_map(|at| self.nodes.get(*at)?.after(piece.as_bytes()));
            let ended = within.iter().filter_map(|at| self.nodes.get(*at)?.others);
            let ends = whole.chain(ended).collect();
            within.append(&mut begun);
            begun = ends;
        }
        begun
    }

    fn walk(&self, method: &str, path: &str) -> Option<&T> {
        let (inner, slash) = inner(path)?;
        let mut node = self.nodes.get(ROOT)?;
        if !inner.is_empty() {
            for segment in inner.as_bytes().split(|byte| *byte == b'/') {
                node = self.nodes.get(node.after(segment)?)?;
            }
        }
        node.end(method, slash)
    }
}

impl<T> Node<T> {
    /// Where a segment leads.
    fn after(&self, segment: &[u8]) -> Option<usize> {
        self.literals.get(segment).copied().or(self.others)
    }

    fn end(&self, method: &str, slash: bool) -> Option<&T> {
        let method = method.as_bytes();
        if slash { self.end_slash.get(method) } else { self.end.get(method) }
    }
}

/// What is between the slashes at the begin and the end of a path, and whether there is one at its end.
fn inner(path: &str) -> Option<(&str, bool)> {
    let inner = path.strip_prefix('/')?;
    Some(match inner.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (inner, inner.is_empty()),
    })
}
