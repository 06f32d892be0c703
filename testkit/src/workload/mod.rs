//! A small real service: it says what it saw, before it answers, and calls others as it is told.

pub mod args;
mod downstream;
mod grpc;
mod http;
mod record;
mod route;
mod stats;
mod tcp;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};

use self::{downstream::Downstreams, record::Log, stats::Counters};
pub use self::{
    record::{Record, Saw},
    route::{Call, Route, RouteError, Step},
    stats::{DownstreamStats, Stats},
};
use crate::tasks::{Spawner, Tasks};

/// What one workload is and does.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// Its name in the policy, for example `card-vault`.
    pub name: String,
    /// Its environment, for example `prod`; empty where the identity template has none.
    pub environment: String,
    /// What it speaks; never guessed.
    pub protocol: Protocol,
    /// Where it serves its protocol; port 0 is allowed.
    pub listen: SocketAddr,
    /// Where it serves `GET /stats`, without a record of it; port 0 is allowed.
    pub stats: SocketAddr,
    /// The file that gets one JSON line per request.
    pub log: PathBuf,
    /// Which calls it makes for which request.
    pub routes: Vec<Route>,
    /// Where it reaches others: the local ports of its own sidecar.
    pub destinations: BTreeMap<String, SocketAddr>,
}

/// What a workload speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// gRPC over HTTP/2 without TLS.
    Grpc,
    /// Lines: `HELLO ENV/WORKLOAD`, then `POST ID AMOUNT`, each answered by `OK N`.
    Tcp,
}

impl Protocol {
    /// As the policy writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// A running workload. It ends when this is dropped.
#[derive(Debug)]
pub struct Workload {
    address: SocketAddr,
    stats_address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Tasks,
}

/// What all connections of a workload share.
#[derive(Debug)]
struct Shared {
    name: String,
    environment: String,
    protocol: Protocol,
    routes: Vec<Route>,
    log: Log,
    counters: Counters,
    downstreams: Downstreams,
    destinations: RwLock<BTreeMap<String, SocketAddr>>,
    connections: AtomicU64,
}

impl Workload {
    /// Binds its listeners and serves.
    ///
    /// # Errors
    /// If a listener cannot be bound or the log cannot be opened.
    pub async fn start(config: WorkloadConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let stats_listener = TcpListener::bind(config.stats).await?;
        let (address, stats_address) = (listener.local_addr()?, stats_listener.local_addr()?);
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let counters = Counters::default();
        let claim = claim(&config.environment, &config.name);
        let shared = Arc::new(Shared {
            log: Log::append(&config.log)?,
            downstreams: Downstreams::new(claim, counters.clone(), spawner.clone()),
            counters,
            name: config.name,
            environment: config.environment,
            protocol: config.protocol,
            routes: config.routes,
            destinations: RwLock::new(config.destinations),
            connections: AtomicU64::new(0),
        });
        spawner.spawn(accept(listener, shared.clone(), spawner.clone()));
        spawner.spawn(stats::serve(stats_listener, shared.counters.clone(), spawner.clone()));
        Ok(Self { address, stats_address, shared, tasks })
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves `GET /stats`.
    pub const fn stats_address(&self) -> SocketAddr {
        self.stats_address
    }

    /// Replaces where others are reached. Connections to an address that is gone are dropped at
    /// the next call.
    pub fn reach(&self, destinations: BTreeMap<String, SocketAddr>) {
        *self.shared.destinations.write().unwrap_or_else(PoisonError::into_inner) = destinations;
    }

    /// What it counted.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }

    /// Stops at once and waits until nothing runs any more.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}

/// How a workload names itself where nothing proves it: `ENV/WORKLOAD`, or `WORKLOAD` without an
/// environment.
fn claim(environment: &str, name: &str) -> String {
    if environment.is_empty() { name.to_owned() } else { format!("{environment}/{name}") }
}

impl Shared {
    /// Writes down what was seen; called before anything is answered.
    fn saw(&self, connection: u64, caller: Vec<String>, saw: Saw) -> io::Result<()> {
        self.counters.request();
        self.log.write(&Record::now(self, connection, caller, saw))
    }

    /// Makes the calls that belong to a request, one after the other, until one fails.
    async fn follow(&self, call: &Call) -> Result<(), StepFailed> {
        let Some((route, parameters)) = Route::find(&self.routes, call) else { return Ok(()) };
        for step in &route.steps {
            let result = match self.destination(&step.to) {
                Some(address) => self.downstreams.call(address, step, &parameters).await,
                None => Err("no address is known for it".to_owned()),
            };
            if let Err(reason) = result {
                self.counters.error();
                return Err(StepFailed { step: step.to_string(), reason });
            }
        }
        Ok(())
    }

    fn destination(&self, name: &str) -> Option<SocketAddr> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

/// A call to another workload that did not work out.
#[derive(Debug, serde::Serialize)]
struct StepFailed {
    step: String,
    reason: String,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: Spawner) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, or a peer that has gone: others may get through.
            tokio::task::yield_now().await;
            continue;
        };
        let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
        tasks.spawn(serve(stream, connection, shared.clone()));
    }
}

async fn serve(stream: TcpStream, connection: u64, shared: Arc<Shared>) {
    // Small answers must not wait for the peer's acknowledgement (TLS-10).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match shared.protocol {
        Protocol::Http => http::serve(stream, connection, shared).await,
        Protocol::Grpc => grpc::serve(stream, connection, shared).await,
        Protocol::Tcp => tcp::serve(stream, connection, shared).await,
    }
}
