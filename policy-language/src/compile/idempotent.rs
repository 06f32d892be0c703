//! What a caller's sidecar is told of the calls of a destination: which may be made twice.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{
    CallDocument, IdempotentBy, IdempotentDocument, PathTemplate, Protocol, wire_method,
};

use crate::{PolicySet, model::WorkloadNumber, syntax::CallItem};

/// The methods of each template, by what they are declared to be.
type Templates<'a> = BTreeMap<(&'a str, Option<IdempotentBy>), BTreeSet<&'a str>>;

impl PolicySet {
    /// The calls of a callee that may be made twice, and those others that own some of their requests,
    /// in some reading of an encoded slash: nothing of a callee that declares none.
    pub(crate) fn idempotent(
        &self,
        callee: WorkloadNumber,
        protocol: Protocol,
    ) -> Vec<IdempotentDocument> {
        let rules = self.index.rules(callee).filter_map(|at| self.rules.get(at));
        let grants = self.index.grants(callee).filter_map(|at| Some(&self.grants.get(at)?.rule));
        let calls: Vec<&CallItem> = rules
            .chain(grants)
            .flat_map(|rule| &rule.calls)
            .filter(|it| it.call.protocol() == protocol)
            .collect();
        if !calls.iter().any(|item| item.idempotent.is_some()) {
            return Vec::new();
        }
        let mut templates = Templates::new();
        let mut methods: BTreeMap<(&str, &str), Option<IdempotentBy>> = BTreeMap::new();
        for item in calls {
            match &item.call {
                CallDocument::Http { methods, path } => {
                    let known = templates.entry((path, item.idempotent)).or_default();
                    // What goes on in another protocol is never made again.
                    let wire = methods.iter().filter(|it| wire_method(it) == it.as_str());
                    known.extend(wire.map(String::as_str));
                }
                CallDocument::Grpc { service, method } => {
                    methods.insert((service, method), item.idempotent);
                }
                CallDocument::Tcp { .. } => {}
            }
        }
        http(&templates).into_iter().chain(grpc(&methods)).collect()
    }
}

fn http(templates: &Templates<'_>) -> Vec<IdempotentDocument> {
    let read = |path: &str| PathTemplate::parse(path).ok();
    let declared: Vec<_> = templates
        .iter()
        .filter(|((_, by), _)| by.is_some())
        .filter_map(|((path, _), methods)| Some((read(path)?, methods)))
        .collect();
    let takes_some = |path: &str, methods: &BTreeSet<&str>| {
        let Some(template) = read(path) else { return false };
        let meets = |(other, theirs): &(PathTemplate, &BTreeSet<&str>)| {
            !methods.is_disjoint(theirs)
                && (template.overlaps(other) || other.is_read_as(&template))
        };
        declared.iter().any(meets)
    };
    templates
        .iter()
        .filter(|((path, by), methods)| by.is_some() || takes_some(path, methods))
        .map(|((path, by), methods)| {
            let methods = methods.iter().map(|method| (*method).to_owned()).collect();
            let call = CallDocument::Http { methods, path: (*path).to_owned() };
            IdempotentDocument { call, by: *by }
        })
        .collect()
}

fn grpc(methods: &BTreeMap<(&str, &str), Option<IdempotentBy>>) -> Vec<IdempotentDocument> {
    let by_service = |service| methods.get(&(service, "*")).is_some_and(Option::is_some);
    methods
        .iter()
        .filter(|((service, _), by)| by.is_some() || by_service(*service))
        .map(|((service, method), by)| {
            let (service, method) = ((*service).to_owned(), (*method).to_owned());
            IdempotentDocument { call: CallDocument::Grpc { service, method }, by: *by }
        })
        .collect()
}
