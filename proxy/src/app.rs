//! Starting and stopping: makes the rooms, opens the listeners, waits for the signal, drains.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use cellwall_api::distribution::Hello;
use cellwall_policy::Snapshot;
use rand::Rng as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    AccessLog, Admin, Authz, Configured, Destination, Directory, Drain, FlowFeed, Flows,
    Identities, Live, PolicyFeed, PolicyIntake, PolicyStore, Probes, Proxy, Served, Standing,
    Workload,
    args::Args,
    config::{Config, InboundConfig},
    hardening, listen, logging, metrics,
    reproof::Register,
    upstream::Peers,
};

/// Health checks at once.
const PROBES: usize = 32;

/// Runs the proxy until SIGTERM or SIGINT, and a drain after it.
///
/// # Errors
///
/// When the configuration cannot be used or a listener cannot be opened.
pub fn run(args: Args) -> anyhow::Result<()> {
    logging::init(&args.log).context("--log")?;
    let config = Config::try_from(args)?;
    hardening::harden();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let (log, writer) = AccessLog::start(io::stdout()).context("starting the access log")?;
    runtime.block_on(serve(config, Flows::new(log)))?;
    // The last handle of the log goes with its tasks. A disk that hangs holds nobody up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    writer.join().map_err(|_| anyhow::anyhow!("the access log's thread panicked"))
}

async fn serve(config: Config, flows: Flows) -> anyhow::Result<()> {
    let handle = metrics::install()?;
    let drain = Drain::default();
    let services = drain.services();
    let store = open_store(config.state_dir.as_deref())?;
    let listeners = Listeners::bind(&config).await?;
    let configured = listeners.describe(&config)?;
    let serving = listeners.serving(&config.control)?;
    announce(&configured)?;

    let identities = Identities::default();
    let policy = Arc::new(Live::default());
    let directory = Arc::new(Directory::default());
    let standing = Arc::new(Standing::default());
    let follow = identities.clone().follow(config.workload_api, config.spiffe_id, drain.watch());
    services.spawn(follow);
    let (us, live) = (identities.clone(), policy.clone());
    let intake = PolicyIntake::new(config.policy_key, us, live, standing.clone(), store);
    let feed = PolicyFeed {
        serving,
        control: config.control,
        identities: identities.clone(),
        intake,
        directory: directory.clone(),
        hello: hello(config.outbound.iter().map(|one| one.destination.clone()).collect()),
        link: Arc::default(),
    };
    let reports = FlowFeed::beside(&feed, flows.decisions().clone(), config.drain);
    services.spawn(feed.follow(drain.watch()));
    services.spawn(reports.follow(drain.watch(), services.watch()));
    let admin = Admin {
        metrics: handle.clone(),
        identities: identities.clone(),
        policy: policy.clone(),
        draining: drain.watch(),
        directory: directory.clone(),
        standing,
        decisions: flows.decisions().clone(),
        configured,
    };
    services.spawn(admin.serve(listeners.admin, services.clone()));
    services.spawn(Admin::upkeep(handle, services.watch()));
    services.spawn(ready(identities.clone(), policy.clone(), drain.clone()));
    let proxy = Arc::new(Proxy {
        peers: Peers::new(identities.clone(), Authz::new(policy.clone()), drain.clone()),
        identities,
        authz: Authz::new(policy),
        directory,
        flows,
        register: Register::default(),
        drain: drain.clone(),
    });
    accept_calls(&proxy, (listeners.inbound, listeners.outbound), config.max_connections);
    if let Some((probed, listener)) = listeners.probes {
        let (authz, from, drain) = (proxy.authz.clone(), config.probes_from, drain.clone());
        let workload = Workload::new(probed.workload, drain.clone());
        let probes = Arc::new(Probes { authz, workload, from, drain });
        accept_probes(&probes, listener);
    }

    stopped().await?;
    tracing::info!(tasks = drain.tasks(), "draining");
    drain.drain(config.drain).await;
    tracing::info!("stopped");
    Ok(())
}

/// The folder of what survives a restart, if there is one.
fn open_store(folder: Option<&Path>) -> anyhow::Result<Option<Arc<PolicyStore>>> {
    match folder {
        Some(folder) => Ok(Some(Arc::new(PolicyStore::open(folder).context("--state-dir")?))),
        None => {
            tracing::warn!("no --state-dir: a restart while the control plane is away will deny");
            Ok(None)
        }
    }
}

/// What we say of ourselves to the control plane.
fn hello(destinations: Vec<String>) -> Hello {
    Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: format!("{:016x}", rand::rng().next_u64()),
        destinations,
    }
}

/// Opens the doors: each connection is a task of the proxy's drain.
fn accept_calls(
    proxy: &Arc<Proxy>,
    (inbound, outbound): (Vec<(InboundConfig, TcpListener)>, Vec<(Arc<Destination>, TcpListener)>),
    limit: usize,
) {
    let drain = &proxy.drain;
    for (destination, listener) in outbound {
        let proxy = proxy.clone();
        drain.spawn(listen(listener, limit, drain.clone(), move |tcp, from| {
            proxy.clone().outbound(tcp, from, destination.clone())
        }));
    }
    for (config, listener) in inbound {
        let proxy = proxy.clone();
        let workload = Workload::new(config.workload, drain.clone());
        let served = Arc::new(Served { port: config.port, workload });
        drain.spawn(listen(listener, limit, drain.clone(), move |tcp, from| {
            proxy.clone().inbound(tcp, from, served.clone())
        }));
    }
}

/// Few at once: a node asks every few seconds.
fn accept_probes(probes: &Arc<Probes>, listener: TcpListener) {
    let (probes, drain) = (probes.clone(), &probes.drain);
    drain.spawn(listen(listener, PROBES, drain.clone(), move |tcp, from| {
        probes.clone().serve(tcp, from)
    }));
}

/// The listeners, bound before anything else starts: a mistake ends the process at once.
struct Listeners {
    inbound: Vec<(InboundConfig, TcpListener)>,
    outbound: Vec<(Arc<Destination>, TcpListener)>,
    probes: Option<(InboundConfig, TcpListener)>,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let mut inbound = Vec::new();
        for one in &config.inbound {
            inbound.push((*one, bind("--inbound", one.listen).await?));
        }
        let admin = bind("--admin", config.admin).await?;
        let probes = match config.probes {
            Some(one) => Some((one, bind("--probes", one.listen).await?)),
            None => None,
        };
        let mut outbound = Vec::new();
        for one in &config.outbound {
            let listener = bind("--outbound", SocketAddr::from(([127, 0, 0, 1], one.port))).await?;
            let destination = Destination::new(&one.destination, one.addresses.clone());
            outbound.push((Arc::new(destination), listener));
        }
        Ok(Self { inbound, outbound, probes, admin })
    }

    fn describe(&self, config: &Config) -> anyhow::Result<Configured> {
        let mut outbound = BTreeMap::new();
        for (destination, listener) in &self.outbound {
            outbound.insert(destination.name.to_string(), listener.local_addr()?);
        }
        let mut listeners = BTreeMap::new();
        for (one, listener) in &self.inbound {
            let port = one.port.map_or_else(String::new, |port| port.to_string());
            listeners.insert(port, listener.local_addr()?);
        }
        let (first, listener) = self.inbound.first().context("--inbound")?;
        Ok(Configured {
            inbound: listener.local_addr()?,
            workload: first.workload,
            listeners,
            probes: self.probes.as_ref().map(|(_, it)| it.local_addr()).transpose()?,
            outbound,
            admin: self.admin.local_addr()?,
            control: config.control.clone(),
        })
    }
}

impl Listeners {
    /// What others connect to, each with the port that the policy declares for it.
    fn serving(&self, control: &str) -> anyhow::Result<Vec<String>> {
        let mut serving = Vec::new();
        for (one, listener) in &self.inbound {
            let address = advertised(one.advertise, listener.local_addr()?, control)?;
            serving.push(match one.port {
                Some(port) => format!("{port}@{address}"),
                None => address,
            });
        }
        Ok(serving)
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}"))
}

fn announce(configured: &Configured) -> anyhow::Result<()> {
    let outbound = serde_json::to_string(&configured.outbound)?;
    let listeners = serde_json::to_string(&configured.listeners)?;
    let probes = configured.probes.map(|probes| probes.to_string());
    tracing::info!(
        inbound = %configured.inbound, listeners, outbound, probes, admin = %configured.admin,
        tls = cellwall_mtls::describe_provider(), version = env!("CARGO_PKG_VERSION"), "listening"
    );
    Ok(())
}

/// What others connect to. An unspecified address means this host, as the control plane's route
/// sees it.
fn advertised(
    configured: Option<SocketAddr>,
    inbound: SocketAddr,
    control: &str,
) -> anyhow::Result<String> {
    let mut address = configured.unwrap_or(inbound);
    if address.ip().is_unspecified() {
        // A UDP socket that sends nothing tells which of our addresses leads there.
        let probe = std::net::UdpSocket::bind((address.ip(), 0))?;
        probe.connect(control).with_context(|| format!("--control {control}: no route"))?;
        address.set_ip(probe.local_addr()?.ip());
    }
    Ok(address.to_string())
}

/// How long a start may take before we say what it waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says once that both an SVID and a policy are there, and before that, once, what is missing.
async fn ready(identities: Identities, policy: Arc<Live<Snapshot>>, drain: Drain) {
    let watch = drain.watch();
    let both = async {
        let mut changed = identities.watch();
        while identities.current().is_none() {
            changed.changed().await;
        }
        policy.present().await;
    };
    let missing = async {
        tokio::time::sleep(PATIENCE).await;
        let (no_svid, no_policy) = (identities.current().is_none(), policy.load().is_none());
        tracing::warn!(no_svid, no_policy, "not ready yet");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = both => tracing::info!("ready"),
        () = missing => {}
        () = watch.stopping() => {}
    }
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
