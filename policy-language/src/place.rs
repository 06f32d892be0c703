//! Places in documents.

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

impl Place {
    pub(crate) const fn new(file: FileNumber, start: usize, length: usize) -> Self {
        Self { file, start, length }
    }
}
