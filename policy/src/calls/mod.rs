//! From a call to the declared template it belongs to, without allocating and without a scan.

mod http;
mod idempotent;
mod matching;
mod tree;

use std::sync::Arc;

use thiserror::Error;

use crate::{
    Call, CallDocument, Conflict, ListensDocument, PathTemplate, Protocol, RequestPath,
    TemplateError, Tolerated, is_call_method, is_grpc_name, lookup::Lookup, wire_method,
};
use http::Ends;
pub use http::MAX_HTTP_TEMPLATES;
pub use idempotent::{Idempotent, is_idempotent_method};
pub(crate) use matching::{Matching, MatchingBuilder};
use tree::HttpIndex;

/// A template and a method, numbered in one snapshot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct RouteIndex(u32);

/// Every declared call of one callee.
#[derive(Debug)]
pub(crate) struct CallIndex {
    listens: Vec<ListensDocument>,
    http: HttpIndex<RouteIndex>,
    grpc: Lookup<Box<str>, Service>,
    tcp: Lookup<u16, RouteIndex>,
    routes: Routes,
    /// The templates that take an encoded slash somewhere.
    loosened: Lookup<RouteIndex, PathTemplate>,
}

/// Collects the calls of one callee.
#[derive(Debug)]
pub(crate) struct CallBuilder {
    index: CallIndex,
    declared: http::Declared<RouteIndex>,
}

/// The text of each route, as logs and metrics show it.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Arc<str>>);

#[derive(Debug, Default)]
struct Service {
    methods: Lookup<Box<str>, RouteIndex>,
    others: Option<RouteIndex>,
}

/// Why a call cannot be declared.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CallError {
    /// The callee speaks something else (AZ-03).
    #[error("a {0} call, and no {0} port")]
    Protocol(&'static str),
    /// The callee does not speak TCP on this port.
    #[error("port {0} is not a declared tcp port")]
    Port(u16),
    /// The path template is not legal.
    #[error("bad path template")]
    Template(#[from] TemplateError),
    /// There is no method, or one that is not legal.
    #[error("`{0}` is not an HTTP method that a call may name")]
    Method(String),
    /// The service or method is not a gRPC name.
    #[error("`{0}` is not a gRPC service and method")]
    Grpc(String),
    /// Two templates may not stand beside each other.
    #[error("`{first}` and `{second}` match one path and neither is more specific: {conflict:?}")]
    Conflict {
        /// One of the two.
        first: Arc<str>,
        /// The other one.
        second: Arc<str>,
        /// What is between them.
        conflict: Conflict,
    },
    /// A call that is no such call is declared to be one that may be made twice.
    #[error("`{0}` does not say that a call may be made twice")]
    Idempotent(String),
    /// The callee declares more than one snapshot may hold.
    #[error("more templates than one callee may have")]
    TooMany,
}

impl CallIndex {
    /// The most specific route that carries the call. A call in another protocol has none (AZ-03):
    /// none can be declared. A path with an encoded slash has none either where the template that
    /// owns it does not take that (HTTP-08): no wider one gets what is not its own.
    pub(crate) fn route(&self, call: &Call<'_>) -> Option<RouteIndex> {
        match call {
            Call::Http { method, path } => {
                let route = self.http.find(method, path).copied()?;
                (self.owns(route, method, path) && self.takes(route, path)).then_some(route)
            }
            Call::Grpc { service, method } => {
                let service = self.grpc.get(*service)?;
                service.methods.get(*method).copied().or(service.others)
            }
            Call::Tcp { port } => self.tcp.get(port).copied(),
        }
    }

    /// The most specific routes of a call in all readings of its path, where it has several.
    pub(crate) fn readings(&self, call: &Call<'_>) -> Vec<RouteIndex> {
        match call {
            Call::Http { method, path } => {
                self.http.find_readings(method, path).into_iter().copied().collect()
            }
            Call::Grpc { .. } | Call::Tcp { .. } => Vec::new(),
        }
    }

    /// Whether the template of a route owns the request as it is on the wire. An upgrade is granted
    /// by the owner of the request, and by no wider template that names it, too.
    fn owns(&self, route: RouteIndex, method: &str, path: &RequestPath<'_>) -> bool {
        let wire = wire_method(method);
        wire == method
            || self.http.find(wire, path).is_some_and(|owner| self.text(*owner) == self.text(route))
    }

    /// Whether the template of a route takes every encoded slash of a path that it matches.
    fn takes(&self, route: RouteIndex, path: &RequestPath<'_>) -> bool {
        path.split().is_none() || self.loosened.get(&route).is_some_and(|it| it.takes(path))
    }

    /// Whether the callee listens for calls of this kind (AZ-03).
    pub(crate) fn speaks(&self, call: &Call<'_>) -> bool {
        let wanted = call.protocol();
        self.listens.iter().any(|listener| match call {
            Call::Tcp { port } => listener.protocol == wanted && listener.port == *port,
            Call::Http { .. } | Call::Grpc { .. } => listener.protocol == wanted,
        })
    }

    /// The declared listeners.
    pub(crate) fn listens(&self) -> &[ListensDocument] {
        &self.listens
    }

    /// What some declared template tolerates in a path.
    pub(crate) fn tolerated(&self) -> Tolerated {
        if self.loosened.is_empty() { Tolerated::Nothing } else { Tolerated::EncodedSlash }
    }

    /// The text of a route.
    pub(crate) fn text(&self, route: RouteIndex) -> Option<&Arc<str>> {
        self.routes.0.get(usize::try_from(route.0).ok()?)
    }
}

impl CallBuilder {
    /// Of a callee with these listeners, without calls.
    pub(crate) fn new(listens: &[ListensDocument]) -> Self {
        let index = CallIndex {
            listens: listens.to_vec(),
            http: HttpIndex::default(),
            grpc: Lookup::default(),
            tcp: Lookup::default(),
            routes: Routes::default(),
            loosened: Lookup::default(),
        };
        Self { index, declared: http::Declared::default() }
    }

    /// Declares a call and gives its routes: one, or for HTTP one for each method.
    pub(crate) fn declare(&mut self, call: &CallDocument) -> Result<Vec<RouteIndex>, CallError> {
        check(call, &self.index.listens)?;
        let CallIndex { tcp, routes, loosened, .. } = &mut self.index;
        match call {
            CallDocument::Http { methods, path } => {
                let mut declared = Vec::with_capacity(methods.len());
                for method in methods {
                    let new = |template: &PathTemplate| {
                        let route = routes.push(template.text())?;
                        if template.tolerates() == Tolerated::EncodedSlash {
                            loosened.insert(route, template.clone());
                        }
                        Ok(route)
                    };
                    declared.push(*self.declared.entry(method, path, new)?);
                }
                Ok(declared)
            }
            CallDocument::Grpc { service, method } => Ok(vec![self.declare_grpc(service, method)?]),
            CallDocument::Tcp { port } => {
                let route = match tcp.get(port) {
                    Some(route) => *route,
                    None => routes.push(Arc::from(format!("tcp:{port}")))?,
                };
                tcp.insert(*port, route);
                Ok(vec![route])
            }
        }
    }

    /// The index of all calls, unless two templates contradict each other.
    pub(crate) fn finish(mut self) -> Result<CallIndex, CallError> {
        self.declared.check_conflicts()?;
        // The most specific template owns the request.
        self.index.http = self.declared.compile(Ends::Written, |first, _| *first)?;
        Ok(self.index)
    }

    fn declare_grpc(&mut self, service: &str, method: &str) -> Result<RouteIndex, CallError> {
        let text = format!("{service}/{method}");
        let single = method != "*";
        let entry = self.index.grpc.entry(Box::from(service)).or_default();
        let known = if single { entry.methods.get(method).copied() } else { entry.others };
        if let Some(route) = known {
            return Ok(route);
        }
        let route = self.index.routes.push(Arc::from(text))?;
        if single {
            entry.methods.insert(Box::from(method), route);
        } else {
            entry.others = Some(route);
        }
        Ok(route)
    }
}

/// A call must be legal, and one that the callee can receive (AZ-03).
fn check(call: &CallDocument, listens: &[ListensDocument]) -> Result<(), CallError> {
    let spoken = call.protocol();
    if !listens.iter().any(|listener| listener.protocol == spoken) {
        return Err(CallError::Protocol(spoken.as_str()));
    }
    match call {
        CallDocument::Http { methods, .. } if methods.is_empty() => {
            Err(CallError::Method(String::new()))
        }
        CallDocument::Http { methods, .. } => {
            // Whoever may ask for an upgrade may make the request.
            let is_whole = |method: &str| methods.iter().any(|it| it == wire_method(method));
            match methods.iter().find(|method| !is_call_method(method) || !is_whole(method)) {
                Some(method) => Err(CallError::Method(method.clone())),
                None => Ok(()),
            }
        }
        CallDocument::Grpc { service, method } => {
            let single = is_grpc_name(method) && !method.contains('.');
            if is_grpc_name(service) && (single || method == "*") {
                Ok(())
            } else {
                Err(CallError::Grpc(format!("{service}/{method}")))
            }
        }
        CallDocument::Tcp { port } => {
            let listener = ListensDocument::of(Protocol::Tcp, *port);
            if listens.contains(&listener) { Ok(()) } else { Err(CallError::Port(*port)) }
        }
    }
}

impl Routes {
    fn push(&mut self, text: Arc<str>) -> Result<RouteIndex, CallError> {
        let number = u32::try_from(self.0.len()).map_err(|_| CallError::TooMany)?;
        self.0.push(text);
        Ok(RouteIndex(number))
    }
}

#[cfg(test)]
mod tests;
