//! What stands in brackets, to lines.

use super::{
    print::{At, Known, Moved, Printer, STEP},
    tree::{Flow, FlowItem, FlowValue, Kind, Note},
};
use crate::keys::Form;

impl Printer<'_> {
    /// What stands in brackets: in one line, or in the lines that its author chose.
    pub(super) fn flow(&mut self, flow: &Flow, column: usize, moved: Moved, known: Known) {
        let [open, close] = match flow.kind {
            Kind::List => ["[", "]"],
            Kind::Map => ["{", "}"],
        };
        self.lines.push(open);
        let indent = column + STEP;
        let order = self.flow_order(flow, known);
        for (number, item) in order.iter().enumerate() {
            self.flow_notes(&item.above, indent, moved, number == 0);
            if item.begins {
                if item.blank && !(number == 0 && item.above.is_empty()) {
                    self.lines.blank();
                }
                self.lines.begin(" ".repeat(indent));
            } else if number > 0 {
                self.lines.push(" ");
            }
            let column = if item.begins { indent } else { column };
            self.flow_item(item, column, moved, known);
            let is_bare = item.key.is_some() && matches!(item.value, FlowValue::Nothing);
            let ends = |key: &std::ops::Range<usize>| self.slice(key).ends_with(':');
            let is_colon = item.key.as_ref().is_some_and(ends);
            // Without it, a pair in a list is a text, and the last colon of a key is not its own.
            if is_bare && (flow.kind == Kind::List || is_colon) {
                self.lines.push(":");
            }
            let is_last = number + 1 == order.len();
            if !is_last || (flow.comma && flow.closes_alone) {
                self.lines.push(",");
            }
        }
        self.flow_notes(&flow.below, indent, moved, order.is_empty());
        let is_empty = order.is_empty() && flow.below.is_empty();
        if flow.closes_alone && !is_empty {
            self.lines.begin(" ".repeat(column));
        }
        self.lines.push(close);
    }

    fn flow_notes(&mut self, notes: &[Note], indent: usize, moved: Moved, first: bool) {
        for (number, note) in notes.iter().enumerate() {
            if !note.alone {
                self.beside(std::slice::from_ref(note), moved);
                continue;
            }
            let at = if first && number == 0 { At::First } else { At::Later };
            self.notes(std::slice::from_ref(note), indent, at);
        }
    }

    fn flow_item(&mut self, item: &FlowItem, column: usize, moved: Moved, known: Known) {
        let mut form = known.and_then(Form::item);
        if let Some(key) = &item.key {
            let name = self.slice(key).to_owned();
            let mapping = known.and_then(Form::mapping);
            let key = mapping.and_then(|mapping| mapping.key(&name));
            form = key.map(|key| key.form).or_else(|| known.and_then(Form::named));
            self.lines.push(&name);
            self.lines.push(match item.value {
                FlowValue::Nothing => "",
                FlowValue::Scalar(_) | FlowValue::Flow(_) => ": ",
            });
        }
        match &item.value {
            FlowValue::Nothing => {}
            FlowValue::Scalar(place) => self.scalar(place, column + STEP),
            FlowValue::Flow(flow) => self.flow(flow, column, moved, form),
        }
    }

    /// Whether a flow stands in one line when it is printed.
    pub(super) fn is_row(&self, flow: &Flow) -> bool {
        let is_row = |item: &FlowItem| {
            !item.begins
                && match &item.value {
                    FlowValue::Nothing => true,
                    FlowValue::Scalar(place) => !self.slice(place).contains('\n'),
                    FlowValue::Flow(flow) => self.is_row(flow),
                }
        };
        // What follows a comment begins a line.
        match flow.items.as_slice() {
            [] => flow.below.is_empty(),
            items => !flow.closes_alone && items.iter().all(is_row),
        }
    }

    /// The items in the order of the language, where they stand in one line.
    fn flow_order<'f>(&self, flow: &'f Flow, known: Known) -> Vec<&'f FlowItem> {
        let mut order: Vec<_> = flow.items.iter().collect();
        if let Some(mapping) = known.and_then(Form::mapping)
            && flow.kind == Kind::Map
            && self.is_row(flow)
        {
            let rank =
                |item: &&FlowItem| item.key.as_ref().map_or(0, |key| mapping.rank(self.slice(key)));
            order.sort_by_key(rank);
        }
        order
    }
}
