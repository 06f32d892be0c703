//! The tree of templates that a request walks: one lookup per segment.

use std::collections::HashMap;

use crate::RequestPath;

/// Templates, compiled: what each path and method comes to.
#[derive(Debug)]
pub(crate) struct HttpIndex<T> {
    pub(super) nodes: Vec<Node<T>>,
}

#[derive(Debug)]
pub(super) struct Node<T> {
    /// Where these segments lead.
    pub(super) literals: HashMap<Box<str>, usize>,
    /// Where every other segment leads.
    pub(super) others: Option<usize>,
    /// What a path that ends here comes to, by method.
    pub(super) end: HashMap<Box<str>, T>,
    /// What a path that ends here in a slash comes to, by method.
    pub(super) end_slash: HashMap<Box<str>, T>,
}

impl<T> Default for HttpIndex<T> {
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::new(),
            others: None,
            end: HashMap::new(),
            end_slash: HashMap::new(),
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

    /// The same for both readings of a path.
    pub(crate) fn find_both(&self, method: &str, path: &RequestPath<'_>) -> [Option<&T>; 2] {
        [self.find(method, path), path.split().and_then(|split| self.walk(method, split))]
    }

    fn walk(&self, method: &str, path: &str) -> Option<&T> {
        let inner = path.strip_prefix('/')?;
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
        end.get(method)
    }
}
