//! Which calls of a destination may be made twice, and by what a request shows that it is one.

use std::{collections::HashMap, sync::Arc};

use super::{CallBuilder, CallError, CallIndex, RouteIndex};
use crate::{Call, CallDocument, IdempotentBy, IdempotentDocument, ListensDocument, Protocol};

/// The calls of one destination that may be made twice. As for permissions, the most specific
/// template owns a request, so one that says nothing takes its requests from a wider one.
#[derive(Debug)]
pub struct Idempotent {
    calls: CallIndex,
    by: HashMap<RouteIndex, Option<IdempotentBy>>,
}

impl Idempotent {
    /// Of a destination that is spoken to in `protocol`; `None` when nothing is declared.
    pub(crate) fn index(
        protocol: Protocol,
        declared: &[IdempotentDocument],
    ) -> Result<Option<Arc<Self>>, CallError> {
        if declared.is_empty() {
            return Ok(None);
        }
        let mut calls = CallBuilder::new(&[ListensDocument::of(protocol, 0)]);
        let mut by = HashMap::new();
        for IdempotentDocument { call, by: declared } in declared {
            if let Some(declared) = *declared {
                check(call, declared)?;
            }
            for route in calls.declare(call)? {
                // What is said in two ways is not said.
                let merge = |known: &mut Option<_>| *known = known.filter(|_| *known == *declared);
                by.entry(route).and_modify(merge).or_insert(*declared);
            }
        }
        Ok(Some(Arc::new(Self { calls: calls.finish()?, by })))
    }

    /// By what `call` may be made twice, if at all. What says so is every template that an encoded
    /// slash of its path may lead to, and not the one of one reading alone.
    pub fn by(&self, call: &Call<'_>) -> Option<IdempotentBy> {
        let by = |route| self.by.get(&route).copied().flatten();
        let declared = by(self.calls.route(call)?)?;
        let mut readings = self.calls.readings(call).into_iter();
        readings.all(|route| by(route) == Some(declared)).then_some(declared)
    }
}

/// Whether a method alone says that a request may be sent twice (RFC 9110 §9.2.2). TRACE would, too,
/// and no call can name it.
pub fn is_idempotent_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}

fn check(call: &CallDocument, by: IdempotentBy) -> Result<(), CallError> {
    let methods = match (by, call) {
        (IdempotentBy::Method, CallDocument::Http { methods, .. }) => methods,
        (IdempotentBy::Key, CallDocument::Http { .. } | CallDocument::Grpc { .. }) => return Ok(()),
        (IdempotentBy::Method, CallDocument::Grpc { .. }) | (_, CallDocument::Tcp { .. }) => {
            return Err(CallError::Idempotent(call.protocol().as_str().to_owned()));
        }
    };
    match methods.iter().find(|method| !is_idempotent_method(method)) {
        Some(method) => Err(CallError::Idempotent(method.clone())),
        None => Ok(()),
    }
}
