//! From tokens to the tree. Each comment goes to the entry that it is about.

use std::ops::Range;

use super::{
    tokens::{Node, Style, Tokens, is_below_blank, line_before},
    tree::{Block, Document, Entry, Kind, Note, Text, Value},
};

/// The tree of a text that is a block mapping; `None` for any other.
pub(super) fn grow(text: &str, tokens: Tokens) -> Option<Document> {
    let mut grower = Grower { text, tokens, columns: Vec::new() };
    let (mut head, mut marker) = (Vec::new(), None);
    if let Some(at) = grower.tokens.marker {
        let line = text.get(at..)?.lines().next()?;
        head = grower.notes_before(at);
        marker = Some(grower.notes_beside(at + line.len()));
    }
    let (first, place) = grower.tokens.nodes.pop_front()?;
    if first != (Node::Map { flow: false }) {
        return None;
    }
    // `--- key: value`
    if !line_before(text, place.start).trim().is_empty() {
        return None;
    }
    let root = grower.block(Kind::Map, place.start)?;
    Some(Document { head, marker, root })
}

/// Takes the tokens one by one.
pub(super) struct Grower<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Tokens,
    /// The columns of the blocks around, the outermost first.
    columns: Vec<usize>,
}

impl Grower<'_> {
    /// The block that begins at `start`, its first node taken.
    fn block(&mut self, kind: Kind, start: usize) -> Option<Block> {
        let column = line_before(self.text, start).chars().count();
        self.columns.push(column);
        let mut entries = Vec::new();
        while !self.is_at_end()? {
            entries.push(match kind {
                Kind::Map => self.map_entry()?,
                Kind::List => self.list_entry()?,
            });
        }
        self.columns.pop();
        let below = self.below(column);
        Some(Block { entries, below })
    }

    /// The comments after the last entry that belong to a block of this column.
    fn below(&mut self, column: usize) -> Vec<Note> {
        let end = self.next_start();
        let outer = self.columns.last().copied();
        let mut below = Vec::new();
        while let Some(note) = self.tokens.notes.front() {
            let inside = note.column >= column && outer != Some(column);
            if note.at >= end || !(inside || outer.is_none()) {
                break;
            }
            below.extend(self.tokens.notes.pop_front());
        }
        below
    }

    /// Where the next entry begins; the end of the text where there is none.
    fn next_start(&self) -> usize {
        let next = self.tokens.nodes.iter().find(|(node, _)| *node != Node::End);
        let next = next.map_or(self.text.len(), |(_, place)| place.start);
        self.tokens.dashes.front().map_or(next, |dash| next.min(*dash))
    }

    pub(super) fn is_at_end(&mut self) -> Option<bool> {
        let ended = self.tokens.nodes.front()?.0 == Node::End;
        if ended {
            self.tokens.nodes.pop_front();
        }
        Some(ended)
    }

    fn map_entry(&mut self) -> Option<Entry> {
        let key = self.key()?;
        let mut entry = self.entry(key.start);
        let rest = self.text.get(key.end..)?;
        let colon = key.end + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
        // An implicit key has its colon in its line.
        self.text.get(colon..)?.strip_prefix(':')?;
        entry.key = Some(key);
        self.value(&mut entry, colon + 1)?;
        Some(entry)
    }

    fn list_entry(&mut self) -> Option<Entry> {
        let dash = self.tokens.dashes.pop_front()?;
        let mut entry = self.entry(dash);
        self.value(&mut entry, dash + 1)?;
        Some(entry)
    }

    /// A key: one line of plain or quoted text.
    pub(super) fn key(&mut self) -> Option<Range<usize>> {
        let (node, place) = self.tokens.nodes.pop_front()?;
        let Node::Scalar { style: Style::Plain | Style::Quoted, .. } = node else { return None };
        (self.text.get(place.clone())?.lines().count() == 1).then_some(place)
    }

    fn entry(&mut self, at: usize) -> Entry {
        Entry {
            key: None,
            value: Value::Nothing,
            above: self.notes_before(at),
            inner: Vec::new(),
            right: Vec::new(),
            blank: is_below_blank(self.text, at),
            column: line_before(self.text, at).chars().count(),
        }
    }

    /// Reads the value of an entry, which stands `after` its colon or dash.
    fn value(&mut self, entry: &mut Entry, after: usize) -> Option<()> {
        let (node, place) = self.tokens.nodes.pop_front()?;
        match node {
            Node::End => return None,
            Node::List { flow: false } | Node::Map { flow: false } => {
                let (kind, start) = match node {
                    Node::List { .. } => (Kind::List, *self.tokens.dashes.front()?),
                    _ => (Kind::Map, place.start),
                };
                let beside = self.notes_beside(start);
                match entry.key {
                    Some(_) => entry.right = beside,
                    None => entry.inner = beside,
                }
                entry.value = Value::Block(self.block(kind, start)?);
                return Some(());
            }
            Node::List { flow: true } | Node::Map { flow: true } => {
                // A flow mapping without braces stands only inside of a list.
                self.text.get(place.start..)?.strip_prefix(['[', '{'])?;
                entry.inner = self.notes_before(place.start);
                entry.value = Value::Flow(self.flow(&node, place.start)?);
            }
            Node::Scalar { style: Style::Block, .. } => {
                entry.value = Value::Text(self.block_text(entry, after, place.end)?);
            }
            Node::Scalar { .. } if place.is_empty() => {}
            Node::Scalar { .. } => {
                entry.inner = self.notes_before(place.start);
                entry.value = Value::Scalar(place);
            }
        }
        let end = self.next_start();
        entry.right = self.notes_beside(end);
        Some(())
    }

    /// A text after `|` or `>`; its lines end before `end`.
    fn block_text(&mut self, entry: &mut Entry, after: usize, end: usize) -> Option<Text> {
        let mut start = after;
        loop {
            let rest = self.text.get(start..end)?;
            start += rest.len() - rest.trim_start().len();
            if !self.text.get(start..)?.starts_with('#') {
                break;
            }
            start += self.text.get(start..end)?.find('\n')?;
        }
        entry.inner = self.notes_before(start);
        let line = self.text.get(start..)?.split('\n').next()?;
        let length = line.find([' ', '\t', '#']).unwrap_or(line.len());
        let lines = (start + line.len() + 1).min(self.text.len());
        // The text ends with its last line; what is blank below is not all its own.
        let next = self.next_start();
        let next = self
            .tokens
            .notes
            .iter()
            .find(|note| note.at >= lines)
            .map_or(next, |note| next.min(note.at));
        let next = next - line_before(self.text, next).len();
        let lines = lines..next.max(lines);
        // A tab within the indentation is read differently by different readers.
        let spaces = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let all = self.text.get(lines.clone())?;
        let first = all.lines().find(|line| !line.trim_matches(' ').is_empty());
        let indent = first.map_or(0, spaces);
        let has_tab = all.lines().any(|line| {
            let is_inside = spaces(line) < indent || Some(line) == first;
            is_inside && line.trim_start_matches(' ').starts_with('\t')
        });
        (!has_tab).then_some(Text { header: start..start + length, lines })
    }

    /// Takes the comments before a place.
    pub(super) fn notes_before(&mut self, at: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        while self.tokens.notes.front().is_some_and(|note| note.at < at) {
            notes.extend(self.tokens.notes.pop_front());
        }
        notes
    }

    /// Takes the comments before a place that do not stand in lines of their own.
    pub(super) fn notes_beside(&mut self, at: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        while self.tokens.notes.front().is_some_and(|note| note.at < at && !note.alone) {
            notes.extend(self.tokens.notes.pop_front());
        }
        notes
    }
}
