//! Starting and stopping: makes the rooms, opens the listeners, waits for the signal, drains.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use cellwall_api::distribution::Hello;
use cellwall_policy::Snapshot;
use rand::Rng as _;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use crate::{
    AccessLog, Admin, Authz, Configured, Directory, Drain, FlowFeed, Flows, Identities, Live,
    PolicyFeed, PolicyIntake, PolicyStore, Proxy, SpanFeed, Spans, Standing, args::Args,
    config::Config, doors::Listeners, hardening, logging, metrics, reproof::Register,
    upstream::Peers,
};

/// Runs the proxy until SIGTERM or SIGINT, and a drain after it.
///
/// # Errors
///
/// When the configuration cannot be used or a listener cannot be opened.
pub fn run(args: Args) -> anyhow::Result<()> {
    logging::init(&args.log).context("--log")?;
    let config = Config::try_from(args)?;
    hardening::harden();
    let runtime = runtime(config.threads).context("starting the runtime")?;
    let (log, writer) = AccessLog::start(io::stdout()).context("starting the access log")?;
    let spans = config.traces.map(|traces| Spans::new(traces.ratio));
    let flows = spans.into_iter().fold(Flows::new(log), Flows::tracing);
    runtime.block_on(serve(config, flows))?;
    // The last handle of the log goes with its tasks. A disk that hangs holds nobody up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    writer.join().map_err(|_| anyhow::anyhow!("the access log's thread panicked"))
}

/// One thread runs what is ready in the order in which it became so: calls that came together leave
/// together, in few writes. Several share the work instead, and write for each.
fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut runtime = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.worker_threads(threads).enable_all().build()
}

async fn serve(config: Config, flows: Flows) -> anyhow::Result<()> {
    let handle = metrics::install()?;
    let drain = Drain::default();
    let services = drain.services();
    let store = open_store(config.state_dir.as_deref())?;
    let listeners = Listeners::bind(&config)?;
    let configured = listeners.describe(&config)?;
    let serving = listeners.serving(&config.control)?;
    announce(&configured)?;

    let identities = Identities::default();
    let policy = Arc::new(Live::default());
    let directory = Arc::new(Directory::default());
    let standing = Arc::new(Standing::default());
    send_spans(&config, &flows, &policy, &drain);
    services.spawn(identities.clone().follow(config.workload_api, config.spiffe_id, drain.watch()));
    let (us, live) = (identities.clone(), policy.clone());
    let intake = PolicyIntake::new(config.policy_key, us, live, standing.clone(), store);
    let feed = PolicyFeed {
        addresses: serving,
        tcp_sessions: config.tcp_sessions,
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
        peers: Peers::new(identities.clone(), Authz::new(policy.clone()), drain.clone())
            .over(config.tcp_sessions),
        identities,
        authz: Authz::new(policy),
        directory,
        flows,
        register: Register::default(),
        drain: drain.clone(),
    });
    listeners.doors.open(&proxy, config.max_connections, config.probes_from);

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

/// Sends spans, if there is a collector.
fn send_spans(config: &Config, flows: &Flows, policy: &Arc<Live<Snapshot>>, drain: &Drain) {
    let (Some(traces), Some(spans)) = (config.traces, flows.spans()) else { return };
    let feed = SpanFeed {
        spans: spans.clone(),
        policy: policy.clone(),
        collector: traces.collector,
        grace: config.drain,
    };
    let services = drain.services();
    services.spawn(feed.follow(drain.watch(), services.watch()));
}

/// What we say of ourselves to the control plane.
fn hello(destinations: Vec<String>) -> Hello {
    Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: format!("{:016x}", rand::rng().next_u64()),
        destinations,
    }
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
