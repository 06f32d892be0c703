//! Where the time of our sidecars goes: flame graphs of both sides, and what of it is the kernel's.

mod stacks;
mod svg;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use self::{stacks::Stacks, svg::svg};
use crate::{
    LoadError,
    compare::{self, BackendAt, Row, apply, chain, pinned},
    machine::{self, Machine, Pinning},
    network::{Network, NetworkError, Wanted},
    peer::{Contender, PeerError, Running, Scene, Started},
    perf::{self, Perf},
    process::{self, Usage},
};

/// The form of the document.
pub const SCHEMA: u32 = 1;

/// What is drawn where nobody says: calls over HTTP/1.1 and over HTTP/2, and bytes.
pub const USUAL: [&str; 3] = ["http1-32", "grpc-1", "bulk-1"];

/// How often a processor is looked at in a second; no divisor of the kernel's own ticks.
const RATE: &str = "-F997";

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The loads.
    pub rows: Vec<&'static Row>,
    /// Ours, built with frame pointers and with the names of its functions.
    pub ours: Contender,
    /// Where its programs are, besides the usual places.
    pub programs: Vec<PathBuf>,
    /// How both sides are to reach each other.
    pub network: Wanted,
    /// How long each load is.
    pub seconds: f64,
    /// Where the drawings are written: `ROW-caller.svg` and `ROW-callee.svg`.
    pub folder: PathBuf,
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flames {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it ran on.
    pub machine: Machine,
    /// Which core did what.
    pub pinning: Pinning,
    /// How the processes reached each other.
    #[serde(default = "loopback")]
    pub network: String,
    /// What looked, and its version.
    pub perf: String,
    /// Two for each row.
    pub sides: Vec<Side>,
}

/// Results of earlier builds had no other.
fn loopback() -> String {
    "loopback".to_owned()
}

/// One side under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The load.
    pub row: String,
    /// `caller` or `callee`.
    pub side: String,
    /// The drawing.
    pub svg: PathBuf,
    /// How often it was seen running.
    pub samples: u64,
    /// How often of these in the kernel.
    pub kernel_samples: u64,
    /// CPU in user mode meanwhile, as the kernel accounts for it.
    pub user_seconds: f64,
    /// CPU in the kernel, likewise.
    pub kernel_seconds: f64,
}

impl Side {
    /// The share of the CPU that is the kernel's, by its own account; 0 of nothing.
    pub fn kernel_share(&self) -> f64 {
        let all = self.user_seconds + self.kernel_seconds;
        if all > 0.0 { self.kernel_seconds / all } else { 0.0 }
    }
}

/// Why there is no drawing.
#[derive(Debug, thiserror::Error)]
pub enum FlamesError {
    /// Ours do not run.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// There are no two namespaces.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// They cannot be had.
    #[error("ours are not there: {0}")]
    Absent(String),
    /// The load does not begin.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nothing looks at processors.
    #[error("perf cannot be used: {0}")]
    Perf(String),
    /// Nothing was answered, or seen.
    #[error("{row}: {what}")]
    Nothing {
        /// The load.
        row: &'static str,
        /// What is missing.
        what: String,
    },
    /// A program or a file failed.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl FlamesError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}

/// All that the loads have in common.
struct Run<'a> {
    plan: &'a Plan,
    scene: Scene,
    backend: BackendAt,
}

/// Loads ours, looks at both sides meanwhile, and draws what was seen.
///
/// # Errors
/// If perf is not there or may not look, or nothing went through.
pub async fn flames(plan: &Plan) -> Result<Flames, FlamesError> {
    let perf = perf::version().await.map_err(FlamesError::Perf)?;
    machine::open_files();
    let machine = Machine::here();
    let pinning = Pinning::begin();
    let network = Network::begin(plan.network)?;
    let scene = Scene::new(&plan.programs, pinning.clone(), network.clone())?;
    let started = compare::backend(&network).await.map_err(FlamesError::system("the backend"))?;
    let (_backend, backend) = started;
    let run = Run { plan, scene, backend };
    let mut sides = Vec::new();
    for row in &plan.rows {
        let _ = writeln!(io::stderr(), "{}", row.name);
        sides.extend(Box::pin(run.row(row)).await?);
    }
    let network = network.to_string();
    Ok(Flames { schema: SCHEMA, machine, pinning, network, perf, sides })
}

impl Run<'_> {
    async fn row(&self, row: &'static Row) -> Result<[Side; 2], FlamesError> {
        let traffic = row.load.traffic();
        let backend = self.backend.of(traffic);
        let started = self.scene.start(&self.plan.ours, traffic.protocol(), backend).await?;
        let running = match started {
            Started::Running(running) => *running,
            Started::Absent(why) => return Err(FlamesError::Absent(why)),
        };
        let looked = self.look(row, &running).await;
        running.stop().await?;
        looked
    }

    async fn look(&self, row: &'static Row, running: &Running) -> Result<[Side; 2], FlamesError> {
        let nothing = |what| FlamesError::Nothing { row: row.name, what };
        let traffic = row.load.traffic();
        compare::answered(running.entry, traffic).await.map_err(nothing)?;
        let seconds = Duration::try_from_secs_f64(self.plan.seconds).unwrap_or_default();
        apply(row.load, running, seconds.min(Duration::from_secs(1))).await?;
        let attached = |error| FlamesError::Perf(chain(&error));
        let mut perf = Perf::start("record", |command, folder| {
            let processes = running.pids.concat().iter().map(u32::to_string).collect::<Vec<_>>();
            command.args(["-q", "-e", "cpu-clock", RATE, "--call-graph", "fp", "-o"]);
            command.arg(folder.join(DATA)).arg("-p").arg(processes.join(","));
        })
        .map_err(attached)?;
        perf.tell("enable").await.map_err(attached)?;
        let before = usage(running);
        let load = apply(row.load, running, seconds).await?;
        let after = usage(running);
        perf.tell("disable").await.map_err(attached)?;
        let folder = perf.end().await.map_err(attached)?;
        if load.report.ok == 0 {
            return Err(nothing(format!("nothing went through: {:?}", load.report.errors)));
        }
        let text = script(&folder.path().join(DATA)).await?;
        let [caller, callee] = [("caller", 0), ("callee", 1)].map(|(name, side)| {
            let of = |usages: &[Usage; 2]| usages.get(side).copied().unwrap_or_default();
            let processes = running.pids.get(side).map_or(&[][..], Vec::as_slice);
            self.draw(row, name, &Stacks::of(&text, processes), (of(&before), of(&after)))
        });
        Ok([caller?, callee?])
    }

    fn draw(
        &self,
        row: &'static Row,
        side: &str,
        stacks: &Stacks,
        (before, after): (Usage, Usage),
    ) -> Result<Side, FlamesError> {
        if stacks.root.samples == 0 {
            let what = format!("perf saw nothing of the {side}");
            return Err(FlamesError::Nothing { row: row.name, what });
        }
        let path = self.plan.folder.join(format!("{}-{side}.svg", row.name));
        let drawing = svg(stacks, &format!("{}, the {side}'s sidecar", row.title));
        fs::write(&path, drawing).map_err(FlamesError::system(path.display().to_string()))?;
        Ok(Side {
            row: row.name.to_owned(),
            side: side.to_owned(),
            svg: path,
            samples: stacks.root.samples,
            kernel_samples: stacks.in_kernel,
            user_seconds: after.user_seconds - before.user_seconds,
            kernel_seconds: after.system_seconds - before.system_seconds,
        })
    }
}

/// The file in which perf keeps what it has seen.
const DATA: &str = "samples";

fn usage(running: &Running) -> [Usage; 2] {
    running.pids.each_ref().map(|processes| process::usage(processes))
}

/// What perf has seen, as text: each sample's process, then its frames.
async fn script(data: &Path) -> Result<String, FlamesError> {
    let mut command = Command::new("perf");
    command.args(["script", "-F", "pid,ip,sym", "--no-inline", "-i"]).arg(data);
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(FlamesError::system("perf script"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(FlamesError::Perf(said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The shares as a table of plain text.
pub fn table(flames: &Flames) -> String {
    let mut text = format!(
        "{}; {}\n{:<10}{:<8}{:>9}{:>11}{:>11}{:>9}  drawing, by {}\n",
        flames.network,
        pinned(&flames.pinning),
        "",
        "",
        "samples",
        "user s",
        "kernel s",
        "kernel",
        flames.perf
    );
    for side in &flames.sides {
        text.push_str(&format!(
            "{:<10}{:<8}{:>9}{:>11.2}{:>11.2}{:>7.1} %  {}\n",
            side.row,
            side.side,
            side.samples,
            side.user_seconds,
            side.kernel_seconds,
            100.0 * side.kernel_share(),
            side.svg.display()
        ));
    }
    text
}
