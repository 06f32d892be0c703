//! What attributes can be, and what of them can be compared.

use cellwall_policy::TlsFact;

use super::{
    Attribute, Term,
    parse::{Literal, Path},
    types::Mistake,
};
use crate::{codes::Code, suggest::nearest};

/// A text that a fact of the connection never is.
pub(super) fn bad_tls(attribute: &Attribute, literal: &Literal) -> Option<Mistake> {
    let Attribute::Tls(fact) = attribute else { return None };
    let name = match fact {
        TlsFact::Version => "tls.version",
        TlsFact::Group => "tls.group",
    };
    let known = fact.values();
    let text = literal.text.as_str();
    (!known.contains(&text)).then(|| Mistake {
        code: Code::UnknownLabel,
        range: literal.range.clone(),
        message: format!("`{name}` is never `{text}`"),
        help: Some(match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of {}", known.join(", ")),
        }),
        related: None,
    })
}

/// A fact of the connection is no fact of a workload, and a version no group.
pub(super) fn are_comparable(one: &Term, other: &Term) -> bool {
    match (one, other) {
        (Term::Attribute(Attribute::Tls(one)), Term::Attribute(Attribute::Tls(other))) => {
            one == other
        }
        (Term::Attribute(Attribute::Tls(_)), Term::Attribute(_))
        | (Term::Attribute(_), Term::Attribute(Attribute::Tls(_))) => false,
        _ => true,
    }
}

/// An attribute that there is not, and which one was probably meant.
pub(super) fn unknown<'n>(
    path: &Path,
    part: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Mistake {
    let whole = |near: &str| {
        if part == path.side {
            format!("{near}.{}", path.name)
        } else {
            format!("{}.{near}", path.side)
        }
    };
    let help = match nearest(part, names.clone()) {
        Some(near) => format!("did you mean `{}`?", whole(near)),
        None => {
            let known: Vec<_> = names.take(8).map(|name| format!("`{}`", whole(name))).collect();
            format!("known are {}", known.join(", "))
        }
    };
    Mistake {
        code: Code::UnknownLabel,
        range: path.range.clone(),
        message: format!("unknown attribute `{}.{}`", path.side, path.name),
        help: Some(help),
        related: None,
    }
}
