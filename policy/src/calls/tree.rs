//! The tree of templates that a request walks: one lookup per segment.

use std::collections::HashMap;

use crate::{RequestPath, path::ENCODED_SLASH};

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
    /// Where a segment with an encoded slash leads: to templates that take it.
    pub(super) encoded: Option<usize>,
    /// What a path that ends here comes to, by method.
    pub(super) end: HashMap<Box<str>, T>,
    /// What a path that ends here in a slash comes to, by method.
    pub(super) end_slash: HashMap<Box<str>, T>,
}

/// How a segment of a path is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    /// By a literal, or by any parameter.
    Plain,
    /// By parameters that declare an encoded slash.
    Encoded,
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
            encoded: None,
            end: HashMap::new(),
            end_slash: HashMap::new(),
        }
    }
}

impl<T> HttpIndex<T> {
    /// What the templates that match `path` and carry `method` come to. Of what it tolerates each
    /// template takes what it declares.
    pub(crate) fn find(&self, method: &str, path: &RequestPath<'_>) -> Option<&T> {
        match path.split() {
            None => self.walk(method, path.as_str(), |_| Taken::Plain),
            Some(_) => self.walk(method, path.as_str(), |segment| {
                if segment.contains(ENCODED_SLASH) { Taken::Encoded } else { Taken::Plain }
            }),
        }
    }

    /// The same for both readings of a path, in each of which every template takes every segment.
    pub(crate) fn find_both(&self, method: &str, path: &RequestPath<'_>) -> [Option<&T>; 2] {
        let read = |text| self.walk(method, text, |_| Taken::Plain);
        [read(path.as_str()), path.split().and_then(read)]
    }

    fn walk(&self, method: &str, path: &str, taken: impl Fn(&str) -> Taken) -> Option<&T> {
        let inner = path.strip_prefix('/')?;
        let (inner, slash) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, inner.is_empty()),
        };
        let mut node = self.nodes.first()?;
        if !inner.is_empty() {
            for segment in inner.split('/') {
                let next = match taken(segment) {
                    Taken::Plain => node.literals.get(segment).copied().or(node.others)?,
                    Taken::Encoded => node.encoded?,
                };
                node = self.nodes.get(next)?;
            }
        }
        let end = if slash { &node.end_slash } else { &node.end };
        end.get(method)
    }
}
