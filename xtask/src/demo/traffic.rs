//! The demo's load: the load generator as a process of its own, read while it runs.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cellwall_testkit::process::{Process, Spawn, Tail};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Payments a second: seven services and sixteen processes share the machine.
const RATE: &str = "20";

/// How long the load generator may take to report or to end.
const SOON: Duration = Duration::from_secs(20);

/// The running load generator.
#[derive(Debug)]
pub(crate) struct Traffic {
    process: Process,
    reports: Tail,
}

/// What it said while it was looked at.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Payments answered in time.
    pub(crate) ok: u64,
    /// Those since its start that were not.
    pub(crate) errors: u64,
    /// Connections to its sidecar since its start that ended although nobody wanted them to.
    pub(crate) closed: u64,
    pub(crate) rate: f64,
    /// The worst second's.
    pub(crate) p99_ms: f64,
}

impl Traffic {
    /// Pays through the edge's sidecar, which reaches checkout at `checkout`.
    pub(crate) fn start(
        programs: &Path,
        checkout: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let process = Spawn::new("load", &programs.join("cellwall-bench"), &folder.join("logs"))
            .args(["load", "--progress", "--call", "POST /v1/orders", "--connections", "4"])
            .args(["--rate", RATE, "--target", &checkout.to_string()])
            .start()?;
        let reports = process.stdout();
        Ok(Self { process, reports })
    }

    /// Looks at its reports for at least `time`, those that nobody has looked at yet included.
    pub(crate) async fn after(&mut self, time: Duration) -> anyhow::Result<Figures> {
        let end = Instant::now() + time;
        let mut figures = Figures::default();
        let mut seconds = 0.0;
        while Instant::now() < end || seconds == 0.0 {
            for line in self.reports.json()? {
                let Some(progress) = line.get("progress") else { continue };
                figures.add(progress).context("a report of the load generator")?;
                seconds += 1.0;
            }
            ensure!(self.process.is_running()?, "the load generator ended");
            ensure!(Instant::now() < end + SOON, "the load generator says nothing");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let ok = figures.ok as f64;
        figures.rate = ok / seconds;
        Ok(figures)
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGINT)?;
        self.process.ended(SOON).await?;
        Ok(())
    }
}

impl Figures {
    /// Adds one second.
    fn add(&mut self, progress: &Value) -> Option<()> {
        let number = |name: &str| progress.get(name).and_then(Value::as_u64);
        let p99 = progress.get("latency_us")?.get("p99")?.as_f64()? / 1000.0;
        self.ok += number("ok")?;
        self.errors = number("total_failed")?;
        self.closed = number("connections_closed")?;
        self.p99_ms = self.p99_ms.max(p99);
        Some(())
    }
}
