//! Paths with an encoded slash, walked in both of their readings at once.
//!
//! Rules go by the path as it is sent, and of their templates only those that take a `%2F` match. To a
//! guard it is a part of a segment and a slash, whatever its template says.

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
    /// Those that take what they say.
    rules: Progress,
    /// As it is sent, to guards.
    sent: Progress,
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
        let start =
            Readings { rules: root.clone(), sent: root.clone(), split: root, place: Place::Plain };
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
                if !next.rules.is_empty() && seen.insert(next.clone()) {
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
            rules: root.clone(),
            sent: root.clone(),
            split: root,
            place: Place::Encoded,
        };
        let readings = segments.fold(start, |readings, segment| {
            let split = |split: Progress, part: &str| self.after(&split, part);
            Readings {
                rules: if segment.contains("%2F") {
                    self.after_encoded(&readings.rules)
                } else {
                    self.after(&readings.rules, segment)
                },
                sent: self.after(&readings.sent, segment),
                split: segment.split("%2F").fold(readings.split, split),
                place: Place::Encoded,
            }
        });
        self.both_ends(&readings, slash)
    }

    /// Every next step, with what it adds to the path.
    fn onwards(&self, readings: &Readings) -> Vec<(Readings, String)> {
        let Readings { rules, sent, split, place } = readings;
        let mut steps = Vec::new();
        let mut texts = self.literals(split);
        texts.insert(self.other);
        if *place == Place::Within {
            for text in texts {
                let split = self.after(split, text);
                let (rules, sent) = (rules.clone(), sent.clone());
                let ended = Readings { rules, sent, split, place: Place::Encoded };
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
                rules: self.after_encoded(rules),
                // No template has such a literal.
                sent: self.after(sent, &format!("{text}%2F")),
                split: self.after(split, text),
                place: Place::Within,
            };
            steps.push((within, format!("/{text}%2F")));
        }
        texts.extend(self.literals(rules));
        texts.extend(self.literals(sent));
        for text in texts {
            let (rules, sent) = (self.after(rules, text), self.after(sent, text));
            let plain = Readings { rules, sent, split: self.after(split, text), place: *place };
            steps.push((plain, format!("/{text}")));
        }
        steps
    }

    fn both_ends(&self, readings: &Readings, slash: bool) -> Ends {
        let rules = self.ends(&readings.rules, slash);
        let [sent, split] = [&readings.sent, &readings.split].map(|it| self.ends(it, slash));
        let guards = [rules.but_for_slash, sent.written, sent.but_for_slash]
            .into_iter()
            .chain([split.written, split.but_for_slash])
            .flatten();
        let guards: BTreeSet<usize> = guards.filter(|at| !rules.written.contains(at)).collect();
        Ends { written: rules.written, but_for_slash: guards.into_iter().collect(), encoded: true }
    }
}
