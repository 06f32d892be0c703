//! From the tree to lines.

use std::ops::Range;

use super::{
    lines::{Beside, Lines},
    tree::{Block, Document, Entry, Note, Value},
};
use crate::keys::{Form, Mapping};

/// Spaces per level.
pub(super) const STEP: usize = 2;

/// The formatted text.
pub(super) fn print(text: &str, document: &Document, root: &'static Mapping) -> String {
    let mut printer = Printer { text, lines: Lines::default() };
    printer.notes(&document.head, 0, At::First);
    if let Some(beside) = &document.marker {
        printer.lines.begin("---");
        printer.beside(beside, Moved { from: 0, to: 0 });
    }
    printer.root(&document.root, root);
    printer.lines.into_text()
}

/// Writes lines from the pieces of a text.
pub(super) struct Printer<'a> {
    pub(super) text: &'a str,
    pub(super) lines: Lines,
}

/// What is known about a value.
pub(super) type Known = Option<&'static Form>;

/// Where an entry or comment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum At {
    /// First of its block: no blank line above.
    First,
    Later,
    /// A section of the file begins or has ended: a blank line above.
    Section,
}

/// Where an entry began in its line, and where it begins now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Printer<'_> {
    pub(super) fn slice(&self, place: &Range<usize>) -> &str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    /// Sections, in the order of the file, a blank line between.
    fn root(&mut self, block: &Block, root: &'static Mapping) {
        let mut after_section = false;
        for (number, entry) in block.entries.iter().enumerate() {
            let is_section = matches!(entry.value, Value::Block(_));
            let key = entry.key.as_ref().and_then(|key| root.key(self.slice(key)));
            let form = key.map(|key| key.form);
            let at = match number {
                0 => At::First,
                _ if is_section || after_section => At::Section,
                _ => At::Later,
            };
            self.above(entry, 0, at, form);
            self.entry(entry, String::new(), 0, form);
            after_section = is_section;
        }
        self.notes(&block.below, 0, At::Later);
    }

    /// A block at a column; its first line begins with `lead`, if there is one.
    fn block(&mut self, block: &Block, column: usize, lead: Option<String>, known: Known) {
        let mapping = known.and_then(Form::mapping);
        let named = known.and_then(Form::named);
        let order = self.order(block, mapping);
        // The names of a section stand in a column of their own.
        let pads = if column == STEP { self.pads(&order) } else { Vec::new() };
        let mut lead = lead;
        for (number, entry) in order.iter().enumerate() {
            let form = match &entry.key {
                Some(key) => {
                    let key = mapping.and_then(|mapping| mapping.key(self.slice(key)));
                    key.map(|key| key.form).or(named)
                }
                None => known.and_then(Form::item),
            };
            let head = lead.take().unwrap_or_else(|| {
                let at = if number == 0 { At::First } else { At::Later };
                self.above(entry, column, at, form);
                " ".repeat(column)
            });
            let pad = pads.get(number).copied().unwrap_or(0);
            self.entry(entry, head, pad, form);
        }
        self.notes(&block.below, column, At::Later);
    }

    /// The entries in the order of the language.
    fn order<'b>(&self, block: &'b Block, mapping: Option<&'static Mapping>) -> Vec<&'b Entry> {
        let mut order: Vec<_> = block.entries.iter().collect();
        if let Some(mapping) = mapping {
            let rank =
                |entry: &&Entry| entry.key.as_ref().map_or(0, |key| mapping.rank(self.slice(key)));
            order.sort_by_key(rank);
        }
        order
    }

    /// How many spaces each value needs to stand below the one above: only those in brackets, of
    /// one line, in lines that follow each other.
    fn pads(&self, order: &[&Entry]) -> Vec<usize> {
        let width =
            |entry: &Entry| entry.key.as_ref().map_or(0, |key| self.slice(key).chars().count());
        let is_row = |entry: &Entry| match &entry.value {
            Value::Flow(flow) => self.is_row(flow),
            Value::Nothing | Value::Block(_) | Value::Scalar(_) | Value::Text(_) => false,
        };
        let follows = |next: &Entry| {
            is_row(next) && !next.blank && next.above.is_empty() && next.inner.is_empty()
        };
        let runs = order.chunk_by(|one, next| is_row(one) && follows(next));
        let pads = runs.flat_map(|run| {
            let widest = run.iter().map(|entry| width(entry)).max().unwrap_or_default();
            run.iter().map(move |entry| widest - width(entry))
        });
        pads.collect()
    }

    /// The comments above an entry, and the blank lines.
    fn above(&mut self, entry: &Entry, column: usize, at: At, known: Known) {
        let hoisted = self.hoisted(entry, known);
        let mut above = entry.above.clone();
        let mut blank = entry.blank;
        if let Some((head, rest)) = hoisted.split_first() {
            above.push(Note { blank, ..(*head).clone() });
            above.extend(rest.iter().map(|note| (*note).clone()));
            blank = false;
        }
        let is_bare = above.is_empty();
        if at == At::Section {
            self.lines.blank();
        }
        self.notes(&above, column, at);
        if blank && !(at == At::First && is_bare) {
            self.lines.blank();
        }
    }

    /// The comments between an entry's dash or key and its value, where they have no line of their
    /// own to go to.
    fn hoisted<'e>(&self, entry: &'e Entry, known: Known) -> Vec<&'e Note> {
        let mut notes: Vec<_> = entry.inner.iter().collect();
        if let (None, Value::Block(block)) = (&entry.key, &entry.value) {
            let mapping = known.and_then(Form::mapping);
            if let Some(first) = self.order(block, mapping).first() {
                notes.extend(&first.above);
                notes.extend(self.hoisted(first, known.and_then(Form::item)));
            }
        }
        notes
    }

    pub(super) fn notes(&mut self, notes: &[Note], column: usize, at: At) {
        for (number, note) in notes.iter().enumerate() {
            if note.blank && !(at == At::First && number == 0) {
                self.lines.blank();
            }
            self.lines.begin(format!("{}{}", " ".repeat(column), note.text));
        }
    }

    /// An entry, whose line begins with `head`.
    fn entry(&mut self, entry: &Entry, head: String, pad: usize, known: Known) {
        let column = head.chars().count();
        let moved = Moved { from: entry.column, to: column };
        let start = match &entry.key {
            Some(key) => format!("{head}{}:", self.slice(key)),
            None => format!("{head}-"),
        };
        match &entry.value {
            Value::Nothing => self.lines.begin(start),
            Value::Scalar(place) => {
                self.lines.begin(start + " ");
                self.scalar(place, column + STEP);
            }
            Value::Flow(flow) => {
                self.lines.begin(format!("{start} {}", " ".repeat(pad)));
                let column = if entry.key.is_some() { column } else { column + STEP };
                self.flow(flow, column, moved, known);
            }
            Value::Text(text) => {
                self.lines.begin(format!("{start} {}", self.slice(&text.header)));
                self.beside(&entry.right, moved);
                return self.text(text, moved);
            }
            Value::Block(block) if entry.key.is_some() => {
                self.lines.begin(start);
                self.beside(&entry.right, moved);
                return self.block(block, column + STEP, None, known);
            }
            Value::Block(block) => {
                return self.block(block, column + STEP, Some(start + " "), known);
            }
        }
        self.beside(&entry.right, moved);
    }

    /// Puts a comment beside the last line, as far from the margin as it was.
    pub(super) fn beside(&mut self, notes: &[Note], moved: Moved) {
        for note in notes {
            let column = (note.column + moved.to).saturating_sub(moved.from);
            self.lines.beside(Beside { text: note.text.clone(), column });
        }
    }
}
