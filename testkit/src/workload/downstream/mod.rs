//! Calls to other workloads, through the local ports of the own sidecar.

mod grpc;
mod http;
mod tcp;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Call, Step,
    route::{Parameters, fill},
    stats::Counters,
};
use crate::tasks::Spawner;

/// How long one call may take, connecting included.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// All destinations that were called so far, with their connections.
#[derive(Debug)]
pub(super) struct Downstreams {
    /// How this workload names itself to TCP servers.
    claim: Arc<str>,
    counters: Counters,
    tasks: Spawner,
    sequence: AtomicU64,
    known: Mutex<BTreeMap<String, Arc<Downstream>>>,
}

/// The connections to one destination.
#[derive(Debug)]
struct Downstream {
    watch: Watch,
    http: http::Pool,
    grpc: grpc::Channel,
    tcp: tcp::Session,
}

/// Counts what happens to the connections to one destination, and runs them.
#[derive(Clone, Debug)]
struct Watch {
    to: Arc<str>,
    counters: Counters,
    tasks: Spawner,
}

/// A running connection.
#[derive(Debug)]
struct Running {
    address: SocketAddr,
    unwanted: Arc<AtomicBool>,
}

impl Watch {
    /// Runs a connection that was just opened. When it ends by itself, the other end closed it.
    fn run(
        &self,
        address: SocketAddr,
        connection: impl Future<Output = ()> + Send + 'static,
    ) -> Running {
        self.counters.downstream(&self.to, |stats| stats.opened += 1);
        let (watch, unwanted) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let running = Running { address, unwanted: unwanted.clone() };
        self.tasks.spawn(async move {
            connection.await;
            if !unwanted.load(Ordering::Relaxed) {
                watch.counters.downstream(&watch.to, |stats| stats.closed_unexpectedly += 1);
            }
        });
        running
    }
}

impl Running {
    /// Whether the connection leads there. One that does not is about to be dropped: its end is
    /// wanted.
    fn leads_to(&self, address: SocketAddr) -> bool {
        let leads = self.address == address;
        if !leads {
            self.unwanted.store(true, Ordering::Relaxed);
        }
        leads
    }
}

impl Downstreams {
    pub(super) fn new(claim: String, counters: Counters, tasks: Spawner) -> Self {
        Self {
            claim: claim.into(),
            counters,
            tasks,
            sequence: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// Makes one call; the reason, if it fails.
    pub(super) async fn call(
        &self,
        address: SocketAddr,
        step: &Step,
        parameters: &Parameters,
    ) -> Result<(), String> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let downstream = self.downstream(&step.to);
        let counters = &downstream.watch.counters;
        counters.downstream(&step.to, |stats| stats.calls += 1);
        let call = downstream.call(address, &step.call, parameters, sequence);
        let result = match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {CALL_DEADLINE:?}")),
        };
        if result.is_err() {
            counters.downstream(&step.to, |stats| stats.failures += 1);
        }
        result
    }

    fn downstream(&self, to: &str) -> Arc<Downstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let (counters, tasks) = (self.counters.clone(), self.tasks.clone());
            let watch = Watch { to: to.into(), counters, tasks };
            Arc::new(Downstream {
                http: http::Pool::new(watch.clone()),
                grpc: grpc::Channel::new(watch.clone()),
                tcp: tcp::Session::new(watch.clone(), self.claim.clone()),
                watch,
            })
        };
        known.entry(to.to_owned()).or_insert_with(new).clone()
    }
}

impl Downstream {
    async fn call(
        &self,
        address: SocketAddr,
        call: &Call,
        parameters: &Parameters,
        sequence: u64,
    ) -> Result<(), String> {
        match call {
            Call::Http { method, path } => {
                let path = fill(path, parameters, sequence);
                self.http.call(address, method, &path).await
            }
            Call::Grpc { service, method } => {
                self.grpc.call(address, &format!("/{service}/{method}")).await
            }
            Call::Tcp => self.tcp.call(address, sequence).await,
        }
    }
}
