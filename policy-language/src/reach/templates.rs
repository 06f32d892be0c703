//! Path templates, walked all at once to find every set of them that some path matches.

use std::{collections::BTreeSet, fmt::Write};

use thiserror::Error;

/// The most segments that the walk over paths without an encoded slash tries. Templates that
/// interleave literals and parameters multiply.
const MAX_TRIED: usize = 1_000_000;
/// So many templates on their way make one try count for one more.
const TEMPLATES_A_TRY: usize = 128;

/// Templates tell apart more kinds of paths than can be looked at.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("its path templates tell apart more kinds of paths than can be looked at")]
pub struct TooManyKinds;

/// How often one walk may still try.
#[derive(Debug)]
pub(super) struct Tries(usize);

/// A path template, and the methods that statements give it.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// `None` is one segment, whatever it is.
    pub(super) segments: Vec<Option<String>>,
    tail: bool,
    /// The places of segments that take an encoded slash; that of the tail is behind all others.
    encoded: BTreeSet<usize>,
    slash: bool,
    pub(super) methods: BTreeSet<String>,
    /// Those of the methods that guards give it: a guard is about a path also where a slash at its
    /// end is all that differs.
    pub(super) guarded: BTreeSet<String>,
}

/// The templates that match a path.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ends {
    /// As it is.
    pub(super) written: Vec<usize>,
    /// As it is, though they do not take an encoded slash that it has: no wider one owns it then.
    pub(super) refusing: Vec<usize>,
    /// Those of guards that match it but for the slash at its end, or where a `%2F` of it is a slash,
    /// or a part of a segment, though the template does not say so.
    pub(super) but_for_slash: Vec<usize>,
    /// Whether the path has an encoded slash.
    pub(super) encoded: bool,
}

/// How far a template has come: matched segments, or `usize::MAX` in its tail.
pub(super) type Progress = BTreeSet<(usize, usize)>;

/// All templates, walked at once.
pub(super) struct Walk<'a> {
    pub(super) templates: &'a [(&'a String, &'a Template)],
    /// A segment that no template has as a literal.
    pub(super) other: &'a str,
}

impl Tries {
    pub(super) const fn at(most: usize) -> Self {
        Self(most)
    }

    /// Tries so many segments, each with so many templates.
    ///
    /// # Errors
    ///
    /// [`TooManyKinds`] when that is too many.
    pub(super) fn take(&mut self, templates: usize, tries: usize) -> Result<(), TooManyKinds> {
        let cost = tries.saturating_mul(1 + templates / TEMPLATES_A_TRY);
        self.0 = self.0.checked_sub(cost).ok_or(TooManyKinds)?;
        Ok(())
    }
}

impl Walk<'_> {
    /// Shows every path that stands for its kind, with the templates that match it.
    ///
    /// # Errors
    ///
    /// [`TooManyKinds`] when there is more to look at than may be.
    pub(super) fn all(&self, visit: &mut impl FnMut(&str, &Ends)) -> Result<(), TooManyKinds> {
        let mut tries = Tries::at(MAX_TRIED);
        let root = self.root();
        let mut seen = BTreeSet::from([root.clone()]);
        let mut waiting = vec![(root, String::new())];
        while let Some((progress, path)) = waiting.pop() {
            for slash in [false, true] {
                let whole = if slash { format!("{path}/") } else { path.clone() };
                if !whole.is_empty() {
                    visit(&whole, &self.ends(&progress, slash));
                }
            }
            let literals = self.literals(&progress);
            tries.take(progress.len(), literals.len() + 1)?;
            for segment in literals.into_iter().chain([self.other]) {
                let next = self.after(&progress, segment);
                if !next.is_empty() && seen.insert(next.clone()) {
                    waiting.push((next, format!("{path}/{segment}")));
                }
            }
        }
        Ok(())
    }

    /// A path that no template matches: deeper than any without a tail, and with a slash at its
    /// end, which no tail takes but a guard's.
    pub(super) fn unmatched(&self) -> String {
        let deepest = self.templates.iter().map(|(_, template)| template.segments.len()).max();
        let mut path = String::new();
        for _ in 0..=deepest.unwrap_or_default() {
            let _ = write!(path, "/{}", self.other);
        }
        path.push('/');
        path
    }

    /// The templates that match a path.
    pub(super) fn matching(&self, path: &str) -> Ends {
        let (segments, slash) = parts(path);
        let progress =
            segments.fold(self.root(), |progress, segment| self.after(&progress, segment));
        self.ends(&progress, slash)
    }

    /// Where all templates begin.
    pub(super) fn root(&self) -> Progress {
        (0..self.templates.len()).map(|at| (at, 0)).collect()
    }

    pub(super) fn ends(&self, progress: &Progress, slash: bool) -> Ends {
        let mut ends = Ends::default();
        for (at, matched) in progress {
            let Some((_, template)) = self.templates.get(*at) else { continue };
            let is_whole =
                *matched == usize::MAX || *matched == template.segments.len() && !template.tail;
            if is_whole && template.slash == slash {
                ends.written.push(*at);
            } else if is_whole {
                ends.but_for_slash.push(*at);
            }
        }
        ends
    }

    pub(super) fn literals(&self, progress: &Progress) -> BTreeSet<&str> {
        let literal = |(at, matched): &(usize, usize)| {
            self.templates.get(*at)?.1.segments.get(*matched)?.as_deref()
        };
        progress.iter().filter_map(literal).collect()
    }

    /// Whether some template takes an encoded slash.
    pub(super) fn takes_encoded(&self) -> bool {
        self.templates.iter().any(|(_, template)| !template.encoded.is_empty())
    }

    /// Whether a template takes an encoded slash behind so many of its segments.
    pub(super) fn takes_from(&self, at: usize, matched: usize) -> bool {
        self.templates.get(at).is_some_and(|(_, template)| {
            let place = matched.min(template.segments.len());
            template.encoded.range(place..).next().is_some()
        })
    }

    /// The templates that do not take an encoded slash in the next segment.
    pub(super) fn refusing(&self, progress: &Progress) -> BTreeSet<usize> {
        let refuses = |(at, matched): &(usize, usize)| {
            let (_, template) = self.templates.get(*at)?;
            let place = (*matched).min(template.segments.len());
            (!template.encoded.contains(&place)).then_some(*at)
        };
        progress.iter().filter_map(refuses).collect()
    }

    pub(super) fn after(&self, progress: &Progress, segment: &str) -> Progress {
        let step = |(at, matched): &(usize, usize)| {
            let (_, template) = self.templates.get(*at)?;
            let next = match template.segments.get(*matched) {
                Some(Some(literal)) if literal != segment => return None,
                Some(_) => matched + 1,
                None if template.tail => usize::MAX,
                None => return None,
            };
            Some((*at, next))
        };
        progress.iter().filter_map(step).collect()
    }
}

impl Template {
    pub(super) fn parse(text: &str) -> Self {
        let (segments, slash) = parts(text);
        let mut template = Self {
            segments: Vec::new(),
            tail: false,
            encoded: BTreeSet::new(),
            slash,
            methods: BTreeSet::new(),
            guarded: BTreeSet::new(),
        };
        for segment in segments {
            if segment.ends_with("%2F}") || segment.ends_with("%2F...}") {
                template.encoded.insert(template.segments.len());
            }
            match segment.strip_prefix('{') {
                Some(rest) if rest.ends_with("...}") => template.tail = true,
                Some(_) => template.segments.push(None),
                None => template.segments.push(Some(segment.to_owned())),
            }
        }
        template
    }

    /// Orders templates that match one path: the most specific first.
    pub(super) fn ranks(&self) -> Vec<u8> {
        let mut ranks: Vec<u8> =
            self.segments.iter().map(|segment| u8::from(segment.is_none())).collect();
        ranks.push(2);
        ranks
    }
}

/// The segments of a path or template, and whether it ends in a slash.
pub(super) fn parts(text: &str) -> (impl Iterator<Item = &str>, bool) {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let (inner, slash) = match inner.strip_suffix('/') {
        Some(inner) => (inner, true),
        None => (inner, inner.is_empty()),
    };
    (inner.split('/').filter(|_| !inner.is_empty()), slash)
}
