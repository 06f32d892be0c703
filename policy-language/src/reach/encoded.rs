//! Paths with encoded slashes, walked in all of their readings at once.
//!
//! Rules go by the path as it is sent: a template that matches it owns it or keeps it from a wider one,
//! whether or not it takes the `%2F`. To a guard each `%2F` is a part of a segment, or a slash, whatever
//! its template says and whatever the others are.

use std::collections::{BTreeSet, HashSet, VecDeque};

use cellwall_policy::MAX_ENCODED_SLASHES;

#[cfg(test)]
use super::templates::parts;
use super::{
    calls::Example,
    templates::{Ends, Progress, TooManyKinds, Tries, Walk},
};

/// How far templates have come.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Readings {
    /// All, by the path as it is sent.
    sent: Progress,
    /// Those that do not take an encoded slash that was in their way.
    refusing: BTreeSet<usize>,
    /// Those of guards, where their next segment begins here, in any reading.
    begun: Progress,
    /// Those of guards, where their next segment has begun before an encoded slash and goes on.
    within: Progress,
    place: Place,
}

/// Where in a path the walk is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Place {
    /// Behind a segment; none had an encoded slash yet.
    Plain,
    /// Behind an encoded slash.
    Within,
    /// Behind a segment; one had an encoded slash.
    Encoded,
}

/// What comes behind a piece of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// A slash, or the end.
    Slash,
    /// An encoded slash.
    Encoded,
}

/// A step: what it adds to the path, what comes behind that, and where it leads.
struct Onward {
    then: Then,
    more: String,
    next: Readings,
}

/// The most pieces of paths that the walk tries. Guards that interleave literals and parameters
/// multiply, and the readings multiply that.
const MAX_TRIED: usize = 100_000;

impl Example {
    /// Whether it is a request whose path has an encoded slash.
    pub(super) fn has_encoded_slash(&self) -> bool {
        matches!(self, Self::Http { path, .. } if path.split().is_some())
    }
}

impl Walk<'_> {
    /// Shows every path with an encoded slash that stands for its kind, as [`Walk::all`] does the
    /// others. What no rule can own is left out: it never passes.
    ///
    /// # Errors
    ///
    /// [`TooManyKinds`] when there is more to look at than may be.
    pub(super) fn all_encoded(
        &self,
        visit: &mut impl FnMut(&str, &Ends),
    ) -> Result<(), TooManyKinds> {
        if !self.takes_encoded() {
            return Ok(());
        }
        let mut tries = Tries::at(MAX_TRIED);
        let mut seen = HashSet::new();
        let mut later = vec![(String::new(), self.start(Place::Plain))];
        // Layer by layer, each with one encoded slash more: a path with more is refused before any rule.
        for _ in 0..=MAX_ENCODED_SLASHES {
            let is_new = |(_, readings): &(String, Readings)| seen.insert(readings.clone());
            let mut layer: VecDeque<_> = later.drain(..).filter(is_new).collect();
            let mut known = HashSet::new();
            while let Some((path, readings)) = layer.pop_front() {
                self.show(&path, &readings, visit);
                let onwards = self.onwards(&readings, &mut tries)?.into_iter();
                for Onward { then, more, next } in onwards.filter(|it| self.is_of_use(&it.next)) {
                    let path = format!("{path}{more}");
                    if then == Then::Slash && seen.insert(next.clone()) {
                        layer.push_back((path, next));
                    } else if then == Then::Encoded && known.insert(next.clone()) {
                        later.push((path, next));
                    }
                }
            }
        }
        Ok(())
    }

    fn show(&self, path: &str, readings: &Readings, visit: &mut impl FnMut(&str, &Ends)) {
        if readings.place == Place::Encoded {
            for slash in [false, true] {
                let whole = if slash { format!("{path}/") } else { path.to_owned() };
                visit(&whole, &self.all_ends(readings, slash));
            }
        }
    }

    /// Every next step.
    fn onwards(&self, readings: &Readings, tries: &mut Tries) -> Result<Vec<Onward>, TooManyKinds> {
        let begin = if readings.place == Place::Within { "" } else { "/" };
        let mut steps = Vec::new();
        for (then, end) in [(Then::Slash, ""), (Then::Encoded, "%2F")] {
            let pieces = self.pieces(readings, then);
            tries.take(readings.size(), pieces.len())?;
            for piece in pieces {
                let next = self.after_piece(readings, piece, then);
                steps.push(Onward { then, more: format!("{begin}{piece}{end}"), next });
            }
        }
        Ok(steps)
    }

    /// Whether some template still takes the path, so that a rule can own it, and where it has no
    /// encoded slash yet still takes one.
    fn is_of_use(&self, readings: &Readings) -> bool {
        readings.sent.iter().any(|(at, matched)| match readings.place {
            Place::Plain => self.takes_from(*at, *matched),
            Place::Within | Place::Encoded => !readings.refusing.contains(at),
        })
    }

    /// The templates that match such a path.
    #[cfg(test)]
    pub(super) fn matching_encoded(&self, path: &str) -> Ends {
        let (segments, slash) = parts(path);
        let readings = segments.fold(self.start(Place::Encoded), |readings, segment| {
            let mut pieces = segment.split("%2F").peekable();
            let mut readings = readings;
            while let Some(piece) = pieces.next() {
                let then = if pieces.peek().is_some() { Then::Encoded } else { Then::Slash };
                readings = self.after_piece(&readings, piece, then);
            }
            readings
        });
        self.all_ends(&readings, slash)
    }

    fn start(&self, place: Place) -> Readings {
        let root = self.root();
        let is_guards = |(at, _): &(usize, usize)| {
            self.templates.get(*at).is_some_and(|(_, template)| !template.guarded.is_empty())
        };
        let begun = root.iter().copied().filter(is_guards).collect();
        let (refusing, within) = (BTreeSet::new(), Progress::new());
        Readings { sent: root, refusing, begun, within, place }
    }

    /// The pieces that something tells apart here.
    fn pieces(&self, readings: &Readings, then: Then) -> BTreeSet<&str> {
        let mut pieces = self.literals(&readings.begun);
        // No template has a literal with an encoded slash.
        if readings.place != Place::Within && then == Then::Slash {
            pieces.extend(self.literals(&readings.sent));
        }
        pieces.insert(self.other);
        pieces
    }

    fn after_piece(&self, readings: &Readings, piece: &str, then: Then) -> Readings {
        let Readings { sent, refusing, begun, within, place } = readings;
        // What only parameters take.
        let encoded = format!("{piece}%2F");
        let mut next = readings.clone();
        if *place != Place::Within {
            next.sent = match then {
                Then::Slash => self.after(sent, piece),
                Then::Encoded => self.after(sent, &encoded),
            };
        }
        next.begun = &self.after(begun, piece) | &self.after(within, &encoded);
        match then {
            Then::Slash => {
                next.within = Progress::new();
                if *place == Place::Within {
                    next.place = Place::Encoded;
                }
            }
            Then::Encoded => {
                if *place != Place::Within {
                    next.refusing = refusing | &self.refusing(sent);
                }
                next.within = within | begun;
                next.place = Place::Within;
            }
        }
        next
    }

    fn all_ends(&self, readings: &Readings, slash: bool) -> Ends {
        let [sent, guards] = [&readings.sent, &readings.begun].map(|it| self.ends(it, slash));
        let is_refusing = |at: &usize| readings.refusing.contains(at);
        let (mut refusing, written): (Vec<_>, Vec<_>) =
            sent.written.iter().copied().partition(is_refusing);
        // One keeps a path only from those that it is more specific than.
        let ranks = |at: &usize| self.templates.get(*at).map(|(_, template)| template.ranks());
        let last = written.last().and_then(ranks);
        refusing.retain(|at| ranks(at) < last);
        let guards = guards.written.into_iter().chain(guards.but_for_slash);
        let guards: BTreeSet<usize> =
            guards.filter(|at| !written.contains(at) && !refusing.contains(at)).collect();
        Ends { written, refusing, but_for_slash: guards.into_iter().collect(), encoded: true }
    }
}

impl Readings {
    /// How many templates are on their way.
    fn size(&self) -> usize {
        self.sent.len() + self.begun.len() + self.within.len()
    }
}
