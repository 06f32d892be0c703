//! What a callee declares that it reads in one way, though servers differ in it.

use serde::{Deserialize, Serialize};

use super::AmbiguousPath;
use crate::CallDocument;

pub(super) const SLASH: u8 = b'/';

/// An encoded slash, as it stands in a canonical path and in the parameters of a template that take
/// one: `{name%2F}`.
pub(crate) const ENCODED_SLASH: &str = "%2F";

/// The most encoded slashes of one path: each doubles the readings that guards are asked about.
pub const MAX_ENCODED_SLASHES: usize = 16;

/// What a path may have that is refused otherwise.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerated {
    /// Nothing.
    #[default]
    Nothing,
    /// `%2F` within a segment.
    EncodedSlash,
}

impl Tolerated {
    /// What the callee of these calls tolerates, in whichever of them.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a CallDocument>) -> Self {
        let declares = |call: &CallDocument| match call {
            // No literal segment has one.
            CallDocument::Http { path, .. } => path.contains(ENCODED_SLASH),
            CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => false,
        };
        if calls.into_iter().any(declares) { Self::EncodedSlash } else { Self::Nothing }
    }

    pub(crate) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A canonical path with each `%2F` as a slash, where it holds one. A `%2F` at its end would be a slash there, which makes
/// another path of it, and an empty segment for some.
pub(super) fn split(path: &str) -> Result<Option<Box<str>>, AmbiguousPath> {
    if path.ends_with(ENCODED_SLASH) {
        return Err(AmbiguousPath::EmptySegment);
    }
    let encoded = path.matches(ENCODED_SLASH).count();
    if encoded > MAX_ENCODED_SLASHES {
        return Err(AmbiguousPath::TooManySlashes);
    }
    Ok((encoded > 0).then(|| path.replace(ENCODED_SLASH, "/").into()))
}
