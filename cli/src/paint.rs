//! Colours, where they are wanted.

use std::fmt::Display;

/// A colour of the terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    Red,
    Green,
    Yellow,
    Bold,
    Dim,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Red => "1;31",
            Self::Green => "1;32",
            Self::Yellow => "1;33",
            Self::Bold => "1",
            Self::Dim => "2",
        }
    }

    /// The colour of a verdict.
    pub(crate) fn of(verdict: &str) -> Self {
        match verdict {
            "allow" => Self::Green,
            "audit" => Self::Yellow,
            _ => Self::Red,
        }
    }
}

/// Paints, or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painter {
    pub(crate) paints: bool,
}

impl Painter {
    pub(crate) fn paint(self, colour: Colour, text: impl Display) -> String {
        if self.paints {
            format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code())
        } else {
            text.to_string()
        }
    }
}
