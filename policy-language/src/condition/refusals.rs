//! What people write in conditions that is none, and what to write instead.

use std::{iter::successors, ops::Range};

use super::{
    parse::{Expression, ExpressionKind, Operand, Parser},
    tokens::{self, Kind, Refusal, Token},
};

const WHOLE_TEXTS: &str = "compare whole texts: with `==`, or with `in [\"a\", \"b\"]`";

impl Parser<'_> {
    pub(super) fn must_end(&self) -> Result<(), Refusal> {
        let (message, help) = match self.next.kind {
            Kind::End => return Ok(()),
            Kind::Close => ("`)` closes nothing".to_owned(), "remove it, or open `(` before"),
            Kind::Equal | Kind::Unequal | Kind::Word("in") => (
                "a comparison of a comparison".to_owned(),
                "compare two at a time, and join them with `&&`",
            ),
            Kind::Word(word) => match joining(word) {
                Some(help) => (format!("`{word}` is not part of a condition"), help),
                None => (
                    format!("expected `&&`, `||` or the end, found `{word}`"),
                    "join conditions with `&&` or `||`",
                ),
            },
            other => (
                format!("expected `&&`, `||` or the end, found {other}"),
                "join conditions with `&&` or `||`",
            ),
        };
        Err(refuse(self.next.range.clone(), message, help))
    }

    pub(super) fn unclosed(&self, open: Range<usize>, sign: &str, close: &str) -> Refusal {
        match self.must_end() {
            Err(refusal) => refusal,
            Ok(()) => {
                refuse(open, format!("{sign} is never closed"), format!("close it with {close}"))
            }
        }
    }

    /// An operand without a comparison.
    pub(super) fn not_compared(&self, left: &Operand) -> Refusal {
        if let Kind::Word(word) = self.next.kind
            && let Some(help) = joining(word)
        {
            let message = format!("`{word}` is not part of a condition");
            return refuse(self.next.range.clone(), message, help);
        }
        let text = match left {
            Operand::Literal(literal) => format!("\"{}\"", literal.text),
            Operand::Attribute(path) => format!("{}.{}", path.side, path.name),
        };
        let help = format!("compare it: `{text} == ...`, `!= ...` or `in [...]`");
        refuse(left.range(), format!("`{text}` alone is not a condition"), help)
    }

    pub(super) fn no_operand(&self) -> Refusal {
        let message = format!("expected an attribute or a text, found {}", self.next.kind);
        let help = match self.next.kind {
            Kind::OpenList => "a list stands right of `in`: `caller.env in [\"a\", \"b\"]`",
            _ => "for example `caller.env == \"prod\"`",
        };
        refuse(self.next.range.clone(), message, help)
    }

    /// Words that stand where an attribute could.
    pub(super) fn not_a_side(&self, word: &str) -> Option<Refusal> {
        let help = match word {
            "true" | "false" => {
                "a condition compares attributes; one that always holds is left out"
            }
            "null" => {
                "an attribute that a workload does not have compares as neither true nor false"
            }
            "in" => "an attribute stands left of `in`: `caller.env in [\"a\", \"b\"]`",
            _ => joining(word)?,
        };
        let message = format!("`{word}` is not part of a condition");
        Some(refuse(self.next.range.clone(), message, help))
    }

    /// A word without a dot.
    pub(super) fn not_an_attribute(&self, word: &str, after: &Token<'_>) -> Refusal {
        let range = self.next.range.clone();
        match (word, after.kind) {
            (_, Kind::Open) => self.called(word, range),
            ("caller" | "callee" | "tls", Kind::OpenList) => {
                let message = format!("`{word}[` is not part of a condition");
                refuse(range.start..after.range.end, message, format!("write `{word}.NAME`"))
            }
            ("caller" | "callee" | "tls", _) => {
                let message = format!("`{word}` needs the name of an attribute");
                refuse(range, message, format!("write `{word}.NAME`"))
            }
            _ => {
                let message = format!("`{word}` is neither an attribute nor a text");
                let help = format!(
                    "a text stands in quotes: `\"{word}\"`; an attribute begins with `caller.`, `callee.` or `tls.`"
                );
                refuse(range, message, help)
            }
        }
    }

    pub(super) fn called(&self, name: &str, range: Range<usize>) -> Refusal {
        let help = match name {
            "has" => {
                "compare it: an attribute that a workload does not have is neither equal nor unequal"
            }
            _ => WHOLE_TEXTS,
        };
        refuse(range, format!("functions such as `{name}()` are not part of a condition"), help)
    }

    /// `caller.tier.startsWith(...)`: the function after an attribute.
    pub(super) fn method(&self) -> Option<Refusal> {
        if self.next.kind != Kind::Dot {
            return None;
        }
        let name = tokens::name(self.text, self.next.range.end);
        let end = self.next.range.end + name.len();
        let after = tokens::next(self.text, end).ok()?;
        (after.kind == Kind::Open).then(|| self.called(name, self.next.range.start..end))
    }
}

impl Expression {
    /// How many levels it has when chains are split in halves.
    pub(super) fn height(&self) -> usize {
        match &self.kind {
            ExpressionKind::Not(inner) => inner.height() + 1,
            ExpressionKind::All(parts) | ExpressionKind::Some(parts) => {
                let halves = successors(Some(parts.len()), |parts| Some(parts.div_ceil(2)));
                let levels = halves.take_while(|parts| *parts > 1).count();
                let highest = parts.iter().map(Self::height).max();
                highest.unwrap_or_default() + levels
            }
            ExpressionKind::Unequal(..) => 2,
            ExpressionKind::Equal(..) | ExpressionKind::In(..) => 1,
        }
    }
}

impl Operand {
    pub(crate) fn range(&self) -> Range<usize> {
        match self {
            Self::Literal(literal) => literal.range.clone(),
            Self::Attribute(path) => path.range.clone(),
        }
    }
}

/// What to write for the words of other languages that join conditions.
fn joining(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "and" => Some("write `&&`"),
        "or" => Some("write `||`"),
        "not" => Some("write `!(...)`"),
        "is" | "eq" | "equals" => Some("write `==`"),
        "ne" => Some("write `!=`"),
        "like" | "matches" | "contains" => Some(WHOLE_TEXTS),
        _ => None,
    }
}

pub(super) fn too_deep(range: Range<usize>) -> Refusal {
    refuse(range, "a condition nested too deeply", "write several statements")
}

pub(super) fn refuse(
    range: Range<usize>,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Refusal {
    Refusal { range, message: message.into(), help: help.into() }
}
