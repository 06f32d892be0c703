//! One call of one callee is idempotent wherever it stands, or nowhere (CW0209).

use std::collections::BTreeMap;

use cellwall_policy::CallDocument;

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Rule, WorkloadNumber},
    place::Place,
    syntax::CallItem,
};

impl Checker<'_> {
    pub(super) fn idempotent(&mut self) {
        // One pair of places is one problem, however many callees have both.
        let mut found = BTreeMap::new();
        for (number, workload) in self.parts.workloads.iter().enumerate() {
            let about: Vec<&Rule> = self.about(WorkloadNumber(number)).collect();
            let calls = || about.iter().flat_map(|rule| &rule.calls);
            if calls().any(|item| item.idempotent.is_some()) {
                contradictions(calls(), &workload.name, &mut found);
            }
        }
        found.into_values().for_each(|problem| self.problems.push(problem));
    }
}

fn contradictions<'a>(
    calls: impl Iterator<Item = &'a CallItem>,
    callee: &str,
    found: &mut BTreeMap<(Place, Place), Problem>,
) {
    let mut known: BTreeMap<(&str, &str), &CallItem> = BTreeMap::new();
    for item in calls {
        for call in each(&item.call) {
            let first = *known.entry(call).or_insert(item);
            if first.idempotent == item.idempotent {
                continue;
            }
            let (first, second) =
                if first.place <= item.place { (first, item) } else { (item, first) };
            found.entry((second.place, first.place)).or_insert_with(|| {
                let message = format!("`{} {}` is declared in two ways", call.0, call.1);
                Problem::error(Code::IdempotentElsewhere, second.place, message)
                    .label(format!("a call of `{callee}`"))
                    .help("write the same `idempotent` in both, or in none")
                    .related(first.place, "the other one")
            });
        }
    }
}

/// What a call stands for: of HTTP each method by itself, and never a connection.
fn each(call: &CallDocument) -> Vec<(&str, &str)> {
    match call {
        CallDocument::Http { methods, path } => {
            methods.iter().map(|method| (method.as_str(), path.as_str())).collect()
        }
        CallDocument::Grpc { service, method } => vec![(service.as_str(), method.as_str())],
        CallDocument::Tcp { .. } => Vec::new(),
    }
}
