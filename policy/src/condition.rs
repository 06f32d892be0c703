//! What is left of a `when:` after everything that the documents know was filled in: conditions
//! over the caller's side of the boundary and over the TLS connection.
//!
//! Values are CEL's: an attribute that is not there is an error, which `&&` and `||` absorb where
//! the other side decides alone, and which never becomes a yes.

use serde::{Deserialize, Serialize};
use spiffe::SpiffeId;
use thiserror::Error;

/// How deep conditions may nest (AZ-07).
const MAX_DEPTH: usize = 32;
/// The most parts of one condition (AZ-07).
const MAX_PARTS: usize = 1024;

/// A condition of a rule or guard.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// An attribute that is not there: neither yes nor no.
    Absent,
    /// The opposite.
    Not(Box<Self>),
    /// Each of these.
    All(Vec<Self>),
    /// At least one of these.
    Some(Vec<Self>),
    /// Two texts are equal, byte by byte.
    Equal(Operand, Operand),
    /// A text is one of several.
    In(Operand, Vec<String>),
}

/// A text that a condition compares.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operand {
    /// This text.
    Text(String),
    /// What the caller's SPIFFE ID has at this variable of the identity template.
    Caller(String),
    /// A fact of the connection.
    Tls(TlsFact),
}

/// A fact of a connection's TLS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsFact {
    /// The protocol version: `1.3`.
    Version,
    /// The group of the key exchange: `X25519MLKEM768`.
    Group,
}

impl TlsFact {
    /// The values that it may have.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Version => &["1.3"],
            Self::Group => &["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"],
        }
    }
}

/// How the connection of a call is protected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tls {
    /// The protocol version: `1.3`.
    pub version: &'static str,
    /// The group of the key exchange, one of [`TlsFact::values`].
    pub group: &'static str,
}

impl Default for Tls {
    /// What two sidecars of this release agree on.
    fn default() -> Self {
        Self { version: "1.3", group: "X25519MLKEM768" }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    /// It does.
    Holds,
    /// It does not.
    Fails,
    /// It cannot be said, because an attribute is not there.
    Unknown,
}

impl Truth {
    /// The opposite; what cannot be said stays so.
    #[must_use]
    pub const fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fails, _) | (_, Self::Fails) => Self::Fails,
            (Self::Holds, Self::Holds) => Self::Holds,
            _ => Self::Unknown,
        }
    }

    /// At least one.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

/// A condition whose names are looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Compiled {
    Absent,
    Not(Box<Self>),
    All(Box<[Self]>),
    Some(Box<[Self]>),
    Equal(Source, Source),
    In(Source, Box<[Box<str>]>),
}

/// Where a text comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    Text(Box<str>),
    /// This segment of the caller's path.
    Place(usize),
    Tls(TlsFact),
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) caller: &'a SpiffeId,
    /// Whether the caller is of our trust domain: only then its path is read by our template.
    pub(crate) is_ours: bool,
    pub(crate) tls: &'a Tls,
}

/// Why a condition cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConditionError {
    /// It names a variable that the identity template does not have.
    #[error("a condition names `caller.{0}`, which the identity template does not have")]
    Variable(String),
    /// It is larger than a condition may be.
    #[error("a condition has at most {MAX_PARTS} parts and {MAX_DEPTH} levels")]
    TooLarge,
}

impl Condition {
    /// Looks its variables up.
    pub(crate) fn compile(
        &self,
        place: &impl Fn(&str) -> Option<usize>,
    ) -> Result<Compiled, ConditionError> {
        let mut parts = 0;
        self.compiled(place, &mut parts, 0)
    }

    fn compiled(
        &self,
        place: &impl Fn(&str) -> Option<usize>,
        parts: &mut usize,
        depth: usize,
    ) -> Result<Compiled, ConditionError> {
        *parts += 1;
        if *parts > MAX_PARTS || depth > MAX_DEPTH {
            return Err(ConditionError::TooLarge);
        }
        let mut each = |items: &[Self]| -> Result<Box<[Compiled]>, ConditionError> {
            items.iter().map(|item| item.compiled(place, parts, depth + 1)).collect()
        };
        Ok(match self {
            Self::Absent => Compiled::Absent,
            Self::Not(inner) => Compiled::Not(Box::new(inner.compiled(place, parts, depth + 1)?)),
            Self::All(items) => Compiled::All(each(items)?),
            Self::Some(items) => Compiled::Some(each(items)?),
            Self::Equal(one, other) => Compiled::Equal(one.source(place)?, other.source(place)?),
            Self::In(one, texts) if texts.len() <= MAX_PARTS => {
                let texts = texts.iter().map(|text| Box::from(text.as_str())).collect();
                Compiled::In(one.source(place)?, texts)
            }
            Self::In(..) => return Err(ConditionError::TooLarge),
        })
    }
}

impl Operand {
    fn source(&self, place: &impl Fn(&str) -> Option<usize>) -> Result<Source, ConditionError> {
        match self {
            Self::Text(text) => Ok(Source::Text(Box::from(text.as_str()))),
            Self::Tls(fact) => Ok(Source::Tls(*fact)),
            Self::Caller(variable) => place(variable)
                .map(Source::Place)
                .ok_or_else(|| ConditionError::Variable(variable.clone())),
        }
    }
}

impl Compiled {
    /// Whether it holds. Allocates nothing.
    pub(crate) fn judge(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Self::Absent => Truth::Unknown,
            Self::Not(inner) => inner.judge(facts).not(),
            Self::All(items) => {
                items.iter().fold(Truth::Holds, |truth, item| truth.and(item.judge(facts)))
            }
            Self::Some(items) => {
                items.iter().fold(Truth::Fails, |truth, item| truth.or(item.judge(facts)))
            }
            Self::Equal(one, other) => match (one.text(facts), other.text(facts)) {
                (Some(one), Some(other)) => Truth::from(one == other),
                _ => Truth::Unknown,
            },
            Self::In(one, texts) => match one.text(facts) {
                Some(one) => Truth::from(texts.iter().any(|text| **text == *one)),
                None => Truth::Unknown,
            },
        }
    }
}

impl Source {
    fn text<'a>(&'a self, facts: &Facts<'a>) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Place(place) if facts.is_ours => {
                facts.caller.path().split('/').nth(place.checked_add(1)?)
            }
            Self::Place(_) => None,
            Self::Tls(TlsFact::Version) => Some(facts.tls.version),
            Self::Tls(TlsFact::Group) => Some(facts.tls.group),
        }
    }
}
