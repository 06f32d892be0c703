//! From a call to every set of calls that contains it: what guards with `calls` are asked by.
//!
//! A rule counts only for requests whose most specific template it names. A guard counts for every
//! request that its template matches, whoever owns it, and whether or not the path ends in a slash:
//! the workload may read `/a/` as `/a`, so that a guard of one is a guard of both. For the same reason
//! a path with tolerated `%2F` is looked up as it is sent and as it reads with a slash for any of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{CallError, http, http::Ends, tree::HttpIndex};
use crate::{Call, CallDocument, ListensDocument, wire_method};

/// The numbers of the sets that contain a call, ascending.
type Sets = Arc<[u32]>;

/// Sets of calls, indexed.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    http: HttpIndex<Sets>,
    grpc: HashMap<Box<str>, Service<Sets>>,
    tcp: HashMap<u16, Sets>,
}

/// The sets that contain a call.
#[derive(Debug)]
pub(crate) struct Containing<'a> {
    /// As it is sent.
    sent: Option<&'a Sets>,
    /// With a slash for any of the encoded ones in its path.
    others: Vec<&'a Sets>,
}

/// Collects sets of calls.
#[derive(Debug, Default)]
pub(crate) struct MatchingBuilder {
    http: http::Declared<BTreeSet<u32>>,
    grpc: BTreeMap<Box<str>, Service<BTreeSet<u32>>>,
    tcp: BTreeMap<u16, BTreeSet<u32>>,
    sets: u32,
}

#[derive(Debug, Default)]
struct Service<S> {
    methods: HashMap<Box<str>, S>,
    others: S,
}

impl Matching {
    /// The sets that contain `call`, in each of its readings.
    pub(crate) fn sets(&self, call: &Call<'_>) -> Containing<'_> {
        let mut others = Vec::new();
        let sent = match call {
            Call::Http { method, path } => {
                // Who is denied a request is denied the upgrade that it asks for.
                let method = wire_method(method);
                others = self.http.find_readings(method, path);
                self.http.find(method, path)
            }
            Call::Grpc { service, method } => {
                let service = self.grpc.get(*service);
                service.map(|it| it.methods.get(*method).unwrap_or(&it.others))
            }
            Call::Tcp { port } => self.tcp.get(port),
        };
        Containing { sent, others }
    }
}

impl Containing<'_> {
    /// Whether this set does, in some reading.
    pub(crate) fn has(&self, set: u32) -> bool {
        let mut readings = self.sent.iter().chain(&self.others);
        readings.any(|sets| sets.binary_search(&set).is_ok())
    }
}

impl MatchingBuilder {
    /// Adds a set of calls that the callee can receive, and gives its number.
    pub(crate) fn add(
        &mut self,
        calls: &[CallDocument],
        listens: &[ListensDocument],
    ) -> Result<u32, CallError> {
        let set = self.sets;
        self.sets = set.checked_add(1).ok_or(CallError::TooMany)?;
        for call in calls {
            super::check(call, listens)?;
            match call {
                CallDocument::Http { methods, path } => {
                    for method in methods {
                        if wire_method(method) != method {
                            return Err(CallError::Method(method.clone()));
                        }
                        self.http.entry(method, path, |_| Ok(BTreeSet::new()))?.insert(set);
                    }
                }
                CallDocument::Grpc { service, method } => {
                    let service = self.grpc.entry(Box::from(service.as_str())).or_default();
                    if method == "*" {
                        service.others.insert(set);
                    } else {
                        service.methods.entry(Box::from(method.as_str())).or_default().insert(set);
                    }
                }
                CallDocument::Tcp { port } => {
                    self.tcp.entry(*port).or_default().insert(set);
                }
            }
        }
        Ok(set)
    }

    /// The index of all sets.
    pub(crate) fn finish(self) -> Result<Matching, CallError> {
        let http = self.http.compile(Ends::Both, |first, others| {
            let mut all = first.clone();
            all.extend(others.iter().copied().flatten());
            frozen(all)
        })?;
        let grpc = self.grpc.into_iter().map(|(name, service)| {
            let others = service.others;
            let methods = service.methods.into_iter();
            // `pkg.Service/*` contains also the methods that another call names.
            let methods = methods.map(|(method, sets)| (method, frozen(&sets | &others)));
            (name, Service { methods: methods.collect(), others: frozen(others.clone()) })
        });
        let tcp = self.tcp.into_iter().map(|(port, sets)| (port, frozen(sets)));
        Ok(Matching { http, grpc: grpc.collect(), tcp: tcp.collect() })
    }
}

fn frozen(sets: BTreeSet<u32>) -> Sets {
    sets.into_iter().collect()
}
