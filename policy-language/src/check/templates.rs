//! Path templates of one callee that match one path (CW0207).

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{CallDocument, Conflict, MAX_HTTP_TEMPLATES, PathTemplate};

use super::{Checker, Parts};
use crate::{
    codes::Code,
    finding::Problem,
    model::{Rule, WorkloadNumber},
    place::Place,
};

/// A template of one callee, with all its methods.
struct Declared<'a> {
    template: &'a PathTemplate,
    methods: BTreeSet<&'a str>,
    place: Place,
}

/// The templates of all calls, each read once.
type Templates<'a> = BTreeMap<&'a str, PathTemplate>;

impl Checker<'_> {
    pub(super) fn templates(&mut self) {
        let read = self.read_templates();
        // One pair of places is one problem, and callees of the same statements have the same.
        let mut found = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (number, workload) in self.parts.workloads.iter().enumerate() {
            let about: Vec<&Rule> = self.about(WorkloadNumber(number)).collect();
            let places: Vec<Place> = about.iter().map(|rule| rule.place).collect();
            let too_many = *seen.entry(places).or_insert_with(|| {
                let declared = declared(&about, &read);
                let too_many = declared.len() > MAX_HTTP_TEMPLATES;
                if !too_many {
                    conflicts(&declared, &workload.name, &mut found);
                }
                too_many
            });
            if too_many {
                let message = format!(
                    "rules declare more than {MAX_HTTP_TEMPLATES} path templates for `{}`",
                    workload.name
                );
                let problem = Problem::error(Code::TooMuch, workload.place, message);
                found.insert((workload.place, workload.place), problem);
            }
        }
        for problem in found.into_values() {
            self.problems.push(problem);
        }
    }

    /// The rules and grants about a callee.
    pub(super) fn about(&self, callee: WorkloadNumber) -> impl Iterator<Item = &Rule> {
        let Parts { index, rules, grants, .. } = &self.parts;
        let rules = index.rules(callee).filter_map(|at| rules.get(at));
        rules.chain(index.grants(callee).filter_map(|at| Some(&grants.get(at)?.rule)))
    }

    fn read_templates(&self) -> Templates<'_> {
        let Parts { rules, grants, .. } = &self.parts;
        let mut templates = Templates::new();
        for rule in rules.iter().chain(grants.iter().map(|grant| &grant.rule)) {
            for call in &rule.calls {
                if let CallDocument::Http { path, .. } = &call.call
                    && !templates.contains_key(path.as_str())
                    && let Ok(template) = PathTemplate::parse(path)
                {
                    templates.insert(path, template);
                }
            }
        }
        templates
    }
}

/// The templates that some rules declare together.
fn declared<'a>(rules: &[&'a Rule], read: &'a Templates<'a>) -> Vec<Declared<'a>> {
    let mut declared: BTreeMap<&str, Declared<'a>> = BTreeMap::new();
    for call in rules.iter().flat_map(|rule| &rule.calls) {
        let CallDocument::Http { methods, path } = &call.call else { continue };
        let Some(template) = read.get(path.as_str()) else { continue };
        let place = call.place;
        let known = declared.entry(path);
        let known = known.or_insert_with(|| Declared { template, methods: BTreeSet::new(), place });
        known.methods.extend(methods.iter().map(String::as_str));
    }
    declared.into_values().collect()
}

fn conflicts(
    declared: &[Declared<'_>],
    callee: &str,
    found: &mut BTreeMap<(Place, Place), Problem>,
) {
    let mut rest = declared;
    while let Some((one, others)) = rest.split_first() {
        for other in others {
            if let Some(conflict) = one.template.conflict(other.template)
                && !one.methods.is_disjoint(&other.methods)
            {
                let (first, second) = order(one, other);
                found
                    .entry((second.place, first.place))
                    .or_insert_with(|| problem(first, second, conflict, callee));
            }
        }
        rest = others;
    }
}

fn order<'a, 'd>(
    one: &'a Declared<'d>,
    other: &'a Declared<'d>,
) -> (&'a Declared<'d>, &'a Declared<'d>) {
    if one.place <= other.place { (one, other) } else { (other, one) }
}

fn problem(
    first: &Declared<'_>,
    second: &Declared<'_>,
    conflict: Conflict,
    callee: &str,
) -> Problem {
    let message = format!(
        "`{}` and `{}` both match some path of `{callee}`",
        first.template, second.template
    );
    let help = match conflict {
        Conflict::Unordered => "make one more specific than the other in every segment",
        Conflict::SameShape => "write the same parameter names in both",
        Conflict::Slash => "the two differ in a trailing slash, which some servers ignore",
    };
    Problem::error(Code::AmbiguousTemplates, second.place, message)
        .label("neither is more specific")
        .help(help)
        .related(first.place, "the other one")
}
