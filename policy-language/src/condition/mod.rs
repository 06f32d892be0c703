//! `when:`: a subset of CEL over what is known of both sides of a call and of its connection.

mod fold;
mod parse;
mod refusals;
mod scope;
mod tokens;
mod types;
mod values;

pub(crate) use fold::{Decided, Folded, Known};
pub(crate) use parse::parse;
pub(crate) use scope::{Everybody, Facts, Outcomes, Profile};
pub(crate) use types::{Constant, Scope};

use cellwall_policy::TlsFact;

/// A condition whose attributes are looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    /// `!a`, and `a != b`.
    Not(Box<Self>),
    /// `a && b`.
    And(Box<Self>, Box<Self>),
    /// `a || b`.
    Or(Box<Self>, Box<Self>),
    /// `a == b`.
    Equal(Term, Term),
    /// `a in ["x", "y"]`.
    In(Term, Vec<String>),
}

/// What a condition compares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Term {
    /// `"prod"`.
    Text(String),
    /// `caller.env`.
    Attribute(Attribute),
}

/// Something that is known of a call.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Attribute {
    /// `caller.` and more.
    Caller(Fact),
    /// `callee.` and more.
    Callee(Fact),
    /// `tls.version`, `tls.group`.
    Tls(TlsFact),
}

/// Something that is known of one side.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Fact {
    /// Its name.
    Workload,
    /// The name of its segment.
    Segment,
    /// A variable of the identity template.
    Variable(String),
    /// A label.
    Label(String),
}

impl Condition {
    /// Every attribute that it looks at.
    pub(crate) fn attributes(&self) -> Vec<&Attribute> {
        match self {
            Self::Not(inner) => inner.attributes(),
            Self::And(one, other) | Self::Or(one, other) => {
                [one.attributes(), other.attributes()].concat()
            }
            Self::Equal(one, other) => {
                [one, other].into_iter().filter_map(Term::attribute).collect()
            }
            Self::In(one, _) => one.attribute().into_iter().collect(),
        }
    }
}

impl Term {
    const fn attribute(&self) -> Option<&Attribute> {
        match self {
            Self::Attribute(attribute) => Some(attribute),
            Self::Text(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
