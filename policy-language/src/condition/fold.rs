//! Fills in what is known of a condition. What is left goes to the callee's sidecar.

use cellwall_policy::{Condition as Left, Operand, Truth};

use super::{Attribute, Condition, Term};

/// What is known of an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Known<'a> {
    /// It has this value.
    Text(&'a str),
    /// This side does not have it.
    Absent,
    /// It shows with the call.
    Later(Operand),
}

/// A condition with everything filled in that is known.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Folded {
    /// It is decided.
    Decided(Decided),
    /// This is left.
    Left(Left),
}

/// [`Truth`], in an order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Decided {
    Holds,
    Fails,
    Unknown,
}

impl Condition {
    /// Fills in what `known` knows.
    pub(crate) fn fold<'a>(&self, known: &impl Fn(&Attribute) -> Known<'a>) -> Folded {
        match self {
            Self::Not(inner) => match inner.fold(known) {
                Folded::Decided(decided) => Folded::Decided(Truth::from(decided).not().into()),
                Folded::Left(left) => Folded::Left(Left::Not(Box::new(left))),
            },
            Self::And(one, other) => one.fold(known).and(other.fold(known)),
            Self::Or(one, other) => one.fold(known).or(other.fold(known)),
            Self::Equal(one, other) => {
                let (Some(one), Some(other)) = (operand(one, known), operand(other, known)) else {
                    return Folded::Decided(Decided::Unknown);
                };
                match (&one, &other) {
                    (Operand::Text(one), Operand::Text(other)) => {
                        Folded::Decided(Truth::from(one == other).into())
                    }
                    _ => Folded::Left(Left::Equal(one, other)),
                }
            }
            Self::In(one, texts) => match operand(one, known) {
                None => Folded::Decided(Decided::Unknown),
                Some(Operand::Text(text)) => {
                    Folded::Decided(Truth::from(texts.contains(&text)).into())
                }
                Some(one) => Folded::Left(Left::In(one, texts.clone())),
            },
        }
    }
}

impl Folded {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Decided(one), Self::Decided(other)) => {
                Self::Decided(Truth::from(one).and(other.into()).into())
            }
            (Self::Decided(Decided::Holds), left) | (left, Self::Decided(Decided::Holds)) => left,
            (Self::Decided(Decided::Fails), _) | (_, Self::Decided(Decided::Fails)) => {
                Self::Decided(Decided::Fails)
            }
            (one, other) => Self::Left(Left::All(vec![one.left(), other.left()])),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Decided(one), Self::Decided(other)) => {
                Self::Decided(Truth::from(one).or(other.into()).into())
            }
            (Self::Decided(Decided::Fails), left) | (left, Self::Decided(Decided::Fails)) => left,
            (Self::Decided(Decided::Holds), _) | (_, Self::Decided(Decided::Holds)) => {
                Self::Decided(Decided::Holds)
            }
            (one, other) => Self::Left(Left::Some(vec![one.left(), other.left()])),
        }
    }

    /// As it is sent. Only what cannot be said, and what is left, come here.
    fn left(self) -> Left {
        match self {
            Self::Left(left) => left,
            Self::Decided(Decided::Holds) => Left::All(Vec::new()),
            Self::Decided(Decided::Fails) => Left::Some(Vec::new()),
            Self::Decided(Decided::Unknown) => Left::Absent,
        }
    }
}

impl From<Truth> for Decided {
    fn from(truth: Truth) -> Self {
        match truth {
            Truth::Holds => Self::Holds,
            Truth::Fails => Self::Fails,
            Truth::Unknown => Self::Unknown,
        }
    }
}

impl From<Decided> for Truth {
    fn from(decided: Decided) -> Self {
        match decided {
            Decided::Holds => Self::Holds,
            Decided::Fails => Self::Fails,
            Decided::Unknown => Self::Unknown,
        }
    }
}

/// `None` where it is absent.
fn operand<'a>(term: &Term, known: &impl Fn(&Attribute) -> Known<'a>) -> Option<Operand> {
    match term {
        Term::Text(text) => Some(Operand::Text(text.clone())),
        Term::Attribute(attribute) => match known(attribute) {
            Known::Text(text) => Some(Operand::Text(text.to_owned())),
            Known::Absent => None,
            Known::Later(operand) => Some(operand),
        },
    }
}
