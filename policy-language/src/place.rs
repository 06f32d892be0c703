//! Places in documents, and the texts that they are in.

use crate::Sources;

/// A file of one set of sources, by number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FileNumber(pub(crate) usize);

/// Some bytes of a file.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) file: FileNumber,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

/// A place as people count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) end: usize,
}

/// All files, by number.
#[derive(Debug)]
pub(crate) struct Files<'a>(Vec<File<'a>>);

/// A file.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Place {
    pub(crate) const fn new(file: FileNumber, start: usize, length: usize) -> Self {
        Self { file, start, length }
    }
}

impl<'a> File<'a> {
    fn new(name: &'a str, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { name, text, lines }
    }

    /// The number of the line that a byte is in, from 0, and the text of the line before it.
    fn line(&self, at: usize) -> (usize, &'a str) {
        let line = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or_default();
        (line, self.text.get(start..at).unwrap_or_default())
    }
}

impl<'a> Files<'a> {
    /// The files of `sources`, the root first.
    pub(crate) fn of(sources: &'a Sources) -> Self {
        let file = |(name, text): (&'a String, &'a String)| File::new(name, text);
        let root = sources.files.get_key_value(&sources.root).map(file);
        let rest = sources.files.iter().filter(|(name, _)| **name != sources.root).map(file);
        Self(root.into_iter().chain(rest).collect())
    }

    /// The files in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileNumber, &File<'a>)> {
        self.0.iter().enumerate().map(|(number, file)| (FileNumber(number), file))
    }

    /// How many.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The text of a place.
    pub(crate) fn text(&self, place: Place) -> Option<&'a str> {
        let file = self.0.get(place.file.0)?;
        file.text.get(place.start..place.start.checked_add(place.length)?)
    }

    /// What stands from a place on.
    pub(crate) fn rest(&self, place: Place) -> Option<&'a str> {
        self.all(place.file)?.get(place.start..)
    }

    /// A whole file.
    pub(crate) fn all(&self, file: FileNumber) -> Option<&'a str> {
        self.0.get(file.0).map(|file| file.text)
    }

    /// Where the line of the list's item begins that has a value at `place`, and its indentation;
    /// `None` for a list on one line.
    pub(crate) fn item(&self, place: Place) -> Option<(usize, &'a str)> {
        let mut before = self.all(place.file)?.get(..place.start)?;
        let mut inner = usize::MAX;
        // The first key may stand on a line above.
        loop {
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            let line = before.get(start..)?;
            let indent = line.len() - line.trim_start_matches(' ').len();
            let rest = line.get(indent..)?;
            if rest.starts_with("- ") && indent < inner {
                return Some((start, line.get(..indent)?));
            }
            if !rest.is_empty() && !rest.starts_with('#') {
                inner = inner.min(indent);
            }
            before = before.get(..start.checked_sub(1)?)?;
        }
    }

    pub(crate) fn name(&self, file: FileNumber) -> &'a str {
        self.0.get(file.0).map_or("", |file| file.name)
    }

    /// The file and line of a place.
    pub(crate) fn line(&self, place: Place) -> (String, usize) {
        let position = self.position(place);
        (position.file, position.line)
    }

    /// A place as people count.
    pub(crate) fn position(&self, place: Place) -> Position {
        let Some(file) = self.0.get(place.file.0) else {
            return Position { file: String::new(), line: 1, column: 1, end: 2 };
        };
        let (line, before) = file.line(place.start.min(file.text.len()));
        let column = before.chars().count() + 1;
        let meant = self.text(place).unwrap_or_default();
        let length = meant.split('\n').next().map_or(0, |line| line.trim_end().chars().count());
        Position { file: file.name.to_owned(), line: line + 1, column, end: column + length.max(1) }
    }
}
