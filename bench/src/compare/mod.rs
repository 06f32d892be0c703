//! Proxies of others beside ours, in one interleaved run: A B C A B C, row by row.

mod apply;
mod conditions;
mod first;
mod goals;
mod independent;
mod own;
mod result;
mod rows;
mod summary;
mod table;
mod trial;
mod weigh;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    apply::apply,
    conditions::Begun,
    first::answered,
    rows::{CPU, DENIED_PASSED, DENIED_SEEN, Load, P99, Traffic, row},
    summary::summaries,
    table::{figure, notes, pinned, write_goals, write_place},
    trial::{BackendAt, Trial, Tried},
};
pub use self::{
    conditions::Conditions,
    independent::{Generator, Independent},
    result::{
        Comparison, Estimate, Measured, Reached, SCHEMA, Sample, Settings, Spread, Stand, Summary,
    },
    rows::{ROWS, Row},
    table::table,
};
use crate::{
    machine::{Machine, Pinning},
    network::{Network, NetworkError, Wanted},
    peer::{Contender, PeerError, Scene},
};

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rows.
    pub rows: Vec<&'static Row>,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// Where their programs are, besides the usual places.
    pub programs: Vec<PathBuf>,
    /// How.
    pub settings: Settings,
    /// How both sides are to reach each other.
    pub network: Wanted,
    /// The load that others have written; ours if there is none.
    pub independent: Option<Independent>,
}

/// A comparison that could not begin, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Nothing to compare.
    #[error("no {0} to compare")]
    Nothing(&'static str),
    /// What all peers need is not there.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// There are no two namespaces.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The backend does not run.
    #[error("the backend")]
    Backend(#[source] io::Error),
}

/// How long the backend may take to listen.
const LISTENS: Duration = Duration::from_secs(10);

/// How long it takes to start and end a contender, about; for the progress bar alone.
const AROUND: Duration = Duration::from_millis(500);

/// All that is known while the run goes on.
struct Run<'a> {
    plan: &'a Plan,
    stop: &'a CancellationToken,
    trial: Trial<'a>,
    versions: BTreeMap<String, String>,
    absent: BTreeMap<String, String>,
    bar: ProgressBar,
}

/// Measures every row for every contender in turn, as often as there are rounds. What fails is
/// recorded and does not end the run; when it is stopped, what was measured so far is returned.
///
/// # Errors
/// If there is nothing to compare, or no backend.
pub async fn compare(plan: &Plan, stop: &CancellationToken) -> Result<Comparison, CompareError> {
    if plan.rows.is_empty() || plan.settings.rounds == 0 {
        return Err(CompareError::Nothing("row"));
    }
    if plan.contenders.is_empty() {
        return Err(CompareError::Nothing("peer"));
    }
    let machine = Machine::here();
    let pinning = Pinning::begin();
    let network = Network::begin(plan.network)?;
    let words = network.to_string();
    let scene = Scene::new(&plan.programs, pinning.clone(), network.clone())?;
    let (_backend, at) = backend(&network).await.map_err(CompareError::Backend)?;
    let trial = Trial {
        scene: &scene,
        backend: at,
        settings: &plan.settings,
        independent: plan.independent.as_ref(),
    };
    let (versions, absent) = (BTreeMap::new(), BTreeMap::new());
    let mut run = Run { plan, stop, trial, versions, absent, bar: bar(plan) };
    let mut rows = Vec::new();
    for row in &plan.rows {
        rows.push(Box::pin(run.row(row)).await);
    }
    run.bar.finish_and_clear();
    let Run { versions, absent, .. } = run;
    let here = |contender: &&Contender| !absent.contains_key(&contender.name);
    let stand = |contender: &Contender| Stand {
        name: contender.name.clone(),
        layer: contender.layer,
        about: contender.about.clone(),
        version: versions.get(&contender.name).cloned().unwrap_or_default(),
    };
    let takes_part = plan.contenders.iter().any(|contender| contender.name == summary::OURS);
    let goals = if takes_part { goals::reached(&rows) } else { Vec::new() };
    let begun = Begun { schema: SCHEMA, machine, pinning, network: words };
    Ok(Comparison {
        conditions: begun.ended(&plan.settings, stop),
        contenders: plan.contenders.iter().filter(here).map(stand).collect(),
        absent,
        goals,
        rows,
    })
}

impl Run<'_> {
    async fn row(&mut self, row: &'static Row) -> Measured {
        let protocol = row.load.traffic().protocol();
        let mut samples = Vec::new();
        if self.bar.is_hidden() && !self.stop.is_cancelled() {
            self.tell(row.name);
        }
        for round in 1..=self.plan.settings.rounds {
            for contender in &self.plan.contenders {
                self.bar.set_message(format!("{} round {round} {}", row.name, contender.name));
                let is_here = !self.absent.contains_key(&contender.name);
                if is_here && contender.protocols.contains(&protocol) {
                    let stop = self.stop;
                    let sample = self.sample(row, contender, round);
                    // Cutting one ends its processes and loses it alone.
                    let sample = stop.run_until_cancelled(sample).await;
                    samples.extend(sample.flatten());
                }
                self.bar.inc(1);
            }
        }
        summary::measured(row, samples)
    }

    /// Says something to whoever watches, or reads what a run without a terminal has said.
    fn tell(&self, text: &str) {
        if self.bar.is_hidden() {
            let _ = writeln!(io::stderr(), "{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// One measurement, unless the contender turns out to be absent.
    async fn sample(&mut self, row: &Row, contender: &Contender, round: usize) -> Option<Sample> {
        let name = contender.name.clone();
        let (figures, error, report) = match Box::pin(self.trial.run(row, contender)).await {
            Ok(Tried::Measured(figures)) => {
                self.versions.insert(name, figures.version);
                (figures.by_name, None, figures.report)
            }
            Ok(Tried::Absent(why)) => {
                self.tell(&format!("{name} does not take part: {why}"));
                self.absent.insert(name, why);
                return None;
            }
            Err(error) => {
                let error = chain(&error);
                self.tell(&format!("{} round {round} {name}: {error}", row.name));
                (BTreeMap::new(), Some(error), None)
            }
        };
        Some(Sample { contender: contender.name.clone(), round, figures, error, report })
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Our own program as the backend, on our core and on the callee's side.
pub(crate) async fn backend(network: &Network) -> io::Result<(Child, BackendAt)> {
    #[derive(Deserialize)]
    struct Listening {
        http: SocketAddr,
        echo: SocketAddr,
        bulk: SocketAddr,
        strange: SocketAddr,
    }
    let mut command = Command::from(network.on_callee()?);
    command.args(["backend", "--address", &network.backend().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let line = tokio::time::timeout(LISTENS, BufReader::new(output).lines().next_line()).await??;
    let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Listening { http, echo, bulk, strange } = serde_json::from_str(&line)?;
    let id = child.id().ok_or(io::ErrorKind::NotFound)?;
    let [http, echo, bulk] =
        [http, echo, bulk].map(|it| SocketAddr::from((Ipv4Addr::LOCALHOST, it.port())));
    let strange = SocketAddr::from((network.callee(), strange.port()));
    let strange = network.target(strange).map_err(io::Error::other)?;
    Ok((child, BackendAt { http, echo, bulk, strange, id }))
}

fn bar(plan: &Plan) -> ProgressBar {
    let seconds = plan.settings.seconds + plan.settings.warm_up_seconds;
    let load = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let takes = plan.rows.iter().map(|row| row.load.takes(load) + AROUND).sum::<Duration>();
    let turns = plan.settings.rounds.saturating_mul(plan.contenders.len());
    let total = takes.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
    let count = u64::try_from(turns.saturating_mul(plan.rows.len())).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(count);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.println(format!("{count} measurements, about {} s", total.as_secs()));
    bar
}
