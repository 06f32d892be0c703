//! Path templates as OpenAPI writes them, and the order of two that match one path.

use std::{cmp::Ordering, fmt, sync::Arc};

use thiserror::Error;

use crate::{RequestPath, Tolerated, path::ENCODED_SLASH};

/// The longest path template, in bytes.
const MAX_TEMPLATE_BYTES: usize = 512;
/// The most segments of a path template.
const MAX_TEMPLATE_SEGMENTS: usize = 32;
/// The longest HTTP method, in bytes (HTTP-18).
const MAX_METHOD_BYTES: usize = 32;

/// A path template: literal segments, `{name}` for exactly one segment, and last, if at all,
/// `{name...}` for one or more. A trailing slash belongs to the template. `{name%2F}` and `{name%2F...}`
/// take segments that hold an encoded slash, too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathTemplate {
    text: Arc<str>,
    pub(crate) segments: Vec<Segment>,
    /// Whether `{name...}` follows the segments.
    pub(crate) tail: bool,
    /// What the segments that it takes may have.
    pub(crate) tail_tolerates: Tolerated,
    /// Whether the template ends in `/`.
    pub(crate) slash: bool,
}

/// One segment of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Segment {
    /// This text, byte by byte (SPID-09 for paths: whole segments only).
    Literal(Box<str>),
    /// Any one segment, which may have this.
    Any(Tolerated),
}

/// Why a text is no path template.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TemplateError {
    /// It does not begin with `/`.
    #[error("a path template begins with `/`")]
    NotAbsolute,
    /// It is longer than a template may be.
    #[error(
        "a path template has at most {MAX_TEMPLATE_BYTES} bytes and {MAX_TEMPLATE_SEGMENTS} segments"
    )]
    TooLong,
    /// `//`, which no canonical path has.
    #[error("a path template has no empty segment")]
    EmptySegment,
    /// A segment has braces around no name, or braces and text together.
    #[error("`{0}` is neither a literal segment nor `{{name}}`")]
    BadSegment(String),
    /// `{name...}` stands before the end.
    #[error("`{0}` takes the rest of the path, so it must come last")]
    TailNotLast(String),
    /// One name is used twice.
    #[error("the parameter `{0}` is named twice")]
    Repeated(String),
    /// A literal that no canonical path can have.
    #[error("`{0}` can never be in a canonical path")]
    NotCanonical(String),
}

/// Why two templates with a method in common may not stand beside each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conflict {
    /// Both match one path and neither is more specific.
    Unordered,
    /// They differ in nothing but the names of parameters.
    SameShape,
    /// They match the same path but for a trailing slash, which some servers ignore.
    Slash,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let inner = text.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        let (inner, slash) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, inner.is_empty()),
        };
        let mut template = Self {
            text: Arc::from(text),
            segments: Vec::new(),
            tail: false,
            tail_tolerates: Tolerated::Nothing,
            slash,
        };
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        if inner.is_empty() && text != "/" {
            return Err(TemplateError::EmptySegment);
        }
        let mut names = Vec::new();
        for segment in inner.split('/').filter(|_| !inner.is_empty()) {
            if let Some(name) = template.push(segment)? {
                if names.contains(&name) {
                    return Err(TemplateError::Repeated(name.to_owned()));
                }
                names.push(name);
            }
        }
        if template.segments.len() > MAX_TEMPLATE_SEGMENTS {
            return Err(TemplateError::TooLong);
        }
        if template.tail && template.slash {
            return Err(TemplateError::TailNotLast(text.to_owned()));
        }
        Ok(template)
    }

    /// Adds a segment and gives the parameter's name, if it is one.
    fn push<'a>(&mut self, segment: &'a str) -> Result<Option<&'a str>, TemplateError> {
        if self.tail {
            return Err(TemplateError::TailNotLast(self.text.to_string()));
        }
        let Some(inner) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            self.segments.push(Segment::Literal(literal(segment)?.into()));
            return Ok(None);
        };
        let (name, tail) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        let (name, tolerates) = match name.strip_suffix(ENCODED_SLASH) {
            Some(name) => (name, Tolerated::EncodedSlash),
            None => (name, Tolerated::Nothing),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(TemplateError::BadSegment(segment.to_owned()));
        }
        if tail {
            (self.tail, self.tail_tolerates) = (true, tolerates);
        } else {
            self.segments.push(Segment::Any(tolerates));
        }
        Ok(Some(name))
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, shared with every decision that names it.
    pub(crate) fn text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// What some parameter takes.
    pub(crate) fn tolerates(&self) -> Tolerated {
        let own = self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => Tolerated::Nothing,
            Segment::Any(tolerated) => *tolerated,
        });
        own.fold(self.tail_tolerates, Tolerated::max)
    }

    /// Whether, of a path that it matches, it takes every segment with an encoded slash.
    pub(crate) fn takes(&self, path: &RequestPath<'_>) -> bool {
        let segments = path.as_str().split('/').skip(1).enumerate();
        let mut encoded = segments.filter(|(_, segment)| segment.contains(ENCODED_SLASH));
        encoded.all(|(at, _)| match self.segments.get(at) {
            Some(Segment::Literal(_)) => false,
            Some(Segment::Any(tolerated)) => *tolerated == Tolerated::EncodedSlash,
            None => self.tail_tolerates == Tolerated::EncodedSlash,
        })
    }

    /// Whether some server may read a path that this one takes as one of `other`, with a slash for an
    /// encoded one. In doubt it may.
    pub fn is_read_as(&self, other: &Self) -> bool {
        let takes = |segment: &Segment| *segment == Segment::Any(Tolerated::EncodedSlash);
        let before = self.segments.iter().position(takes);
        let before = match self.tail_tolerates {
            Tolerated::EncodedSlash => Some(before.unwrap_or(self.segments.len())),
            Tolerated::Nothing => before,
        };
        // Before the first encoded slash both have the same segments.
        before.is_some_and(|before| {
            (other.tail || other.segments.len() > before) && self.agrees(other, before)
        })
    }

    /// Why the two may not both be declared for one method of one callee; `None` if they may. The
    /// same template twice is one template.
    pub fn conflict(&self, other: &Self) -> Option<Conflict> {
        if self == other || !self.overlaps(other) {
            return None;
        }
        if self.slash != other.slash {
            return Some(Conflict::Slash);
        }
        let orders = self.ranks().zip(other.ranks()).map(|(mine, theirs)| mine.cmp(&theirs));
        let (mut less, mut greater) = (false, false);
        for order in orders.take(MAX_TEMPLATE_SEGMENTS) {
            less |= order == Ordering::Less;
            greater |= order == Ordering::Greater;
        }
        match (less, greater) {
            (false, false) => Some(Conflict::SameShape),
            (true, true) => Some(Conflict::Unordered),
            _ => None,
        }
    }

    /// The more specific of two templates that match one path is the lesser.
    pub(crate) fn specificity(&self, other: &Self) -> Ordering {
        self.ranks()
            .zip(other.ranks())
            .take(MAX_TEMPLATE_SEGMENTS)
            .map(|(mine, theirs)| mine.cmp(&theirs))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Literal before `{name}` before `{name...}`, segment by segment, without end.
    fn ranks(&self) -> impl Iterator<Item = u8> {
        let own = self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Any(_) => 1,
        });
        own.chain(std::iter::repeat(2))
    }

    /// Whether some path, less a trailing slash, is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let fits = |short: &Self, long: &Self| {
            short.segments.len() == long.segments.len() && short.tail == long.tail
                || short.tail && short.segments.len() < long.segments.len()
                || short.tail && long.tail
        };
        self.agrees(other, usize::MAX) && (fits(self, other) || fits(other, self))
    }

    /// Whether the two differ in no literal among their first segments, as many as these.
    fn agrees(&self, other: &Self, first: usize) -> bool {
        self.segments.iter().zip(&other.segments).take(first).all(|pair| match pair {
            (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
            (Segment::Any(_), _) | (_, Segment::Any(_)) => true,
        })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A literal segment must be what the canonicaliser leaves as it is.
fn literal(segment: &str) -> Result<&str, TemplateError> {
    if segment.is_empty() {
        return Err(TemplateError::EmptySegment);
    }
    if segment.contains(['{', '}']) {
        return Err(TemplateError::BadSegment(segment.to_owned()));
    }
    let path = format!("/{segment}");
    match RequestPath::parse(&path) {
        Ok(canonical) if canonical.as_str() == path => Ok(segment),
        _ => Err(TemplateError::NotCanonical(segment.to_owned())),
    }
}

/// Whether `text` is an HTTP method that a call may name: upper-case letters and `-`. `CONNECT` and
/// `TRACE` are not: the proxy refuses them always (HTTP-14, HTTP-18).
pub fn is_http_method(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.len() <= MAX_METHOD_BYTES
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
        && !matches!(text, "CONNECT" | "TRACE")
}

/// Whether `text` is a full gRPC service name (`pkg.Service`) or a method's name: identifiers, for
/// a service joined by dots.
pub fn is_grpc_name(text: &str) -> bool {
    text.len() <= MAX_TEMPLATE_BYTES
        && text.split('.').all(|part| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests;
