//! From tokens to what stands in brackets.

use std::ops::Range;

use super::{
    grow::Grower,
    tokens::{Node, Style, is_below_blank},
    tree::{Flow, FlowItem, FlowValue, Kind, Note},
};

impl Grower<'_> {
    /// A flow that begins at `start`, its first node taken.
    pub(super) fn flow(&mut self, node: &Node, start: usize) -> Option<Flow> {
        let kind = if matches!(node, Node::List { .. }) { Kind::List } else { Kind::Map };
        let mut items = Vec::new();
        let mut before = start;
        let close = loop {
            let (node, place) = self.tokens.nodes.pop_front()?;
            if node == Node::End {
                break place;
            }
            let (item, end) = self.flow_item(kind, node, place, before)?;
            items.push(item);
            before = end;
        };
        let below = self.notes_before(close.start);
        let gap = self.bare(before..close.start, &below)?;
        Some(Flow {
            kind,
            place: start..close.end,
            comma: !items.is_empty() && gap.contains(','),
            items,
            below,
            closes_alone: gap.contains('\n'),
        })
    }

    /// What stands in a place besides some comments. `None` where one of them stands before: between
    /// a key and its value it has no place to go.
    fn bare(&self, place: Range<usize>, notes: &[Note]) -> Option<String> {
        let mut bare = String::new();
        let mut from = place.start;
        for note in notes {
            bare.push_str(self.text.get(from..note.at)?);
            from = note.at + note.text.len();
        }
        bare.push_str(self.text.get(from..place.end)?);
        Some(bare)
    }

    /// An item that begins with `node`, and where it ends.
    fn flow_item(
        &mut self,
        kind: Kind,
        node: Node,
        place: Range<usize>,
        before: usize,
    ) -> Option<(FlowItem, usize)> {
        let start = place.start;
        let above = self.notes_before(start);
        let begins = self.bare(before..start, &above)?.contains('\n');
        let braced = self.text.get(start..)?.starts_with('{');
        let is_pair = matches!(node, Node::Map { .. }) && !braced;
        let blank = begins && is_below_blank(self.text, start);
        let mut item = FlowItem { key: None, value: FlowValue::Nothing, above, begins, blank };
        let end = match kind {
            Kind::Map => self.pair(&mut item, node, place)?,
            Kind::List if is_pair => {
                let (node, place) = self.tokens.nodes.pop_front()?;
                let end = self.pair(&mut item, node, place)?;
                self.is_at_end()?.then_some(end)?
            }
            Kind::List => {
                let (value, end) = self.flow_value(node, place)?;
                item.value = value;
                end
            }
        };
        Some((item, end))
    }

    /// Reads `key: value`, of which the key is given, and says where it ends.
    fn pair(&mut self, item: &mut FlowItem, key: Node, place: Range<usize>) -> Option<usize> {
        self.tokens.nodes.push_front((key, place));
        let key = self.key()?;
        let (node, place) = self.tokens.nodes.pop_front()?;
        let (value, end) = self.flow_value(node, place)?;
        // Nothing has no place of its own: it ends at its colon.
        let end = if matches!(value, FlowValue::Nothing) { self.colon(key.end) } else { end };
        (item.key, item.value) = (Some(key), value);
        Some(end)
    }

    /// Where the colon of a key stands that ends at `at`; there, if it has none.
    fn colon(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        match rest.split_once(':') {
            Some((blank, _)) if blank.trim().is_empty() => at + blank.len(),
            _ => at,
        }
    }

    fn flow_value(&mut self, node: Node, place: Range<usize>) -> Option<(FlowValue, usize)> {
        match node {
            Node::Scalar { style: Style::Block, .. } | Node::End => None,
            Node::Scalar { .. } if place.is_empty() => Some((FlowValue::Nothing, place.end)),
            Node::Scalar { .. } => Some((FlowValue::Scalar(place.clone()), place.end)),
            Node::List { .. } | Node::Map { .. } => {
                self.text.get(place.start..)?.strip_prefix(['[', '{'])?;
                let flow = self.flow(&node, place.start)?;
                let end = flow.place.end;
                Some((FlowValue::Flow(flow), end))
            }
        }
    }
}
