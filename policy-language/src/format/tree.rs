//! A document as it is written: every entry with its comments, every value by its place.

use std::ops::Range;

/// A comment.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// With its `#`, without white space at the end.
    pub(super) text: String,
    /// Where its `#` stands in the file.
    pub(super) at: usize,
    /// Where it stands in its line.
    pub(super) column: usize,
    /// Whether nothing stands before it in its line.
    pub(super) alone: bool,
    /// Whether the line above is blank.
    pub(super) blank: bool,
}

/// What has entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    List,
    Map,
}

/// A list or mapping of a line each.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) entries: Vec<Entry>,
    /// Comments after the last entry.
    pub(super) below: Vec<Note>,
}

/// An entry of a block.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key of a mapping's entry; none in a list.
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Value,
    /// Comments in the lines above it.
    pub(super) above: Vec<Note>,
    /// Comments between its dash or key and its value.
    pub(super) inner: Vec<Note>,
    /// The comments in its last line; for a block, in its first.
    pub(super) right: Vec<Note>,
    /// Whether the line above it is blank.
    pub(super) blank: bool,
    /// Where its dash or key stands in its line.
    pub(super) column: usize,
}

/// A value of an entry.
#[derive(Debug)]
pub(super) enum Value {
    Nothing,
    Block(Block),
    Flow(Flow),
    /// A plain or quoted text, also of several lines.
    Scalar(Range<usize>),
    Text(Text),
}

/// A text after `|` or `>`.
#[derive(Debug)]
pub(super) struct Text {
    /// `|`, `>-`, `|2+`.
    pub(super) header: Range<usize>,
    /// Whole lines.
    pub(super) lines: Range<usize>,
}

/// A list or mapping in brackets.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) kind: Kind,
    /// From its first bracket to behind its last.
    pub(super) place: Range<usize>,
    pub(super) items: Vec<FlowItem>,
    /// Comments after the last item.
    pub(super) below: Vec<Note>,
    /// Whether the last bracket stands in a line of its own.
    pub(super) closes_alone: bool,
    /// Whether a comma follows the last item.
    pub(super) comma: bool,
}

/// An item of a flow.
#[derive(Debug)]
pub(super) struct FlowItem {
    pub(super) key: Option<Range<usize>>,
    pub(super) value: FlowValue,
    /// Comments before it, after the item before.
    pub(super) above: Vec<Note>,
    /// Whether it begins a line.
    pub(super) begins: bool,
    /// Whether the line above it is blank.
    pub(super) blank: bool,
}

/// A value inside of a flow.
#[derive(Debug)]
pub(super) enum FlowValue {
    Nothing,
    Scalar(Range<usize>),
    Flow(Flow),
}

/// A whole document.
#[derive(Debug)]
pub(super) struct Document {
    /// Comments above `---`; empty without one.
    pub(super) head: Vec<Note>,
    /// Whether there is a `---`, and the comment beside it.
    pub(super) marker: Option<Vec<Note>>,
    pub(super) root: Block,
}
