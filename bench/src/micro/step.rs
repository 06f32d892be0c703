//! The steps, and their rows.

use std::{
    hint::black_box,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use cellwall_mtls::TlsMaterial;
use cellwall_policy::{Call, RequestPath, Snapshot, Tls, Verdict};
use metrics::{Counter, counter, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::{StepError, material::Chain, policy};

/// One step that is measured.
#[derive(Debug)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is done, in a line.
    pub title: &'static str,
    /// The same for the program.
    pub kind: Kind,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A policy of so many rights is asked: a rule each, up to 10,000 rules.
    Decide(usize),
    /// A path is read.
    Path(&'static str),
    /// A counter is incremented by its handle.
    Handle,
    /// A counter is looked up by its labels, and incremented.
    Labels,
    /// The policy in force is loaded.
    Load,
    /// A chain is verified.
    Verify,
}

const fn row(name: &'static str, title: &'static str, kind: Kind) -> Row {
    Row { name, title, kind }
}

/// All of them.
pub const ROWS: &[Row] = &[
    row("decide-10", "a call decided among 10 rules and callers", Kind::Decide(10)),
    row("decide-1000", "among 1,000", Kind::Decide(1_000)),
    row("decide-10000", "among 10,000", Kind::Decide(10_000)),
    row("path", "a path read that is canonical already", Kind::Path("/v1/r7/accounts/a_1")),
    row("path-escaped", "a path read that is not", Kind::Path("/v1/%72%37/caf%c3%a9/%7Ea_1")),
    row("counter-handle", "a counter incremented by its handle", Kind::Handle),
    row("counter-labels", "the same looked up by six labels", Kind::Labels),
    row("snapshot-load", "the policy in force loaded and let go", Kind::Load),
    row(
        "verify",
        "a chain of three verified as client and as server, its key matched",
        Kind::Verify,
    ),
];

impl Row {
    /// Whether its instructions can be compared between machines: signatures are verified by code
    /// that libcrypto picks by what the processor has.
    pub const fn is_pure(&self) -> bool {
        !matches!(self.kind, Kind::Verify)
    }
}

/// A step, ready.
pub(super) enum Step {
    Decide { snapshot: Box<Snapshot>, asked: Vec<policy::Asked> },
    Path(&'static str),
    Handle { handle: Counter, _recorder: Box<PrometheusRecorder> },
    Labels(Box<PrometheusRecorder>),
    Load(ArcSwapOption<Snapshot>),
    Verify(Box<Chain>),
}

impl Step {
    pub(super) fn of(kind: Kind) -> Result<Self, StepError> {
        Ok(match kind {
            Kind::Decide(rights) => {
                let snapshot =
                    Snapshot::new(policy::document(rights)).map_err(StepError::Policy)?;
                Self::Decide { snapshot: Box::new(snapshot), asked: policy::asked(rights)? }
            }
            Kind::Path(path) => Self::Path(path),
            Kind::Handle => {
                let recorder = Box::new(PrometheusBuilder::new().build_recorder());
                let handle = with_local_recorder(&*recorder, || labelled("callee"));
                Self::Handle { handle, _recorder: recorder }
            }
            Kind::Labels => Self::Labels(Box::new(PrometheusBuilder::new().build_recorder())),
            Kind::Load => {
                let snapshot = Snapshot::new(policy::document(10)).map_err(StepError::Policy)?;
                Self::Load(ArcSwapOption::from_pointee(snapshot))
            }
            Kind::Verify => Self::Verify(Box::new(Chain::new(SystemTime::now())?)),
        })
    }

    /// Does it so often, and says how often it did what it is for.
    pub(super) fn repeat(&mut self, repetitions: u32) -> u32 {
        match self {
            Self::Decide { snapshot, asked } => decide(snapshot, asked, repetitions),
            Self::Path(path) => count(repetitions, || RequestPath::parse(black_box(path)).is_ok()),
            Self::Handle { handle, .. } => count(repetitions, || {
                black_box(&*handle).increment(1);
                true
            }),
            Self::Labels(recorder) => with_local_recorder(&**recorder, || {
                count(repetitions, || {
                    labelled(black_box("callee")).increment(1);
                    true
                })
            }),
            Self::Load(policy) => count(repetitions, || black_box(&*policy).load_full().is_some()),
            Self::Verify(chain) => {
                count(repetitions, || TlsMaterial::build(black_box(chain.input())).is_ok())
            }
        }
    }
}

fn count(repetitions: u32, mut step: impl FnMut() -> bool) -> u32 {
    (0..repetitions).map(|_| u32::from(black_box(step()))).sum()
}

fn decide(snapshot: &Snapshot, asked: &[policy::Asked], repetitions: u32) -> u32 {
    let tls = Tls::default();
    let mut asked = asked.iter().cycle();
    count(repetitions, || {
        asked.next().is_some_and(|asked| {
            let call = Call::Http { method: "GET", path: black_box(&asked.path) };
            let decision = snapshot.decide(black_box(&asked.id), &tls, &call, UNIX_EPOCH);
            decision.verdict == Verdict::Allow
        })
    })
}

/// As the proxy counts its calls; the labels' names are its own.
fn labelled(callee: &str) -> Counter {
    let callee: Arc<str> = callee.into();
    counter!("cellwall_requests_total", "direction" => "inbound", "src" => "caller",
        "dst" => callee, "route" => "/v1/bench/call", "verdict" => "allow", "code" => "200")
}
