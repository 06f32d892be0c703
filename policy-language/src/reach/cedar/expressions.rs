//! Conditions as expressions of Cedar's that are never an error.

use cellwall_policy::TlsFact;

use crate::condition::{Attribute, Condition, Fact, Term};

/// An expression that is true where the condition holds, and never an error.
pub(super) fn holds(condition: &Condition) -> String {
    match condition {
        Condition::Not(inner) => fails(inner),
        Condition::And(one, other) => format!("({} && {})", holds(one), holds(other)),
        Condition::Or(one, other) => format!("({} || {})", holds(one), holds(other)),
        Condition::Equal(one, other) => {
            there(&[one, other], &format!("{} == {}", term(one), term(other)))
        }
        Condition::In(one, texts) => {
            there(&[one], &format!("{}.contains({})", list(texts), term(one)))
        }
    }
}

/// An expression that is true where the condition does not hold, and never an error.
pub(super) fn fails(condition: &Condition) -> String {
    match condition {
        Condition::Not(inner) => holds(inner),
        Condition::And(one, other) => format!("({} || {})", fails(one), fails(other)),
        Condition::Or(one, other) => format!("({} && {})", fails(one), fails(other)),
        Condition::Equal(one, other) => {
            there(&[one, other], &format!("{} != {}", term(one), term(other)))
        }
        Condition::In(one, texts) => {
            there(&[one], &format!("!({}.contains({}))", list(texts), term(one)))
        }
    }
}

/// The comparison, where both of its sides are there.
fn there(terms: &[&Term], comparison: &str) -> String {
    let mut parts: Vec<String> = terms
        .iter()
        .filter_map(|term| match term {
            Term::Attribute(Attribute::Caller(fact)) => {
                Some(format!("principal has {}", key(fact)))
            }
            Term::Attribute(Attribute::Callee(fact)) => Some(format!("resource has {}", key(fact))),
            Term::Attribute(Attribute::Tls(_)) | Term::Text(_) => None,
        })
        .collect();
    parts.push(comparison.to_owned());
    format!("({})", parts.join(" && "))
}

fn term(term: &Term) -> String {
    match term {
        Term::Text(text) => quoted(text),
        Term::Attribute(Attribute::Caller(fact)) => format!("principal[{}]", key(fact)),
        Term::Attribute(Attribute::Callee(fact)) => format!("resource[{}]", key(fact)),
        Term::Attribute(Attribute::Tls(TlsFact::Version)) => "context.tls_version".to_owned(),
        Term::Attribute(Attribute::Tls(TlsFact::Group)) => "context.tls_group".to_owned(),
    }
}

fn key(fact: &Fact) -> String {
    match fact {
        Fact::Workload => quoted("workload"),
        Fact::Segment => quoted("segment"),
        Fact::Variable(name) => quoted(&format!("var.{name}")),
        Fact::Label(name) => quoted(&format!("label.{name}")),
    }
}

fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A string of Cedar's.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            other if other.is_control() => {
                quoted.push_str(&format!("\\u{{{:x}}}", u32::from(other)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
