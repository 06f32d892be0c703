//! The kinds of requests of one callee: what its path templates tell apart, method by method.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{Protocol, RequestPath, Tolerated, wire_method};

use super::{
    calls::{ANY, Declared, Example, Kind},
    templates::{Ends, Template, TooManyKinds, Walk},
};

/// A method that stands for all that no statement writes, where `GET` cannot.
const ANY_METHOD: &str = "ANY";

impl Declared {
    /// The templates that match a request, those that do and do not take it, and those that do but for
    /// a slash: how a test finds its kind.
    #[cfg(test)]
    pub(super) fn matching(&self, method: &str, path: &str) -> [Vec<String>; 3] {
        let templates = self.sorted();
        let walk = Walk { templates: &templates, other: "" };
        let matching =
            if path.contains("%2F") { walk.matching_encoded(path) } else { walk.matching(path) };
        let ends = carrying(&templates, &matching).remove(method).unwrap_or_default();
        texts(&templates, &ends)
    }

    /// The templates, the most specific first.
    fn sorted(&self) -> Vec<(&String, &Template)> {
        let mut sorted: Vec<_> = self.templates.iter().collect();
        sorted.sort_by_key(|(text, template)| (template.ranks(), *text));
        sorted
    }

    /// The kinds of requests.
    pub(super) fn http(&self, kinds: &mut Vec<Kind>) -> Result<(), TooManyKinds> {
        let templates = self.sorted();
        let literals = templates.iter().flat_map(|(_, template)| &template.segments).flatten();
        let literals: BTreeSet<&str> = literals.map(String::as_str).collect();
        let other = unused(ANY, |text| literals.contains(text));
        let walk = Walk { templates: &templates, other: &other };
        let mut found: BTreeMap<(String, Ends), String> = BTreeMap::new();
        let mut visit = |path: &str, ends: &Ends| {
            for (method, ends) in carrying(&templates, ends) {
                found.entry((method.to_owned(), ends)).or_insert_with(|| path.to_owned());
            }
        };
        walk.all(&mut visit)?;
        walk.all_encoded(&mut visit)?;
        let path = walk.unmatched();
        let matching = walk.matching(&path);
        let taken = carrying(&templates, &matching);
        let method = if taken.contains_key("GET") { ANY_METHOD } else { "GET" };
        let method = unused(method, |text| taken.contains_key(text));
        found.insert((method, Ends::default()), path);
        for ((method, ends), path) in found {
            let Ok(path) = RequestPath::tolerating(&path, Tolerated::EncodedSlash) else {
                continue;
            };
            let [written, refusing, but_for_slash] = texts(&templates, &ends);
            kinds.push(Kind {
                example: Example::Http { method, path: path.into_owned() },
                templates: written,
                refusing,
                but_for_slash,
                protocol: Protocol::Http,
            });
        }
        Ok(())
    }
}

/// Of the templates that match a path, those that carry each method.
fn carrying<'t>(templates: &[(&String, &'t Template)], ends: &Ends) -> BTreeMap<&'t str, Ends> {
    let mut by_method: BTreeMap<&str, Ends> = BTreeMap::new();
    let find = |at: &usize| Some((*at, templates.get(*at)?.1));
    for (at, template) in ends.written.iter().filter_map(find) {
        for method in &template.methods {
            by_method.entry(method).or_default().written.push(at);
        }
    }
    for (at, template) in ends.refusing.iter().filter_map(find) {
        for method in &template.methods {
            by_method.entry(method).or_default().refusing.push(at);
        }
    }
    for (at, template) in ends.but_for_slash.iter().filter_map(find) {
        for method in &template.guarded {
            by_method.entry(method).or_default().but_for_slash.push(at);
        }
    }
    // What owns or guards a request has to do with what it asks for.
    let wire: BTreeMap<&str, Ends> = by_method.clone();
    for (method, ends) in by_method.iter_mut().filter(|(method, _)| wire_method(method) != **method)
    {
        if let Some(wire) = wire.get(wire_method(method)) {
            ends.clone_from(wire);
        }
    }
    by_method.values_mut().for_each(|it| it.encoded = ends.encoded);
    by_method
}

fn texts(templates: &[(&String, &Template)], ends: &Ends) -> [Vec<String>; 3] {
    let text = |at: &usize| Some((*templates.get(*at)?.0).clone());
    [&ends.written, &ends.refusing, &ends.but_for_slash]
        .map(|ends| ends.iter().filter_map(text).collect())
}

/// A text that `is_used` does not know: the one given, or that repeated.
fn unused(text: &str, is_used: impl Fn(&str) -> bool) -> String {
    let mut free = text.to_owned();
    while is_used(&free) {
        free.push_str(text);
    }
    free
}
