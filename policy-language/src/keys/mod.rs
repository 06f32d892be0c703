//! Every key of the language: what it means, what may stand there, and the order people read it in.
//!
//! One table for the formatter (the order) and the editors' schema (the rest).

mod items;
mod values;

pub(crate) use items::ROOT;

/// A mapping with keys of ours.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// What it is called in the schema: `rule`.
    pub(crate) name: &'static str,
    /// What it is, in a sentence.
    pub(crate) about: &'static str,
    /// In the order that the formatter writes.
    pub(crate) keys: &'static [Key],
    /// What the keys ask of each other.
    pub(crate) bond: Bond,
}

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// What it means, in a sentence.
    pub(crate) about: &'static str,
    pub(crate) form: &'static Form,
    pub(crate) need: Need,
}

/// Whether a mapping can be without a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Need {
    Required,
    Optional,
}

/// What the keys of a mapping ask of each other, beyond being there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bond {
    None,
    /// Exactly one key stands.
    One,
    /// Exactly one of these stands.
    OneOf(&'static [&'static str]),
    /// Either `role`, or `to` and `allow`.
    RoleOrCalls,
}

/// What may stand as a value.
#[derive(Debug)]
pub(crate) enum Form {
    Mapping(&'static Mapping),
    /// A mapping from names (their pattern, and what they are) to values.
    Named {
        pattern: &'static str,
        of: &'static Self,
    },
    List {
        of: &'static Self,
        /// The fewest items.
        least: usize,
    },
    /// One of some words.
    Words(&'static [&'static str]),
    /// A text with a pattern (ECMA 262), and an example of it.
    Text {
        pattern: &'static str,
        example: &'static str,
    },
    /// A number.
    Number {
        least: u64,
        most: u64,
    },
    /// Any of some forms.
    Any(&'static [Self]),
}

impl Mapping {
    /// A key by its name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Where a key stands among the others; those that are unknown stand last.
    pub(crate) fn rank(&self, name: &str) -> usize {
        self.keys.iter().position(|key| key.name == name).unwrap_or(self.keys.len())
    }
}

impl Form {
    /// The mapping that this is, or may be.
    pub(crate) fn mapping(&self) -> Option<&'static Mapping> {
        match self {
            Self::Mapping(mapping) => Some(mapping),
            Self::Any(forms) => forms.iter().find_map(Self::mapping),
            Self::Named { .. }
            | Self::List { .. }
            | Self::Words(_)
            | Self::Text { .. }
            | Self::Number { .. } => None,
        }
    }

    /// What stands below the names of a mapping from names.
    pub(crate) fn named(&self) -> Option<&'static Self> {
        match self {
            Self::Named { of, .. } => Some(of),
            Self::Any(forms) => forms.iter().find_map(Self::named),
            Self::Mapping(_)
            | Self::List { .. }
            | Self::Words(_)
            | Self::Text { .. }
            | Self::Number { .. } => None,
        }
    }

    /// What a list of this form holds.
    pub(crate) fn item(&self) -> Option<&'static Self> {
        match self {
            Self::List { of, .. } => Some(of),
            Self::Any(forms) => forms.iter().find_map(Self::item),
            Self::Mapping(_)
            | Self::Named { .. }
            | Self::Words(_)
            | Self::Text { .. }
            | Self::Number { .. } => None,
        }
    }
}
