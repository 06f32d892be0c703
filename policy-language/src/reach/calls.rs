//! Every kind of call that the statements about one callee can tell apart, with an example of each.
//!
//! The examples are what the engine is asked; nothing is decided here. Two requests are of one kind
//! when the same templates match them, those of guards also but for a slash at the end. The kinds
//! are found by walking all templates at once, segment by segment, as the engine's index does.

use std::collections::{BTreeMap, BTreeSet};

use cellwall_policy::{Call, CallDocument, Protocol, RequestPath};

use super::{
    statements::Statements,
    templates::{Template, TooManyKinds},
};
use crate::PolicySet;

/// A segment or name that stands for all that no statement writes.
pub(super) const ANY: &str = "~";

/// A call to ask about.
#[derive(Clone, Debug)]
pub(crate) enum Example {
    /// A request.
    Http {
        /// Its method.
        method: String,
        /// Its path.
        path: RequestPath<'static>,
    },
    /// A gRPC call.
    Grpc {
        /// The service.
        service: String,
        /// The method.
        method: String,
    },
    /// A connection.
    Tcp {
        /// The port.
        port: u16,
    },
}

/// A kind of call.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) example: Example,
    /// The templates that match calls of this kind, the most specific first.
    pub(crate) templates: Vec<String>,
    /// Those that match them, too, but do not take an encoded slash that their paths have.
    pub(crate) refusing: Vec<String>,
    /// Those of guards that match them but for a slash at the end of the path, or by the other reading
    /// of a `%2F` in it.
    pub(crate) but_for_slash: Vec<String>,
    pub(crate) protocol: Protocol,
}

/// What is declared about one callee, by rules and guards of all versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(super) templates: BTreeMap<String, Template>,
    services: BTreeMap<String, BTreeSet<String>>,
    ports: BTreeSet<u16>,
    protocols: BTreeSet<Protocol>,
}

impl Example {
    /// The call, as the engine takes it.
    pub(crate) fn call(&self) -> Call<'_> {
        match self {
            Self::Http { method, path } => Call::Http { method, path },
            Self::Grpc { service, method } => Call::Grpc { service, method },
            Self::Tcp { port } => Call::Tcp { port: *port },
        }
    }

    /// The method of an HTTP request.
    pub(crate) fn method(&self) -> Option<&str> {
        match self {
            Self::Http { method, .. } => Some(method),
            Self::Grpc { .. } | Self::Tcp { .. } => None,
        }
    }
}

impl Declared {
    /// What all versions declare about one callee.
    pub(super) fn of(sets: &[&PolicySet], callee: &str) -> Self {
        let mut declared = Self::default();
        for set in sets {
            let Some(number) = set.by_name.get(callee) else { continue };
            for listener in set.workload(*number).into_iter().flat_map(|it| &it.listens) {
                declared.listen(listener.protocol, listener.port);
            }
            let statements = Statements::about(set, *number);
            statements.allowed().for_each(|call| declared.name(call));
            statements.denied().for_each(|call| declared.guard(call));
        }
        declared
    }

    /// The callee listens for this protocol, for TCP on this port.
    pub(crate) fn listen(&mut self, protocol: Protocol, port: u16) {
        self.protocols.insert(protocol);
        if protocol == Protocol::Tcp {
            self.ports.insert(port);
        }
    }

    /// A guard names this call.
    pub(crate) fn guard(&mut self, call: &CallDocument) {
        self.name(call);
        if let CallDocument::Http { methods, path } = call {
            self.template(path).guarded.extend(methods.iter().cloned());
        }
    }

    /// A statement names this call.
    pub(crate) fn name(&mut self, call: &CallDocument) {
        match call {
            CallDocument::Http { methods, path } => {
                self.template(path).methods.extend(methods.iter().cloned());
            }
            CallDocument::Grpc { service, method } => {
                self.services.entry(service.clone()).or_default().insert(method.clone());
            }
            CallDocument::Tcp { port } => {
                self.ports.insert(*port);
            }
        }
    }

    fn template(&mut self, path: &str) -> &mut Template {
        self.templates.entry(path.to_owned()).or_insert_with(|| Template::parse(path))
    }

    /// The same, with one call more.
    pub(crate) fn with(&self, call: &CallDocument) -> Self {
        let mut more = self.clone();
        more.name(call);
        more
    }

    /// Every kind of call, with the one that no statement names.
    ///
    /// # Errors
    ///
    /// [`TooManyKinds`] when its templates cannot be looked at.
    pub(crate) fn kinds(&self) -> Result<Vec<Kind>, TooManyKinds> {
        let mut kinds = Vec::new();
        if self.protocols.contains(&Protocol::Http) {
            self.http(&mut kinds)?;
        }
        if self.protocols.contains(&Protocol::Grpc) {
            self.grpc(&mut kinds);
        }
        if self.protocols.contains(&Protocol::Tcp) {
            kinds.extend(self.ports.iter().map(|port| Kind {
                example: Example::Tcp { port: *port },
                templates: vec![format!("tcp:{port}")],
                refusing: Vec::new(),
                but_for_slash: Vec::new(),
                protocol: Protocol::Tcp,
            }));
        }
        Ok(kinds)
    }

    fn grpc(&self, kinds: &mut Vec<Kind>) {
        let mut push = |service: &str, method: &str, templates: Vec<String>| {
            let example = Example::Grpc { service: service.to_owned(), method: method.to_owned() };
            let (refusing, but_for_slash) = (Vec::new(), Vec::new());
            let protocol = Protocol::Grpc;
            kinds.push(Kind { example, templates, refusing, but_for_slash, protocol });
        };
        for (service, methods) in &self.services {
            let all = methods.contains("*").then(|| format!("{service}/*"));
            for method in methods.iter().filter(|method| *method != "*") {
                let own = format!("{service}/{method}");
                push(service, method, [own].into_iter().chain(all.clone()).collect());
            }
            if let Some(all) = all {
                push(service, ANY, vec![all]);
            }
        }
        push(ANY, ANY, Vec::new());
    }
}

impl Kind {
    /// Whether a guard that names this template is about calls of this kind.
    pub(super) fn is_guarded_by(&self, template: &str) -> bool {
        let mut all = self.templates.iter().chain(&self.refusing).chain(&self.but_for_slash);
        all.any(|it| it == template)
    }

    /// Whether no template matches such calls in any way.
    pub(super) fn is_other(&self) -> bool {
        self.templates.is_empty() && self.but_for_slash.is_empty()
    }

    /// Whether a gRPC call is of this kind: of its own, of its service's, or of no other.
    pub(super) fn is_grpc(&self, text: &str, all: &[Self]) -> bool {
        if self.protocol != Protocol::Grpc {
            return false;
        }
        let service = text.split_once('/').map_or(text, |(service, _)| service);
        let first = |kind: &Self| kind.templates.first().cloned().unwrap_or_default();
        let whole = format!("{service}/*");
        let best = |wanted: &str| all.iter().any(|kind| first(kind) == wanted);
        let wanted = if best(text) {
            text
        } else if best(&whole) {
            &whole
        } else {
            ""
        };
        first(self) == wanted
    }
}
