//! Reading a SPIFFE ID: which workload it names, and on which side of a boundary it stands.
//!
//! Every ID of a trust domain carries the template's variables at the same places, whatever the
//! workload. So an ID has one reading, its environment is known even where its workload is not, and
//! finding the workload is one hash lookup per remaining segment.

mod index;

use std::{collections::BTreeSet, fmt};

use spiffe::{SpiffeId, TrustDomain};
use thiserror::Error;

pub(crate) use index::{CallerIndex, IdentityIndex, Reading, Variables};

/// The longest SPIFFE ID that is ever yielded (SPID-08).
pub const MAX_ID_BYTES: usize = 2048;
/// The most segments of an identity template's path.
const MAX_SEGMENTS: usize = 16;
/// The first path segment of Cellwall's own identities.
const RESERVED: &str = "cellwall";

/// The template that yields every workload's SPIFFE ID: `spiffe://TD/...` with whole-segment
/// variables, `{workload}` exactly once. Each other variable is a boundary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityTemplate {
    trust_domain: TrustDomain,
    segments: Vec<Segment>,
}

/// The path of one workload's IDs: literals, and the template's variables at the template's places.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shape {
    /// `None` where a variable stands.
    segments: Vec<Option<String>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    Literal(String),
    Workload,
    Variable(String),
}

/// Why a text is no identity template, no override of one, or yields no ID.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum IdentityError {
    /// It does not begin with `spiffe://` and a path.
    #[error("an identity template is `spiffe://TRUST-DOMAIN/PATH`")]
    NotATemplate,
    /// The trust domain's name is not legal and canonical.
    #[error("`{0}` is not a canonical trust domain name")]
    TrustDomain(String),
    /// It has more segments than a template may have.
    #[error("an identity has at most {MAX_SEGMENTS} path segments")]
    TooManySegments,
    /// A segment is neither a variable nor legal in a SPIFFE ID.
    #[error("`{0}` is neither a SPIFFE path segment nor one whole `{{variable}}`")]
    BadSegment(String),
    /// `{workload}` is missing or stands twice.
    #[error("an identity template has `{{workload}}` exactly once")]
    Workload,
    /// A variable stands twice.
    #[error("the variable `{{{0}}}` stands twice")]
    Repeated(String),
    /// An override does not begin with `/`.
    #[error("an `id` is a path that begins with `/`")]
    NotAPath,
    /// An override lacks a variable, has one too many, or has it at another place.
    #[error("an `id` has the template's variables at the template's places: {0}")]
    Misplaced(String),
    /// The IDs would lie below `/cellwall/`.
    #[error("IDs below `/cellwall/` are Cellwall's own")]
    Reserved,
    /// The environment does not fit the template.
    #[error("the environment `{0}` does not give each variable of the template a value")]
    Environment(String),
    /// The ID would be too long.
    #[error("the SPIFFE ID would be longer than {MAX_ID_BYTES} bytes")]
    TooLong,
}

impl IdentityTemplate {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let rest = text.strip_prefix("spiffe://").ok_or(IdentityError::NotATemplate)?;
        let (domain, path) = rest.split_once('/').ok_or(IdentityError::NotATemplate)?;
        let trust_domain = TrustDomain::new(domain)
            .ok()
            // SPID-03: refused, not folded to lower case.
            .filter(|parsed| parsed.as_str() == domain)
            .ok_or_else(|| IdentityError::TrustDomain(domain.to_owned()))?;
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(IdentityError::TooManySegments);
        }
        let mut seen = BTreeSet::new();
        for segment in &segments {
            if let Segment::Variable(name) = segment
                && !seen.insert(name)
            {
                return Err(IdentityError::Repeated(name.clone()));
            }
        }
        if segments.iter().filter(|segment| **segment == Segment::Workload).count() != 1 {
            return Err(IdentityError::Workload);
        }
        if matches!(segments.first(), Some(Segment::Literal(text)) if text == RESERVED) {
            return Err(IdentityError::Reserved);
        }
        Ok(Self { trust_domain, segments })
    }

    /// The trust domain of every ID.
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The variables other than `{workload}`, in the template's order: the boundary.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.places().map(|(_, name)| name)
    }

    /// The IDs of `workload` as the template has them.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Reserved`] and [`IdentityError::BadSegment`] for names that no ID may have.
    pub fn derive(&self, workload: &str) -> Result<Shape, IdentityError> {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(text.clone()),
            Segment::Workload => Some(workload.to_owned()),
            Segment::Variable(_) => None,
        });
        checked_shape(segments.collect())
    }

    /// The IDs of `workload` as its `id:` has them: `/{env}/vm/ledger-db`.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when the path is not legal, or does not have the template's variables at
    /// the template's places.
    pub fn shape(&self, id: &str, workload: &str) -> Result<Shape, IdentityError> {
        let path = id.strip_prefix('/').ok_or(IdentityError::NotAPath)?;
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(IdentityError::TooManySegments);
        }
        let here = segments.iter().enumerate().filter_map(place);
        if !here.eq(self.places()) {
            let wanted: Vec<_> = self
                .places()
                .map(|(at, name)| format!("`{{{name}}}` is segment {}", at + 1))
                .collect();
            return Err(IdentityError::Misplaced(wanted.join(", ")));
        }
        checked_shape(
            segments
                .into_iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => Some(text),
                    Segment::Workload => Some(workload.to_owned()),
                    Segment::Variable(_) => None,
                })
                .collect(),
        )
    }

    /// The ID that `shape` has in `environment`: the variables' values joined by `/`, `""` where
    /// the template has none.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when the environment has too few or too many values, or one that no
    /// SPIFFE ID may have, and when the ID would be too long or reserved.
    pub fn id(&self, shape: &Shape, environment: &str) -> Result<SpiffeId, IdentityError> {
        let mismatch = || IdentityError::Environment(environment.to_owned());
        let mut values = environment.split('/').filter(|_| !environment.is_empty());
        let mut path = String::new();
        for segment in &shape.segments {
            path.push('/');
            path.push_str(match segment {
                Some(text) => text,
                None => values.next().ok_or_else(mismatch)?,
            });
        }
        if values.next().is_some() {
            return Err(mismatch());
        }
        let text = format!("spiffe://{}{path}", self.trust_domain);
        if text.len() > MAX_ID_BYTES {
            return Err(IdentityError::TooLong);
        }
        let id = SpiffeId::new(&text).map_err(|_| mismatch())?;
        if is_reserved(&id) { Err(IdentityError::Reserved) } else { Ok(id) }
    }

    /// Reads an ID back: its shape, which names the workload, and its environment, the variables'
    /// values joined by `/`. `None` for IDs of another trust domain, reserved ones, and those that
    /// lack a variable.
    pub fn read(&self, id: &SpiffeId) -> Option<(Shape, String)> {
        if id.trust_domain() != &self.trust_domain || is_reserved(id) {
            return None;
        }
        let mut places = self.places().map(|(at, _)| at).peekable();
        let mut values = Vec::new();
        let mut segments = Vec::new();
        for (at, segment) in id.path().split('/').skip(1).enumerate() {
            if places.next_if_eq(&at).is_some() {
                values.push(segment);
                segments.push(None);
            } else {
                segments.push(Some(segment.to_owned()));
            }
        }
        places.peek().is_none().then(|| (Shape { segments }, values.join("/")))
    }

    /// Where the variables stand, and their names.
    fn places(&self) -> impl Iterator<Item = (usize, &str)> {
        self.segments.iter().enumerate().filter_map(place)
    }
}

impl fmt::Display for IdentityTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}", self.trust_domain)?;
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Workload => f.write_str("/{workload}"),
            Segment::Variable(name) => write!(f, "/{{{name}}}"),
        })
    }
}

/// Whether `id` is `/cellwall` or lies below it: Cellwall's own, never a caller, never yielded.
pub fn is_reserved(id: &SpiffeId) -> bool {
    let rest = id.path().strip_prefix('/').and_then(|path| path.strip_prefix(RESERVED));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads a SPIFFE ID that must already be canonical (SPID-03) and at most [`MAX_ID_BYTES`] long.
pub fn canonical_id(text: &str) -> Option<SpiffeId> {
    let id = SpiffeId::new(text).ok()?;
    (text.len() <= MAX_ID_BYTES && id.to_string() == text).then_some(id)
}

fn checked_shape(segments: Vec<Option<String>>) -> Result<Shape, IdentityError> {
    if matches!(segments.first(), Some(Some(text)) if text == RESERVED) {
        return Err(IdentityError::Reserved);
    }
    match segments.iter().flatten().find(|text| !is_path_segment(text)) {
        Some(bad) => Err(IdentityError::BadSegment(bad.clone())),
        None => Ok(Shape { segments }),
    }
}

fn segment(text: &str) -> Result<Segment, IdentityError> {
    let bad = || IdentityError::BadSegment(text.to_owned());
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some("workload") => Ok(Segment::Workload),
        Some(name) if crate::is_name(name) => Ok(Segment::Variable(name.to_owned())),
        None if is_path_segment(text) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(bad()),
    }
}

fn place((at, segment): (usize, &Segment)) -> Option<(usize, &str)> {
    match segment {
        Segment::Variable(name) => Some((at, name)),
        Segment::Literal(_) | Segment::Workload => None,
    }
}

/// Whether `text` may stand between two slashes of a SPIFFE ID's path (SPID-06).
// SPIFFE-ID §2.2
pub fn is_path_segment(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(legal)
}

#[cfg(test)]
mod tests;
