//! Path templates of one callee that match one path (CW0207).

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{CallDocument, Conflict, MAX_HTTP_TEMPLATES, PathTemplate};

use super::{Checker, Parts};
use crate::{codes::Code, finding::Problem, model::WorkloadNumber, place::Place};

/// A template of one callee, with all its methods.
struct Declared<'a> {
    template: PathTemplate,
    methods: BTreeSet<&'a str>,
    place: Place,
}

impl Checker<'_> {
    pub(super) fn templates(&mut self) {
        let mut by_callee: BTreeMap<WorkloadNumber, BTreeMap<&str, Declared<'_>>> = BTreeMap::new();
        let Parts { rules, grants, .. } = &self.parts;
        for rule in rules.iter().chain(grants.iter().map(|grant| &grant.rule)) {
            for call in &rule.calls {
                let CallDocument::Http { methods, path } = &call.call else { continue };
                let Ok(template) = PathTemplate::parse(path) else { continue };
                for callee in &rule.to {
                    let declared = by_callee.entry(*callee).or_default().entry(path);
                    declared
                        .or_insert_with(|| Declared {
                            template: template.clone(),
                            methods: BTreeSet::new(),
                            place: call.place,
                        })
                        .methods
                        .extend(methods.iter().map(String::as_str));
                }
            }
        }
        // One pair of places is one problem, for however many callees.
        let mut found = BTreeMap::new();
        for (callee, declared) in &by_callee {
            let Some(workload) = self.parts.workloads.get(callee.0) else { continue };
            if declared.len() > MAX_HTTP_TEMPLATES {
                let message = format!(
                    "rules declare more than {MAX_HTTP_TEMPLATES} path templates for `{}`",
                    workload.name
                );
                found.insert(
                    (workload.place, workload.place),
                    Problem::error(Code::TooMuch, workload.place, message),
                );
                continue;
            }
            let declared: Vec<_> = declared.values().collect();
            for (at, one) in declared.iter().enumerate() {
                for other in declared.iter().skip(at + 1) {
                    if let Some(conflict) = one.template.conflict(&other.template)
                        && !one.methods.is_disjoint(&other.methods)
                    {
                        let (first, second) = order(one, other);
                        found
                            .entry((second.place, first.place))
                            .or_insert_with(|| problem(first, second, conflict, &workload.name));
                    }
                }
            }
        }
        for problem in found.into_values() {
            self.problems.push(problem);
        }
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
