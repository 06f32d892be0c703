//! The words and signs of a condition, each with its place. What other languages write in such
//! places is refused with what to write here.

use std::{fmt, ops::Range};

/// Why a text is no condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// Some bytes of the text.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// A word or a sign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) range: Range<usize>,
}

/// What it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind<'a> {
    /// `caller`, `env`, `in`.
    Word(&'a str),
    /// What stands between quotes.
    Text(&'a str),
    And,
    Or,
    Not,
    Equal,
    Unequal,
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Dot,
    End,
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self {
            Self::Word(word) => return write!(f, "`{word}`"),
            Self::Text(text) => return write!(f, "`\"{text}\"`"),
            Self::End => return f.write_str("the end"),
            Self::And => "&&",
            Self::Or => "||",
            Self::Not => "!",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Open => "(",
            Self::Close => ")",
            Self::OpenList => "[",
            Self::CloseList => "]",
            Self::Comma => ",",
            Self::Dot => ".",
        };
        write!(f, "`{sign}`")
    }
}

/// The signs, longer ones before those that they begin with.
const SIGNS: &[(&str, Kind<'static>)] = &[
    ("&&", Kind::And),
    ("||", Kind::Or),
    ("!=", Kind::Unequal),
    ("!", Kind::Not),
    ("==", Kind::Equal),
    ("(", Kind::Open),
    (")", Kind::Close),
    ("[", Kind::OpenList),
    ("]", Kind::CloseList),
    (",", Kind::Comma),
    (".", Kind::Dot),
];

const NO_ORDER: &str = "texts are equal or not: compare with `==`, `!=` or `in [...]`";
const NO_PATTERNS: &str = "compare whole texts: with `==`, or with `in [\"a\", \"b\"]`";
const NO_SUMS: &str = "attributes are compared as they are, with `==`, `!=` or `in [...]`";
const PLAIN_QUOTES: &str = "write plain quotes: `\"prod\"` or `'prod'`";

/// Signs of other languages, and what to write here.
const FOREIGN: &[(&str, &str)] = &[
    ("===", "write `==`"),
    ("!==", "write `!=`"),
    ("=~", NO_PATTERNS),
    ("!~", NO_PATTERNS),
    ("=>", "write `==`"),
    ("<>", "write `!=`"),
    ("<=", NO_ORDER),
    (">=", NO_ORDER),
    ("<", NO_ORDER),
    (">", NO_ORDER),
    ("~", NO_PATTERNS),
    ("/", NO_PATTERNS),
    ("*", NO_PATTERNS),
    ("^", NO_PATTERNS),
    ("+", NO_SUMS),
    ("-", NO_SUMS),
    ("%", NO_SUMS),
    ("?", "write two statements, one for each case"),
    (":", "write two statements, one for each case"),
    ("{", "a list stands in brackets: `[\"a\", \"b\"]`"),
    ("}", "a list stands in brackets: `[\"a\", \"b\"]`"),
    (";", "join conditions with `&&` or `||`"),
    ("&", "write `&&`"),
    ("|", "write `||`"),
    ("$", "an attribute is `caller.NAME`, `callee.NAME` or `tls.NAME`"),
    ("@", "an attribute is `caller.NAME`, `callee.NAME` or `tls.NAME`"),
    ("`", PLAIN_QUOTES),
    ("\u{201c}", PLAIN_QUOTES),
    ("\u{201d}", PLAIN_QUOTES),
    ("\u{2018}", PLAIN_QUOTES),
    ("\u{2019}", PLAIN_QUOTES),
];

/// The next word or sign from a byte on.
pub(super) fn next(text: &str, from: usize) -> Result<Token<'_>, Refusal> {
    let rest = text.get(from..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    let (start, rest) = (from + blank, rest.trim_start());
    let token = |kind, length: usize| Ok(Token { kind, range: start..start + length });
    let Some(first) = rest.chars().next() else { return token(Kind::End, 0) };
    if first.is_ascii_digit() {
        return Err(number(rest, start));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        return token(Kind::Word(word(rest)), word(rest).len());
    }
    if matches!(first, '"' | '\'') {
        let inner = quoted(rest, start, first)?;
        return token(Kind::Text(inner), inner.len() + 2);
    }
    if let Some((sign, help)) = foreign(rest) {
        let message = format!("`{sign}` is not part of a condition");
        let range = start..start + sign.len();
        return Err(Refusal { range, message, help: help.to_owned() });
    }
    match SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        Some((sign, kind)) => token(*kind, sign.len()),
        None => Err(stray(rest, start, first)),
    }
}

/// What follows a dot, which may begin with a digit: a label's name.
pub(super) fn name(text: &str, from: usize) -> &str {
    word(text.get(from..).unwrap_or_default())
}

/// Letters, digits, `_` and inner `-`, as names have them.
fn word(text: &str) -> &str {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = text.bytes().take_while(legal).count();
    text.get(..length).unwrap_or_default().trim_end_matches('-')
}

fn number(rest: &str, start: usize) -> Refusal {
    let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'.').count();
    let number = rest.get(..length).unwrap_or_default();
    Refusal {
        range: start..start + length,
        message: format!("the number {number} in a condition"),
        help: format!("every attribute is a text: write `\"{number}\"`"),
    }
}

/// What stands between two equal quotes.
fn quoted(rest: &str, start: usize, quote: char) -> Result<&str, Refusal> {
    let inner = rest.get(1..).unwrap_or_default();
    let end =
        inner.find([quote, '\n', '\\']).map(|end| (end, inner.get(end..).unwrap_or_default()));
    match end {
        Some((end, after)) if after.starts_with(quote) => Ok(inner.get(..end).unwrap_or_default()),
        Some((end, after)) if after.starts_with('\\') => Err(Refusal {
            range: start + 1 + end..start + 2 + end,
            message: "a text in a condition has no escapes".to_owned(),
            help: "names and values have neither quotes nor `\\`".to_owned(),
        }),
        _ => Err(Refusal {
            range: start..start + rest.split('\n').next().unwrap_or_default().len(),
            message: "a text without its closing quote".to_owned(),
            help: format!("close it with {quote}"),
        }),
    }
}

/// A sign of another language, where it is not one of ours.
fn foreign(rest: &str) -> Option<(&'static str, &'static str)> {
    let (sign, help) = FOREIGN.iter().find(|(sign, _)| rest.starts_with(sign))?;
    let ours = SIGNS.iter().any(|(ours, _)| ours.len() >= sign.len() && rest.starts_with(ours));
    (!ours).then_some((*sign, *help))
}

fn stray(rest: &str, start: usize, first: char) -> Refusal {
    let help = match first {
        '=' => "write `==`".to_owned(),
        _ => "a condition compares attributes: `caller.env == \"prod\"`".to_owned(),
    };
    let shown = if first.is_control() { format!("{first:?}") } else { format!("`{first}`") };
    let message = format!("{shown} is not part of a condition");
    let length = rest.chars().next().map_or(0, char::len_utf8);
    Refusal { range: start..start + length, message, help }
}
