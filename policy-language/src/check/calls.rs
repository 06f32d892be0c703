//! Calls against the listeners of those who are called, and calls within calls.

use std::collections::BTreeSet;

use cellwall_policy::CallDocument;

use super::Checker;
use crate::{
    codes::Code,
    finding::Problem,
    model::{Members, Workload, WorkloadNumber},
    place::Place,
    syntax::{CallItem, Listener},
};

/// Why no listener receives a call.
struct Mismatch {
    message: String,
    help: String,
    /// The listener that is nearest.
    nearest: Place,
}

impl Checker<'_> {
    /// Each callee must be able to receive each call (AZ-03). A call is reported once.
    pub(super) fn receivable(&mut self, callees: &BTreeSet<WorkloadNumber>, calls: &[CallItem]) {
        let mut problems = Vec::new();
        let listens = |callee: &&WorkloadNumber| self.parts.workloads.get(callee.0);
        for call in calls {
            let is_deaf = |callee: &Workload| is_deaf(&call.call, &callee.listens);
            let mut deaf = callees.iter().filter_map(|it| listens(&it)).filter(|it| is_deaf(it));
            let Some(callee) = deaf.next() else { continue };
            let Some(Mismatch { message, help, nearest }) = mismatch(&call.call, &callee.listens)
            else {
                continue;
            };
            let label = match deaf.count() {
                0 => format!("can never match on `{}`", callee.name),
                more => format!("can never match on `{}` and {more} more", callee.name),
            };
            let problem = Problem::error(Code::ProtocolMismatch, call.place, message)
                .label(label)
                .help(help)
                .related(nearest, "declared here");
            problems.push(problem);
        }
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }

    /// At least one callee must be able to receive each call of a guard.
    pub(super) fn receivable_by_some(&mut self, callees: &Members, calls: &[CallItem]) {
        let mut problems = Vec::new();
        for call in calls {
            let all = self.parts.workloads.iter().enumerate();
            let mut named =
                all.filter(|(number, _)| callees.contain(WorkloadNumber(*number))).peekable();
            let Some((_, first)) = named.peek().copied() else { continue };
            if named.any(|(_, callee)| !is_deaf(&call.call, &callee.listens)) {
                continue;
            }
            let Some(Mismatch { message, help, nearest }) = mismatch(&call.call, &first.listens)
            else {
                continue;
            };
            let problem = Problem::error(Code::ProtocolMismatch, call.place, message)
                .label("no callee of this guard can receive it")
                .help(help)
                .related(nearest, format!("`{}` declares this", first.name));
            problems.push(problem);
        }
        problems.into_iter().for_each(|problem| self.problems.push(problem));
    }
}

/// Whether none of the listeners that are known can ever receive a call.
fn is_deaf(call: &CallDocument, listens: &[Listener]) -> bool {
    let want = call.protocol();
    let receives = |it: &Listener| match call {
        CallDocument::Tcp { port } => it.protocol == want && it.port == *port,
        CallDocument::Http { .. } | CallDocument::Grpc { .. } => it.protocol == want,
    };
    !listens.is_empty() && !listens.iter().any(receives)
}

/// Why listeners can never receive a call.
fn mismatch(call: &CallDocument, listens: &[Listener]) -> Option<Mismatch> {
    let want = call.protocol();
    let first = listens.first()?;
    let same: Vec<_> = listens.iter().filter(|it| it.protocol == want).collect();
    let nearest = same.first().map_or(first.place, |it| it.place);
    let want = want.as_str();
    let (message, help) = match (call, same.as_slice(), listens.len()) {
        (CallDocument::Tcp { port }, [only], _) => {
            (format!("port {port} is not the declared port"), format!("use `tcp: {}`", only.port))
        }
        (CallDocument::Tcp { port }, [_, ..], _) => {
            let ports: Vec<_> = same.iter().map(|it| format!("`tcp: {}`", it.port)).collect();
            (format!("port {port} is not a declared port"), format!("use {}", ports.join(" or ")))
        }
        (_, _, 1) => {
            let (have, port) = (first.protocol.as_str(), first.port);
            (
                format!("`{want}` call on a `{have}` port"),
                format!("write a `{have}` call, or declare `listens: {{{want}: {port}}}`"),
            )
        }
        _ => (
            format!("`{want}` call, and no `{want}` port"),
            format!("add a `{want}` listener, on a port of its own"),
        ),
    };
    Some(Mismatch { message, help, nearest })
}

/// Whether every request of `inner`, a rule's, is one that `outer`, a guard's, match too. Never yes
/// where it is not so; where only several together match all of them it is no.
pub(super) fn contains(outer: &[CallItem], inner: &CallDocument) -> bool {
    match inner {
        CallDocument::Http { methods, path } => methods.iter().all(|method| {
            outer.iter().any(|it| match &it.call {
                CallDocument::Http { methods, path: wide } => {
                    methods.contains(method) && matches_all(wide, path)
                }
                CallDocument::Grpc { .. } | CallDocument::Tcp { .. } => false,
            })
        }),
        CallDocument::Grpc { service, method } => outer.iter().any(|it| match &it.call {
            CallDocument::Grpc { service: wide, method: any } => {
                wide == service && (any == "*" || any == method)
            }
            CallDocument::Http { .. } | CallDocument::Tcp { .. } => false,
        }),
        CallDocument::Tcp { .. } => outer.iter().any(|it| it.call == *inner),
    }
}

/// Whether a guard's path template is about every path that another one matches. A slash at the end
/// of either makes no difference to a guard.
fn matches_all(wide: &str, narrow: &str) -> bool {
    let mut wide = wide.strip_suffix('/').unwrap_or(wide).split('/');
    let mut narrow = narrow.strip_suffix('/').unwrap_or(narrow).split('/');
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            // The last part: it takes all that is left, which is at least one segment.
            (Some(part), Some(_)) if part.ends_with("...}") => return true,
            (Some(part), Some(other)) => {
                let is_any = part.starts_with('{') && !other.ends_with("...}");
                if !is_any && part != other {
                    return false;
                }
            }
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use cellwall_policy::CallDocument;

    use super::contains;
    use crate::{
        place::{FileNumber, Place},
        syntax::CallItem,
    };

    fn call(text: &str) -> CallDocument {
        match text.split_once(' ') {
            Some((methods, path)) => CallDocument::Http {
                methods: methods.split(',').map(str::to_owned).collect(),
                path: path.to_owned(),
            },
            None => match text.split_once('/') {
                Some((service, method)) => {
                    CallDocument::Grpc { service: service.to_owned(), method: method.to_owned() }
                }
                None => CallDocument::Tcp { port: text.parse().unwrap() },
            },
        }
    }

    #[test]
    fn a_call_is_contained_only_where_each_of_its_requests_is() {
        for (outer, inner, expected) in [
            ("GET /a", "GET /a", true),
            ("GET /a", "GET /b", false),
            ("GET /a", "PUT /a", false),
            ("GET /a", "GET,PUT /a", false),
            ("GET,PUT /a", "PUT /a", true),
            ("GET /a|PUT /a", "GET,PUT /a", true),
            ("GET /{x}", "GET /a", true),
            ("GET /{x}", "GET /{y}", true),
            ("GET /a", "GET /{x}", false),
            ("GET /{x}", "GET /a/b", false),
            ("GET /{x}", "GET /", false),
            ("GET /{x}", "GET /{y...}", false),
            ("GET /{x...}", "GET /{y...}", true),
            ("GET /{x...}", "GET /a/{b}/{c...}", true),
            ("GET /a/{x...}", "GET /{y...}", false),
            ("GET /a/{x...}", "GET /a", false),
            ("GET /a/{x...}", "GET /b/c", false),
            // A slash at the end of either makes no difference, and is no segment.
            ("GET /{x...}", "GET /a/", true),
            ("GET /{x...}", "GET /", false),
            ("GET /a/{x...}", "GET /a/", false),
            ("GET /{x}", "GET /", false),
            ("GET /a/", "GET /a/", true),
            ("GET /{x}/", "GET /a/", true),
            ("GET /{x}/", "GET /a", true),
            ("GET /{x}", "GET /a/", true),
            ("GET /a", "GET /a/", true),
            ("GET /a/", "GET /a", true),
            ("GET /a/", "GET /b", false),
            ("GET /a/", "GET /a/b", false),
            ("GET /a/", "GET /{x...}", false),
            ("GET /", "GET /", true),
            ("GET /", "GET /a", false),
            ("a.A/Get", "a.A/Get", true),
            ("a.A/*", "a.A/Get", true),
            ("a.A/*", "a.A/*", true),
            ("a.A/Get", "a.A/*", false),
            ("b.A/*", "a.A/Get", false),
            ("1", "1", true),
            ("1", "2", false),
            ("GET /a", "a.A/Get", false),
            ("a.A/*", "GET /a", false),
        ] {
            let place = Place::new(FileNumber(0), 0, 0);
            let outer_calls: Vec<_> = outer
                .split('|')
                .map(|text| CallItem { place, call: call(text), idempotent: None })
                .collect();
            assert_eq!(contains(&outer_calls, &call(inner)), expected, "{outer} / {inner}");
        }
    }
}
