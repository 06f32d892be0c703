//! What ours cost as something grows or changes: rules, callers, connections, addresses, answers;
//! certificates and policies that change meanwhile; telemetry. No proxy of others takes part.

mod goals;
mod lines;
mod table;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::lines::{Curve, Point, Program};
pub use self::{lines::NAMES, table::table};
use crate::{
    compare::{
        self, Begun, CompareError, Conditions, Reached, Row, Sample, Settings, Spread, Trial,
        Tried, chain,
    },
    machine::{self, Machine, Pinning},
    micro::{self, StepError},
    network::{Network, Wanted},
    peer::{Contender, Scene},
};

/// The form of the document.
pub const SCHEMA: u32 = 1;

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Plan {
    /// These of [`NAMES`]; all if there are none.
    pub names: Vec<String>,
    /// Ours.
    pub ours: Contender,
    /// Where its programs are, besides the usual places.
    pub programs: Vec<PathBuf>,
    /// Where a sidecar is that tells nothing of its calls, if there is one.
    pub dark: Option<PathBuf>,
    /// How; how many connections are idle is each point's own.
    pub settings: Settings,
    /// How both sides are to reach each other.
    pub network: Wanted,
    /// How many points a curve has.
    pub extent: Extent,
}

/// How many points a curve has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The first and one more: that all of it works.
    Ends,
    /// All.
    All,
}

/// All curves, as they are written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// When, where and how; of the form [`SCHEMA`].
    #[serde(flatten)]
    pub conditions: Conditions,
    /// How many points a curve has.
    pub extent: Extent,
    /// In order.
    pub curves: Vec<Drawn>,
    /// What there is to reach.
    pub goals: Vec<Reached>,
}

/// A curve, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What grows; nothing where points are different things.
    pub axis: String,
    /// In order.
    pub points: Vec<Dot>,
    /// Every measurement; its contender is the point's label.
    pub samples: Vec<Sample>,
    /// Points that could not be measured: why.
    pub absent: BTreeMap<String, String>,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dot {
    /// Its name.
    pub label: String,
    /// How much there was of what grows.
    pub x: f64,
    /// By name, over the rounds.
    pub figures: BTreeMap<String, Spread>,
    /// How many measurements failed.
    pub failed: usize,
}

/// Why there is no curve.
#[derive(Debug, thiserror::Error)]
pub enum CurvesError {
    /// Nobody knows it.
    #[error("no curve {name}; there are {}", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Pairs of sidecars cannot be measured.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A decision cannot be measured.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// All that is known while the run goes on.
struct Run<'a> {
    plan: &'a Plan,
    stop: &'a CancellationToken,
    scenes: Scenes,
    backend: compare::BackendAt,
    /// Where `cellwall-pair` goes on: issuing certificates and signing policies is no sidecar's work.
    helper: Option<String>,
}

/// Where programs are found.
struct Scenes {
    usual: Scene,
    dark: Option<Scene>,
}

/// Measures every point of each curve in turn, as often as there are rounds. What fails is recorded
/// and does not end the run; when it is stopped, what was measured so far is returned.
///
/// # Errors
/// If a curve is unknown, or nothing can be measured.
pub async fn curves(plan: &Plan, stop: &CancellationToken) -> Result<Curves, CurvesError> {
    if let Some(name) = plan.names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(CurvesError::Unknown { name: name.clone() });
    }
    let machine = Machine::here();
    let pinning = Pinning::begin();
    let network = Network::begin(plan.network).map_err(CompareError::Network)?;
    let scene = |programs: &[PathBuf]| Scene::new(programs, pinning.clone(), network.clone());
    let usual = scene(&plan.programs).map_err(CompareError::Peer)?;
    let dark = plan.dark.iter().chain(&plan.programs).cloned().collect::<Vec<_>>();
    let dark = plan.dark.is_some().then(|| scene(&dark)).transpose();
    let scenes = Scenes { usual, dark: dark.map_err(CompareError::Peer)? };
    let (_backend, backend) = compare::backend(&network).await.map_err(CompareError::Backend)?;
    let helper = match &pinning {
        Pinning::Cores { load, .. } => Some(format!("--core={load}")),
        Pinning::None(_) => None,
    };
    let run = Run { plan, stop, scenes, backend, helper };
    let is_wanted =
        |curve: &Curve| plan.names.is_empty() || plan.names.iter().any(|name| *name == curve.name);
    let mut drawn = Vec::new();
    if plan.names.is_empty() || plan.names.iter().any(|name| name == lines::DECISION) {
        drawn.push(decision(plan)?);
    }
    for curve in lines::all(machine::open_files(), plan.extent).into_iter().filter(is_wanted) {
        drawn.push(Box::pin(run.curve(curve)).await);
    }
    let begun = Begun { schema: SCHEMA, machine, pinning, network: network.to_string() };
    Ok(Curves {
        conditions: begun.ended(&plan.settings, stop),
        extent: plan.extent,
        goals: goals::reached(&drawn),
        curves: drawn,
    })
}

/// What a decision costs in this process, as rights are added.
fn decision(plan: &Plan) -> Result<Drawn, StepError> {
    let rows = lines::DECISIONS.iter().collect::<Vec<_>>();
    let rounds = match plan.extent {
        Extent::Ends => 3,
        Extent::All => 25,
    };
    let costs = micro::micro(&rows, rounds)?.rows;
    let points = costs.into_iter().zip(&rows).map(|(cost, row)| {
        let spread = |value| Spread { median: value, low: value, high: value };
        let figures = [("best_ns", cost.best_ns), ("median_ns", cost.median_ns)];
        let figures = figures.map(|(name, value)| (name.to_owned(), spread(value)));
        Dot {
            label: row.name.to_owned(),
            x: lines::rights(row),
            figures: figures.into(),
            failed: 0,
        }
    });
    Ok(Drawn {
        name: lines::DECISION.to_owned(),
        title: "a decision of the policy alone, in one process".to_owned(),
        axis: "rights of callers".to_owned(),
        points: points.collect(),
        samples: Vec::new(),
        absent: BTreeMap::new(),
    })
}

impl Run<'_> {
    async fn curve(&self, curve: Curve) -> Drawn {
        let (mut samples, mut absent) = (Vec::new(), BTreeMap::new());
        for round in 1..=self.plan.settings.rounds {
            for point in &curve.points {
                if self.stop.is_cancelled() {
                    break;
                }
                let _ = writeln!(io::stderr(), "{} round {round} {}", curve.name, point.label);
                let sample = self.sample(&curve, point, round);
                // Cutting one ends its processes and loses it alone.
                match Box::pin(self.stop.run_until_cancelled(sample)).await {
                    Some(Ok(sample)) => samples.push(sample),
                    Some(Err(why)) => drop(absent.insert(point.label.clone(), why)),
                    None => {}
                }
            }
        }
        let summaries = compare::summaries(compare::CPU, &samples);
        let dot = |point: &Point| {
            let summary = summaries.iter().find(|summary| summary.contender == point.label)?;
            let (figures, failed) = (summary.figures.clone(), summary.failed);
            Some(Dot { label: point.label.clone(), x: point.x, figures, failed })
        };
        Drawn {
            name: curve.name.to_owned(),
            title: curve.title.to_owned(),
            axis: curve.axis.to_owned(),
            points: curve.points.iter().filter_map(dot).collect(),
            samples,
            absent,
        }
    }

    /// One measurement, or why this point cannot have any.
    async fn sample(&self, curve: &Curve, point: &Point, round: usize) -> Result<Sample, String> {
        let scene = match point.program {
            Program::Usual => &self.scenes.usual,
            Program::Dark => {
                self.scenes.dark.as_ref().ok_or("there is no sidecar without telemetry")?
            }
        };
        let settings = Settings { idle_connections: point.idle, ..self.plan.settings.clone() };
        let (backend, settings) = (self.backend, &settings);
        let trial = Trial { scene, backend, settings, independent: None };
        let row: Row = compare::row(curve.name, curve.title, point.load);
        // The last of several equal options would be refused: ours alone say how many rules.
        let mut contender = self.plan.ours.clone();
        contender.pair.clone_from(&point.pair);
        contender.pair.extend(self.helper.clone());
        let (by_name, error, report) = match Box::pin(trial.run(&row, &contender)).await {
            Ok(Tried::Measured(figures)) => {
                let missing = point.missing(&figures.by_name);
                (figures.by_name, missing, figures.report)
            }
            Ok(Tried::Absent(why)) => return Err(why),
            Err(error) => (BTreeMap::new(), Some(chain(&error)), None),
        };
        if let Some(error) = &error {
            let _ = writeln!(io::stderr(), "{} {}: {error}", curve.name, point.label);
        }
        let contender = point.label.clone();
        Ok(Sample { contender, round, figures: by_name, error, report })
    }
}
