//! The calls that a version declares idempotent: that opens no edge, but lets calls be made twice.

use std::collections::BTreeMap;

use cellwall_policy::{CallDocument, IdempotentBy, IdempotentDocument};

use crate::{PolicySet, model::WorkloadNumber};

/// By what, by `CALLEE CALL`: as callers' sidecars are told. What is made once although a wider
/// template is declared is listed, too: without it that template would own its requests.
pub(super) fn declared(set: &PolicySet) -> BTreeMap<String, String> {
    let mut declared = BTreeMap::new();
    for (number, callee) in set.workloads.iter().enumerate() {
        let calls = callee.listens.iter().map(|listener| listener.protocol);
        let calls = calls.flat_map(|protocol| set.idempotent(WorkloadNumber(number), protocol));
        for IdempotentDocument { call, by } in calls {
            let (by, once) = text(by);
            let named = names(&call).into_iter();
            let named = named.map(|call| format!("{} {call}{once}", callee.name));
            declared.extend(named.map(|name| (name, by.to_owned())));
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

/// By what, and what is said behind the name: one that is gone must not read as a declaration that is.
fn text(by: Option<IdempotentBy>) -> (&'static str, &'static str) {
    match by {
        Some(IdempotentBy::Method) => ("method", ""),
        Some(IdempotentBy::Key) => ("key", ""),
        None => ("once", " (once)"),
    }
}
