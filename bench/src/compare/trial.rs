//! One measurement: a contender started, loaded, looked at and ended.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use super::{
    first,
    result::Settings,
    rows::{
        CPU, CPU_PER_GIB, KIB, Load, OPEN_CONNECTIONS, P50, P99, PROGRAM, RSS, Row, START, Traffic,
    },
};
use crate::{
    Bulk, ClosedLoop, Connections, Control, Exchange, Idle, LoadError, Loopback, OpenLoop, Pace,
    Report, Spoken, Streams, Target, Way, bulk, echo_loop,
    lean::PATH,
    lean_loop,
    machine::Cpu,
    open_loop,
    peer::{Contender, PeerError, Running, Scene, Started},
    process::{self, Usage},
    stream_loop,
};

/// How long memory may take to be at rest after connections were opened.
const SETTLES: Duration = Duration::from_millis(500);

const MIB: f64 = 1024.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MICROSECONDS: f64 = 1e6;

/// Where the backend is, and which process it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendAt {
    pub(crate) http: SocketAddr,
    pub(crate) echo: SocketAddr,
    pub(crate) bulk: SocketAddr,
    pub(crate) id: u32,
}

/// What all measurements have in common.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) scene: &'a Scene,
    pub(super) backend: BackendAt,
    pub(super) settings: &'a Settings,
}

/// What came of one.
#[derive(Debug)]
pub(super) enum Tried {
    Measured(Box<Figures>),
    /// The peer cannot be had here: why.
    Absent(String),
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) version: String,
    pub(super) by_name: BTreeMap<String, f64>,
    pub(super) report: Option<Report>,
}

impl Figures {
    fn set(&mut self, name: &str, value: f64) {
        self.by_name.insert(name.to_owned(), value);
    }
}

/// Why one failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrialError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{what}{}", if .log.is_empty() { String::new() } else { format!(": {}", .log) })]
    Seen { what: String, log: String },
}

/// CPU of everybody at one moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    machine: Cpu,
    sides: [Usage; 2],
    load: f64,
}

impl Trial<'_> {
    /// Starts a contender, does to it what the row says, and ends it.
    pub(super) async fn run(&self, row: &Row, contender: &Contender) -> Result<Tried, TrialError> {
        let traffic = row.load.traffic();
        let backend = match traffic {
            Traffic::Http1 | Traffic::Grpc => self.backend.http,
            Traffic::Echo => self.backend.echo,
            Traffic::Bulk => self.backend.bulk,
        };
        let running = match self.scene.start(contender, traffic.protocol(), backend).await? {
            Started::Running(running) => *running,
            Started::Absent(why) => return Ok(Tried::Absent(why)),
        };
        let looked = self.look(row, &running).await;
        let (version, log) = (running.version.clone(), running.log());
        running.stop().await?;
        match looked {
            Ok(figures) => Ok(Tried::Measured(Box::new(Figures { version, ..figures }))),
            Err(TrialError::Seen { what, .. }) => Err(TrialError::Seen { what, log }),
            Err(error) => Err(error),
        }
    }

    async fn look(&self, row: &Row, running: &Running) -> Result<Figures, TrialError> {
        let seen = |what| TrialError::Seen { what, log: String::new() };
        first::answered(running.entry, row.load.traffic()).await.map_err(seen)?;
        let mut figures = Figures::default();
        match row.load {
            Load::Start => started(running, &mut figures),
            Load::IdleHttp => self.idle(running, Spoken::Http, &mut figures).await?,
            Load::IdleTcp => self.idle(running, Spoken::Tcp, &mut figures).await?,
            load => self.loaded(load, running, &mut figures).await?,
        }
        Ok(figures)
    }

    async fn idle(
        &self,
        running: &Running,
        spoken: Spoken,
        figures: &mut Figures,
    ) -> Result<(), TrialError> {
        tokio::time::sleep(SETTLES).await;
        let before = memory(running);
        let idle = Idle::open(running.entry, spoken, self.settings.idle_connections).await?;
        tokio::time::sleep(SETTLES).await;
        let after = memory(running);
        let (opened, failed) = (idle.opened(), idle.failed());
        figures.report = Some(idle.close().await);
        let count = |count: usize| real(u64::try_from(count).unwrap_or(u64::MAX));
        let (opened, failed) = (count(opened), count(failed));
        figures.set("connections", opened);
        figures.set("failed", failed);
        if opened > 0.0 && !running.pids.concat().is_empty() {
            let both = |sides: [u64; 2]| real(sides.iter().sum());
            figures.set(KIB, (both(after) - both(before)).max(0.0) / opened);
            figures.set(RSS, real(before.into_iter().max().unwrap_or_default()) / MIB);
        }
        Ok(())
    }

    async fn loaded(
        &self,
        load: Load,
        running: &Running,
        figures: &mut Figures,
    ) -> Result<(), TrialError> {
        let warm_up = Duration::from_secs_f64(self.settings.warm_up_seconds);
        apply(load, running.entry, warm_up).await?;
        let before = self.moment(running);
        let report =
            apply(load, running.entry, Duration::from_secs_f64(self.settings.seconds)).await?;
        let after = self.moment(running);
        if report.ok == 0 {
            let what = format!("nothing went through: {:?}", report.errors);
            return Err(TrialError::Seen { what, log: String::new() });
        }
        between(before, after, figures);
        per_unit(&report, running, figures);
        let latency = report.latency_us;
        if report.bytes.is_none() {
            for (name, value) in [(P50, latency.p50), (P99, latency.p99), ("p999_us", latency.p999)]
            {
                figures.set(name, real(value));
            }
        }
        figures.set("failed", real(report.failed()));
        figures.set("rss_mib", real(memory(running).iter().sum()) / MIB);
        figures.report = Some(report);
        Ok(())
    }

    fn moment(&self, running: &Running) -> Moment {
        let own = [std::process::id(), self.backend.id].map(process::alone);
        let [clients, servers] = &running.pids;
        Moment {
            at: Instant::now(),
            machine: Cpu::now(),
            sides: [process::usage(clients), process::usage(servers)],
            load: own.iter().map(Usage::cpu_seconds).sum(),
        }
    }
}

/// What passed between two moments.
fn between(before: Moment, after: Moment, figures: &mut Figures) {
    let elapsed = (after.at - before.at).as_secs_f64();
    let [client, server] = [0, 1].map(|side| {
        let cpu = |moment: &Moment| moment.sides.get(side).map_or(0.0, Usage::cpu_seconds);
        cpu(&after) - cpu(&before)
    });
    let kernel = |moment: &Moment| moment.sides.iter().map(|side| side.system_seconds).sum::<f64>();
    let (proxies, load) = (client + server, after.load - before.load);
    let machine = after.machine.since(before.machine);
    // Ticks of 10 ms.
    let [all, busy, steal] = [machine.all, machine.busy, machine.steal].map(|t| real(t) / 100.0);
    let percent = |part: f64| if all > 0.0 { 100.0 * part / all } else { 0.0 };
    figures.set("seconds", elapsed);
    figures.set("client_cpu_seconds", client);
    figures.set("server_cpu_seconds", server);
    figures.set("kernel_cpu_seconds", kernel(&after) - kernel(&before));
    figures.set("proxies_busy", proxies / elapsed);
    figures.set("load_busy", load / elapsed);
    figures.set("steal_percent", percent(steal));
    figures.set("foreign_percent", percent((busy - proxies - load).max(0.0)));
}

/// CPU and rate for a call, or for a GiB.
fn per_unit(report: &Report, running: &Running, figures: &mut Figures) {
    let cpu = |name: &str| figures.by_name.get(name).copied().unwrap_or_default();
    let (client, server) = (cpu("client_cpu_seconds"), cpu("server_cpu_seconds"));
    let has_proxies = !running.pids.concat().is_empty();
    if let Some(bytes) = report.bytes.map(real).filter(|bytes| *bytes > 0.0) {
        figures.set("gb_per_second", bytes / report.seconds / 1e9);
        if has_proxies {
            figures.set(CPU_PER_GIB, (client + server) / (bytes / GIB));
        }
        return;
    }
    let calls = real(report.ok);
    figures.set("calls_per_second", calls / report.seconds);
    if has_proxies {
        figures.set(CPU, (client + server) / calls * MICROSECONDS);
        figures.set("client_cpu_us_per_call", client / calls * MICROSECONDS);
        figures.set("server_cpu_us_per_call", server / calls * MICROSECONDS);
    }
}

fn started(running: &Running, figures: &mut Figures) {
    let took = SystemTime::now().duration_since(running.began).unwrap_or_default();
    let [clients, servers] = &running.pids;
    if let (Some(client), Some(_)) = (clients.first(), servers.first()) {
        figures.set(START, took.as_secs_f64() * 1000.0);
        let program = process::program_bytes(*client).map(|bytes| real(bytes) / 1e6);
        figures.by_name.extend(program.map(|size| (PROGRAM.to_owned(), size)));
    }
}

/// Resident memory of each side, KiB.
fn memory(running: &Running) -> [u64; 2] {
    let [clients, servers] = &running.pids;
    [process::usage(clients).rss_kib, process::usage(servers).rss_kib]
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts of some minutes")]
const fn real(count: u64) -> f64 {
    count as f64
}

/// Puts the load of a row on whatever listens there.
async fn apply(load: Load, entry: Loopback, time: Duration) -> Result<Report, LoadError> {
    let (duration, control) = (Some(time), Control::default());
    let clients = |clients, connections| ClosedLoop { clients, connections, duration };
    match load {
        Load::Http(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::Kept), control)).await
        }
        Load::HttpNew(count) => {
            Box::pin(lean_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::TcpNew(count) => {
            Box::pin(echo_loop(entry, clients(count, Connections::PerRequest), control)).await
        }
        Load::Grpc(connections, streams) => {
            let exchange = Exchange::Grpc;
            let load = Streams { connections, streams, exchange, duration };
            Box::pin(stream_loop(entry, load, control)).await
        }
        Load::Bulk(streams) => {
            let load = Bulk { streams, way: Way::Down, pace: Pace::Full, duration };
            Box::pin(bulk(entry, load, control)).await
        }
        Load::Open(rate) => {
            let target = Target::new(entry.address(), &format!("GET {PATH}"));
            let target = target.map_err(|_| LoadError::Setting("the entry is no target"))?;
            let load = OpenLoop { rate, connections: OPEN_CONNECTIONS, duration };
            Box::pin(open_loop(target, load, control)).await
        }
        Load::IdleHttp | Load::IdleTcp | Load::Start => {
            Err(LoadError::Setting("this row has no load"))
        }
    }
}
