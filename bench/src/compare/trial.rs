//! One measurement: a contender started, loaded, looked at and ended.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use super::{
    apply::{Applied, apply, begun},
    first,
    independent::Independent,
    result::Settings,
    rows::{
        DENIED_PASSED, DENIED_SEEN, KIB, KIB_OF_CALLER, Load, P50, P99, P999, RSS, Row, STARVED,
        Traffic,
    },
    weigh::{MIB, Moment, between, memory, per_unit, real, started},
};
use crate::{
    Idle, LoadError, Loopback, Report, Spoken,
    peer::{Contender, PeerError, Running, Scene, Started},
    scrape::Taken,
    witness::Witness,
};

/// How long memory may take to be at rest before connections are opened.
const SETTLES: Duration = Duration::from_millis(500);

/// The same after they were opened: what is idle is so for some seconds, and what an allocator gives
/// back it gives back late. Everybody has the same.
const RESTS: Duration = Duration::from_secs(8);

/// Where the backend is, and which process it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackendAt {
    pub(crate) http: SocketAddr,
    pub(crate) echo: SocketAddr,
    pub(crate) bulk: SocketAddr,
    /// Where it says how many requests it got that no load sends; as the load reaches it, the others as
    /// the callee's side does.
    pub(crate) strange: Loopback,
    pub(crate) id: u32,
}

impl BackendAt {
    /// The port that such traffic goes to.
    pub(crate) const fn of(&self, traffic: Traffic) -> SocketAddr {
        match traffic {
            Traffic::Http1 | Traffic::Grpc => self.http,
            Traffic::Echo => self.echo,
            Traffic::Bulk => self.bulk,
        }
    }
}

/// What all measurements have in common.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) backend: BackendAt,
    pub(crate) settings: &'a Settings,
    /// A load that others have written; ours if there is none.
    pub(crate) independent: Option<&'a Independent>,
}

/// What came of one.
#[derive(Debug)]
pub(crate) enum Tried {
    Measured(Box<Figures>),
    /// The peer cannot be had here: why.
    Absent(String),
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) version: String,
    pub(crate) by_name: BTreeMap<String, f64>,
    pub(crate) report: Option<Report>,
}

impl Figures {
    pub(super) fn set(&mut self, name: &str, value: f64) {
        self.by_name.insert(name.to_owned(), value);
    }
}

/// Why one failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the policy and its witness")]
    Witness(#[from] io::Error),
    #[error("{what}{}", if .log.is_empty() { String::new() } else { format!(": {}", .log) })]
    Seen { what: String, log: String },
}

impl Trial<'_> {
    /// Starts a contender, does to it what the row says, and ends it.
    pub(crate) async fn run(&self, row: &Row, contender: &Contender) -> Result<Tried, TrialError> {
        let traffic = row.load.traffic();
        let backend = self.backend.of(traffic);
        let contender = contender.with(row.load.options().map(str::to_owned));
        let running = match self.scene.start(&contender, traffic.protocol(), backend).await? {
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
        tokio::time::sleep(RESTS).await;
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
            let caller = |sides: [u64; 2]| sides.first().copied().map_or(0.0, real);
            figures.set(KIB_OF_CALLER, (caller(after) - caller(before)).max(0.0) / opened);
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
        let measured = self.measured(load, running);
        let Some(denied) = running.denied else {
            return measured.await?.figures(running, figures);
        };
        let traffic = load.traffic();
        let witness = Witness::of(running.entry, denied, traffic, self.backend.strange)?;
        let (measured, told) = Box::pin(witness.beside(measured)).await?;
        measured?.figures(running, figures)?;
        for (name, count) in [
            ("denied_refused", told.refused),
            (DENIED_PASSED, told.passed),
            ("denied_lost", told.lost),
            (DENIED_SEEN, told.seen),
        ] {
            figures.set(name, real(count));
        }
        Ok(())
    }

    /// Warms up, and loads.
    async fn measured(&self, load: Load, running: &Running) -> Result<Loaded, TrialError> {
        let warm_up = Duration::from_secs_f64(self.settings.warm_up_seconds);
        let load = self.begun(load, running, warm_up).await?;
        let taken = Taken::of(running).await;
        let backend = [std::process::id(), self.backend.id];
        let before = Moment::now(running, backend);
        let seconds = Duration::from_secs_f64(self.settings.seconds);
        let applied = self.apply(load, running, seconds).await?;
        let after = Moment::now(running, backend);
        let taken = (taken, Taken::of(running).await);
        Ok(Loaded { applied, moments: (before, after), taken })
    }

    async fn begun(
        &self,
        load: Load,
        running: &Running,
        warm_up: Duration,
    ) -> Result<Load, LoadError> {
        if self.independent.is_none() {
            return begun(load, running, warm_up).await;
        }
        self.apply(load, running, warm_up).await.map(|_| load)
    }

    async fn apply(
        &self,
        load: Load,
        running: &Running,
        time: Duration,
    ) -> Result<Applied, LoadError> {
        match self.independent {
            Some(others) => Box::pin(others.apply(load, running.entry, time)).await.map(Into::into),
            None => apply(load, running, time).await,
        }
    }
}

/// What a load has shown.
struct Loaded {
    applied: Applied,
    moments: (Moment, Moment),
    /// Certificates and policies, before and after.
    taken: (Option<Taken>, Option<Taken>),
}

impl Loaded {
    fn figures(self, running: &Running, figures: &mut Figures) -> Result<(), TrialError> {
        let Applied { report, more } = self.applied;
        if report.ok == 0 {
            let what = format!("nothing went through: {:?}", report.errors);
            return Err(TrialError::Seen { what, log: String::new() });
        }
        between(self.moments, figures);
        per_unit(&report, running, figures);
        let latency = report.latency_us;
        if report.bytes.is_none() {
            let percentiles = [(P50, latency.p50), (P99, latency.p99), (P999, latency.p999)];
            for (name, value) in percentiles.into_iter().chain([("max_us", latency.max)]) {
                // What a load of others does not tell is not known, and not 0.
                if value > 0 {
                    figures.set(name, real(value));
                }
            }
        }
        if let Some(shares) = report.shares {
            figures.set("fairness", shares.fairness());
            figures.set(STARVED, real(shares.starved));
        }
        if let (Some(before), Some(after)) = self.taken {
            figures.set("certificates_taken", after.certificates - before.certificates);
            figures.set("policies_taken", after.policies - before.policies);
        }
        figures.by_name.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        figures.set("failed", real(report.failed()));
        figures.set("rss_mib", real(memory(running).iter().sum()) / MIB);
        figures.report = Some(report);
        Ok(())
    }
}
