//! Starting and stopping: opens the store, makes the rooms, waits for the signal, drains.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use cellwall_agent::{Agent, Socket};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    authority::{Authority, OwnIdentity},
    config::RunConfig,
    distribution::{self, Distribution, Fleet, MeshListener},
    drain::Drain,
    embedded::Embedded,
    files::Lock,
    founding::{self, TrustRoot},
    gauges::Gauges,
    health::{self, Health},
    ledger::Ledger,
    metrics::install,
    offline,
    operators::{self, Explainer, Operators, ProcessFacts},
    policy_book::PolicyBook,
    store::{LedgerReader, SealingKey, Store, StoreThread},
};

/// From the signal to the end of all work; the process ends within 5 s.
const GRACE: Duration = Duration::from_secs(4);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// When something that is needed cannot be opened. The message names it.
pub async fn run(config: RunConfig) -> anyhow::Result<()> {
    let metrics = install()?;
    let (vault, thread) = Vault::open(&config).await?;
    let drain = Drain::default();
    let result = serve(&config, vault, &drain, metrics).await;
    drain.drain(GRACE).await;
    // Every handle of the store went with its task.
    let closing = tokio::task::spawn_blocking(|| thread.join());
    let _ = tokio::time::timeout(Duration::from_secs(1), closing).await;
    tracing::info!("stopped");
    result
}

/// Everything that comes out of the data directory.
struct Vault {
    store: Store,
    root: TrustRoot,
    sealing: Arc<SealingKey>,
    /// The time of the last audit record, in milliseconds since 1970.
    newest: i64,
    lock: Lock,
}

impl Vault {
    async fn open(config: &RunConfig) -> anyhow::Result<(Self, StoreThread)> {
        if config.dev.is_some() {
            config.data.create()?;
        }
        let dir = config.data.root().display();
        let missing = || format!("--data-dir {dir}: run `cellwalld init --data-dir {dir}` first");
        anyhow::ensure!(config.dev.is_some() || config.data.database().exists(), missing());
        let lock = config.data.secure(&config.sealing_key)?;
        let (store, thread) = Store::open(&config.data.database())?;
        if let Some(dev) = &config.dev
            && store.founded().await?.is_none()
        {
            offline::found(dev, &store).await?;
        }
        let sealing = Arc::new(SealingKey::load(&config.sealing_key)?);
        let root = founding::open(&config.data, &store, &sealing).await?;
        if let Some(dev) = &config.dev {
            let (found, wanted) = (&root.ca.trust_domain, &dev.trust_domain);
            anyhow::ensure!(found == wanted, "--trust-domain {wanted}: {dir} holds `{found}`");
        }
        founding::publish(&config.data, &root)?;
        let newest = verify_audit(&store).await?;
        Ok((Self { store, root, sealing, newest, lock }, thread))
    }
}

/// A log that was tampered with is not continued (OBS-05).
async fn verify_audit(store: &Store) -> anyhow::Result<i64> {
    let head = store.verify_audit().await?.context("not starting")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("cellwall_audit_verified_timestamp_seconds").set(now.as_secs_f64());
    tracing::info!(records = head.sequence, "audit log verified");
    Ok(head.at)
}

/// Every listener, bound before anything is served: a mistake ends the process at once.
struct Doors {
    mesh: MeshListener,
    health: TcpListener,
    workload: Socket,
    operator: Socket,
}

impl Doors {
    async fn open(config: &RunConfig) -> anyhow::Result<Self> {
        let mesh = MeshListener::bind(config.mesh).await;
        let health = health::bind(config.health).await;
        Ok(Self {
            mesh: mesh.with_context(|| format!("--mesh-listen {}", config.mesh))?,
            health: health.with_context(|| format!("--health-listen {}", config.health))?,
            workload: Socket::bind(&config.workload_socket, 0o666).context("--workload-socket")?,
            operator: Socket::bind(&config.operator_socket, 0o600).context("--operator-socket")?,
        })
    }

    fn facts(&self, root: &TrustRoot) -> anyhow::Result<ProcessFacts> {
        Ok(ProcessFacts {
            trust_domain: root.ca.trust_domain.clone(),
            mesh: self.mesh.address()?.to_string(),
            health: self.health.local_addr()?.to_string(),
            workload_socket: self.workload.path().to_owned(),
            operator_socket: self.operator.path().to_owned(),
            started_at: SystemTime::now(),
        })
    }
}

async fn serve(
    config: &RunConfig,
    vault: Vault,
    drain: &Drain,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let Vault { store, root, sealing, newest, lock: _lock } = vault;
    let domain = root.ca.trust_domain.clone();
    let book = PolicyBook::open(domain, store.clone(), sealing, root.epoch).await?;
    let book = Arc::new(book);
    let doors = Doors::open(config).await?;
    let facts = doors.facts(&root)?;
    let authority = Arc::new(Authority::new(root.ca, config.svid_ttl, store.clone(), newest));
    let own = OwnIdentity::establish(authority.clone()).await?;
    let (material, fleet) = (own.material(), Fleet::default());
    let embedded = Embedded::new(authority.clone(), book.clone());
    let agent = Agent::new(embedded, drain.tasks().clone(), drain.stop().clone());
    let holdings = agent.holdings();
    let reader = LedgerReader::new(&config.data.database());
    let (ledger, ledger_writer) = Ledger::new(store.clone(), reader);
    let distribution = Distribution {
        book: book.clone(),
        signer: Arc::new(root.signer),
        fleet: fleet.clone(),
        ledger: ledger.clone(),
        drain: drain.clone(),
    };
    let gauges = Gauges {
        material: material.clone(),
        authority: authority.clone(),
        book: book.clone(),
        fleet: fleet.clone(),
        holdings: holdings.clone(),
        store: store.clone(),
        environments: Arc::default(),
    };
    let operators = Operators {
        process: facts.clone(),
        authority,
        book,
        fleet,
        holdings,
        ledger,
        store,
        explainer: Explainer::default(),
        drain: drain.clone(),
    };
    let health = Health { metrics: metrics.clone(), gauges, drain: drain.clone() };
    drain.spawn_vital("own svid", own.keep(drain.stop().clone()));
    drain.spawn_vital("mesh", distribution::serve(doors.mesh, distribution, material));
    drain.spawn_vital("ledger", ledger_writer.run(drain.stop().clone()));
    drain.spawn_vital("operators", operators::serve(doors.operator, operators));
    drain.spawn_vital("health", health.serve(doors.health));
    drain.spawn_vital("metrics", Health::upkeep(metrics, drain.clone()));
    drain.spawn_vital("workload api", workload_api(agent, doors.workload));
    let signals = Signals::new()?;
    announce(&facts);
    signals.stopped(drain).await
}

async fn workload_api(agent: Agent<Embedded>, socket: Socket) {
    if let Err(error) = cellwall_agent::serve(Arc::new(agent), socket).await {
        tracing::error!(%error, "workload api");
    }
}

fn announce(facts: &ProcessFacts) {
    tracing::info!(
        mesh = facts.mesh,
        health = facts.health,
        workload_socket = %facts.workload_socket.display(),
        operator_socket = %facts.operator_socket.display(),
        trust_domain = %facts.trust_domain,
        version = env!("CARGO_PKG_VERSION"),
        tls = cellwall_mtls::describe_provider(),
        "listening"
    );
}

/// Caught from before anybody can know that we listen.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
        })
    }

    /// Waits for a signal, or for a task that must not end.
    async fn stopped(mut self, drain: &Drain) -> anyhow::Result<()> {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = drain.stop().cancelled() => anyhow::bail!("a task that must not end has ended"),
        }
        tracing::info!("stopping");
        Ok(())
    }
}
