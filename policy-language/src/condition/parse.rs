//! From the text of a `when:` to its parts, each with its place: a subset of CEL.
//!
//! ```text
//! any     = all { "||" all }
//! all     = one { "&&" one }
//! one     = "!" ( "!" ... | "(" any ")" ) | "(" any ")" | compare
//! compare = operand ( "==" | "!=" ) operand | operand "in" "[" text { "," text } "]"
//! operand = text | ( "caller" | "callee" | "tls" ) "." name
//! ```

use std::ops::Range;

use super::{
    refusals::{refuse, too_deep},
    tokens::{self, Kind, Refusal, Token},
};

/// The longest condition, in bytes (AZ-07).
const MAX_BYTES: usize = 4096;
/// The deepest nesting (AZ-07).
const MAX_DEPTH: usize = 32;
/// The most comparisons, negations, joining signs and listed texts of one condition (AZ-07): no more
/// than what a sidecar reads.
const MAX_PARTS: usize = 1024;

/// A part of a condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expression {
    pub(crate) range: Range<usize>,
    pub(crate) kind: ExpressionKind,
}

/// What it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ExpressionKind {
    /// `!(a)`.
    Not(Box<Expression>),
    /// `a && b && c`: two or more.
    All(Vec<Expression>),
    /// `a || b || c`: two or more.
    Some(Vec<Expression>),
    /// `a == b`.
    Equal(Operand, Operand),
    /// `a != b`.
    Unequal(Operand, Operand),
    /// `a in ["x", "y"]`: one or more.
    In(Operand, Vec<Literal>),
}

/// What is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Operand {
    Literal(Literal),
    Attribute(Path),
}

/// `"prod"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Literal {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// `caller.env`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Path {
    pub(crate) range: Range<usize>,
    pub(crate) side: String,
    pub(crate) name: String,
}

/// Reads a condition whole. Total: any text gives parts or the first reason why not.
pub(crate) fn parse(text: &str) -> Result<Expression, Refusal> {
    if text.len() > MAX_BYTES {
        let message = format!("a condition longer than {MAX_BYTES} bytes");
        return Err(refuse(0..text.len(), message, "write several statements"));
    }
    let next = tokens::next(text, 0)?;
    if next.kind == Kind::End {
        let help = "leave `when` out, or compare: `caller.env == \"prod\"`";
        return Err(refuse(0..text.len(), "an empty condition", help));
    }
    let mut parser = Parser { text, next, depth: 0, parts: 0 };
    let expression = parser.any()?;
    parser.must_end()?;
    if expression.height() > MAX_DEPTH {
        return Err(too_deep(expression.range));
    }
    Ok(expression)
}

/// Reads from left to right.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    /// Not yet taken.
    pub(super) next: Token<'a>,
    depth: usize,
    parts: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Result<Token<'a>, Refusal> {
        let next = tokens::next(self.text, self.next.range.end)?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn any(&mut self) -> Result<Expression, Refusal> {
        self.chain(Kind::Or, Self::all, ExpressionKind::Some)
    }

    fn all(&mut self) -> Result<Expression, Refusal> {
        self.chain(Kind::And, Self::one, ExpressionKind::All)
    }

    /// Parts joined by one sign.
    fn chain(
        &mut self,
        sign: Kind<'_>,
        part: impl Fn(&mut Self) -> Result<Expression, Refusal>,
        join: impl FnOnce(Vec<Expression>) -> ExpressionKind,
    ) -> Result<Expression, Refusal> {
        let first = part(self)?;
        let start = first.range.start;
        let mut end = first.range.end;
        let mut parts = vec![first];
        while self.next.kind == sign {
            let sign = self.take()?;
            self.count(sign.range)?;
            let more = part(self)?;
            end = more.range.end;
            parts.push(more);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            last => {
                parts.extend(last);
                Ok(Expression { range: start..end, kind: join(parts) })
            }
        }
    }

    fn one(&mut self) -> Result<Expression, Refusal> {
        match self.next.kind {
            Kind::Not => {
                self.count(self.next.range.clone())?;
                let start = self.take()?.range.start;
                if !matches!(self.next.kind, Kind::Not | Kind::Open) {
                    let help = "write `a != b`, or `!(...)` around the whole comparison";
                    let range = start..self.next.range.end;
                    return Err(refuse(range, "`!` negates a condition, not a text", help));
                }
                let inner = self.nested(Self::one)?;
                let range = start..inner.range.end;
                Ok(Expression { range, kind: ExpressionKind::Not(Box::new(inner)) })
            }
            Kind::Open => {
                let open = self.take()?.range;
                let inner = self.nested(Self::any)?;
                if self.next.kind != Kind::Close {
                    return Err(self.unclosed(open, "`(`", "`)`"));
                }
                let end = self.take()?.range.end;
                Ok(Expression { range: open.start..end, kind: inner.kind })
            }
            _ => self.compare(),
        }
    }

    fn nested(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Expression, Refusal>,
    ) -> Result<Expression, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.next.range.clone()));
        }
        let inner = inner(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    fn compare(&mut self) -> Result<Expression, Refusal> {
        let left = self.operand()?;
        self.count(left.range())?;
        let start = left.range().start;
        match self.next.kind {
            Kind::Equal | Kind::Unequal => {
                let sign = self.take()?;
                let right = self.operand()?;
                let range = start..right.range().end;
                let kind = if sign.kind == Kind::Equal {
                    ExpressionKind::Equal(left, right)
                } else {
                    // A negation and a comparison.
                    self.count(sign.range)?;
                    ExpressionKind::Unequal(left, right)
                };
                Ok(Expression { range, kind })
            }
            Kind::Word("in") => {
                self.take()?;
                let (list, end) = self.list()?;
                Ok(Expression { range: start..end, kind: ExpressionKind::In(left, list) })
            }
            _ => Err(self.not_compared(&left)),
        }
    }

    fn operand(&mut self) -> Result<Operand, Refusal> {
        match self.next.kind {
            Kind::Text(text) => {
                let range = self.take()?.range;
                Ok(Operand::Literal(Literal { range, text: text.to_owned() }))
            }
            Kind::Word(word) => self.path(word).map(Operand::Attribute),
            _ => Err(self.no_operand()),
        }
    }

    fn path(&mut self, side: &str) -> Result<Path, Refusal> {
        if let Some(refusal) = self.not_a_side(side) {
            return Err(refusal);
        }
        let start = self.next.range.start;
        let dot = tokens::next(self.text, self.next.range.end)?;
        if dot.kind != Kind::Dot {
            return Err(self.not_an_attribute(side, &dot));
        }
        let name = tokens::name(self.text, dot.range.end);
        let end = dot.range.end + name.len();
        if name.is_empty() {
            let message = format!("`{side}.` needs the name of an attribute");
            return Err(refuse(start..end, message, "for example `caller.env`"));
        }
        self.next = tokens::next(self.text, end)?;
        match self.next.kind {
            Kind::Open => Err(self.called(name, start..end)),
            Kind::Dot | Kind::OpenList => {
                let message = format!("`{side}.{name}` has no parts");
                let help = format!("labels stand directly: `{side}.LABEL`");
                Err(self.method().unwrap_or_else(|| refuse(start..end, message, help)))
            }
            _ => Ok(Path { range: start..end, side: side.to_owned(), name: name.to_owned() }),
        }
    }

    /// The texts of a list, and where it ends.
    fn list(&mut self) -> Result<(Vec<Literal>, usize), Refusal> {
        if self.next.kind != Kind::OpenList {
            let message = format!("expected a list after `in`, found {}", self.next.kind);
            return Err(refuse(self.next.range.clone(), message, "write `in [\"a\", \"b\"]`"));
        }
        let open = self.take()?.range;
        let mut list = Vec::new();
        loop {
            self.count(self.next.range.clone())?;
            match self.next.kind {
                Kind::Text(text) => {
                    let range = self.take()?.range;
                    list.push(Literal { range, text: text.to_owned() });
                }
                Kind::CloseList if list.is_empty() => {
                    let range = open.start..self.next.range.end;
                    return Err(refuse(range, "an empty list", "nothing is in it; name some"));
                }
                Kind::CloseList => break,
                Kind::End => return Err(self.unclosed(open, "`[`", "`]`")),
                other => {
                    let message = format!("expected a text in the list, found {other}");
                    let help = "a list holds texts in quotes: `[\"a\", \"b\"]`";
                    return Err(refuse(self.next.range.clone(), message, help));
                }
            }
            match self.next.kind {
                Kind::Comma => {
                    self.take()?;
                }
                Kind::CloseList => {}
                Kind::End => return Err(self.unclosed(open, "`[`", "`]`")),
                other => {
                    let message = format!("expected `,` or `]`, found {other}");
                    return Err(refuse(self.next.range.clone(), message, "write `[\"a\", \"b\"]`"));
                }
            }
        }
        Ok((list, self.take()?.range.end))
    }

    fn count(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            let message = format!("a condition of more than {MAX_PARTS} parts");
            return Err(refuse(range, message, "write several statements"));
        }
        Ok(())
    }
}
