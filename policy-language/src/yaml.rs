//! YAML text to a tree whose every node knows its place. The one module that knows the library.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, Options, Spanned, budget::BudgetBreach,
};

use crate::place::{FileNumber, Place};

/// The deepest nesting of a document.
const MAX_DEPTH: usize = 32;
/// The most nodes of a document.
const MAX_NODES: usize = 200_000;

/// A node of a document.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it stands: all of a scalar, the start of a list or mapping.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Value {
    /// A string, quoted or plain.
    Text(String),
    /// A plain number.
    Number(u64),
    /// A plain scalar that YAML reads as something else: a boolean, a float, null.
    Other,
    /// `[a, b]`, or a line each.
    List(Vec<Node>),
    /// `{a: b}`, or a line each. Keys may repeat here; the reader refuses them.
    Map(Vec<(Node, Node)>),
}

/// Why a text is no document.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// Reads a document. `None` for an empty one.
pub(crate) fn parse(file: FileNumber, text: &str) -> Result<Option<Node>, SyntaxError> {
    let tree: Option<Tree> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| syntax_error(file, text, &error))?;
    Ok(tree.map(|tree| tree.into_node(file, text)))
}

/// No anchors, aliases, merges, tags, second documents: a policy reads the same in every tool.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_merge_keys: 0,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
        },
        // Ours to report, each with its place.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What the library gives, before places are ours.
struct Tree(Spanned<Content>);

enum Content {
    Text(String),
    Number(u64),
    Other,
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Tree {
    fn into_node(self, file: FileNumber, text: &str) -> Node {
        let value = match self.0.value {
            Content::Text(text) => Value::Text(text),
            Content::Number(number) => Value::Number(number),
            Content::Other => Value::Other,
            Content::List(items) => {
                Value::List(items.into_iter().map(|item| item.into_node(file, text)).collect())
            }
            Content::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.into_node(file, text), value.into_node(file, text)))
                    .collect(),
            ),
        };
        Node { place: place(file, text, &self.0.referenced), value }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Content, E> {
        Ok(Content::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Content, E> {
        Ok(Content::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Content, E> {
        Ok(Content::Other)
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

fn place(file: FileNumber, text: &str, location: &Location) -> Place {
    let span = location.span();
    let start = span.byte_offset().and_then(|start| usize::try_from(start).ok()).unwrap_or(0);
    let length = span.byte_len().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    Place::new(file, start.min(text.len()), length)
}

fn syntax_error(file: FileNumber, text: &str, error: &Error) -> SyntaxError {
    let place = match error.location() {
        Some(at) if at.span().byte_offset().is_some() => place(file, text, &at),
        Some(at) => Place::new(file, offset(text, at.line(), at.column()), 1),
        None => Place::new(file, 0, 0),
    };
    let message = message(error);
    // Where a line is indented with a tab, the library shows what stands before it.
    if let Some(tab) = message.contains("tab").then(|| tab(text)).flatten() {
        let place = Place::new(file, tab, 1);
        return SyntaxError { place, message: "a tab".to_owned(), help: "indent with spaces" };
    }
    let (before, after) = text.split_at_checked(place.start).unwrap_or_default();
    let help = help(&message, before, after);
    SyntaxError { place, message, help }
}

/// The first tab before the text of a line.
fn tab(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if let Some(at) = line.get(..indent).and_then(|it| it.find('\t')) {
            return Some(start + at);
        }
        start += line.len();
    }
    None
}

/// What to do about a text that cannot be read, by what stands before and after the place.
fn help(message: &str, before: &str, after: &str) -> &'static str {
    const QUOTES: &str = "a text that begins with `{`, `[` or `*` needs quotes";
    let line = before.rsplit('\n').next().unwrap_or_default();
    let value = line.split_once(": ").map_or("", |(_, value)| value.trim_start());
    // An alias of nothing is a pattern, `*.yaml`: what an anchor names fails at its anchor.
    if after.starts_with('*') {
        QUOTES
    } else if message.contains("anchors") || message.contains("merge keys") {
        "write it out where it is needed"
    } else if message.contains("one document") {
        "put what stands below `---` in a file of its own, and `include` it"
    } else if value.starts_with('{') && value.contains('}') {
        QUOTES
    } else if message.contains("nested") || message.contains("larger") {
        "split the file"
    } else {
        "look at this line and the ones above for a missing `:`, quote or closing bracket"
    }
}

fn message(error: &Error) -> String {
    let limit = match error {
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                "anchors and aliases are not part of this language"
            }
            BudgetBreach::Documents { .. } => "one file holds one document",
            BudgetBreach::Depth { .. } => "nested too deeply",
            _ => "larger than a policy file may be",
        },
        Error::UnknownAnchor { .. } => "anchors and aliases are not part of this language",
        Error::MergeKeyNotAllowed { .. } => "merge keys are not part of this language",
        other => {
            let text = other.without_snippet().to_string();
            // The place is shown with the line.
            return text.split(" at line ").next().unwrap_or_default().to_owned();
        }
    };
    limit.to_owned()
}

/// The byte at a line and column that count characters from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let [line, column] = [line, column].map(|number| usize::try_from(number).unwrap_or(1));
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(before..).unwrap_or_default();
    let inside = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
    before + inside
}
