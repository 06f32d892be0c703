//! Selectors: `NAME`, `[A, B]`, `segment/NAME`, `{label: value}`, `any`, `spiffe://...`.

use super::Reader;
use crate::{
    codes::Code,
    finding::Problem,
    place::Place,
    syntax::{Pick, Selector, SelectorKind, Text},
    yaml::{Node, Value},
};

const FORMS: &str = "a selector is `NAME`, `[A, B]`, `segment/NAME`, `{label: value}`, `any`, or a \
                     `spiffe://` ID of another trust domain";

impl Reader<'_> {
    pub(super) fn selector(&mut self, node: &Node) -> Option<Selector> {
        let place = node.place;
        let kind = match &node.value {
            Value::Text(text) => return self.selector_text(&Text { value: text.clone(), place }),
            Value::List(items) => {
                let mut picks = Vec::new();
                for item in items {
                    let text = self.text(item, "a name or `segment/NAME`")?;
                    picks.push(self.pick(&text)?);
                }
                SelectorKind::List(picks)
            }
            Value::Map(_) => {
                let mut labels = Vec::new();
                for (label, value) in self.entries(node, "labels")? {
                    labels.push((label, self.text(value, "a label's value")?));
                }
                SelectorKind::Labels(labels)
            }
            Value::Number(_) | Value::Other => {
                let problem = self.wrong_type(node, "a selector").help(FORMS);
                self.problems.push(problem);
                return None;
            }
        };
        self.not_empty(Selector { place, kind })
    }

    /// A selector inside of a text, as in `deny: any -> [ledger, ledger-db]`.
    pub(super) fn selector_text(&mut self, text: &Text) -> Option<Selector> {
        let place = text.place;
        let value = text.value.as_str();
        let inside = |open, close| value.strip_prefix(open).and_then(|v| v.strip_suffix(close));
        if value == "any" {
            return Some(Selector { place, kind: SelectorKind::Any });
        }
        let kind = if let Some(list) = inside('[', ']') {
            let mut picks = Vec::new();
            for name in list.split(',').filter(|_| !list.trim().is_empty()) {
                picks.push(self.pick(&Text { value: name.trim().to_owned(), place })?);
            }
            SelectorKind::List(picks)
        } else if let Some(pairs) = inside('{', '}') {
            let mut labels = Vec::new();
            for pair in pairs.split(',').filter(|_| !pairs.trim().is_empty()) {
                let Some((label, value)) = pair.split_once(':') else {
                    return self.no_selector(text);
                };
                let part = |value: &str| Text { value: value.trim().to_owned(), place };
                labels.push((part(label), part(value)));
            }
            SelectorKind::Labels(labels)
        } else {
            SelectorKind::List(vec![self.pick(text)?])
        };
        self.not_empty(Selector { place, kind })
    }

    fn pick(&mut self, text: &Text) -> Option<Pick> {
        // Which ID it is, and whether one may stand here, is looked up with the trust domain.
        if text.value.starts_with("spiffe://") {
            return Some(Pick::Foreign(text.clone()));
        }
        let part = |value: &str| Text { value: value.to_owned(), place: text.place };
        let (name, pick) = match text.value.strip_prefix("segment/") {
            Some(name) => (name, Pick::Segment(part(name))),
            None => (text.value.as_str(), Pick::Workload(part(&text.value))),
        };
        if name == "any" {
            let message = "`any` stands alone, not in a list";
            self.problems.push(Problem::error(Code::WrongType, text.place, message).help(FORMS));
            return None;
        }
        if cellwall_policy::is_name(name) { Some(pick) } else { self.no_selector(text) }
    }

    fn no_selector<T>(&mut self, text: &Text) -> Option<T> {
        let message = format!("`{}` is not a selector", text.value);
        self.problems.push(Problem::error(Code::BadName, text.place, message).help(FORMS));
        None
    }

    fn not_empty(&mut self, selector: Selector) -> Option<Selector> {
        let empty = match &selector.kind {
            SelectorKind::Any => false,
            SelectorKind::List(picks) => picks.is_empty(),
            SelectorKind::Labels(labels) => labels.is_empty(),
        };
        if empty {
            let message = "a selector that names nobody";
            let problem = Problem::error(Code::WrongType, selector.place, message).help(FORMS);
            self.problems.push(problem);
            return None;
        }
        Some(selector)
    }

    /// `A -> B`: two selectors in one text.
    pub(super) fn arrow(&mut self, text: &Text) -> Option<(Selector, Selector)> {
        let Some((from, to)) = text.value.split_once("->") else {
            let message = format!("`{}` is not `A -> B`", text.value);
            let problem = Problem::error(Code::WrongType, text.place, message).help(FORMS);
            self.problems.push(problem);
            return None;
        };
        let (from, to) = (self.part(text, 0, from), self.part(text, from.len() + 2, to));
        Some((self.selector_text(&from)?, self.selector_text(&to)?))
    }

    /// A part of a text, with its own place where the file has the text as it is.
    fn part(&self, text: &Text, offset: usize, part: &str) -> Text {
        let value = part.trim().to_owned();
        let mut place = text.place;
        if self.files.text(place) == Some(text.value.as_str()) {
            let indent = part.len() - part.trim_start().len();
            place = Place::new(place.file, place.start + offset + indent, value.len());
        }
        Text { value, place }
    }
}

/// A selector as it could be written.
pub(crate) fn describe(selector: &Selector) -> String {
    let pick = |pick: &Pick| match pick {
        Pick::Workload(name) => name.value.clone(),
        Pick::Segment(name) => format!("segment/{}", name.value),
        Pick::Foreign(id) => id.value.clone(),
    };
    match &selector.kind {
        SelectorKind::Any => "any".to_owned(),
        SelectorKind::List(picks) => picks.iter().map(pick).collect::<Vec<_>>().join(" or "),
        SelectorKind::Labels(labels) => {
            let pairs: Vec<_> = labels
                .iter()
                .map(|(label, value)| format!("{}: {}", label.value, value.value))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}
