//! Looks the attributes of a condition up, and checks what they are compared with.

use std::{cell::Cell, collections::BTreeMap, ops::Range};

use cellwall_policy::{TlsFact, is_name};

use super::{
    Attribute, Condition, Fact, Term,
    parse::{Expression, ExpressionKind, Literal, Operand, Path},
    values::{are_comparable, bad_tls, unknown},
};
use crate::{
    codes::Code,
    model::{Label, WorkloadNumber},
    place::Place,
    suggest::nearest,
};

/// The names that a condition may use.
#[derive(Debug)]
pub(crate) struct Scope<'a, M> {
    /// The variables of the identity template other than `{workload}`.
    pub(crate) variables: Vec<&'a str>,
    pub(crate) labels: &'a BTreeMap<String, Label>,
    pub(crate) workloads: &'a BTreeMap<String, WorkloadNumber>,
    /// By name.
    pub(crate) segments: &'a BTreeMap<String, M>,
    /// How many misspelt names may still be compared with all others.
    pub(crate) suggestions: Cell<usize>,
}

/// Something that is wrong with a condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mistake {
    pub(crate) code: Code,
    /// Some bytes of its text.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) related: Option<(Place, &'static str)>,
}

/// A comparison that does not depend on a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Constant {
    pub(crate) range: Range<usize>,
    pub(crate) holds: bool,
}

/// What became of an expression.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    /// `None` after a mistake.
    pub(crate) condition: Option<Condition>,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) constants: Vec<Constant>,
}

impl<M> Scope<'_, M> {
    /// Looks everything up and gives all mistakes.
    pub(crate) fn check(&self, expression: &Expression) -> Typed {
        let mut typed = Typed::default();
        typed.condition = self.expression(expression, &mut typed);
        typed
    }

    fn expression(&self, expression: &Expression, typed: &mut Typed) -> Option<Condition> {
        match &expression.kind {
            ExpressionKind::Not(inner) => {
                Some(Condition::Not(Box::new(self.expression(inner, typed)?)))
            }
            ExpressionKind::All(parts) => self
                .chain(parts, typed, |one, other| Condition::And(Box::new(one), Box::new(other))),
            ExpressionKind::Some(parts) => {
                self.chain(parts, typed, |one, other| Condition::Or(Box::new(one), Box::new(other)))
            }
            ExpressionKind::Equal(left, right) => self.equal(expression, (left, right), typed),
            ExpressionKind::Unequal(left, right) => {
                let equal = self.equal(expression, (left, right), typed)?;
                Some(Condition::Not(Box::new(equal)))
            }
            ExpressionKind::In(left, list) => {
                let term = self.term(left, typed);
                if let Operand::Literal(literal) = left {
                    let holds = list.iter().any(|it| it.text == literal.text);
                    typed.constants.push(Constant { range: expression.range.clone(), holds });
                }
                let term = term?;
                for literal in list {
                    self.value(&term, literal, typed);
                }
                Some(Condition::In(term, list.iter().map(|it| it.text.clone()).collect()))
            }
        }
    }

    /// Splits a chain in halves, so that a long one is not a deep one.
    fn chain(
        &self,
        parts: &[Expression],
        typed: &mut Typed,
        join: impl Fn(Condition, Condition) -> Condition,
    ) -> Option<Condition> {
        let mut terms: Vec<_> = parts.iter().map(|part| self.expression(part, typed)).collect();
        while terms.len() > 1 {
            let mut halves = terms.into_iter();
            let mut joined = Vec::new();
            while let Some(one) = halves.next() {
                joined.push(match halves.next() {
                    Some(other) => one.zip(other).map(|(one, other)| join(one, other)),
                    None => one,
                });
            }
            terms = joined;
        }
        terms.pop()?
    }

    fn equal(
        &self,
        expression: &Expression,
        (left, right): (&Operand, &Operand),
        typed: &mut Typed,
    ) -> Option<Condition> {
        let (one, other) = (self.term(left, typed), self.term(right, typed));
        let (one, other) = (one?, other?);
        match (left, right) {
            (Operand::Literal(left), Operand::Literal(right)) => {
                let equal = left.text == right.text;
                let holds = equal == matches!(expression.kind, ExpressionKind::Equal(..));
                typed.constants.push(Constant { range: expression.range.clone(), holds });
            }
            (Operand::Literal(literal), Operand::Attribute(_)) => {
                self.value(&other, literal, typed);
            }
            (Operand::Attribute(_), Operand::Literal(literal)) => self.value(&one, literal, typed),
            (Operand::Attribute(left), Operand::Attribute(right)) => {
                if !are_comparable(&one, &other) {
                    typed.mistakes.push(Mistake {
                        code: Code::BadCondition,
                        range: expression.range.clone(),
                        message: format!(
                            "`{}.{}` and `{}.{}` are never the same kind of thing",
                            left.side, left.name, right.side, right.name
                        ),
                        help: Some("compare with a text: `tls.version == \"1.3\"`".to_owned()),
                        related: None,
                    });
                    return None;
                }
            }
        }
        Some(Condition::Equal(one, other))
    }

    fn term(&self, operand: &Operand, typed: &mut Typed) -> Option<Term> {
        match operand {
            Operand::Literal(literal) => Some(Term::Text(literal.text.clone())),
            Operand::Attribute(path) => match self.attribute(path) {
                Ok(attribute) => Some(Term::Attribute(attribute)),
                Err(mistake) => {
                    typed.mistakes.push(mistake);
                    None
                }
            },
        }
    }

    fn attribute(&self, path: &Path) -> Result<Attribute, Mistake> {
        match path.side.as_str() {
            "caller" => self.fact(path).map(Attribute::Caller),
            "callee" => self.fact(path).map(Attribute::Callee),
            "tls" => match path.name.as_str() {
                "version" => Ok(Attribute::Tls(TlsFact::Version)),
                "group" => Ok(Attribute::Tls(TlsFact::Group)),
                _ => Err(unknown(path, &path.name, ["version", "group"].into_iter())),
            },
            side => Err(unknown(path, side, ["caller", "callee", "tls"].into_iter())),
        }
    }

    fn fact(&self, path: &Path) -> Result<Fact, Mistake> {
        let name = path.name.as_str();
        let label = self.labels.get(name);
        let is_variable = self.variables.contains(&name);
        let fixed = match name {
            "workload" => Some(Fact::Workload),
            "segment" => Some(Fact::Segment),
            _ => None,
        };
        let variable = is_variable.then(|| Fact::Variable(name.to_owned()));
        let meanings = usize::from(fixed.is_some())
            + usize::from(variable.is_some())
            + usize::from(label.is_some());
        if meanings > 1 {
            let what = if is_variable { "a variable of `identity`" } else { "built in" };
            return Err(Mistake {
                code: Code::BadCondition,
                range: path.range.clone(),
                message: format!("`{}.{name}` has two meanings", path.side),
                help: Some(format!("`{name}` is {what}: give the other one another name")),
                related: label.map(|label| (label.place, "a label is called so too")),
            });
        }
        let label = label.map(|_| Fact::Label(name.to_owned()));
        fixed.or(variable).or(label).ok_or_else(|| {
            let names = self.variables.iter().copied().chain(["workload", "segment"]);
            unknown(path, name, names.chain(self.labels.keys().map(String::as_str)))
        })
    }

    /// A text must be one that the attribute can have.
    fn value(&self, term: &Term, literal: &Literal, typed: &mut Typed) {
        let Term::Attribute(attribute) = term else { return };
        typed.mistakes.extend(self.bad_value(attribute, literal));
    }

    fn bad_value(&self, attribute: &Attribute, literal: &Literal) -> Option<Mistake> {
        let text = literal.text.as_str();
        let mistake = |code, message: String, near: Option<String>| Mistake {
            code,
            range: literal.range.clone(),
            message,
            help: near,
            related: None,
        };
        let (Attribute::Caller(fact) | Attribute::Callee(fact)) = attribute else {
            return bad_tls(attribute, literal);
        };
        match fact {
            Fact::Workload if !self.workloads.contains_key(text) => Some(mistake(
                Code::UnknownWorkload,
                format!("unknown workload `{text}`"),
                self.did_you_mean(text, self.workloads.keys()),
            )),
            Fact::Segment if !self.segments.contains_key(text) => Some(mistake(
                Code::UnknownSegment,
                format!("unknown segment `{text}`"),
                self.did_you_mean(text, self.segments.keys()),
            )),
            Fact::Variable(name) if !is_name(text) => Some(mistake(
                Code::BadCondition,
                format!("`{text}` is never the value of `{{{name}}}`"),
                Some("a value is a name: `a-z`, `0-9` and inner `-`".to_owned()),
            )),
            Fact::Label(name) => {
                let values = &self.labels.get(name)?.values;
                (!values.contains_key(text)).then(|| {
                    mistake(
                        Code::UnknownLabel,
                        format!("no workload has `{name}: {text}`"),
                        self.did_you_mean(text, values.keys()),
                    )
                })
            }
            Fact::Workload | Fact::Segment | Fact::Variable(_) => None,
        }
    }

    fn did_you_mean<'n>(
        &self,
        text: &str,
        names: impl Iterator<Item = &'n String>,
    ) -> Option<String> {
        self.suggestions.set(self.suggestions.get().checked_sub(1)?);
        let near = nearest(text, names.map(String::as_str))?;
        Some(format!("did you mean `{near}`?"))
    }
}
