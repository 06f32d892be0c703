//! What a text says, and which comments it has: to compare before and after.

use super::tokens::{Node, Style, Tokens};

/// What a text says. The order of keys in a mapping means nothing.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Meaning {
    /// In the order of the text.
    nodes: Vec<Value>,
    /// Sorted: they move with their keys.
    comments: Vec<String>,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Value {
    Scalar(String, Style),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Meaning {
    pub(super) fn of(tokens: &Tokens) -> Self {
        let mut comments: Vec<_> = tokens.notes.iter().map(|note| note.text.clone()).collect();
        comments.sort();
        let mut nodes = Vec::new();
        let mut rest = tokens.nodes.iter().map(|(node, _)| node);
        while let Some(value) = value(&mut rest) {
            nodes.push(value);
        }
        Self { nodes, comments }
    }
}

/// The next value; `None` at the end of the one around it.
fn value<'t>(rest: &mut impl Iterator<Item = &'t Node>) -> Option<Value> {
    Some(match rest.next()? {
        Node::End => return None,
        Node::Scalar { value, style } => Value::Scalar(value.clone(), *style),
        Node::List { .. } => {
            let mut items = Vec::new();
            while let Some(item) = value(rest) {
                items.push(item);
            }
            Value::List(items)
        }
        Node::Map { .. } => {
            let mut entries = Vec::new();
            while let Some(key) = value(rest) {
                let Some(value) = value(rest) else { break };
                entries.push((key, value));
            }
            // Of keys that stand twice the order stays.
            entries.sort_by(|one, next| one.0.cmp(&next.0));
            Value::Map(entries)
        }
    })
}
