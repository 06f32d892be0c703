//! The calls that a version declares idempotent: that opens no edge, but lets calls be made twice.

use std::collections::BTreeMap;

use cellwall_policy::{CallDocument, IdempotentBy};

use crate::{PolicySet, syntax::CallItem};

/// By what, by `CALLEE CALL`.
pub(super) fn declared(set: &PolicySet) -> BTreeMap<String, String> {
    let rules = set.rules.iter().chain(set.grants.iter().map(|grant| &grant.rule));
    let mut declared = BTreeMap::new();
    for rule in rules {
        for CallItem { call, idempotent, .. } in &rule.calls {
            let Some(by) = idempotent else { continue };
            let callees = rule.to.iter().filter_map(|callee| set.workload(*callee));
            for callee in callees {
                let named = names(call).into_iter().map(|call| format!("{} {call}", callee.name));
                declared.extend(named.map(|name| (name, text(*by).to_owned())));
            }
        }
    }
    declared
}

/// The callee of such a name.
pub(super) fn callee(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(callee, _)| callee)
}

fn names(call: &CallDocument) -> Vec<String> {
    match call {
        CallDocument::Http { methods, path } => {
            methods.iter().map(|method| format!("{method} {path}")).collect()
        }
        CallDocument::Grpc { service, method } => vec![format!("{service}/{method}")],
        CallDocument::Tcp { .. } => Vec::new(),
    }
}

fn text(by: IdempotentBy) -> &'static str {
    match by {
        IdempotentBy::Method => "method",
        IdempotentBy::Key => "key",
    }
}
