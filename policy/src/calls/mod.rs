//! From a call to the declared template it belongs to, without allocating and without a scan.

mod http;

use std::{collections::HashMap, sync::Arc};

use thiserror::Error;

use crate::{Call, CallDocument, Conflict, Protocol, TemplateError, is_grpc_name, is_http_method};
use http::HttpIndex;
pub use http::MAX_HTTP_TEMPLATES;

/// A template and a method, numbered in one snapshot.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct RouteIndex(u32);

/// Every declared call of one callee.
#[derive(Debug)]
pub(crate) struct CallIndex {
    protocol: Protocol,
    port: u16,
    http: HttpIndex,
    grpc: HashMap<Box<str>, Service>,
    tcp: Option<RouteIndex>,
    routes: Routes,
}

/// Collects the calls of one callee.
#[derive(Debug)]
pub(crate) struct CallBuilder {
    index: CallIndex,
    declared: http::Declared,
}

/// The text of each route, as logs and metrics show it.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<Arc<str>>);

#[derive(Debug, Default)]
struct Service {
    methods: HashMap<Box<str>, RouteIndex>,
    others: Option<RouteIndex>,
}

/// Why a call cannot be declared.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CallError {
    /// The callee speaks something else (AZ-03).
    #[error("a {call} call on a {listens} port")]
    Protocol {
        /// What the callee declares.
        listens: &'static str,
        /// What the call is.
        call: &'static str,
    },
    /// The callee listens elsewhere.
    #[error("port {call} is not the declared port {listens}")]
    Port {
        /// The callee's port.
        listens: u16,
        /// The call's port.
        call: u16,
    },
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
    /// The callee declares more than one snapshot may hold.
    #[error("more templates than one callee may have")]
    TooMany,
}

impl CallIndex {
    /// The most specific route that carries the call. A call in another protocol has none (AZ-03):
    /// none can be declared.
    pub(crate) fn route(&self, call: &Call<'_>) -> Option<RouteIndex> {
        match call {
            Call::Http { method, path } => self.http.route(method, path),
            Call::Grpc { service, method } => {
                let service = self.grpc.get(*service)?;
                service.methods.get(*method).copied().or(service.others)
            }
            Call::Tcp => self.tcp,
        }
    }

    /// What the callee speaks.
    pub(crate) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The declared port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The text of a route.
    pub(crate) fn text(&self, route: RouteIndex) -> Option<&Arc<str>> {
        self.routes.0.get(usize::try_from(route.0).ok()?)
    }
}

impl CallBuilder {
    /// Of a callee that speaks `protocol` on `port`, without calls.
    pub(crate) fn new(protocol: Protocol, port: u16) -> Self {
        let index = CallIndex {
            protocol,
            port,
            http: HttpIndex::default(),
            grpc: HashMap::new(),
            tcp: None,
            routes: Routes::default(),
        };
        Self { index, declared: http::Declared::default() }
    }

    /// Declares a call and gives its routes: one, or for HTTP one for each method.
    pub(crate) fn declare(&mut self, call: &CallDocument) -> Result<Vec<RouteIndex>, CallError> {
        let CallIndex { protocol, port: listens, tcp, routes, .. } = &mut self.index;
        let spoken = call.protocol();
        if spoken != *protocol {
            return Err(CallError::Protocol { listens: protocol.as_str(), call: spoken.as_str() });
        }
        match call {
            CallDocument::Http { methods, path } => {
                let bad = |method: &&String| !is_http_method(method);
                if methods.is_empty() {
                    return Err(CallError::Method(String::new()));
                }
                match methods.iter().find(bad) {
                    Some(method) => Err(CallError::Method(method.clone())),
                    None => self.declared.declare(methods, path, routes),
                }
            }
            CallDocument::Grpc { service, method } => Ok(vec![self.declare_grpc(service, method)?]),
            CallDocument::Tcp { port } if port == listens => {
                let route = match *tcp {
                    Some(route) => route,
                    None => routes.push(Arc::from(format!("tcp:{port}")))?,
                };
                *tcp = Some(route);
                Ok(vec![route])
            }
            CallDocument::Tcp { port } => Err(CallError::Port { listens: *listens, call: *port }),
        }
    }

    /// The index of all calls, unless two templates contradict each other.
    pub(crate) fn finish(mut self) -> Result<CallIndex, CallError> {
        self.index.http = self.declared.compile()?;
        Ok(self.index)
    }

    fn declare_grpc(&mut self, service: &str, method: &str) -> Result<RouteIndex, CallError> {
        let text = format!("{service}/{method}");
        let single = is_grpc_name(method) && !method.contains('.');
        if !is_grpc_name(service) || !(single || method == "*") {
            return Err(CallError::Grpc(text));
        }
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

impl Routes {
    fn push(&mut self, text: Arc<str>) -> Result<RouteIndex, CallError> {
        let number = u32::try_from(self.0.len()).map_err(|_| CallError::TooMany)?;
        self.0.push(text);
        Ok(RouteIndex(number))
    }
}

#[cfg(test)]
mod tests;
