//! Paths with an encoded slash, walked in both of their readings at once.
//!
//! Rules go by the path as it is sent: a template that matches it owns it or keeps it from a wider one,
//! whether or not it takes the `%2F`. To a guard that is a part of a segment and a slash, whatever its
//! template says.

use std::collections::BTreeSet;

#[cfg(test)]
use super::templates::parts;
use super::{
    calls::Example,
    templates::{Ends, Progress, Walk},
};

/// How far templates have come in each reading.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Readings {
    /// As it is sent.
    sent: Progress,
    /// The templates that do not take an encoded slash that was in their way.
    refusing: BTreeSet<usize>,
    /// With a slash for each `%2F`, to guards.
    split: Progress,
    place: Place,
}

/// Where in a path the walk is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    /// Behind a segment; none had an encoded slash yet.
    Plain,
    /// Behind an encoded slash.
    Within,
    /// Behind a segment; one had an encoded slash.
    Encoded,
}

impl Example {
    /// Whether it is a request whose path has an encoded slash.
    pub(super) fn has_encoded_slash(&self) -> bool {
        matches!(self, Self::Http { path, .. } if path.split().is_some())
    }
}

impl Walk<'_> {
    /// Shows every path with an encoded slash that stands for its kind, as [`Walk::all`] does the
    /// others. What no rule can own is left out: it never passes.
    pub(super) fn all_encoded(&self, visit: &mut impl FnMut(&str, &Ends)) {
        if !self.takes_encoded() {
            return;
        }
        let root = self.root();
        let start = Readings {
            sent: root.clone(),
            refusing: BTreeSet::new(),
            split: root,
            place: Place::Plain,
        };
        let mut seen = BTreeSet::from([start.clone()]);
        let mut waiting = vec![(start, String::new())];
        while let Some((readings, path)) = waiting.pop() {
            if readings.place == Place::Encoded {
                for slash in [false, true] {
                    let whole = if slash { format!("{path}/") } else { path.clone() };
                    visit(&whole, &self.both_ends(&readings, slash));
                }
            }
            for (next, more) in self.onwards(&readings) {
                if next.is_taken() && seen.insert(next.clone()) {
                    waiting.push((next, format!("{path}{more}")));
                }
            }
        }
    }

    /// The templates that match such a path.
    #[cfg(test)]
    pub(super) fn matching_encoded(&self, path: &str) -> Ends {
        let (segments, slash) = parts(path);
        let root = self.root();
        let start = Readings {
            sent: root.clone(),
            refusing: BTreeSet::new(),
            split: root,
            place: Place::Encoded,
        };
        let readings = segments.fold(start, |readings, segment| {
            let split = |split: Progress, part: &str| self.after(&split, part);
            let mut refusing = readings.refusing;
            if segment.contains("%2F") {
                refusing.extend(self.refusing(&readings.sent));
            }
            Readings {
                refusing,
                sent: self.after(&readings.sent, segment),
                split: segment.split("%2F").fold(readings.split, split),
                place: Place::Encoded,
            }
        });
        self.both_ends(&readings, slash)
    }

    /// Every next step, with what it adds to the path.
    fn onwards(&self, readings: &Readings) -> Vec<(Readings, String)> {
        let Readings { sent, refusing, split, place } = readings;
        let mut steps = Vec::new();
        let mut texts = self.literals(split);
        texts.insert(self.other);
        if *place == Place::Within {
            for text in texts {
                let split = self.after(split, text);
                let (sent, refusing) = (sent.clone(), refusing.clone());
                let ended = Readings { sent, refusing, split, place: Place::Encoded };
                steps.push((
                    Readings { place: Place::Within, ..ended.clone() },
                    format!("{text}%2F"),
                ));
                steps.push((ended, text.to_owned()));
            }
            return steps;
        }
        for text in &texts {
            let within = Readings {
                refusing: refusing | &self.refusing(sent),
                // No template has such a literal.
                sent: self.after(sent, &format!("{text}%2F")),
                split: self.after(split, text),
                place: Place::Within,
            };
            steps.push((within, format!("/{text}%2F")));
        }
        texts.extend(self.literals(sent));
        for text in texts {
            let (sent, split) = (self.after(sent, text), self.after(split, text));
            let plain = Readings { sent, refusing: refusing.clone(), split, place: *place };
            steps.push((plain, format!("/{text}")));
        }
        steps
    }

    fn both_ends(&self, readings: &Readings, slash: bool) -> Ends {
        let [sent, split] = [&readings.sent, &readings.split].map(|it| self.ends(it, slash));
        let is_refusing = |at: &usize| readings.refusing.contains(at);
        let (mut refusing, written): (Vec<_>, Vec<_>) =
            sent.written.iter().copied().partition(is_refusing);
        // One keeps a path only from those that it is more specific than.
        let ranks = |at: &usize| self.templates.get(*at).map(|(_, template)| template.ranks());
        let last = written.last().and_then(ranks);
        refusing.retain(|at| ranks(at) < last);
        let guards = sent.written.iter().copied().chain(sent.but_for_slash);
        let guards = guards.chain(split.written).chain(split.but_for_slash);
        let guards: BTreeSet<usize> =
            guards.filter(|at| !written.contains(at) && !refusing.contains(at)).collect();
        Ends { written, refusing, but_for_slash: guards.into_iter().collect(), encoded: true }
    }
}

impl Readings {
    /// Whether some template still takes the path, so that a rule can own it.
    fn is_taken(&self) -> bool {
        self.sent.iter().any(|(at, _)| !self.refusing.contains(at))
    }
}
