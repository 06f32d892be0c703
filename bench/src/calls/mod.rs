//! What one call costs in system calls, on the caller's side and on the callee's.

mod perf;
mod sequence;
mod shape;
mod side;
mod strace;
mod table;
mod tally;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{perf::Counting, side::Sides, strace::Strace};
pub use self::{
    shape::{SHAPES, Shape},
    table::table,
    tally::{Count, Tally},
};
use crate::{
    LoadError, Report,
    compare::{self, BackendAt, chain},
    machine::{Machine, Pinning},
    network::Network,
    peer::{Contender, PeerError, Running, Scene, Started},
};

/// The form of the document.
pub const SCHEMA: u32 = 1;

/// Which program counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `perf stat` on the kernel's trace points: it counts in the kernel and stops nobody.
    Perf,
    /// `strace -c`: it stops a thread at each of its system calls, so that batches become smaller.
    Strace,
}

/// What is to be counted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is called.
    pub shapes: Vec<&'static Shape>,
    /// Through whom.
    pub contenders: Vec<Contender>,
    /// Where their programs are, besides the usual places.
    pub programs: Vec<PathBuf>,
    /// By which program; the first that works if none is named.
    pub counter: Option<Counter>,
    /// How long each load is.
    pub seconds: f64,
    /// Where the system calls of single calls are written, one after the other.
    pub sequence: Option<PathBuf>,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it ran on.
    pub machine: Machine,
    /// Which core did what.
    pub pinning: Pinning,
    /// The program that counted, and its version.
    pub counter: String,
    /// Who could not take part: why.
    pub absent: BTreeMap<String, String>,
    /// One for each shape and contender, in order.
    pub samples: Vec<Sample>,
}

/// One load of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The shape's name.
    pub shape: String,
    /// The contender's name.
    pub contender: String,
    /// Its own words about its version.
    pub version: String,
    /// Why there are no figures.
    pub error: Option<String>,
    /// Right answers meanwhile.
    pub calls: u64,
    /// Other answers meanwhile.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// System calls of the caller's side, and of the callee's.
    pub sides: [Tally; 2],
}

/// Why nothing could be counted.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// Nothing to count.
    #[error("no {0}")]
    Nothing(&'static str),
    /// Neither program is there, or neither is allowed to.
    #[error("{0}")]
    Counter(String),
    /// What all peers need is not there.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The load cannot begin.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The backend or the counting program failed.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl CallsError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::System { what, source }
    }
}

/// How long each contender is loaded before anything is counted, at most.
const WARM_UP: Duration = Duration::from_secs(1);

/// All that the samples have in common.
struct Run<'a> {
    plan: &'a Plan,
    scene: &'a Scene,
    backend: BackendAt,
    counter: Counter,
    sequences: String,
}

/// Starts each contender for each shape, loads it, and counts.
///
/// # Errors
/// If there is nothing to count or nothing that counts. What fails with one contender is in its
/// sample.
pub async fn calls(plan: &Plan) -> Result<Counted, CallsError> {
    if plan.shapes.is_empty() || plan.contenders.is_empty() {
        return Err(CallsError::Nothing("shape or peer"));
    }
    let (counter, version) = found(plan.counter).await?;
    let machine = Machine::here();
    let pinning = Pinning::begin();
    // What crosses the veth is the same system calls.
    let network = Network::Loopback("system calls are the same".to_owned());
    let scene = Scene::new(&plan.programs, pinning.clone(), network.clone())?;
    let started = compare::backend(&network).await.map_err(CallsError::system("the backend"))?;
    let (_backend, backend) = started;
    let mut run = Run { plan, scene: &scene, backend, counter, sequences: String::new() };
    let (mut samples, mut absent) = (Vec::new(), BTreeMap::new());
    for shape in &plan.shapes {
        for contender in &plan.contenders {
            let name = &contender.name;
            let takes = contender.protocols.contains(&shape.traffic().protocol());
            if !takes || absent.contains_key(name) {
                continue;
            }
            let _ = writeln!(io::stderr(), "{} {name}", shape.name);
            match Box::pin(run.sample(shape, contender)).await {
                Ok(Tried::Counted(sample)) => samples.push(*sample),
                Ok(Tried::Absent(why)) => drop(absent.insert(name.clone(), why)),
                Err(error) => samples
                    .push(Sample { error: Some(chain(&error)), ..Sample::empty(shape, contender) }),
            }
        }
    }
    if let Some(path) = &plan.sequence {
        let what = path.display().to_string();
        std::fs::write(path, run.sequences).map_err(CallsError::system(what))?;
    }
    Ok(Counted { schema: SCHEMA, machine, pinning, counter: version, absent, samples })
}

/// What came of one start.
enum Tried {
    Counted(Box<Sample>),
    Absent(String),
}

impl Run<'_> {
    async fn sample(&mut self, shape: &Shape, contender: &Contender) -> Result<Tried, CallsError> {
        let backend = self.backend.of(shape.traffic());
        let protocol = shape.traffic().protocol();
        let running = match self.scene.start(contender, protocol, backend).await? {
            Started::Running(running) => *running,
            Started::Absent(why) => return Ok(Tried::Absent(why)),
        };
        let looked = self.look(shape, &running).await;
        let version = running.version.clone();
        running.stop().await?;
        let (report, sides) = looked?;
        Ok(Tried::Counted(Box::new(Sample {
            version,
            calls: report.ok,
            failed: report.failed(),
            seconds: report.seconds,
            sides,
            ..Sample::empty(shape, contender)
        })))
    }

    async fn look(
        &mut self,
        shape: &Shape,
        running: &Running,
    ) -> Result<(Report, [Tally; 2]), CallsError> {
        let failed = |what: String| {
            CallsError::system(what)(io::Error::other(format!("its log: {}", running.log())))
        };
        compare::answered(running.entry, shape.traffic()).await.map_err(failed)?;
        let seconds = Duration::try_from_secs_f64(self.plan.seconds).unwrap_or(WARM_UP);
        shape.apply(running.entry, seconds.min(WARM_UP)).await?;
        // Only now: threads that began with the first calls are there.
        let sides = Sides::of(&running.pids);
        let load = shape.apply(running.entry, seconds);
        let counted = match self.counter {
            _ if sides.is_empty() => (load.await?, <[Tally; 2]>::default()),
            Counter::Perf => Counting::attach(&sides)?.count(&sides, load).await?,
            Counter::Strace => Strace::attach(&sides).await?.count(load).await?,
        };
        if self.plan.sequence.is_some() && !sides.is_empty() {
            let text = sequence::calls(&sides, running.entry, shape.traffic()).await?;
            self.sequences += &format!("{} {}\n{text}\n", shape.name, running.name());
        }
        Ok(counted)
    }
}

impl Sample {
    fn empty(shape: &Shape, contender: &Contender) -> Self {
        Self {
            shape: shape.name.to_owned(),
            contender: contender.name.clone(),
            version: String::new(),
            error: None,
            calls: 0,
            failed: 0,
            seconds: 0.0,
            sides: <[Tally; 2]>::default(),
        }
    }
}

/// The program that counts, and what it says of itself.
async fn found(wanted: Option<Counter>) -> Result<(Counter, String), CallsError> {
    let perf = match wanted {
        Some(Counter::Strace) => Err("not wanted".to_owned()),
        Some(Counter::Perf) | None => perf::version().await,
    };
    let strace = match wanted {
        Some(Counter::Perf) => Err("not wanted".to_owned()),
        Some(Counter::Strace) | None => strace::version().await,
    };
    match (perf, strace) {
        (Ok(version), _) => Ok((Counter::Perf, version)),
        (Err(_), Ok(version)) => Ok((Counter::Strace, version)),
        (Err(perf), Err(strace)) => {
            Err(CallsError::Counter(format!("nothing counts: perf: {perf}; strace: {strace}")))
        }
    }
}
