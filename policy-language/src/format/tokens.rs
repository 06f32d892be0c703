//! A text to its nodes, dashes and comments, each with its place. The one module that knows the
//! library.

use std::{collections::VecDeque, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, Scanner, StrInput, StructureStyle, TokenType};

use super::tree::Note;

/// A node, or the end of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Node {
    /// What it says, and whether in quotes or as a block.
    Scalar {
        value: String,
        style: Style,
    },
    List {
        flow: bool,
    },
    Map {
        flow: bool,
    },
    End,
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

/// What a text holds.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) nodes: VecDeque<(Node, Range<usize>)>,
    /// Where the dashes of block lists stand.
    pub(super) dashes: VecDeque<usize>,
    pub(super) notes: VecDeque<Note>,
    /// Where `---` stands.
    pub(super) marker: Option<usize>,
}

/// Reads a text of one document; `None` for one with directives, anchors, tags or `? ` keys, and for
/// one that is not YAML.
pub(super) fn tokens(text: &str) -> Option<Tokens> {
    let mut tokens = Tokens {
        nodes: VecDeque::new(),
        dashes: VecDeque::new(),
        notes: VecDeque::new(),
        marker: None,
    };
    let options = granit_parser::options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.ok()?;
        if let Some(node) = node(event)? {
            tokens.nodes.push_back((node, span.byte_range()?));
        }
    }
    let mut dashes = Vec::new();
    for token in Scanner::new(StrInput::new(text)) {
        let (span, token) = token.ok()?.into_parts();
        let place = span.byte_range()?;
        match token {
            TokenType::BlockEntry => dashes.push(place.start),
            TokenType::Comment(_) => tokens.notes.push_back(note(text, &place)?),
            TokenType::DocumentStart => tokens.marker = Some(place.start),
            // A key with a place of its own is `? key`.
            TokenType::Key if !place.is_empty() => return None,
            TokenType::DocumentEnd
            | TokenType::VersionDirective(..)
            | TokenType::TagDirective(..)
            | TokenType::ReservedDirective(..) => return None,
            _ => {}
        }
    }
    // A comment after the header of a block scalar comes after its lines.
    tokens.notes.make_contiguous().sort_by_key(|note| note.at);
    for after in dashes {
        tokens.dashes.push_back(dash(text, &tokens.notes, after)?);
    }
    Some(tokens)
}

/// Where a dash stands. The library says where white space and a comment after it end.
fn dash(text: &str, notes: &VecDeque<Note>, after: usize) -> Option<usize> {
    let next = notes.partition_point(|note| note.at < after);
    let note = next.checked_sub(1).and_then(|last| notes.get(last));
    let beside = note.filter(|note| text.get(note.at..after).is_some_and(|it| !it.contains('\n')));
    let before = text.get(..beside.map_or(after, |note| note.at))?;
    Some(before.trim_end_matches([' ', '\t']).strip_suffix('-')?.len())
}

/// An event as a node; `None` inside for one without a place, `None` for one that is not known here.
fn node(event: Event<'_>) -> Option<Option<Node>> {
    let flow = |style| style == StructureStyle::Flow;
    Some(Some(match event {
        Event::Scalar(value, style, 0, None) => Node::Scalar {
            value: value.into_owned(),
            style: match style {
                ScalarStyle::Plain => Style::Plain,
                ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                _ => Style::Quoted,
            },
        },
        Event::SequenceStart(style, 0, None) => Node::List { flow: flow(style) },
        Event::MappingStart(style, 0, None) => Node::Map { flow: flow(style) },
        Event::SequenceEnd | Event::MappingEnd => Node::End,
        Event::StreamStart
        | Event::StreamEnd
        | Event::DocumentStart(_, None)
        | Event::DocumentEnd => return Some(None),
        _ => return None,
    }))
}

fn note(text: &str, place: &Range<usize>) -> Option<Note> {
    let before = line_before(text, place.start);
    Some(Note {
        text: text.get(place.clone())?.trim_end().to_owned(),
        at: place.start,
        column: before.chars().count(),
        alone: before.trim().is_empty(),
        blank: is_below_blank(text, place.start),
    })
}

/// What stands before a place in its line.
pub(super) fn line_before(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    before.rsplit('\n').next().unwrap_or_default()
}

/// Whether the line above a place is blank.
pub(super) fn is_below_blank(text: &str, at: usize) -> bool {
    let line = at - line_before(text, at).len();
    let above = line.checked_sub(1).and_then(|end| text.get(..end));
    above.is_some_and(|above| above.rsplit('\n').next().unwrap_or_default().trim().is_empty())
}
