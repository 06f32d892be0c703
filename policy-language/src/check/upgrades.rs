//! Calls that ask to go on in another protocol, against callees that cannot (CW0210).

use std::collections::BTreeSet;

use cellwall_policy::{CallDocument, HttpVersion, Protocol, wire_method};

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Workload, WorkloadNumber},
    syntax::{CallItem, Listener},
};

impl Checker<'_> {
    /// HTTP/2 has no upgrade (RFC 9113 §8.6): each callee must have a listener for HTTP/1.1.
    pub(super) fn upgradeable(&mut self, callees: &BTreeSet<WorkloadNumber>, calls: &[CallItem]) {
        let mut problems = Vec::new();
        for call in calls.iter().filter(|call| asks(&call.call)) {
            let callees = callees.iter().filter_map(|number| self.parts.workloads.get(number.0));
            let Some((callee, listener)) = callees.filter_map(unable).next() else { continue };
            let message = "`upgrade` of a callee that speaks HTTP/2";
            let problem = Problem::error(Code::BadUpgrade, call.place, message)
                .label(format!("can never happen on `{}`", callee.name))
                .help(format!("declare `listens: {{http: {}}}`, or leave it out", listener.port))
                .related(listener.place, "declared here");
            problems.push(problem);
        }
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }
}

fn asks(call: &CallDocument) -> bool {
    match call {
        CallDocument::Http { methods, .. } => {
            methods.iter().any(|method| wire_method(method) != method)
        }
        CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => false,
    }
}

/// A callee all of whose HTTP listeners speak HTTP/2, and the first of them.
fn unable(callee: &Workload) -> Option<(&Workload, Listener)> {
    let mut http = callee.listens.iter().filter(|it| it.protocol == Protocol::Http);
    let first = *http.clone().next()?;
    http.all(|it| it.version == HttpVersion::Http2).then_some((callee, first))
}
